"""Preset files: bases, and keys that were renamed."""

import json
import warnings

import pytest
import yaml
from conftest import succeed

from latte_cli.checkpoints.folder import read_checkpoint_config
from latte_cli.config import config_from_tree, config_sources, known_keys, load_config
from latte_cli.config.yaml_files import RENAMED_KEYS, read_tree
from latte_cli.runtime.errors import ConfigError, LatteWarning


def preset(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def test_preset_overrides_its_base(tmp_path):
    mine = preset(tmp_path / "mine.yaml", "base: shapes\nname: mine\ntrain: {lr: 5e-4}\nmodel:\n")
    ours, base = load_config(mine), load_config("shapes")
    assert (ours.name, ours.train.lr) == ("mine", 5e-4)
    assert ours.train.steps == base.train.steps, "a section is merged, not replaced"
    assert ours.model == base.model, "an empty section overrides nothing"
    assert load_config(mine, ["train.lr=0.5"]).train.lr == 0.5
    assert load_config("shapes") == base
    assert "base" not in ours.model_dump()


def test_of_several_bases_a_later_one_overrides_an_earlier(tmp_path):
    preset(tmp_path / "recipe.yaml", "train: {keep: 9}\nmodel: {patch: 4}\n")
    mine = preset(tmp_path / "mine.yaml", "base: [ucf101, recipe.yaml]\nmodel: {size: S}\n")
    config = load_config(mine)
    assert (config.train.keep, config.model.patch, config.model.num_classes) == (9, 4, 101)
    assert (config.name, config.model.size) == ("mine", "S")
    origins = {each.key: each.origin for each in config_sources(mine)}
    assert origins["model.num_classes"] == "base ucf101"
    assert origins["train.keep"] == f"base {tmp_path / 'recipe.yaml'}"


def test_bases_nest_and_their_paths_are_relative_to_the_file_that_names_them(tmp_path, monkeypatch):
    preset(tmp_path / "one.yaml", "base: ucf101\nname: one\ntrain: {steps: 7, keep: 8}\n")
    preset(tmp_path / "deep" / "two.yaml", "base: ../one.yaml\ntrain: {keep: 9}\n")
    last = preset(tmp_path / "deep" / "last.yaml", "base: two.yaml\nsample: {guidance: null}\n")
    monkeypatch.chdir("/")
    config = load_config(last, ["sample.guidance=2"])
    assert (config.train.keep, config.train.steps, config.model.num_classes) == (9, 7, 101)
    absolute = preset(tmp_path / "a.yaml", f"base: {tmp_path / 'one.yaml'}\n")
    assert load_config(absolute).train.steps == 7
    with pytest.raises(ConfigError, match=r"`sample\.guidance` is None"):
        load_config(last)  # the preset's own null wins


def test_config_sources_name_the_base_of_a_value(tmp_path):
    one = preset(tmp_path / "one.yaml", "base: ucf101\ntrain: {keep: 8, steps: 7}\n")
    two = preset(tmp_path / "two.yaml", "base: one.yaml\ntrain: {keep: 9, lr: 5e-4}\n")
    origins = {s.key: s.origin for s in config_sources(two, (o for o in ["train.lr=1e-4"]))}
    assert origins["train.lr"] == "override"
    assert origins["train.keep"] == "preset"
    assert origins["train.steps"] == f"base {one}"
    assert origins["model.num_classes"] == "base ucf101"
    assert origins["train.log_every"] == "default"


def test_bases_that_form_a_cycle_raise_config_error(tmp_path):
    one = preset(tmp_path / "one.yaml", "base: two.yaml\n")
    two = preset(tmp_path / "two.yaml", "base: ./one.yaml\n")
    with pytest.raises(ConfigError, match=f"form a cycle: {one} -> {two} -> .*one.yaml") as caught:
        load_config(one)
    assert "remove `base`" in caught.value.hint
    own = preset(tmp_path / "own.yaml", "base: own.yaml\n")
    with pytest.raises(ConfigError, match="form a cycle"):
        config_sources(own)


@pytest.mark.parametrize(
    ("base", "message", "hint"),
    [
        ("shape", "its base `shape` is missing", "did you mean `shapes`"),
        ("studies/variant-7", "is missing", "did you mean `studies/variant-"),
        ("none.yaml", "its base `none.yaml` is missing", "presets: faceforensics"),
        ("3", "`base` is 3, not a preset", "the path of a YAML file"),
        ("[ucf101, 3]", "`base` is ['ucf101', 3], not a preset", "a list of these"),
        ("", "`base` is None, not a preset", "a preset's name"),
    ],
)
def test_wrong_bases_raise_config_error_with_hint(tmp_path, base, message, hint):
    mine = preset(tmp_path / "mine.yaml", f"base: {base}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(mine)
    assert message in str(caught.value)
    assert str(caught.value).startswith(mine)
    assert hint in caught.value.hint


@pytest.mark.parametrize("key", ["3", "null"])
def test_keys_that_are_no_text_raise_config_error(tmp_path, key):
    mine = preset(tmp_path / "mine.yaml", f"without_images:\n  train:\n    {key}: 40\n")
    with pytest.raises(ConfigError, match="unknown key `train"):
        load_config(mine)


def test_base_is_a_key_of_preset_files_only(tmp_path):
    """Neither `-o` nor a run's configuration accepts it."""
    with pytest.raises(ConfigError, match="unknown key `base`"):
        load_config(None, ["base=ucf101"])
    with pytest.raises(ConfigError, match="unknown key `base`"):
        config_from_tree({"base": "ucf101"})


def test_every_renamed_key_leads_to_an_existing_key_of_the_same_section():
    keys = known_keys()
    for old, new in RENAMED_KEYS.items():
        assert old not in keys
        assert new in keys
        assert old.partition(".")[0] == new.partition(".")[0]


def test_old_key_in_a_preset_is_read_with_a_warning(tmp_path):
    mine = preset(tmp_path / "mine.yaml", "base: ucf101\ntrain: {snr_ceiling: 5, keep: 7}\n")
    with pytest.warns(LatteWarning) as caught:
        config = load_config(mine)
    assert (config.train.min_snr_gamma, config.train.keep) == (5, 7)
    assert [str(warning.message) for warning in caught] == [
        f"{mine}: `train.snr_ceiling` is now called `train.min_snr_gamma`; the old name still works"
    ]


def test_old_key_in_a_base_is_overridden_by_the_new_key(tmp_path):
    preset(tmp_path / "old.yaml", "train: {snr_ceiling: 5}\n")
    new = preset(tmp_path / "new.yaml", "base: old.yaml\ntrain: {min_snr_gamma: 2}\n")
    with pytest.warns(LatteWarning, match=r"old\.yaml: `train\.snr_ceiling` is now called"):
        assert load_config(new).train.min_snr_gamma == 2


def test_new_key_wins_where_a_file_has_both(tmp_path):
    both = preset(tmp_path / "both.yaml", "train: {min_snr_gamma: 2, snr_ceiling: 5}\n")
    with pytest.warns(LatteWarning):
        assert load_config(both).train.min_snr_gamma == 2


def test_old_key_as_an_override_is_read_with_a_warning():
    with pytest.warns(LatteWarning, match=r"^`train\.snr_ceiling` is now called"):
        config = load_config("shapes", ["train.snr_ceiling=5"])
    assert config.train.min_snr_gamma == 5
    with pytest.warns(LatteWarning):
        origins = {s.key: s.origin for s in config_sources("shapes", ["train.snr_ceiling=5"])}
    assert origins["train.min_snr_gamma"] == "override"


def test_command_shows_the_warning_about_an_old_key_once():
    shown = succeed("--json", "presets", "shapes", "-o", "train.snr_ceiling=5")
    gamma = json.loads(shown.stdout)["train.min_snr_gamma"]
    assert (gamma["value"], gamma["from"]) == (5, "override")
    assert shown.stderr.count("the old name still works") == 1


def test_old_key_in_a_checkpoint_is_read_without_a_warning(tmp_path):
    tree = load_config("shapes", ["train.min_snr_gamma=5"]).model_dump()
    tree["train"]["snr_ceiling"] = tree["train"].pop("min_snr_gamma")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_tree(tmp_path / "config.yaml")["train"]["min_snr_gamma"] == 5
        assert read_checkpoint_config(tmp_path).train.min_snr_gamma == 5
