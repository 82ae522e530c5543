"""Numbers that are not finite end in an error with the step and the clip, never in black pixels."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from commands.pipelines import write_pipeline
from conftest import SHAPES_WEIGHTS, fail, succeed, tiny
from safetensors.torch import load_file, save_file

from latte_cli.models import Latte, LatteT2V
from latte_cli.runtime.errors import CheckpointError, NumericalError
from latte_cli.runtime.finite import all_finite
from latte_cli.vae import LatentCodec

BAD = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bad", BAD)
def test_any_number_that_is_not_finite_is_found(bad, dtype):
    values = torch.randn(3, 5, 7).to(dtype)
    assert all_finite(values)
    assert all_finite(values[:0])
    assert all_finite(values.long())
    values[2, 4, 6] = bad
    assert not all_finite(values)
    assert not all_finite(values.transpose(0, 2))


def spoil_files(folder: Path, name: str, bad: float) -> None:
    """Make a number of each file of weights not finite."""
    for path in [*folder.glob("*.safetensors")]:
        weights = load_file(path)
        weights[name].view(-1)[3] = bad
        save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize("bad", BAD)
def test_weights_are_checked_when_they_load(world, tmp_path, bad):
    weights = load_file(SHAPES_WEIGHTS)
    weights["blocks.0.attn.qkv.weight"][0, 0] = bad
    torch.save({"ema": weights}, "w.pt")
    said = fail(
        "sample", "--preset=shapes-fast", "--checkpoint=w.pt", "-n1", "-o", "sample.steps=1"
    )
    assert "1 of" in said
    assert "weights are not finite: blocks.0.attn.qkv.weight" in said


@pytest.fixture
def spoiled(monkeypatch):
    """Makes the networks' outputs not finite for one clip of a batch, from a call on."""

    def spoil(network, call, row=0, bad=math.nan):
        calls, forward = [], network.forward

        def changed(self, x, *args, **options):
            calls.append(0)
            out = forward(self, x, *args, **options)
            if len(calls) >= call:
                out[row, -1, 0, 0, 0] = bad
            return out

        monkeypatch.setattr(network, "forward", changed)

    return spoil


def sample(*words):
    return ("sample", "--preset=shapes", "-o", "sample.steps=4", "--guidance=1", *words)


@pytest.mark.parametrize("fmt", ["mp4", "png", "npz"])
def test_the_step_and_the_clip_are_named(spoiled, fmt):
    spoiled(Latte, call=3, row=1)
    said = fail(*sample("-n3", "--seed=5", f"--format={fmt}", "--out=o"))
    assert "clip 1 of seed 5: the latents after step 3 of 4 (timestep" in said
    assert not [path for path in Path("o").rglob("*") if path.suffix in (f".{fmt}", ".png")]


def test_the_last_step_of_a_single_file_and_of_long_clips(spoiled):
    spoiled(Latte, call=4)
    assert "after step 4 of 4" in fail(*sample("-n1", "--out=a.mp4"))
    assert not Path("a.mp4").exists()
    assert "after step" in fail(*sample("-n1", "--long=40", "--out=b.mp4"))


def test_the_queue_of_frames(spoiled):
    spoiled(Latte, call=10)
    said = fail(*sample("-n1", "--long=40", "--long-method=fifo", "--out=a.mp4"))
    assert "clip 0 of seed 0: the latents in the step that completes frame" in said


@pytest.mark.parametrize("bad", BAD)
def test_frames_of_the_autoencoder(monkeypatch, bad):
    """Also infinite ones, which would be clipped to white."""
    frames = LatentCodec._frames

    def changed(self, latents):
        out = frames(self, latents)
        out[-1, 0, 0, 0] = bad
        return out

    monkeypatch.setattr(LatentCodec, "_frames", changed)
    said = fail(*sample("-n2", "--out=o"))
    assert "clip 1 of seed 0: the frames from the autoencoder are not finite" in said


def test_latents_of_the_autoencoder(monkeypatch):
    codec = LatentCodec.load("embedded")
    posterior = codec._posterior
    monkeypatch.setattr(codec, "_posterior", lambda x: [math.nan * y for y in posterior(x)])
    with pytest.raises(NumericalError, match="the autoencoder's latents are not finite"):
        codec.encode(torch.zeros(1, 2, 3, 32, 32))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


PARTS = {
    "transformer": ("transformer_blocks.0.attn1.to_q.weight", "weights are not finite"),
    "vae": ("decoder.conv_in.weight", "are not finite, such as decoder.conv_in.weight"),
    "text_encoder": ("encoder.block.0.layer.0.SelfAttention.q.weight", "embedding of `"),
}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_a_pipeline(pipeline, tmp_path, part):
    shutil.copytree(pipeline, tmp_path / "p")
    name, message = PARTS[part]
    spoil_files(tmp_path / "p" / part, name, math.nan)
    small = ("--frames=4", "--steps=2", "--precision=float32", "-o", "a.mp4")
    assert message in fail("t2v", "a dog", "--model", tmp_path / "p", *small)
    assert not Path("a.mp4").exists()


def test_the_clip_of_a_prompt_is_named(pipeline, spoiled):
    spoiled(LatteT2V, call=2)
    words = ("--frames=4", "--steps=3", "--guidance=1", "--precision=float32", "-o", "a.mp4")
    said = fail("t2v", "a dog", "--model", pipeline, *words)
    assert "clip 0 of seed 0, `a dog`: the latents after step 2 of 3" in said


def test_a_preview_is_a_warning(world, spoiled, monkeypatch):
    """Training goes on: its loss is finite."""
    forward = Latte.forward

    def changed(self, x, *args, **options):
        out = forward(self, x, *args, **options)
        return out if self.training else out * math.nan

    monkeypatch.setattr(Latte, "forward", changed)
    words = tiny(train__preview_every=3, train__preview_steps=3, train__validate_clips=0)
    result = succeed("train", "--preset=shapes", *words, *world.roots[:2], "--runs-root=runs")
    said = " ".join(result.stderr.split())
    assert "warning: no preview of step 3, training goes on: clip 0 of seed" in said
    assert not list(Path("runs/shapes").glob("previews/*.mp4"))


def test_loading_a_pipeline_checks_once(pipeline, tmp_path):
    shutil.copytree(pipeline / "vae", tmp_path / "vae")
    spoil_files(tmp_path / "vae", "encoder.conv_in.bias", math.inf)
    with pytest.raises(CheckpointError, match=r"1 weights of the AutoencoderKL are not finite"):
        LatentCodec.load(str(tmp_path / "vae"))
