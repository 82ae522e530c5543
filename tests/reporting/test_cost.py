from pathlib import Path

import pytest
from helpers.small import small_config

from latte_cli.reporting.cost import cost_of, seconds_by_step
from latte_cli.reporting.run_files import RunFiles


def test_a_constant_rate_gives_clips_over_rate():
    """400 steps of 4 clips at 8 clips/s take 200 s; 600 more take 300 s."""
    config = small_config(train__batch_size=4, train__steps=1000)
    rows = [{"step": step, "loss": 1.0, "clips_per_s": 8.0} for step in range(10, 401, 10)]
    starts = [{"step": 0, "devices": 2}]
    cost = cost_of(RunFiles(Path("run"), config, rows, starts=starts))
    assert cost.clips == 1600
    assert cost.seconds == pytest.approx(200)
    assert cost.seconds_left == pytest.approx(300)
    assert cost.device_hours_in_all == pytest.approx(2 * 500 / 3600)


def test_a_line_without_a_rate_is_as_fast_as_the_one_before():
    rows = [
        {"step": 10, "clips_per_s": 5.0},
        {"step": 20, "clips_per_s": None},
        {"step": 30, "clips_per_s": 10.0},
    ]
    steps, seconds = seconds_by_step(rows, 1)
    assert steps.tolist() == [10, 20, 30]
    assert seconds.tolist() == pytest.approx([2, 4, 5])


def test_nothing_is_known_of_a_run_without_a_log():
    cost = cost_of(RunFiles(Path("run"), small_config()))
    assert (cost.seconds, cost.seconds_left, cost.clips_per_s, cost.devices) == (
        0,
        None,
        None,
        None,
    )
