"""The JSON schema of presets, as the YAML language server of an editor applies it."""

import json
import re

import jsonschema
import pytest
import yaml
from conftest import fail, succeed

from latte_cli.config import describe, known_keys, load_config, preset_folder, preset_names
from latte_cli.config.views.commented_yaml import commented_preset
from latte_cli.runtime.errors import ConfigError


class Yaml12(yaml.SafeLoader):
    """Numbers as YAML 1.2 has them, which editors read: 1e-4 is one, and 100_000 is none."""


Yaml12.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if not tag.endswith((":float", ":int"))]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_SIGNS = list("-+.0123456789")
Yaml12.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), _SIGNS)
Yaml12.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    _SIGNS,
)


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(succeed("presets", "--schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("loader", [Yaml12, yaml.SafeLoader])
@pytest.mark.parametrize("name", preset_names())
def test_every_preset_that_ships_is_valid(validator, name, loader):
    text = (preset_folder() / f"{name}.yaml").read_text()
    validator.validate(yaml.load(text, loader))
    validator.validate(yaml.load(commented_preset(name), loader))


@pytest.mark.parametrize(
    "text",
    [
        "train.steps: 500\n",
        "train: {lr: 1e-4, steps: 100_000, preview_every: 0, route: {from: 1, share: 0.25}}\n",
        "model: {size: null, width: 64, depth: 2, heads: 2}\ntrain:\n",
        "eval: {metrics: 'fvd,fid'}\nsample: {guidance_interval: [0.1, 0.9]}\n",
        "without_images: {train: {batch_size: 40}}\n",
    ],
)
def test_what_the_schema_takes_is_what_latte_takes(validator, tmp_path, text):
    preset = tmp_path / "mine.yaml"
    preset.write_text(f"base: folder\n{text}")
    validator.validate(yaml.load(preset.read_text(), Yaml12))
    load_config(str(preset))


@pytest.mark.parametrize(
    "text",
    [
        "trian: {lr: 1}\n",
        "train: {lrr: 1}\n",
        "trian.lr: 1\n",
        "train: {lr: fast}\n",
        "train: {lr: 0}\n",
        "train: {steps: 1.5}\n",
        "model: {variant: 7}\n",
        "data: {crop: middle}\n",
        "train: {route: {share: 2}}\n",
        "without_images: {train: {lrr: 40}}\n",
        "base: ''\n",
    ],
)
def test_what_latte_refuses_the_schema_refuses(validator, tmp_path, text):
    preset = tmp_path / "mine.yaml"
    preset.write_text(text)
    assert not validator.is_valid(yaml.load(text, Yaml12))
    with pytest.raises(ConfigError):
        load_config(str(preset))


def test_every_key_has_a_meaning_of_one_line():
    for key in known_keys():
        assert describe(key), key
        assert "\n" not in describe(key)


def test_the_schema_stands_alone():
    said = fail("presets", "shapes", "--schema")
    assert "--schema is of all presets, but shapes is named" in said
    assert "exclude each other" in fail("presets", "--schema", "--models")
