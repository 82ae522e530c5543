"""`latte convert`: every format into every other that can hold the network, and its check."""

import errno
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import fail, succeed, tiny
from diffusers import LatteTransformer3DModel, PixArtTransformer2DModel
from safetensors.torch import load_file
from torch import nn

from latte_cli.checkpoints.folder import read_checkpoint_config
from latte_cli.models import Latte, LatteShape, LatteT2V, TextShape, load_latte, load_latte_t2v
from latte_cli.models.exporting import write_diffusers
from latte_cli.video_io import read_video

TEXT = TextShape(8, 4, 2, 32, 4, 4, text_width=12)


def convert(*args: object) -> dict[str, object]:
    """The result of a conversion, checked."""
    return json.loads(succeed("--json", "convert", *args, "--check").stdout)


def randomized(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.fixture
def text_folder(tmp_path: Path) -> Path:
    write_diffusers(randomized(LatteT2V(TEXT)), tmp_path / "text")
    return tmp_path / "text"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    model = randomized(Latte(LatteShape(8, 4, 2, 48, 2, 4, num_classes=3)))
    torch.save({"ema": model.state_dict(), "model": {}}, tmp_path / "published.pt")
    return tmp_path / "published.pt"


def test_a_run_converts_to_published_formats_and_back(world, tmp_path):
    (*_, checkpoint) = sorted((world.run / "checkpoints").iterdir())
    weights = load_file(checkpoint / "ema.safetensors")
    for name in ("published.pt", "plain.safetensors", "folder"):
        result = convert(checkpoint, tmp_path / name)
        assert result["largest_difference"] == 0
        assert result["kind"] == "latte"
        back = tmp_path / f"{Path(name).stem}-back"
        heads = [] if name == "folder" else ["--heads=2"]
        assert convert(tmp_path / name, back, *heads, "--to=latte")["largest_difference"] == 0
        again = load_file(back / "ema.safetensors")
        assert set(again) == set(weights)
        assert all(torch.equal(again[key], weights[key]) for key in weights)
    says = "has a configuration of its own"
    assert says in fail("convert", checkpoint, tmp_path / "x", "-o", "sample.steps=7")
    assert says in fail("convert", checkpoint, tmp_path / "x", "--preset=shapes")
    loaded = torch.load(tmp_path / "published.pt", weights_only=True)
    assert set(loaded) == {"ema"}


def test_a_converted_checkpoint_gives_the_same_clips(world, tmp_path):
    (*_, checkpoint) = sorted((world.run / "checkpoints").iterdir())
    convert(checkpoint, tmp_path / "folder")
    for name, source in (("a", checkpoint), ("b", tmp_path / "folder")):
        succeed("sample", f"--checkpoint={source}", "-n1", f"--out={tmp_path / name}")
    (a,), (b,) = (list((tmp_path / name).glob("*.mp4")) for name in "ab")
    assert np.array_equal(read_video(a), read_video(b))


def test_published_weights_become_a_checkpoint_folder_with_the_network_s_shape(published, tmp_path):
    convert(published, tmp_path / "ours", "--heads=4")
    model = load_latte(tmp_path / "ours")
    assert model.shape == LatteShape(8, 4, 2, 48, 2, 4, num_classes=3)
    assert model.joint == "only-video", "as published weights were trained"
    x, t, y = torch.randn(1, 4, 4, 8, 8), torch.tensor([3]), torch.tensor([2])
    assert torch.equal(model(x, t, y), load_latte(published, heads=4)(x, t, y))


def test_a_text_network_converts_both_ways(text_folder, tmp_path):
    result = convert(text_folder, tmp_path / "ours")
    assert result["kind"] == "latte-t2v"
    assert result["largest_difference"] < 1e-4  # compared with diffusers' own class
    assert load_latte_t2v(tmp_path / "ours").shape == TEXT
    result = convert(tmp_path / "ours", tmp_path / "theirs", "--to=diffusers")
    assert result["largest_difference"] < 1e-4
    LatteTransformer3DModel.from_pretrained(tmp_path / "theirs")
    name = "diffusion_pytorch_model.safetensors"
    before, after = load_file(text_folder / name), load_file(tmp_path / "theirs" / name)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_another_configuration_of_the_same_weights_is_not_the_same_folder(published, tmp_path):
    succeed("convert", published, tmp_path / "out", "--heads=4")
    assert "already there" in succeed("convert", published, tmp_path / "out", "--heads=4").stderr
    flow = ("--heads=4", "-o", "diffusion.objective=flow")
    said = fail("convert", published, tmp_path / "out", *flow)
    assert "holds other weights, another configuration or another format" in said
    succeed("convert", published, tmp_path / "out", *flow, "--overwrite")
    assert read_checkpoint_config(tmp_path / "out").diffusion.objective == "flow"


def test_a_preset_says_how_many_heads_there_are(published, tmp_path):
    width = ("-o", "model.width=48", "-o", "model.heads=4")
    succeed("convert", published, tmp_path / "out", "--preset=shapes", *width)
    assert load_latte(tmp_path / "out").shape.heads == 4


def test_image_networks_become_video_networks(tmp_path):
    pixart = PixArtTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        num_layers=2,
        cross_attention_dim=32,
        caption_channels=12,
        sample_size=8,
    )
    pixart.save_pretrained(tmp_path / "pixart")
    result = convert(tmp_path / "pixart", tmp_path / "t2v", "--to=diffusers", "-o", "data.frames=4")
    assert result["kind"] == "pixart"
    assert load_latte_t2v(tmp_path / "t2v").shape == TEXT

    dit = randomized(Latte(LatteShape(4, 1, 2, 32, 2, 2, num_classes=10))).state_dict()
    del dit["temp_embed"]
    torch.save(dit, tmp_path / "dit.pt")
    assert "does not define the frames of a clip" in fail(
        "convert", tmp_path / "dit.pt", tmp_path / "x"
    )
    result = succeed("convert", tmp_path / "dit.pt", tmp_path / "x", "--preset=shapes", *tiny())
    assert "loaded from dit" in result.stderr
    model = load_latte(tmp_path / "x")
    assert model.shape.num_frames == 4
    assert torch.equal(model.blocks[1].attn.proj.weight, dit["blocks.1.attn.proj.weight"])


