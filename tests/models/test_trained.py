"""Loading the network that is meant, for every command that needs a trained one."""

import json
import shutil

import pytest
import torch
from conftest import TINY, fail, succeed
from safetensors.torch import save_file

from latte_cli.checkpoints.folder import list_checkpoints, read_checkpoint_meta, write_meta
from latte_cli.checkpoints.labels import label_number
from latte_cli.config import load_config
from latte_cli.models import build_model
from latte_cli.models.trained import label_names, load_trained
from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.vae import LatentCodec


def configured(**values):
    """The tiny world's configuration, with changes; double underscores stand for dots."""
    changed = TINY | {key.replace("__", "."): value for key, value in values.items()}
    return load_config("shapes", [f"{key}={value}" for key, value in changed.items()])


def newest(world):
    return list_checkpoints(world.run)[-1]


@pytest.fixture
def text_checkpoint(world, tmp_path):
    """A checkpoint folder of a text-to-video network."""
    folder = tmp_path / "text"
    shutil.copytree(newest(world), folder)
    config = configured(model__condition="text", model__num_classes="null", model__text_width=8)
    save_file(build_model(config).state_dict(), folder / "ema.safetensors")
    (folder / "config.yaml").write_text(config.to_yaml())
    write_meta(folder, read_checkpoint_meta(folder))
    return folder


def with_fingerprint(world, folder, fingerprint):
    shutil.copytree(newest(world), folder)
    meta = read_checkpoint_meta(folder)
    write_meta(folder, meta.__class__(**{**vars(meta), "vae_fingerprint": fingerprint}))
    return folder


def test_the_network_comes_whole_and_ready(world):
    model = load_trained(newest(world), configured())
    assert not model.training
    assert model.shape.num_frames == 4


def test_other_clips_are_told_in_words(world):
    for values, told in (
        ({"data__frames": 16}, "16 frames of 32x32"),
        ({"data__size": 64}, "4 frames of 64x64"),
        ({"data__frames": 16, "data__size": 64}, "16 frames of 64x64"),
    ):
        with pytest.raises(CheckpointError) as caught:
            load_trained(newest(world), configured(**values))
        said = f"the checkpoint is for 4 frames of 32x32, the preset is for {told}"
        assert str(caught.value) == f"{newest(world)}: {said}"
        assert "data.frames" in caught.value.hint


def test_other_differences_are_told_by_name(world):
    with pytest.raises(CheckpointError, match="preset's: num_frames is 4, not 16; depth is 2, no"):
        load_trained(newest(world), configured(data__frames=16, model__depth=4))


def test_weights_alone_are_compared_too(world, tmp_path):
    shutil.copy(newest(world) / "ema.safetensors", tmp_path / "w.safetensors")
    load_trained(tmp_path / "w.safetensors", configured())
    with pytest.raises(CheckpointError, match="the preset is for 16 frames of 32x32"):
        load_trained(tmp_path / "w.safetensors", configured(data__frames=16))


def test_what_no_parameter_depends_on_is_not_compared(world):
    assert configured().model.joint != "only-video"
    load_trained(newest(world), configured(model__joint="only-video"))


@pytest.mark.parametrize("command", ["sample", "similarity"])
def test_text_is_refused_in_words(world, text_checkpoint, tmp_path, command):
    clips = [world.root / "data" / "shapes"] if command == "similarity" else []
    preset = ("--preset=shapes", *[f"-o{key}={value}" for key, value in TINY.items()])
    text = ("-o", "model.condition=text", "-o", "model.num_classes=null")
    text += ("-o", "model.learn_sigma=true")
    said = "a text-to-video network cannot be used"
    assert said in fail(command, *clips, "--preset=shapes", *text)
    assert said in fail(command, *clips, f"--checkpoint={text_checkpoint}"), "as it says itself"
    holds = "holds a text-to-video network"
    assert holds in fail(command, *clips, *preset, f"--checkpoint={text_checkpoint}")
    weights = shutil.copy(text_checkpoint / "ema.safetensors", tmp_path / "w.safetensors")
    assert holds in fail(command, *clips, *preset, f"--checkpoint={weights}")


@pytest.mark.parametrize("place", ["", "transformer"])
def test_a_folder_in_diffusers_layout_is_refused_in_words(tmp_path, place):
    folder = tmp_path / "hub" / place
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for words in ((), ("--preset=shapes",)):
        said = fail("sample", *words, f"--checkpoint={tmp_path / 'hub'}")
        assert "hub is in diffusers' layout, as text-to-video networks are" in said


def test_an_autoencoder_that_is_not_known_is_not_compared(world, tmp_path):
    codec = LatentCodec.load("embedded")
    unknown = with_fingerprint(world, tmp_path / "unknown", "")
    assert label_names(unknown, codec)[2] == "090deg"
    with pytest.raises(CheckpointError, match="another autoencoder"):
        label_names(with_fingerprint(world, tmp_path / "other", "other"), codec)
    words = (f"--checkpoint={unknown}", "-n", 1, "--steps=2", "--label=090deg", "--out=s")
    assert json.loads(succeed("--json", "sample", *words).stdout)["clips"] == 1


def test_weights_alone_name_no_labels(tmp_path):
    torch.save({}, tmp_path / "w.pt")
    assert label_names(tmp_path / "w.pt", LatentCodec.load("embedded")) == ()


def test_labels_go_by_number_or_name():
    names = ("000deg", "045deg", "7")
    assert [label_number(text, 9, names) for text in ("045deg", "8", "7")] == [1, 8, 2]
    for text in ("9", "-1", "45deg"):
        with pytest.raises(ConfigError) as caught:
            label_number(text, 9, names)
        assert "labels are 0 to 8 (000deg, 045deg, 7, …)" in caught.value.hint
    assert "did you mean `045deg`" in caught.value.hint
    with pytest.raises(ConfigError, match="takes no --label"):
        label_number("0", None, ())
