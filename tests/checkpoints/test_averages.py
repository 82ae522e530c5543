"""Power-function averages: their profiles, and averages reconstructed from snapshots."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.small import random_batch, small_config, take_step
from safetensors.torch import load_file

from latte_cli.checkpoints.averages import (
    NARROW,
    WIDE,
    combine,
    exponent,
    power_weight,
    reconstruct,
    remove_later_snapshots,
    save_reconstructed,
)
from latte_cli.checkpoints.folder import NARROW_AVERAGE, CheckpointMeta, save_for_sampling
from latte_cli.config import Config
from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.training.state import checkpoint_parts, new_state

STEPS = 160
SPAN = 10


def profile(width: float, steps: int) -> np.ndarray:
    """The weight of each step in an average, by the recursion that training follows."""
    weights = np.zeros(steps)
    for step in range(1, steps + 1):
        new = power_weight(width, step)
        weights *= 1 - new
        weights[step - 1] = new
    return weights


@pytest.mark.parametrize("width", [0.02, 0.05, 0.1, 0.2])
def test_an_average_has_the_relative_width_that_it_is_named_by(width):
    steps = 20_000
    weights, times = profile(width, steps), (np.arange(steps) + 0.5) / steps
    assert weights.sum() == pytest.approx(1)
    mean = (weights * times).sum()
    assert math.sqrt((weights * (times - mean) ** 2).sum()) == pytest.approx(width, rel=1e-3)
    gamma = exponent(width)
    assert weights[-1] / weights[steps // 2 - 1] == pytest.approx(2**gamma, rel=1e-2)


def test_the_published_exponents():
    """EDM2, section 3.1: 16.97 and 6.94 for the widths 0.05 and 0.10."""
    assert exponent(0.05) == pytest.approx(16.97, abs=0.01)
    assert exponent(0.10) == pytest.approx(6.94, abs=0.01)


def test_least_squares_find_the_profile_that_direct_sums_find():
    """The integrals against profiles of single steps, solved by another way."""
    steps, width = range(SPAN, STEPS + 1, SPAN), 0.075
    columns = [
        np.pad(profile(kept, step), (0, STEPS - step)) for kept in (WIDE, NARROW) for step in steps
    ]
    combined = np.stack(columns, axis=1) @ np.asarray(combine(steps, STEPS, width).coefficients)
    wanted = profile(width, STEPS)
    error = np.linalg.norm(combined - wanted) / np.linalg.norm(wanted)
    assert error == pytest.approx(combine(steps, STEPS, width).error, rel=0.05)
    assert error < 0.005


class Recorded:
    """A run of random steps with its snapshots, and the weights after each step."""

    def __init__(self, run: Path) -> None:
        self.run, self.weights = run, []
        config = small_config(train__ema="power", train__lr=3e-3, train__steps=STEPS)
        state = new_state(config, torch.device("cpu"))
        for step in range(1, STEPS + 1):
            take_step(state, config, random_batch(config, seed=step))
            self.weights.append({k: v.detach().clone() for k, v in named(state.model)})
            if step % SPAN == 0:
                self.save(config, step, checkpoint_parts(state))

    def save(self, config: Config, step: int, parts: dict) -> None:
        narrow = {name: value.half() for name, value in parts["narrow"].items()}
        wide = {name: v.half() if name in narrow else v for name, v in parts["ema"].items()}
        meta = CheckpointMeta(step, "", 1.0)
        save_for_sampling(self.run / "ema" / f"step-{step:08d}", config, meta, wide, narrow)

    def average(self, width: float, steps: int) -> dict[str, torch.Tensor]:
        """Directly over the weights of all steps."""
        weights = profile(width, steps)
        return {
            name: sum(float(w) * each[name] for w, each in zip(weights, self.weights, strict=False))
            for name in self.weights[0]
        }


def named(model: torch.nn.Module) -> list:
    return list(model.named_parameters())


def distance(ours: dict, theirs: dict) -> float:
    """Root mean square of the difference over that of the second, of all parameters."""
    difference = sum(float(((ours[name] - theirs[name]) ** 2).sum()) for name in theirs)
    return math.sqrt(difference / sum(float((value**2).sum()) for value in theirs.values()))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    torch.manual_seed(0)
    (run := tmp_path_factory.mktemp("runs") / "recorded").mkdir()
    (run / "metrics.jsonl").touch()
    return Recorded(run)


@pytest.mark.parametrize(
    ("width", "within"), [(0.025, 1.3e-3), (0.075, 3e-4), (0.15, 3e-4), (0.2, 4e-4), (0.25, 4e-3)]
)
def test_a_reconstructed_average_is_that_over_the_recorded_weights(recorded, width, within):
    """Half precision is 2e-4 of it; narrow averages amplify that, wide ones have a coarse start."""
    found, wanted = reconstruct(recorded.run, width), recorded.average(width, STEPS)
    assert distance(found.weights, wanted) < within
    if width > 0.1:
        nearest = distance(recorded.average(WIDE, STEPS), wanted)
        assert distance(found.weights, wanted) < 0.2 * nearest
    assert (found.snapshots, found.newest.name) == (STEPS // SPAN, f"step-{STEPS:08d}")
    assert {value.dtype for value in found.weights.values()} == {torch.float32}


@pytest.mark.parametrize("step", [10, 80, 160])
def test_the_width_of_a_snapshot_gives_it_back(recorded, step):
    folder = recorded.run / "ema" / f"step-{step:08d}"
    for width, name in ((WIDE, "ema.safetensors"), (NARROW, NARROW_AVERAGE)):
        found, kept = reconstruct(folder, width), load_file(folder / name)
        for key, value in kept.items():
            torch.testing.assert_close(found.weights[key], value.float(), rtol=1e-5, atol=1e-7)
        assert distance(kept, recorded.average(width, step)) < 3e-4, "of half precision"


def test_a_checkpoint_stands_for_the_last_snapshot_up_to_it(recorded):
    (recorded.run / "checkpoints").mkdir(exist_ok=True)
    assert reconstruct(recorded.run / "checkpoints/step-00000095", 0.1).newest.name == (
        "step-00000090"
    )
    with pytest.raises(CheckpointError, match=r"the first snapshot of .* is of step 10"):
        reconstruct(recorded.run / "checkpoints/step-00000009", 0.1)


def test_widths_that_the_snapshots_cannot_give_are_errors(recorded):
    with pytest.raises(CheckpointError, match=r"from 0\.0\d+ to 0\.2\d*, not 0\.005"):
        reconstruct(recorded.run, 0.005)
    for width in (0, -0.1, 0.3, math.nan):
        with pytest.raises(ConfigError, match=r"widths are above 0 and below 0\.289"):
            reconstruct(recorded.run, width)


def test_a_saved_average_is_kept_if_it_is_the_same(recorded):
    folder = save_reconstructed(recorded.run, 0.08)
    assert folder == recorded.run / "averages/step-00000160-0.08"
    stamp = (folder / "ema.safetensors").stat().st_mtime_ns
    assert save_reconstructed(recorded.run / "ema", 0.08) == folder
    assert (folder / "ema.safetensors").stat().st_mtime_ns == stamp
    (folder / "ema.safetensors").write_bytes(b"damaged")
    assert save_reconstructed(recorded.run, 0.08) == folder
    assert (
        load_file(folder / "ema.safetensors").keys()
        == reconstruct(recorded.run, 0.08).weights.keys()
    )


def test_a_damaged_snapshot_is_named(recorded, tmp_path):
    recorded_again = tmp_path / "run"
    for step in (10, 20):
        folder = recorded_again / "ema" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        for path in (recorded.run / "ema" / folder.name).iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / NARROW_AVERAGE).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"step-00000020/ema-0\.05\.safetensors is not as"):
        reconstruct(recorded_again, 0.1)
    remove_later_snapshots(recorded_again, 10)
    assert reconstruct(recorded_again, 0.1).snapshots == 1


def test_a_run_without_snapshots_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="has no snapshots of power-function averages"):
        reconstruct(tmp_path / "checkpoints/step-00000010", 0.1)
    with pytest.raises(CheckpointError, match="not a run, nor a checkpoint of one"):
        reconstruct(tmp_path / "weights.pt", 0.1)


def test_a_skipped_step_counts_with_the_weights_as_they_were():
    config = small_config(train__ema="power", train__lr=1e-2)
    state = new_state(config, torch.device("cpu"))
    batch, weights = random_batch(config), []
    for step in range(1, 5):
        if step == 3:
            batch.x_start.fill_(math.nan)
        take_step(state, config, batch if step == 3 else random_batch(config, seed=step))
        weights.append(state.model.x_embedder.proj.weight.detach().clone())
    assert torch.equal(weights[2], weights[1])
    expected = sum(float(w) * value for w, value in zip(profile(WIDE, 4), weights, strict=True))
    torch.testing.assert_close(state.ema.x_embedder.proj.weight, expected)
