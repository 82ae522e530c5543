"""A preset of one's own: how it is found and named, whose data it uses, and where errors point."""

import json
import re

import pytest
from conftest import fail, succeed

from latte_cli.config import config_sources, flatten, known_keys, load_config, preset_names
from latte_cli.config.locations import Locations
from latte_cli.runtime.errors import ConfigError, LatteNote


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def error_of(preset, *overrides):
    with pytest.raises(ConfigError) as caught:
        load_config(preset, overrides)
    return str(caught.value)


def test_a_preset_has_the_name_of_its_file_and_not_of_its_base(here):
    write(here / "cats.yaml", "base: folder\n")
    write(here / "my cats (2).yml", "base: cats.yaml\n")
    write(here / "named.yaml", "base: cats.yaml\nname: tigers\n")
    assert load_config("cats.yaml").name == "cats"
    assert load_config("my cats (2).yml").name == "my-cats-2-"
    assert load_config("named.yaml").name == "tigers"
    assert Locations().run(load_config("cats.yaml")).name == "cats"


def test_a_name_finds_a_file_in_this_folder_or_beside_the_file_that_names_it(here, monkeypatch):
    write(here / "cats.yaml", "train: {steps: 7}\n")
    write(here / "more" / "lions.yml", "train: {steps: 8}\n")
    write(here / "more" / "pride.yaml", "base: lions\n")
    assert load_config("cats").train.steps == 7
    assert load_config("more/lions").train.steps == 8
    assert load_config("more/pride").train.steps == 8
    assert "no preset named `lion`, and no file lion.yaml" in error_of("lion")


def test_a_preset_that_ships_comes_before_a_file_of_its_name_and_says_so(here):
    write(here / "folder.yaml", "train: {steps: 7}\n")
    with pytest.warns(LatteNote, match=r"`folder` is the preset that ships .* `folder\.yaml`"):
        assert load_config("folder").train.steps != 7
    assert load_config("folder.yaml").train.steps == 7


def test_data_sets_are_looked_for_under_its_own_name_then_those_of_its_bases(here):
    write(here / "cats.yaml", "base: folder\n")
    write(here / "tuned.yaml", "base: cats\n")
    tuned, roots = load_config("tuned"), Locations(here / "data", here / "latents")
    assert tuned.data.names == ("tuned", "cats", "folder")
    assert roots.data(tuned) == here / "data" / "folder", "where there is none"
    for name in ("folder", "cats", "tuned"):  # each comes before the one made before it
        (here / "data" / name).mkdir(parents=True)
        assert roots.data(tuned) == here / "data" / name
        assert roots.latents(tuned).name == f"{name}-64-embedded"
    assert load_config("folder").data.names == ()
    assert load_config("tuned", ["data.names=cats,folder"]).data.names == ("cats", "folder")


def test_latents_alone_are_found_too(here):
    write(here / "cats.yaml", "base: folder\n")
    (here / "latents" / "cats-64-embedded").mkdir(parents=True)
    assert Locations().latents(load_config("cats")).name == "cats-64-embedded"


def test_a_base_that_names_its_data_set_is_followed(here):
    write(here / "mine.yaml", "base: studies/variant-3\n")
    config = load_config("mine")
    assert (config.data.names, config.data.root) == (("mine", "faceforensics"), None)
    assert Locations(data_root=here / "elsewhere").data(config).name == "faceforensics"
    (here / "data" / "mine").mkdir(parents=True)
    assert Locations().data(config).name == "mine"


@pytest.mark.parametrize(("preset", "data_set"), [("t2v-shapes", "shapes"), ("t2v", "captions")])
def test_a_preset_with_text_takes_captions_unless_it_names_a_data_set(here, preset, data_set):
    assert Locations().data(load_config(preset)).name == data_set


