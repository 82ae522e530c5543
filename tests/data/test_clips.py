"""Training batches as a function of (seed, step, index)."""

# Axes: f frames, c latent channels, h w latent size.

import json
from pathlib import Path

import pytest
import torch

from latte_cli.config import load_config
from latte_cli.data.clips import ClipSampler
from latte_cli.data.table import VideoTable
from latte_cli.runtime.errors import DataError
from latte_cli.vae import Moments

SCALE, SPREAD, MIRRORED = 0.5, 0.25, 100
LENGTHS = (30, 20, 10, 4)


class Store:
    """Four videos in memory: frame n is n everywhere, 100 higher in the mirrored view."""

    def __init__(self, folder: Path, flips: bool = True, **values: object) -> None:
        self.folder, self.flips, self.asked = folder, flips, []
        rows = [
            {
                "path": f"{number}.mp4",
                "frames": frames,
                "label": number % 2,
                "split": "test" if number == 1 else "train",
                **values,
            }
            for number, frames in enumerate(LENGTHS)
        ]
        path = folder / "index.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.table = VideoTable.read(path, words=("split",))

    def clip(self, number: int, frames: range, *, flip: bool = False) -> Moments:
        assert frames[-1] < LENGTHS[number]
        self.asked.append((number, frames, flip))
        mean = torch.tensor(list(frames)).float() + (MIRRORED if flip else 0)
        mean = mean[:, None, None, None].expand(-1, 4, 8, 8)
        return Moments(mean, torch.full_like(mean, SPREAD))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def sampler(store: Store, **values: object) -> ClipSampler:
    chosen = {"data.frames": 4, "data.interval": 2, "train.batch_size": 16, "data.flip": "true"}
    chosen |= {key.replace("__", "."): value for key, value in values.items()}
    config = load_config("shapes", [f"{key}={value}" for key, value in chosen.items()])
    return ClipSampler(store, config, SCALE)


def same(a, b) -> bool:
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("x_start", "noise", "t", "y"))


def test_a_batch_is_a_function_of_seed_and_step(store):
    first = sampler(store).batch(5)
    assert same(first, sampler(store).batch(5))
    assert not torch.equal(first.noise, sampler(store).batch(6).noise)
    assert not torch.equal(first.noise, sampler(store, train__seed=1).batch(5).noise)


def test_a_clip_does_not_depend_on_batch_size_threads_or_process(store):
    whole = sampler(store, train__batch_size=9).batch(2)
    small = sampler(store, train__batch_size=3).batch(2)
    assert torch.equal(small.x_start, whole.x_start[:3])
    assert same(whole, sampler(store, train__batch_size=9, data__workers=5).batch(2))
    shares = [sampler(store, train__batch_size=9).batch(2, range(rank, 9, 2)) for rank in (0, 1)]
    for rank, share in enumerate(shares):
        assert torch.equal(share.x_start, whole.x_start[rank::2])
        assert torch.equal(share.t, whole.t[rank::2])


def test_clips_are_windows_at_the_interval_of_long_enough_videos(store):
    drawn = sampler(store)
    assert drawn.videos.tolist() == [0, 2], "7 source frames, split train"
    assert drawn.too_short == 1
    flipped = 0
    for step in range(8):
        batch = drawn.batch(step)
        assert batch.x_start.shape == batch.noise.shape == (16, 4, 4, 8, 8)
        means = batch.x_start.mean(dim=(2, 3, 4)) / SCALE
        assert (means.diff(dim=1) - 2).abs().max() < 0.2, "every second frame"
        flipped += int((means[:, 0] > MIRRORED - 10).sum())
        assert ((batch.t >= 0) & (batch.t < 1000)).all()
    assert 40 < flipped < 88, "half of 128 clips are mirrored"
    sampler(store, train__batch_size=600).batch(0)
    starts = {frames.start for number, frames, _ in store.asked if number == 0}
    assert starts == set(range(30 - 7 + 1)), "every window that fits is drawn, and no other"


def test_short_videos_are_skipped_or_sampled_at_the_largest_interval_that_fits(store):
    for number, frames in ((0, 30), (2, 10), (3, 4)):
        slow = sampler(store, data__interval=8, data__short="slow")
        assert slow.too_short == 0
        for step in range(4):
            slow.batch(step)
        steps = {asked.step for n, asked, _ in store.asked if n == number}
        assert steps == {min(8, (frames - 1) // 3)}
    assert sampler(store, data__interval=8, data__frames=4).videos.tolist() == [0]
    assert sampler(store, data__frames=5, data__short="slow").videos.tolist() == [0, 2]


def test_each_step_samples_the_posterior_anew(store):
    batch = sampler(store, data__frames=1, train__batch_size=400).batch(0)
    values = batch.x_start / SCALE
    spread = (values - values.mean(dim=(2, 3, 4), keepdim=True).round()).std()
    assert abs(float(spread) - SPREAD) < 0.01


def test_labels_are_dropped_at_the_configured_rate(store):
    batch = sampler(store, train__batch_size=1000, data__split="all").batch(0)
    assert 60 < int((batch.y == 8).sum()) < 140, "a tenth, replaced by the null label"
    assert set(batch.y.tolist()) == {0, 1, 8}
    none = sampler(store, model__condition="none", model__num_classes="null")
    assert none.batch(0).y is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data__interval": 40}, "no video is as long as a clip .* 121 source frames.* has 30"),
        ({"model__num_classes": 1, "data__split": "all"}, "label 1, but model.num_classes is 1"),
        ({"data__frames": 31, "data__short": "slow"}, "no video is as long"),
    ],
)
def test_unusable_videos_raise_an_error_before_training(store, values, message):
    with pytest.raises(DataError, match=message):
        sampler(store, **values)


def test_missing_views_labels_and_splits_raise_an_error(tmp_path):
    with pytest.raises(DataError, match="mirrored views"):
        sampler(Store(tmp_path, flips=False))
    with pytest.raises(DataError, match="without a label"):
        sampler(Store(tmp_path, label=None))
    with pytest.raises(DataError, match="no videos of the split `train`"):
        sampler(Store(tmp_path, split="test"))