def test_impossible_conversions_are_errors_and_write_nothing(published, text_folder, tmp_path):
    out = tmp_path / "out"
    stderr = fail("convert", published, out)
    assert "number of heads is unknown" in stderr
    assert "--heads N" in stderr
    assert "no such file" in fail("convert", tmp_path / "none.pt", out)
    assert "--to onnx is unknown" in fail("convert", published, out, "--to=onnx")
    assert "diffusers has no" in fail("convert", published, out, "--to=diffusers", "--heads=4")
    assert "pt has no" in fail("convert", text_folder, tmp_path / "out.pt")
    assert "has the suffix of pt" in fail("convert", published, tmp_path / "a.pt", "--to=latte")
    assert "does not end in .pt" in fail("convert", published, out, "--to=pt")
    assert "text holds other weights" in fail("convert", published, text_folder, "--heads=4")
    assert not out.exists()
    assert not (tmp_path / "out.pt").exists()


@pytest.mark.parametrize("name", ["y.ckpt", "y.CKPT", "y.bin", "y.onnx", "y.safetensor", "y.model"])
def test_a_target_that_looks_like_a_file_does_not_become_a_folder(published, tmp_path, name):
    stderr = fail("convert", published, tmp_path / name, "--heads=4")
    assert f"weights are not written as `{Path(name).suffix}`" in stderr
    assert "known endings: .pt, .pth, .safetensors" in stderr
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("args", [("latte-v1.5",), ("out.final", "--to=latte")])
def test_a_folder_may_have_a_dot_in_its_name(published, tmp_path, args):
    convert(published, tmp_path / args[0], "--heads=4", *args[1:])
    assert (tmp_path / args[0] / "config.yaml").is_file()


def test_endings_in_capitals_are_known(published, tmp_path):
    assert convert(published, tmp_path / "y.SAFETENSORS", "--heads=4")["format"] == "safetensors"
    assert (tmp_path / "y.SAFETENSORS").is_file()


def test_a_full_disk_is_reported_for_pt_files_too(published, tmp_path, monkeypatch):
    """PyTorch continues after a failed write and raises an error of its own at the end."""

    class Full(io.BytesIO):
        def write(self, data):
            if self.tell() + len(data) > 5000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    path_open = Path.open

    def opened(self, mode="r", *args, **named):
        return Full() if mode == "wb" else path_open(self, mode, *args, **named)

    monkeypatch.setattr(Path, "open", opened)
    out = tmp_path / "out.pt"
    stderr = fail("convert", published, out, "--heads=4")
    assert f"error: {out}: the disk is full" in stderr
    assert "make room" in stderr
    assert not out.exists()


@pytest.mark.parametrize("variant", [3, 5])
def test_designs_without_a_published_format_convert_to_folders_only(world, tmp_path, variant):
    args = tiny(model__variant=variant, train__steps=1)
    succeed("train", "--preset=shapes", *args, *world.roots[:2], f"--runs-root={tmp_path}")
    (checkpoint,) = (tmp_path / "shapes" / "checkpoints").iterdir()
    stderr = fail("convert", checkpoint, tmp_path / "out.pt")
    assert f"no variant {variant}" in stderr
    assert "--to latte" in stderr
    assert convert(checkpoint, tmp_path / "folder")["largest_difference"] == 0
    assert load_latte(tmp_path / "folder").shape.variant == variant
