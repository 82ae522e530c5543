"""`latte train` from weights that are not finite, and runs that learn nothing."""

import math
from pathlib import Path

import pytest
import torch
from conftest import fail, succeed
from helpers.runs import train_words
from safetensors.torch import load_file, save_file

from latte_cli.checkpoints.folder import list_checkpoints
from latte_cli.data.clips import ClipSampler


def spoil(path, bad=math.nan) -> None:
    """Make one number in a file not finite."""
    tensors = load_file(path)
    name = next(name for name, value in tensors.items() if value.ndim > 1)
    tensors[name].view(-1)[0] = bad
    save_file(tensors, path)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_initial_weights_that_are_not_finite_are_refused(world, bad):
    weights = load_file(list_checkpoints(world.run)[-1] / "ema.safetensors")
    weights["blocks.0.attn.qkv.weight"][0, 0] = bad
    torch.save({"ema": weights}, "w.pt")
    said = fail(*train_words(world, "--init=w.pt"))
    assert "w.pt: 1 of" in said
    assert "weights are not finite: blocks.0.attn.qkv.weight" in said
    assert not list_checkpoints(Path("runs/shapes"))


@pytest.mark.parametrize("file", ["model", "ema", "state/optimizer"])
def test_a_checkpoint_that_is_not_finite_is_not_resumed(world, monkeypatch, file):
    succeed(*train_words(world))
    newest = list_checkpoints(Path("runs/shapes"))[-1]
    monkeypatch.setattr("latte_cli.training.resuming.find_corruption", lambda *_: None)
    spoil(newest / f"{file}.safetensors")
    said = fail(*train_words(world, train__steps=8))
    assert f"numbers that are not finite, in {file}.safetensors: " in said
    assert f"hint: delete {newest}" in said


def test_a_run_that_skips_every_step_is_an_error(world, monkeypatch):
    original = ClipSampler.batch

    def batch(self, *args):
        found = original(self, *args)
        found.x_start[:] = math.nan
        return found

    monkeypatch.setattr(ClipSampler, "batch", batch)
    words = train_words(world, train__steps=4, train__validate_clips=0)
    for _ in range(2):  # the second time it resumes from its last checkpoint
        said = fail(*words)
        assert "all 4 steps were skipped" in said
