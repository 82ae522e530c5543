"""The held-out loss: the same clips, timesteps and noise whenever, wherever it is measured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from latte_cli.config import Config, load_config
from latte_cli.data.clips import ClipSampler
from latte_cli.data.table import VideoTable
from latte_cli.diffusion import Diffusion
from latte_cli.models import build_model
from latte_cli.runtime.console import Console
from latte_cli.training.monitoring import validation as module
from latte_cli.training.monitoring.validation import Validation, open_validation
from latte_cli.vae import Moments

CPU = torch.device("cpu")
CLIPS = 12


class Store:
    """Videos of 8 frames of 4 x 4 latents, each of its own brightness; the last ones held out."""

    folder, flips = Path("latents"), True

    def __init__(self, splits: str = "train train test test test") -> None:
        words = splits.split()
        known = tuple(dict.fromkeys(words))
        codes = np.array([known.index(word) for word in words], np.int32)
        columns = {"frames": np.full(len(words), 8, np.int32), "split": codes}
        columns["label"] = np.zeros(len(words), np.int32)
        offsets = np.zeros(len(words) + 1, np.int64)
        self.table = VideoTable(Path("index"), columns, {"split": known}, offsets)
        self.read: list[int] = []

    def clip(self, number: int, frames: range, *, flip: bool = False) -> Moments:
        self.read.append(number)
        mean = torch.full((len(frames), 4, 4, 4), float(number))
        return Moments(mean, torch.full_like(mean, 0.1))


def config(*words: str) -> Config:
    given = [
        *("data.size=32", "data.frames=4", "data.interval=1", "model.size=null"),
        *("model.width=16", "model.depth=2", "model.heads=2", "model.condition=class"),
        *("model.num_classes=2", f"train.validate_clips={CLIPS}", "data.num_images=0"),
    ]
    return load_config(None, [*given, *words])


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(1)
    model = build_model(config()).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def measured(model: torch.nn.Module, *words: str, store: Store | None = None) -> dict:
    chosen = config(*words)
    return Validation(store or Store(), chosen, 1.0, CPU, torch.float32).losses(model)


def test_it_is_the_training_loss_of_held_out_clips_spread_over_the_noise_scale(model):
    """Computed here clip by clip from the objective itself."""
    test = config("data.split=test")
    sampler = ClipSampler(Store(), test, 1.0)
    losses = torch.zeros(4, CLIPS)
    for quarter in range(4):
        for index in range(CLIPS):
            t = torch.tensor([int((quarter + (index + 0.5) / CLIPS) * 250)])
            batch = replace(sampler.batch(0, [index]), t=t)
            with torch.no_grad():
                terms = Diffusion().losses(model, batch.x_start, t, batch.noise, **batch.cond)
            losses[quarter, index] = terms.mse + terms.vlb
    row = measured(model)
    assert row["val_loss"] == pytest.approx(float(losses.mean()), rel=1e-4)
    for quarter in range(4):
        assert row[f"val_loss_q{quarter + 1}"] == pytest.approx(
            float(losses[quarter].mean()), rel=1e-4
        )


def test_it_depends_on_the_seed_only(model):
    before = torch.get_rng_state()
    row = measured(model)
    validation = Validation(Store(), config(), 1.0, CPU, torch.float32)
    assert validation.losses(model) == validation.losses(model) == row
    assert torch.equal(torch.get_rng_state(), before), "training's random numbers are left alone"
    assert measured(model, "train.seed=1") != row


def test_it_is_weighted_as_training_is(model):
    plain, weighted = measured(model), measured(model, "train.min_snr_gamma=1")
    assert weighted["val_loss_q1"] < plain["val_loss_q1"], "nearly clean steps count for less"
    assert weighted["val_loss_q4"] == plain["val_loss_q4"], "noisy ones for as much"


@pytest.mark.parametrize("processes", [2, 3, 5, 11])
def test_it_is_the_same_number_for_any_number_of_processes(model, monkeypatch, processes):
    """Each process finds its share; what they add up to is the number of one process alone."""
    alone = measured(model)
    shares = []

    def keep(values: torch.Tensor) -> torch.Tensor:
        shares.append(values.clone())
        return values

    monkeypatch.setattr(module, "world_size", lambda: processes)
    monkeypatch.setattr(module, "all_reduce_sum", keep)
    for rank in range(processes):
        monkeypatch.setattr(module, "rank", lambda rank=rank: rank)
        measured(model)
    monkeypatch.setattr(module, "all_reduce_sum", lambda values: sum(shares))
    assert measured(model) == alone
    places = torch.stack([share != 0 for share in shares]).sum(0)
    assert int(places.max()) == 1, "no clip is taken twice"


def test_every_process_calls_the_network_as_often(model, monkeypatch):
    """Sharded weights are gathered by all at once: whoever called once less would be waited for."""
    calls = []
    monkeypatch.setattr(module, "world_size", lambda: 5)
    hook = model.register_forward_hook(lambda *_: calls.append(1))
    counts = []
    for rank in range(5):
        monkeypatch.setattr(module, "rank", lambda rank=rank: rank)
        calls.clear()
        measured(model)
        counts.append(len(calls))
    hook.remove()
    assert len(set(counts)) == 1


def test_only_videos_of_the_test_split_are_read_and_only_once(model):
    store = Store()
    validation = Validation(store, config(), 1.0, CPU, torch.float32)
    validation.losses(model)
    assert set(store.read) <= {2, 3, 4}
    assert len(store.read) == CLIPS
    validation.losses(model)
    assert len(store.read) == CLIPS, "kept for the next time"


@pytest.mark.parametrize(
    ("words", "splits", "reason"),
    [
        ([], "train train", "no videos of the split `test`"),
        (["data.split=all"], "train test", "data.split is all"),
        (["data.interval=5"], "train test", "no video is as long as a clip"),
    ],
)
def test_without_held_out_videos_a_note_says_why(capsys, words, splits, reason):
    given = (Store(splits), config(*words), 1.0, CPU, torch.float32, Console())
    assert open_validation(*given) is None
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("no held-out loss: ")
    assert reason in said


def test_no_clips_means_never_and_no_note(capsys):
    given = (Store(), config("train.validate_clips=0"), 1.0, CPU, torch.float32, Console())
    assert open_validation(*given) is None
    assert capsys.readouterr().err == ""
