"""A flow map from a flow network: trained, resumed, and sampled in few steps."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import fail, succeed, tiny
from helpers.runs import rows as rows_of

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
    assert all(row["loss"] is not None for row in rows_of(runs / "map") if "loss" in row)
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
        {row["step"]: row["loss"] for row in rows_of(runs / run) if "loss" in row}
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


def test_it_goes_on_without_what_it_began_from(world, tmp_path):
    """Its own checkpoint says what the network predicts."""
    succeed("train", "--preset=shapes", *tiny(train__steps=1), *world.roots, "--run=source")
    source = shutil.move(list_checkpoints(world.root / "runs/source")[-1], tmp_path / "source")
    values = tiny(**MAP, train__init=source)
    succeed("train", "--preset=shapes", *values, *world.roots, "--run=orphan")
    shutil.rmtree(source)
    result = succeed("train", "--preset=shapes", *values, *world.roots, "--run=orphan", "--steps=3")
    assert "resuming from" in result.stderr
    folder = list_checkpoints(world.root / "runs/orphan")[-1]
    assert read_checkpoint_config(folder).diffusion.output == "eps"
    flow = list_checkpoints(world.root / "runs/flow")
    if flow:  # of a flow, too, whose weights alone would be taken for published ones
        moved = shutil.copytree(flow[-1], tmp_path / "flow")
        values = tiny(**MAP, train__init=moved)
        succeed("train", "--preset=shapes", *values, *world.roots, "--run=orphan-of-flow")
        shutil.rmtree(moved)
        words = ("--run=orphan-of-flow", "--steps=3")
        succeed("train", "--preset=shapes", *values, *world.roots, *words)


def test_its_held_out_loss_needs_no_weights_of_the_preset(world, tmp_path):
    """The preset clips the ratio of signal to noise, which for flow needs a floor."""
    latents = shutil.copytree(world.latents, tmp_path / "latents")
    index = latents / "index.jsonl"
    lines = [json.loads(line) for line in index.read_text().splitlines()]
    rows = [line | {"split": "test"} for line in lines[:2]] + lines[2:]
    index.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = tiny(**MAP, train__validate_every=1, data__latents=latents, train__init="null")
    roots = [f"--runs-root={tmp_path / 'runs'}"]
    succeed("train", "--preset=shapes", *values, *roots, "--run=map")
    assert all(row["val_loss"] is not None for row in rows_of(tmp_path / "runs/map"))


def test_previews_take_no_more_steps_than_its_clips(runs, world):
    start = tiny(**MAP, train__init=list_checkpoints(runs / "flow")[-1], train__preview_every=1)
    result = succeed("train", "--preset=shapes", *start, *world.roots, "--run=previews")
    assert "steps of a flow map" not in result.stderr
    assert list((runs / "previews/previews").glob("*.mp4"))


@pytest.mark.parametrize(
    "words",
    [
        ("sample", "--cache=pab"),
        ("sample", "--long=8", "--long-method=fifo"),
        ("calibrate", "--speed=2x"),
    ],
)
def test_what_goes_from_step_to_step_is_refused(runs, words, tmp_path):
    command, *options = words
    given = ("--preset=shapes", "--run=map", f"--runs-root={runs}", "-n", 1)
    output = fail(command, *given, *options, f"--out={tmp_path / 'out'}")
    assert "flow map" in output or "flow-map" in output


def test_what_it_lacks_is_an_error(runs, tmp_path):
    with pytest.raises(ConfigError, match=r"train.shard is fsdp"):
        load_config("ucf101", ["diffusion.objective=flow-map", "train.shard=fsdp"])
    output = fail("sample", "--preset=shapes", "--run=flow", f"--runs-root={runs}",
                  "--sampler=flow-map", f"--out={tmp_path / 'none'}")  # fmt: skip
    assert "train with -o diffusion.objective=flow-map" in output
