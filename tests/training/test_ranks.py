"""Several processes for real, by gloo on the CPU: the curve depends on the batch alone."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import World, succeed
from helpers.launches import RANKS, words

from latte_cli.checkpoints.folder import find_corruption, list_checkpoints, step_of


def losses(runs: Path) -> dict[int, float]:
    lines = (runs / "shapes/metrics.jsonl").read_text().splitlines()
    return {row["step"]: row["loss"] for row in map(json.loads, lines)}


@dataclass(frozen=True)
class Launched:
    """What several launches left in a folder."""

    folder: Path
    codes: list[int]
    seconds: list[float]
    said: list[str]


@pytest.fixture(scope="module")
def launched(world: World, tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """Two processes up to step 3, then four; some that are asked to stop; one that dies."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "stopped/shapes").mkdir(parents=True)
    (folder / "stopped/shapes/stop").touch()
    without_end = {"train__steps": 100_000, "train__save_every": 100_000}
    launches = [
        {"processes": 2, "words": words(world, "two-four", train__steps=3)},
        {"processes": 4, "words": words(world, "two-four", train__accumulate=2)},
        {"processes": 2, "words": words(world, "odd", train__batch_size=5)},
        {"processes": 2, "words": words(world, "stopped", **without_end)},
        {"processes": 1, "words": words(world, **without_end), "killed": 0, "by": "SIGTERM"},
        {"processes": 2, "words": words(world, **without_end), "killed": 1},
    ]
    command = [sys.executable, str(RANKS), json.dumps(launches)]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said, told = process.communicate(timeout=300)
    ends = [json.loads(line) for line in said.splitlines() if line.startswith("[")]
    codes, seconds = zip(*ends, strict=True)
    return Launched(folder, list(codes), list(seconds), told.split("-- end of launch --\n"))


def test_one_two_and_four_processes_learn_the_same(world, launched):
    """Four go on from what two have saved, in portions; one takes all steps by itself."""
    assert launched.codes[:2] == [0, 0], launched.said
    assert "going on from two-four/shapes/checkpoints/step-00000003" in launched.said[1]
    succeed(*words(world))
    alone, together = losses(Path("runs")), losses(launched.folder / "two-four")
    assert list(together) == list(alone) == [1, 2, 3, 4, 5, 6]
    assert all(abs(together[step] - alone[step]) < 1e-5 for step in alone)


def test_one_process_speaks_for_all(launched):
    assert launched.said[0].count("step 3/3") == 1
    assert launched.said[3].count("the same command goes on from there") == 1


def test_a_batch_that_does_not_divide_is_refused(launched):
    assert launched.codes[2] == 1
    assert "train.batch_size 5 does not divide among 2 processes" in launched.said[2]
    assert not (launched.folder / "odd").exists()


def test_all_stop_at_the_same_step_once_the_checkpoint_is_whole(launched):
    """The file is seen in the first step; the others have heard of it by the second."""
    assert launched.codes[3] == 75, launched.said[3]
    (checkpoint,) = list_checkpoints(launched.folder / "stopped/shapes")
    assert step_of(checkpoint) == 2
    assert find_corruption(checkpoint) is None
    assert "error" not in launched.said[3]
    assert not (launched.folder / "stopped/shapes/stop").exists()


def test_one_processs_death_ends_the_others_with_the_reason(launched):
    assert launched.codes[5] in (-signal.SIGKILL, 1), "whichever end torchrun sees first"
    assert launched.seconds[5] < 60
    said = " ".join(launched.said[5].split())
    assert "error: process 0 of 2 has lost another one: " in said
    assert "the same command goes on from the newest checkpoint" in said
    assert "Traceback" not in said.partition("error: process 0")[2].partition("hint: ")[0]


def test_a_process_that_is_told_to_end_saves_first(launched):
    assert launched.codes[4] == 75, launched.said[4]
    (checkpoint,) = list_checkpoints(launched.folder / "runs/shapes")
    assert find_corruption(checkpoint) is None
    assert f"saved {checkpoint.relative_to(launched.folder)}" in launched.said[4]
    assert f"going on from {checkpoint.relative_to(launched.folder)}" in launched.said[5]