def test_dotted_keys_are_the_same_as_nested_ones(here):
    write(
        here / "dotted.yaml",
        "base: folder\ntrain.steps: 7\ntrain:\n  keep: 2\n  route.share: 0.25\ndata.size: 32\n"
        "without_images.train.batch_size: 5\n",
    )
    config = load_config("dotted.yaml")
    assert (config.train.steps, config.train.keep, config.data.size) == (7, 2, 32)
    assert (config.train.route.share, config.train.route.last) == (0.25, -4)
    assert config.train.batch_size == 5
    assert {s.key: s.origin for s in config_sources("dotted.yaml")}["train.steps"] == "preset"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  steps: 5\n  lrr: 1\n", "mine.yaml, line 4: unknown key `train.lrr`"),
        ("train.lrr: 1\n", "mine.yaml, line 2: unknown key `train.lrr`"),
        ("modle:\n  size: S\n", "mine.yaml, line 2: unknown key `modle`"),
        ("train:\n  lr: fast\n", "mine.yaml, line 3: `train.lr` is 'fast'"),
        ("train.route:\n  share: 2\n", "mine.yaml, line 3: `train.route.share` is 2"),
        ("data:\n  flip: false\n  size: 100\n", "mine.yaml, line 4: data.size 100 must be"),
        ("model:\n  heads: 5\n", "mine.yaml, line 3: model.width 192 does not divide into 5"),
        ("model:\n  depth: 3\n", "mine.yaml, line 3: model.depth must be even"),
        ("model:\n  variant: 4\n  heads: 3\n", "mine.yaml, line 4: model.heads must be even"),
        ("without_images:\n  train:\n    lrr: 1\n", "mine.yaml, line 4: unknown key `train.lrr`"),
        ("without_images: {data: {num_images: 1}}\n", "mine.yaml, line 2: `without_images` sets"),
        ("train: {lr: 1, lr: 2}\n", "mine.yaml, line 2: `train.lr` is set again, after line 2"),
        ("train:\n  lr: 1\ntrain:\n  keep: 2\n", "line 4: `train` is set again, after line 2"),
        ("train:\n  lr: 1\ntrain.lr: 2\n", "line 4: `train.lr` is set again, after line 3"),
        ("train: 5\ntrain.lr: 2\n", "mine.yaml, line 3: `train` is 5 and has keys of its own"),
        ("train: [\n", "mine.yaml, line 3: not valid YAML"),
    ],
)
def test_errors_name_the_file_and_the_line(here, text, message):
    write(here / "mine.yaml", f"base: folder\n{text}")
    assert message in error_of("mine.yaml")


def test_an_error_of_an_override_does_not_blame_the_file(here):
    write(here / "mine.yaml", "base: folder\nmodel:\n  width: 192\ntrain:\n  lr: 1\n")
    assert error_of("mine.yaml", "train.lr=fast").startswith("`train.lr` is 'fast'")
    assert error_of("mine.yaml", "model.heads=5").startswith("model.width 192 does not divide")


def test_a_value_that_a_later_file_replaces_is_not_blamed(here):
    write(here / "base.yaml", "base: folder\nmodel:\n  heads: 6\n")
    write(here / "mine.yaml", "base: base\n\nmodel:\n  heads: 5\n")
    assert error_of("mine").startswith("mine.yaml, line 4: model.width 192")
    write(here / "wrong.yaml", "base: folder\ntrain:\n  lrr: 1\n")
    write(here / "mine.yaml", "base: wrong\n")
    assert error_of("mine").startswith("wrong.yaml, line 3: unknown key")


@pytest.mark.parametrize("name", preset_names())
def test_yaml_of_a_preset_is_the_same_preset_under_another_name(here, name):
    write(here / "mine.yaml", succeed("presets", name, "--yaml").stdout)
    for overrides in ([], ["data.num_images=0"]):
        mine, theirs = (load_config(preset, overrides).model_dump() for preset in ("mine", name))
        for values in (mine, theirs):
            values.pop("name")
            values["data"].pop("names")
        assert mine == theirs


def test_yaml_has_every_key_and_sets_what_the_preset_or_an_override_sets(here):
    override = ["-o", "train.route.share=0.25", "-o", "eval.metrics=fvd,fid"]
    text = succeed("presets", "folder", "--yaml", *override).stdout
    lines = text.splitlines()
    assert "  lr: 0.0005  # learning rate" in lines
    assert "  # weight_decay: 0.0  # decoupled weight decay" in lines
    assert max(map(len, lines)) <= 100
    names = "|".join(key.split(".")[1] for key in known_keys() if "." in key)
    unset = re.compile(rf"^  # ((?:{names}): )", flags=re.MULTILINE)
    write(here / "all.yaml", unset.sub(r"  \1", text))
    every = flatten(load_config("all", []).model_dump())
    assert every["train.route.share"] == 0.25
    assert every["eval.metrics"] == ("fvd", "fid")
    listed = set(re.findall(r"^  (?:# )?(\w+): ", text, flags=re.MULTILINE))
    assert {key.split(".")[1] for key in known_keys() if "." in key} - listed == {"names"}


def test_yaml_needs_a_preset_to_build_on():
    assert "latte presets folder --yaml > mine.yaml" in fail("presets", "--yaml")
    assert "exclude each other" in fail("presets", "folder", "--yaml", "--diff=paper")


def test_a_setting_and_its_meaning_are_one_line_off_a_terminal():
    lines = succeed("presets", "folder").stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("data.interval ")]
    assert re.split(r"\s{2,}", line)[1:] == [
        "1",
        "preset",
        "source frames from one clip frame to the next",
    ]


def test_the_list_of_presets_has_those_of_this_folder(here):
    write(here / "cats.yaml", "base: folder\ndescription: My cats.\n")
    write(here / "wrong.yaml", "base: folder\ntrain: {lrr: 1}\n")
    write(here / "other.yaml", "services: {}\n")
    listed = {each["name"]: each for each in json.loads(succeed("--json", "presets").stdout)}
    assert listed["cats"]["description"] == "My cats."
    assert "wrong.yaml, line 2: unknown key" in listed["wrong"]["description"]
    assert "other" not in listed
