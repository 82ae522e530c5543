"""The spike guard: which steps are bad, how they are counted, and what it remembers."""

import math
from collections.abc import Iterable

import pytest
import torch

from latte_cli.config import load_config
from latte_cli.training import guard as guard_module
from latte_cli.training.guard import BadStep, SpikeGuard

CPU = torch.device("cpu")
WINDOW = 9


@pytest.fixture(autouse=True)
def _short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "_WINDOW", WINDOW)


def guard_of(most: int = 4) -> SpikeGuard:
    words = ["train.spike_factor=5", f"train.max_bad_steps={most}"]
    return SpikeGuard(load_config(None, words).train, CPU)


def check(guard: SpikeGuard, norms: Iterable[float], loss: float = 1.0) -> list[bool]:
    return [bool(guard.check(torch.tensor(loss), torch.tensor(norm))) for norm in norms]


def test_a_norm_far_above_the_running_median_is_bad():
    guard = guard_of()
    assert check(guard, [1.0] * 4 + [3.0] * (WINDOW - 4)) == [False] * WINDOW
    assert check(guard, [14.9, 15.1]) == [False, True], "the median is 3"
    assert check(guard, [0.1] * 4 + [14.9]) == [False] * 5
    assert check(guard, [0.1] * 4 + [14.9]) == [False] * 4 + [True], "the window has moved on"


def test_no_norm_is_a_spike_before_the_window_is_full():
    assert check(guard_of(), [1.0] * (WINDOW - 1) + [1e6]) == [False] * WINDOW


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_non_finite_value_is_bad_from_the_first_step(value):
    assert check(guard_of(), [value]) == [True]
    assert check(guard_of(), [1.0], loss=value) == [True]


def test_bad_norms_do_not_move_the_median():
    guard = guard_of(most=100)
    check(guard, [1.0] * WINDOW)
    assert all(check(guard, [6.0] * 3 * WINDOW))
    assert check(guard, [4.9]) == [False]


def test_bad_steps_have_number_and_reason():
    guard = guard_of(most=2 * WINDOW)
    check(guard, [2.0] * WINDOW)
    check(guard, [20.0, 1.0, math.inf])
    check(guard, [1.0], loss=math.nan)
    assert not guard.skipped, "not fetched yet"
    spike, gradient, loss = guard.fetch(step=1000 + WINDOW + 4)
    assert [bad.step for bad in (spike, gradient, loss)] == [1010, 1012, 1013]
    assert (spike.loss, spike.grad_norm, spike.median) == (1, 20, 2)
    assert "20, 10 times the running median of 2" in spike.why
    assert "norm is inf" in gradient.why
    assert "loss is nan" in loss.why
    assert (guard.skipped, guard.in_a_row) == (3, 2)
    assert guard.fetch(step=1013) == []


def test_if_there_are_too_many_records_the_last_are_kept():
    guard = guard_of(most=3)
    assert not guard.is_full
    check(guard, [math.nan, 1.0, math.nan, 1.0, math.nan])
    assert guard.is_full
    assert [bad.step for bad in guard.fetch(step=5)] == [3, 5]
    assert guard.skipped == 3, "all are counted"
    assert not guard.is_full


def test_after_too_many_in_a_row_every_step_is_skipped():
    guard = guard_of(most=3)
    check(guard, [math.nan, math.nan, 1.0, math.nan, math.nan, math.nan])
    assert check(guard, [1.0, 1.0]) == [True, True]
    guard.fetch(step=8)
    assert guard.steps_past_limit == 2
    assert guard.skipped == 5, "those after it were not bad by themselves"


def test_a_restored_guard_decides_the_same():
    guard, again = guard_of(), guard_of()
    check(guard, [1.0] * WINDOW + [math.nan])
    again.load_state_dict({name: value.clone() for name, value in guard.state_dict().items()})
    assert (again.skipped, again.in_a_row, again.steps_past_limit) == (1, 1, None)
    rest = [3.0, 4.9, 5.1, 4.0, 21.0, math.nan]
    assert check(guard, rest) == check(again, rest) == [False, False, True, False, True, True]
    again.reset()
    assert (again.skipped, again.in_a_row) == (0, 0)
    assert check(again, [1e6]) == [False]


def test_a_median_of_zero_is_reported_without_dividing():
    assert "inf times" in BadStep(1, 1.0, 2.0, 0.0).why
