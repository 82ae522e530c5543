"""Training and sampling in which processes share each clip: the curve and the clips of one."""

from pathlib import Path

import numpy as np
import pytest
from conftest import World, fail, succeed
from helpers.runs import Launched, launch, rows, several_words

SHARED = {"train__sequence_parallel": 2, "data__num_images": 1}


@pytest.fixture(scope="module")
def launched(world: World, tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """Two processes that share clips; two pairs with sharded weights; and two that sample."""
    folder = tmp_path_factory.mktemp("shared")
    sample = ["sample", f"--checkpoint={world.run}", "-n", 3, "-o", "sample.steps=2"]
    sample = [*sample, "-o", "sample.batch=2"]
    launches = [
        {"processes": 2, "words": several_words(world, "two", **SHARED)},
        {"processes": 4, "words": several_words(world, "four", **SHARED, train__shard="fsdp")},
        {
            "processes": 2,
            "words": [*map(str, sample), "--sequence-parallel=2", "--out=shared.npz"],
        },
        {"processes": 2, "words": several_words(world, "no", train__sequence_parallel=4)},
    ]
    return launch(folder, launches)


@pytest.fixture(scope="module")
def alone(world: World, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """The curve of one process."""
    runs = tmp_path_factory.mktemp("alone")
    succeed(*several_words(world, str(runs), **SHARED | {"train__sequence_parallel": 1}))
    return rows(runs / "shapes")


@pytest.mark.parametrize("runs", ["two", "four"])
def test_the_curve_is_that_of_one_process(launched, alone, runs):
    assert launched.codes[:2] == [0, 0], launched.said
    together = rows(launched.folder / runs / "shapes")
    for key in ("loss", "grad_norm", "val_loss"):
        ours = [row[key] for row in together if key in row]
        assert ours == pytest.approx([row[key] for row in alone if key in row], abs=1e-5), key


def test_clips_are_those_of_one_process(launched, world, tmp_path):
    assert launched.codes[2] == 0, launched.said[2]
    words = ("sample", f"--checkpoint={world.run}", "-n", 3, "-o", "sample.steps=2")
    succeed(*words, "-o", "sample.batch=2", "--out=alone.npz")
    ours = np.load(launched.folder / "shared.npz")["clips"].astype(int)
    theirs = np.load(Path("alone.npz"))["clips"]
    assert abs(ours - theirs).max() <= 1, "rounding"


def test_processes_that_do_not_divide_into_groups_are_an_error(launched):
    assert launched.codes[3] == 1
    said = " ".join(launched.said[3].split())
    assert "train.sequence_parallel is 4, of which 2 processes are no multiple" in said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["train.sequence_parallel=9"], "train.sequence_parallel is 9, but a clip has 8 frames"),
        (["train.sequence_parallel=2", "model.variant=3"], "model.variant 3 does not go together"),
        (["train.sequence_parallel=2"], "of which 1 process is no multiple"),
    ],
)
def test_what_cannot_be_shared_is_an_error(world, values, said):
    words = [word for value in values for word in ("-o", value)]
    assert said in fail("train", "--preset=shapes", *words, *world.roots)


def test_sampling_alone_in_what_needs_two_is_an_error(world):
    said = fail("sample", f"--checkpoint={world.run}", "--sequence-parallel=2")
    assert "--sequence-parallel 2 needs 2 processes that share each clip; there is 1" in said
    assert "needs 3 processes" in fail("t2v", "a boat", "--sequence-parallel=3")
