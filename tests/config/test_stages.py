"""Stages of a preset: their values, overrides of one or of all, and the errors for wrong ones."""

import json

import pytest
from conftest import succeed

from latte_cli.config import config_sources, load_config, load_stages, preset_names
from latte_cli.runtime.errors import ConfigError, LatteWarning

TWO = """base: shapes
train: {steps: 100, keep: 9}
without_images: {train: {batch_size: 40}}
data: {num_images: 2}
stages:
  - name: small
    data.size: 32
    train: {lr: 5e-4}
  - name: large
    data: {num_images: 0}
    train:
      steps: 7
"""


@pytest.fixture
def two(tmp_path):
    (tmp_path / "two.yaml").write_text(TWO)
    return "two"


def test_a_stage_has_the_values_of_the_preset_but_for_its_own(two):
    small, large = load_stages(two)
    assert [small.folder, large.folder] == ["stage-1-small", "stage-2-large"]
    assert (small.config.data.size, small.config.train.lr, small.config.train.steps) == (
        *(32, 5e-4, 100),
    )
    assert (large.config.data.size, large.config.train.lr, large.config.train.steps) == (
        *(64, 1e-3, 7),
    )
    assert (small.config.train.batch_size, large.config.train.batch_size) == (32, 40), (
        "values without images hold in the stage without images"
    )
    assert small.config.name == large.config.name == "two"
    assert (small.config.train.init, large.config.train.init) == (None, "stage-1-small")


def test_the_preset_itself_is_its_last_stage(two):
    assert load_config(two) == load_stages(two)[-1].config
    alone = load_config(two, ["stages=[]"])
    assert (alone.train.steps, alone.train.init, load_stages(two, ["stages=[]"])) == (100, None, [])
    assert load_stages("shapes") == []


def test_overrides_and_flags_are_of_all_stages_or_of_the_one_that_they_name(two):
    words = ["train.steps=3", "stages.small.train.lr=1", "train.init=x"]
    small, large = load_stages(two, words, {"train.keep": 2, "train.steps": None})
    assert [s.config.train.steps for s in (small, large)] == [3, 3]
    assert [s.config.train.keep for s in (small, large)] == [2, 2]
    assert [s.config.train.lr for s in (small, large)] == [1, 1e-3]
    assert [s.config.train.init for s in (small, large)] == ["x", "stage-1-small"]
    steps = load_stages(two, ["stages.small.train.steps=5"], {"train.steps": 4})
    assert [s.config.train.steps for s in steps] == [5, 4], "one stage's own is the last word"


def test_a_preset_has_the_stages_of_its_base_unless_it_has_its_own(two, tmp_path):
    (tmp_path / "heir.yaml").write_text("base: two\n")
    (tmp_path / "none.yaml").write_text("base: two\nstages: []\n")
    (tmp_path / "own.yaml").write_text("base: two\nstages:\n  - name: only\n")
    found = {name: [s.name for s in load_stages(name)] for name in ("heir", "none", "own")}
    assert found == {"heir": ["small", "large"], "none": [], "own": ["only"]}


def test_shown_values_say_which_stage_they_are_of_and_how_they_are_set(two):
    words = ["stages.small.train.keep=3"]
    origins = {each.key: (each.value, each.origin) for each in config_sources(two, words)}
    assert origins["train.steps"] == (7, "stage large")
    assert origins["train.init"] == ("stage-1-small", "stage large")
    assert origins["stages.small.data.size"] == (32, "preset")
    assert origins["stages.small.train.keep"] == (3, "override")
    shown = json.loads(succeed("--json", "presets", two).stdout)
    assert shown["stages.small.data.size"]["meaning"] == shown["data.size"]["meaning"]
    written = succeed("presets", two, "--yaml").stdout.splitlines()
    (yaml,) = [line for line in written if line.startswith("# stages: []")]
    assert yaml.endswith("that preset: small, large")


