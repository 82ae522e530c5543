import numpy as np
import pytest

from latte_cli.reporting.curves import curves_of, thinned


def test_a_thinned_curve_keeps_extremes_ends_and_mean():
    rng = np.random.default_rng(0)
    steps, values = np.arange(1, 100_001), rng.standard_normal(100_000)
    values[[12_345, 70_001]] = 50.0, -40.0  # single spikes
    curve = thinned(steps, values, most=1000)
    assert len(curve.steps) == 1000
    assert (curve.steps[0], curve.steps[-1]) == (1, 100_000)
    assert (max(curve.highs), min(curve.lows)) == (50.0, -40.0)
    # Each point stands for its neighbors: the highest is where the spike is.
    assert curve.steps[int(np.argmax(curve.highs))] == pytest.approx(12_346, abs=100)
    assert all(np.diff(curve.steps) > 0)
    low, mean, high = (np.array(each) for each in (curve.lows, curve.values, curve.highs))
    assert (low <= mean).all()
    assert (mean <= high).all()


def test_a_short_curve_is_kept_as_it_is():
    steps, values = np.array([1, 5, 9]), np.array([3.0, 1.0, 2.0])
    curve = thinned(steps, values, most=3)
    assert (list(curve.steps), list(curve.values)) == ([1, 5, 9], [3.0, 1.0, 2.0])
    assert curve.lows is None


def test_what_is_no_finite_number_is_left_out():
    rows = [
        {"step": 1, "loss": 2.0, "note": "text"},
        {"step": 2, "loss": None},
        {"step": 3, "loss": float("nan"), "val_loss": 1},
        {"step": 4, "loss": "one"},
    ]
    curves = curves_of(rows)
    assert curves.keys() == {"loss", "val_loss"}
    assert list(curves["loss"].steps) == [1]
    assert list(curves["val_loss"].values) == [1.0]
