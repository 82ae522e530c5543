"""Several processes for real, by gloo on the CPU: the curve depends on the batch alone."""

import signal
from pathlib import Path

import pytest
from conftest import World, succeed
from helpers.runs import Launched, launch, rows, several_words

from latte_cli.checkpoints.folder import find_corruption, list_checkpoints, step_of


@pytest.fixture(scope="module")
def launched(world: World, tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """Two processes up to step 3, then four; some that are asked to stop; one that dies."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "stopped/shapes").mkdir(parents=True)
    (folder / "stopped/shapes/stop").touch()
    without_end = {"train__steps": 100_000, "train__save_every": 100_000}
    launches = [
        {"processes": 2, "words": several_words(world, "two-four", train__steps=3)},
        {"processes": 4, "words": several_words(world, "two-four", train__accumulate=2)},
        {"processes": 2, "words": several_words(world, "odd", train__batch_size=5)},
        {"processes": 2, "words": several_words(world, "stopped", **without_end)},
        {
            "processes": 1,
            "words": several_words(world, **without_end),
            "killed": 0,
            "by": "SIGTERM",
        },
        {"processes": 2, "words": several_words(world, **without_end), "killed": 1},
    ]
    return launch(folder, launches)


def test_one_two_and_four_processes_learn_the_same(world, launched):
    """Four resume what two have saved, with micro-batches; one takes all steps by itself."""
    assert launched.codes[:2] == [0, 0], launched.said
    assert "resuming from two-four/shapes/checkpoints/step-00000003" in launched.said[1]
    succeed(*several_words(world))
    alone, together = (
        {row["step"]: row["loss"] for row in rows(Path(runs, "shapes"))}
        for runs in ("runs", launched.folder / "two-four")
    )
    assert list(together) == list(alone) == [1, 2, 3, 4, 5, 6]
    assert all(abs(together[step] - alone[step]) < 1e-5 for step in alone)


def test_only_the_main_process_prints(launched):
    assert launched.said[0].count("step 3/3") == 1
    assert launched.said[3].count("the same command resumes from there") == 1


def test_a_batch_that_does_not_divide_is_an_error(launched):
    assert launched.codes[2] == 1
    assert "train.batch_size 5 does not divide among 2 processes" in launched.said[2]
    assert launched.said[2].count("error: ") == 1, "by the main process alone"
    assert not (launched.folder / "odd").exists()


def test_all_processes_stop_at_the_same_step_after_saving(launched):
    """The file is seen in the first step; the other process knows by the second."""
    assert launched.codes[3] == 75, launched.said[3]
    (checkpoint,) = list_checkpoints(launched.folder / "stopped/shapes")
    assert step_of(checkpoint) == 2
    assert find_corruption(checkpoint) is None
    assert "error" not in launched.said[3]
    assert not (launched.folder / "stopped/shapes/stop").exists()


def test_if_one_process_dies_the_others_end_and_say_why(launched):
    assert launched.codes[5] in (-signal.SIGKILL, 1), "whichever end torchrun sees first"
    assert launched.seconds[5] < 60
    said = " ".join(launched.said[5].split())
    assert "error: process 0 of 2 lost its connection to another one: " in said
    assert "run the same command again to resume from the newest checkpoint" in said
    assert "Traceback" not in said.partition("error: process 0")[2].partition("hint: ")[0]


def test_a_process_that_gets_sigterm_saves_first(launched):
    assert launched.codes[4] == 75, launched.said[4]
    (checkpoint,) = list_checkpoints(launched.folder / "runs/shapes")
    assert find_corruption(checkpoint) is None
    assert f"saved {checkpoint.relative_to(launched.folder)}" in launched.said[4]
    assert f"resuming from {checkpoint.relative_to(launched.folder)}" in launched.said[5]
