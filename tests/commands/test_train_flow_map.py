"""A flow map from a flow network: trained, resumed, and sampled in few steps."""

import json
from pathlib import Path

import pytest
from conftest import fail, succeed, tiny
from helpers.runs import rows

from latte_cli.checkpoints.folder import list_checkpoints, read_checkpoint_config
from latte_cli.config import load_config
from latte_cli.runtime.errors import ConfigError

MAP = {"diffusion__objective": "flow-map", "train__steps": 2, "train__save_every": 1}


@pytest.fixture(scope="module")
def runs(world) -> Path:
    """A flow, and a flow map that was initialized from it."""
    flow = tiny(diffusion__objective="flow", train__min_snr_gamma="null", train__steps=2)
    succeed("train", "--preset=shapes", *flow, *world.roots, "--run=flow")
    folder = world.root / "runs"
    start = tiny(**MAP, train__init=list_checkpoints(folder / "flow")[-1])
    succeed("train", "--preset=shapes", *start, *world.roots, "--run=map")
    return folder


def test_it_learns_and_its_preset_samples_in_four_steps(runs, tmp_path):
    assert all(row["loss"] is not None for row in rows(runs / "map") if "loss" in row)
    succeed("sample", "--preset=shapes", "--run=map", f"--runs-root={runs}", "-n", 2,
            f"--out={tmp_path / 'out'}")  # fmt: skip
    settings = json.loads((tmp_path / "out/settings.json").read_text())
    assert (settings["sampler"], settings["steps"], settings["guidance"]) == ("flow-map", 4, 1)
    assert len(list((tmp_path / "out").glob("*.mp4"))) == 2


def test_a_resumed_run_takes_the_same_steps(runs, world):
    start = tiny(**MAP, train__init=list_checkpoints(runs / "flow")[-1])
    for steps in (1, 2):
        succeed("train", "--preset=shapes", *start, f"--steps={steps}", *world.roots, "--run=again")
    ours, theirs = (
        {row["step"]: row["loss"] for row in rows(runs / run) if "loss" in row}
        for run in ("again", "map")
    )
    assert ours == theirs


def test_many_steps_are_warned_about(runs, tmp_path):
    words = ("--preset=shapes", "--run=map", f"--runs-root={runs}", "-n", 1)
    result = succeed("sample", *words, "--steps=9", f"--out={tmp_path / 'out'}")
    assert "9 steps" in result.stderr


def test_other_samplers_take_it_as_a_flow(runs, tmp_path):
    words = ("--preset=shapes", "--run=map", f"--runs-root={runs}", "-n", 1)
    succeed("sample", *words, "--sampler=euler", "--steps=3", f"--out={tmp_path / 'out'}")


def test_a_network_for_noise_is_converted_and_said(world, tmp_path):
    """Its first answer is that of the network it began from, at the same ratio of noise to clip."""
    succeed("train", "--preset=shapes", *tiny(train__steps=1), *world.roots, "--run=noise")
    source = list_checkpoints(world.root / "runs/noise")[-1]
    values = tiny(**MAP, train__init=source)
    result = succeed("train", "--preset=shapes", *values, *world.roots, "--run=converted")
    assert "predicts eps" in " ".join(result.stderr.split())
    again = succeed(
        "train", "--preset=shapes", *values, *world.roots, "--run=converted", "--steps=3"
    )
    assert "resuming from" in again.stderr
    runs = world.root / "runs"
    folder = list_checkpoints(runs / "converted")[-1]
    assert read_checkpoint_config(folder).diffusion.output == "eps"
    succeed("sample", f"--checkpoint={folder}", "-n", 1, f"--out={tmp_path / 'out'}")


def test_what_it_lacks_is_an_error(runs, tmp_path):
    with pytest.raises(ConfigError, match=r"train.shard is fsdp"):
        load_config("ucf101", ["diffusion.objective=flow-map", "train.shard=fsdp"])
    output = fail("sample", "--preset=shapes", "--run=flow", f"--runs-root={runs}",
                  "--sampler=flow-map", f"--out={tmp_path / 'none'}")  # fmt: skip
    assert "train with -o diffusion.objective=flow-map" in output
