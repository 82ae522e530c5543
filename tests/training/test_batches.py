"""Batches cut in the background: the right ones, in micro-batches, also after a rollback."""

from dataclasses import dataclass, field

import pytest
import torch

from latte_cli.data.batch import Batch
from latte_cli.training.batches import BatchLoader

CPU = torch.device("cpu")


@dataclass
class Numbers:
    """Stands for a sampler: a batch holds its number and its clips' indices."""

    cut: list[int] = field(default_factory=list)
    bad: int = -1

    def batch(self, step: int, indices: range) -> Batch:
        if step == self.bad:
            raise OSError("gone")
        self.cut.append(step)
        x = torch.tensor([[step, index] for index in indices])
        return Batch(x, x, x[:, 0], None)


def taken(loader: BatchLoader, number: int, last: int = 100) -> list[list[list[int]]]:
    return [batch.x_start.tolist() for batch in loader.load(number, last)]


def test_each_batch_is_cut_once_in_its_micro_batches():
    numbers = Numbers()
    with BatchLoader(numbers, [range(0, 4, 2), range(1, 4, 2)], CPU) as loader:  # type: ignore[arg-type]
        for step in range(4):
            expected = [[[step, 0], [step, 2]], [[step, 1], [step, 3]]]
            assert taken(loader, step) == expected
    assert numbers.cut[:8] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_nothing_is_cut_after_the_last_batch():
    numbers = Numbers()
    with BatchLoader(numbers, [range(1)], CPU) as loader:  # type: ignore[arg-type]
        for step in range(3):
            taken(loader, step, last=2)
        assert taken(loader, 7, last=2) == [[[7, 0]]], "a batch is loaded even after the last"
    assert numbers.cut == [0, 1, 2, 7]


def test_a_run_that_skips_batches_gets_those_after_them():
    with BatchLoader(Numbers(), [range(1)], CPU) as loader:  # type: ignore[arg-type]
        assert [taken(loader, n)[0][0][0] for n in (0, 1, 5, 6, 2)] == [0, 1, 5, 6, 2]


def test_an_error_is_raised_when_its_batch_is_loaded():
    with BatchLoader(Numbers(bad=2), [range(1)], CPU) as loader:  # type: ignore[arg-type]
        taken(loader, 0)
        taken(loader, 1)
        with pytest.raises(OSError, match="gone"):
            taken(loader, 2)
