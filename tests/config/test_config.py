"""Presets, overrides, and the errors for wrong ones."""

import json

import pytest
import yaml
from conftest import fail, succeed
from pydantic import ValidationError

from latte_cli.config import (
    Config,
    config_from_tree,
    config_sources,
    load_config,
    preset_names,
)
from latte_cli.config.locations import Locations
from latte_cli.runtime.errors import ConfigError

PAPER_PRESETS = ["ucf101", "skytimelapse", "faceforensics", "taichi-hd"]


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_is_named_after_its_file(name):
    config = load_config(name)
    assert config.name == name.replace("/", "-")
    assert config.description


@pytest.mark.parametrize("name", PAPER_PRESETS)
def test_presets_of_the_paper_have_its_settings(name):
    """Latte, section 4.1: XL/2, 16 frames of 256 px at interval 3, AdamW at 1e-4, EMA."""
    config = load_config(name)
    assert (config.model.size, config.model.patch, config.model.variant) == ("XL", 2, 1)
    assert (config.data.frames, config.data.interval, config.data.size) == (16, 3, 256)
    assert (config.train.lr, config.train.weight_decay, config.train.ema_decay) == (1e-4, 0, 0.9999)
    assert (config.train.clip_grad_norm, config.train.lr_schedule) == (0.1, "constant")
    assert (config.train.condition_dropout, config.data.flip) == (0.1, True)
    assert (config.data.num_images, config.model.joint) == (8, "temporal-mask")
    assert (config.sample.sampler, config.sample.steps) == ("ddpm", 250)
    assert (config.model.num_classes, config.sample.guidance) == (
        (101, 7.0) if name == "ucf101" else (None, 1.0)
    )


def test_schema_converts_1e_4_which_yaml_reads_as_a_string():
    assert yaml.safe_load("1e-4") == "1e-4"
    assert load_config(None, ["train.lr=1e-4"]).train.lr == 1e-4


def test_config_sources_name_the_origin_of_each_value():
    origins = {s.key: (s.value, s.origin) for s in config_sources("ucf101", ["train.lr=2e-4"])}
    assert origins["train.lr"] == (2e-4, "override")
    assert origins["model.num_classes"] == (101, "preset")
    assert origins["train.ema_decay"] == (0.9999, "default")


def test_config_is_frozen_and_round_trips_through_yaml():
    config = load_config("shapes", ["train.lr=3e-4"])
    with pytest.raises(ValidationError):
        config.train.lr = 1.0  # type: ignore[misc]
    assert config_from_tree(yaml.safe_load(config.to_yaml())) == config


def test_joint_images_are_off_by_default_with_tubes_and_text():
    images = {
        (): 8,
        ("model.patch_embedding=compression",): 0,
        ("model.condition=text",): 0,
        ("model.variant=3", "model.injection=tokens"): 8,
    }
    for words, count in images.items():
        assert load_config(None, words).data.num_images == count
    assert load_config("shapes").data.num_images == load_config("folder").data.num_images == 0
    with pytest.raises(ConfigError, match=r"data\.num_images is 8") as caught:
        load_config(None, ["model.patch_embedding=compression", "data.num_images=8"])
    assert "set data.num_images=0" in str(caught.value)


def test_flags_win_over_overrides():
    flags = {"train.steps": 7, "train.lr": None}
    config = load_config("shapes", ["train.steps=5", "train.lr=0.5"], flags)
    assert (config.train.steps, config.train.lr) == (7, 0.5)


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        ("train.lrr=1", "unknown key `train.lrr`", "did you mean `train.lr`"),
        ("trian.lr=1", "unknown key `trian.lr`", "did you mean `train.lr`"),
        ("modle=1", "unknown key `modle`", "model"),
        ("train=1", "unknown key `train`", "train.lr"),
        ("train.lr=fast", "`train.lr` is 'fast'", "learning rate"),
        ("train.lr=-1", "greater than 0", "learning rate"),
        ("model.size=XXL", "'XXL'", "S, B, L or XL"),
        ("model.variant=7", "`model.variant` is 7", "order of"),
        ("data.num_images=-1", "`data.num_images` is -1", "joint training"),
        ("model.width=64", "not both", "-o model.size=null"),
        ("model.size=null", "must all be given", "-o model.size=S"),
        ("data.size=100", "multiple of 16", "-o data.size=96"),
        ("sample.steps=1001", "more than the 1000", "-o sample.steps=1000"),
        ("diffusion.beta_start=0.5", "larger than", "exchange"),
        ("train.lr", "not key=value", "train.lr=2e-4"),
        ("train.lr=[", "not YAML", "quote"),
        ("data.root=2024-13-45", "not YAML", "quote"),
    ],
)
def test_wrong_overrides_raise_config_error_with_hint(override, message, hint):
    with pytest.raises(ConfigError) as caught:
        load_config(None, [override])
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_a_number_of_classes_alone_makes_a_network_class_conditional():
    model = load_config("folder", ["model.num_classes=3"]).model
    assert (model.condition, model.num_classes) == ("class", 3)