@pytest.mark.parametrize(
    ("stages", "message", "hint"),
    [
        ("3", "`stages` is 3, not a list", "- name: …"),
        ("[3]", "stage 1 has no name", "- name: …"),
        ("[{name: a/b}]", "stage 1 has no name of letters", "- name: …"),
        ("[{name: a}, {name: a}]", "two stages are named `a`", "another name"),
        ("[{name: a}, {name: b, trian: {lr: 1}}]", "stage `b`: unknown key `trian`", "sections"),
        ("[{name: a, base: ucf101}]", "stage `a`: unknown key `base`", "sections data, vae"),
        ("[{name: a, train: {lrr: 1}}]", "stage `a`: ", "did you mean `train.lr`"),
        ("[{name: a, data: {size: 33}}]", "stage `a`: ", "-o data.size=32"),
        ("[{name: a}, {name: b, train: {init: x}}]", "stage `b`: train.init", "the first stage"),
        (
            "[{name: a}, {name: b, model: {width: 64}}]",
            "stage `b` cannot begin with the network of stage `a`: model.width is 64, there 128",
            "for all stages",
        ),
        ("[{name: a}, {name: b, vae: {path: other}}]", "vae.path is 'other'", "for all stages"),
    ],
)
def test_wrong_stages_are_errors_that_name_the_stage(tmp_path, stages, message, hint):
    (tmp_path / "wrong.yaml").write_text(f"base: shapes\nstages: {stages}\n")
    with pytest.raises(ConfigError) as caught:
        load_stages("wrong")
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_errors_and_old_keys_in_a_stage_name_file_and_line(tmp_path):
    text = "base: shapes\nstages:\n- name: a\n- name: b\n  train:\n    lr: fast\n"
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(
        ConfigError, match=r"^stage `b`: wrong\.yaml, line 6: `train\.lr` is 'fast'"
    ):
        load_stages("wrong")
    (tmp_path / "old.yaml").write_text(text.replace("lr: fast", "snr_ceiling: 3"))
    with pytest.warns(LatteWarning, match=r"train\.snr_ceiling. is now called"):
        assert load_stages("old")[1].config.train.min_snr_gamma == 3
    (tmp_path / "twice.yaml").write_text(text.replace("lr: fast", "lr: 1\n    lr: 2"))
    with pytest.raises(ConfigError, match=r"twice\.yaml, line 7: .*lr. is set again, after line 6"):
        load_stages("twice")


@pytest.mark.parametrize("word", ["stages.none.train.lr=1", "stages.small=1", "stages=[1]"])
def test_overrides_of_no_stage_are_errors(two, word):
    for load in (load_config, load_stages):
        with pytest.raises(ConfigError) as caught:
            load(two, [word])
        assert "stages=[]" in caught.value.hint
    with pytest.raises(ConfigError, match=r"the preset has no stages|only a preset's file"):
        load_config("shapes", [word])


def test_stages_may_change_the_objective_but_not_what_the_weights_are_of(tmp_path):
    """As from a flow to a flow map, which `train.init` takes."""
    (tmp_path / "map.yaml").write_text(
        "base: shapes-fast\nstages: [{name: flow}, {name: map, diffusion.objective: flow-map}]\n"
    )
    flow, mapped = load_stages("map")
    assert (flow.config.sample.steps, mapped.config.sample.steps) == (50, 4)


def test_the_stages_of_presets_that_ship_go_together():
    staged = {name: load_stages(name) for name in preset_names()}
    staged = {name: stages for name, stages in staged.items() if stages}
    assert staged.keys() == {"t2v", "t2v-256", "t2v-shapes"}
    sizes = [(s.config.data.size, s.config.data.frames) for s in staged["t2v"]]
    assert sizes == [(256, 1), (256, 16), (512, 16)]
    for stages in staged.values():
        inits = [s.config.train.init for s in stages]
        assert inits[1:] == [s.folder for s in stages[:-1]]
        assert inits[0] in ("PixArt-XL-2-256x256/transformer", "embedded/shapes-fast")
