"""Presets, overrides and what is said of wrong ones."""

import pytest
import yaml
from conftest import fail, succeed
from pydantic import ValidationError

from latte_cli.config import Config, config_from_tree, config_sources, load_config, preset_names
from latte_cli.errors import ConfigError
from latte_cli.locations import Locations

THE_PAPERS = ["ucf101", "skytimelapse", "faceforensics", "taichi-hd"]


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_under_its_own_name(name):
    config = load_config(name)
    assert config.name == name
    assert config.description


@pytest.mark.parametrize("name", THE_PAPERS)
def test_the_papers_data_sets_have_the_papers_settings(name):
    """Latte, section 4.1: XL/2, 16 frames of 256 px at interval 3, AdamW at 1e-4, EMA."""
    config = load_config(name)
    assert (config.model.size, config.model.patch, config.model.variant) == ("XL", 2, 1)
    assert (config.data.frames, config.data.interval, config.data.size) == (16, 3, 256)
    assert (config.train.lr, config.train.weight_decay, config.train.ema_decay) == (1e-4, 0, 0.9999)
    assert (config.train.batch_size, config.train.clip_from_step) == (40, 100_000)
    assert (config.sample.sampler, config.sample.steps) == ("ddpm", 250)
    assert (config.model.num_classes, config.sample.guidance) == (
        (101, 7.0) if name == "ucf101" else (None, 1.0)
    )


def test_yaml_reads_1e_4_as_a_string_and_the_schema_as_a_number():
    assert yaml.safe_load("1e-4") == "1e-4"
    assert load_config(None, ["train.lr=1e-4"]).train.lr == 1e-4


def test_values_come_from_the_right_place():
    origins = {s.key: (s.value, s.origin) for s in config_sources("ucf101", ["train.lr=2e-4"])}
    assert origins["train.lr"] == (2e-4, "override")
    assert origins["model.num_classes"] == (101, "preset")
    assert origins["train.ema_decay"] == (0.9999, "default")


def test_the_tree_is_frozen_and_survives_yaml():
    config = load_config("shapes", ["train.lr=3e-4"])
    with pytest.raises(ValidationError):
        config.train.lr = 1.0  # type: ignore[misc]
    assert config_from_tree(yaml.safe_load(config.to_yaml())) == config


def test_flags_are_laid_over_overrides():
    flags = {"train.steps": 7, "train.lr": None}
    config = load_config("shapes", ["train.steps=5", "train.lr=0.5"], flags)
    assert (config.train.steps, config.train.lr) == (7, 0.5)


@pytest.mark.parametrize(
    ("override", "told", "hint"),
    [
        ("train.lrr=1", "unknown key `train.lrr`", "did you mean `train.lr`"),
        ("trian.lr=1", "unknown key `trian.lr`", "did you mean `train.lr`"),
        ("modle=1", "unknown key `modle`", "model"),
        ("train=1", "unknown key `train`", "train.lr"),
        ("train.lr=fast", "`train.lr` is 'fast'", "learning rate"),
        ("train.lr=-1", "greater than 0", "learning rate"),
        ("model.size=XXL", "'XXL'", "S, B, L or XL"),
        ("model.variant=7", "`model.variant` is 7", "order of"),
        ("data.num_images=8", "`data.num_images` is 8", "joint training"),
        ("model.width=64", "not both", "latte presets"),
        ("model.size=null", "must all be given", "latte presets"),
        ("model.condition=class", "num_classes must be given", "latte presets"),
        ("model.num_classes=3", "condition must be class", "latte presets"),
        ("data.size=100", "multiple of 16", "latte presets"),
        ("sample.steps=1001", "more than the 1000", "latte presets"),
        ("diffusion.beta_start=0.5", "larger than", "latte presets"),
        ("train.lr", "not key=value", "train.lr=2e-4"),
        ("train.lr=[", "not YAML", "quote"),
        ("data.root=2024-13-45", "not YAML", "quote"),
    ],
)
def test_wrong_overrides_are_told_in_words(override, told, hint):
    with pytest.raises(ConfigError) as caught:
        load_config(None, [override])
    assert told in str(caught.value)
    assert hint in caught.value.hint


def test_unknown_and_broken_presets_are_told_in_words(tmp_path):
    with pytest.raises(ConfigError, match="no preset named `shape`") as caught:
        load_config("shape")
    assert "did you mean `shapes`" in caught.value.hint
    (tmp_path / "mine.yaml").write_text("train:\n  lr: [1\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml, line 3: this is not YAML"):
        load_config(str(tmp_path / "mine.yaml"))
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="expected `section:` lines"):
        load_config(str(tmp_path / "list.yaml"))
    (tmp_path / "empty.yaml").write_text("train:\n")
    assert load_config(str(tmp_path / "empty.yaml"), ["train.lr=0.5"]).train.lr == 0.5
    (tmp_path / "flat.yaml").write_text("train: 3\n")
    with pytest.raises(ConfigError, match="not a section"):
        load_config(str(tmp_path / "flat.yaml"), ["train.lr=0.5"])
    (tmp_path / "key.yaml").write_text("train: {lrr: 1}\n")
    with pytest.raises(ConfigError, match=r"unknown key `train\.lrr`"):
        load_config(str(tmp_path / "key.yaml"))


def test_a_preset_of_ones_own_is_a_path(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\ntrain: {lr: 5e-4}\n")
    assert load_config(str(tmp_path / "mine.yaml")).train.lr == 5e-4


def test_locations_follow_the_configuration(tmp_path):
    where = Locations(tmp_path / "d", tmp_path / "l", tmp_path / "r")
    config = load_config("ucf101")
    assert where.data(config) == tmp_path / "d" / "ucf101"
    assert where.latents(config) == tmp_path / "l" / "ucf101-256-sd-vae-ft-ema"
    assert where.run(config) == tmp_path / "r" / "ucf101"
    assert where.run(config, "try") == tmp_path / "r" / "try"
    config = load_config("ucf101", ["data.root=/x/y", "data.latents=/z"])
    assert str(where.data(config)) == "/x/y"
    assert str(where.latents(config)) == "/z"


def test_presets_are_listed_and_shown():
    listed = succeed("presets").stdout
    assert all(name in listed for name in THE_PAPERS)
    shown = succeed("presets", "ucf101", "-o", "train.lr=2e-4").stdout
    assert "train.lr" in shown
    assert "override" in shown
    assert "did you mean `ucf101`" in fail("presets", "ucf")


def test_presets_print_as_json():
    import json

    values = json.loads(succeed("--json", "presets", "shapes").stdout)
    assert values["data.flip"] == {"value": False, "from": "preset"}
    assert {p["name"] for p in json.loads(succeed("--json", "presets").stdout)} == set(
        preset_names()
    )


def test_defaults_alone_are_a_whole_configuration():
    assert load_config() == Config()