@pytest.mark.parametrize(
    ("preset", "override", "hint"),
    [
        ("skytimelapse", "model.num_classes=3", "-o model.condition=class -o model.num_classes=3"),
        ("ucf101", "model.condition=none", "-o model.condition=none -o model.num_classes=null"),
        ("ucf101", "model.condition=text", "-o model.num_classes=null"),
    ],
)
def test_the_hint_on_classes_that_do_not_fit_is_the_whole_override(preset, override, hint):
    with pytest.raises(ConfigError, match=r"model\.num_classes is \d+, but") as caught:
        load_config(preset, [override])
    assert hint in caught.value.hint
    options = caught.value.hint.split("-o ")[1:]
    chosen = [option.split()[0].rstrip(",") for option in options[-2:]]
    load_config(preset, [override, *chosen])


def test_presets_of_data_without_classes_stay_unconditional():
    for name in ("skytimelapse", "faceforensics", "taichi-hd"):
        model = load_config(name).model
        assert (model.condition, "condition" in model.model_fields_set) == ("none", True)


def test_unknown_and_broken_presets_raise_config_error(tmp_path):
    with pytest.raises(ConfigError, match="no preset named `shape`") as caught:
        load_config("shape")
    assert "did you mean `shapes`" in caught.value.hint
    (tmp_path / "mine.yaml").write_text("train:\n  lr: [1\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml, line 3: not valid YAML"):
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


def test_preset_may_be_a_path(tmp_path):
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


def test_presets_command_lists_and_shows_presets():
    listed = succeed("presets").stdout
    assert all(name in listed for name in PAPER_PRESETS)
    shown = succeed("presets", "ucf101", "-o", "train.lr=2e-4").stdout
    assert "train.lr" in shown
    assert "override" in shown
    assert "did you mean `ucf101`" in fail("presets", "ucf")


def test_presets_command_prints_json():
    values = json.loads(succeed("--json", "presets", "shapes").stdout)
    meaning = "also train on horizontally mirrored videos"
    assert values["data.flip"] == {"value": False, "from": "preset", "meaning": meaning}
    assert {p["name"] for p in json.loads(succeed("--json", "presets").stdout)} == set(
        preset_names()
    )


def test_defaults_are_a_complete_configuration():
    assert load_config() == Config()


def test_a_flow_map_is_not_sampled_as_the_objective_of_its_base(tmp_path):
    """Sampler, steps and guidance of a preset are for its own objective; overrides stay."""
    own = {"sampler": "flow-map", "steps": 4, "guidance": 1.0}
    (tmp_path / "mine.yaml").write_text("base: shapes\ndiffusion:\n  objective: flow-map\n")
    for config in (
        load_config("shapes", ["diffusion.objective=flow-map"]),
        load_config(str(tmp_path / "mine.yaml")),
    ):
        assert {key: getattr(config.sample, key) for key in own} == own
        assert config.sample.fps == 4.0, "the rest of the section stays"
    asked = ["sample.steps=2", "diffusion.objective=flow-map", "sample.guidance=1.5"]
    for words in (asked, asked[::-1]):
        sample = load_config("shapes", words).sample
        assert (sample.steps, sample.guidance, sample.sampler) == (2, 1.5, "flow-map")


DROPOUT = "train.condition_dropout=0.1"
FROM_TEACHER = ["train.guidance_target=0.5", "train.guidance_target_from=teacher"]


def test_a_flow_map_between_levels_takes_as_many_steps():
    chosen = ["diffusion.objective=flow-map", "train.teacher=embedded/shapes-fast"]
    sample = load_config("shapes-fast", [*chosen, "diffusion.map_levels=[1,0.6,0.3]"]).sample
    assert (sample.sampler, sample.steps, sample.guidance) == ("flow-map", 3, 1.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["diffusion.map_levels=[1,0.5,0.7]"], "must descend from 1"),
        (["diffusion.map_levels=[0.9,0.5]"], "must descend from 1"),
        (["diffusion.map_levels=[]"], "must descend from 1"),
        (["diffusion.map_levels=[1,0.0001]"], "must descend from 1"),
        (["diffusion.objective=flow"], "is for diffusion.objective flow-map"),
        ([*FROM_TEACHER, "train.teacher_guidance=1", DROPOUT], "lacks"),
        (["sample.steps=8"], "its own 4 steps"),
        (["sample.sampler=euler"], "its own 4 steps"),
        (["sample.guidance=2"], "without labels"),
    ],
)
def test_levels_of_a_flow_map_that_make_no_sense_are_errors(words, message):
    with pytest.raises(ConfigError, match=message):
        load_config("shapes-map", words)


@pytest.mark.parametrize(
    ("preset", "words"), [("shapes-map", []), ("shapes-fast", ["diffusion.objective=flow-map"])]
)
def test_sampling_of_a_flow_map_does_not_come_from_a_file_for_another_objective(preset, words):
    origins = {each.key: (each.value, each.origin) for each in config_sources(preset, words)}
    assert origins["sample.sampler"] == ("flow-map", "default")
    assert origins["sample.steps"] == (4, "default")
    assert origins["sample.guidance"] == (1.0, "default")
