"""Latents on disk, and training batches as a function of (seed, step, index)."""

from dataclasses import replace

import pytest
import torch

from latte_cli.config import load_config
from latte_cli.data import latents as latents_module
from latte_cli.data.clips import ClipSampler
from latte_cli.data.latent_writer import LatentWriter
from latte_cli.data.latents import LatentMeta, LatentSet, read_index
from latte_cli.errors import DataError
from latte_cli.vae import Moments

META = LatentMeta("embedded", "abc", 0.5, 4, 64, "center", True, ("a", "b"), videos=4)


def moments(frames, offset=0.0):
    mean = torch.arange(frames).reshape(-1, 1, 1, 1).expand(-1, 4, 8, 8) + offset
    return Moments(mean.float(), torch.full((frames, 4, 8, 8), 0.25))


def video(name, frames, label=0, split="train"):
    return {"path": name, "sha256": "00", "frames": frames, "label": label, "split": split}


@pytest.fixture
def latents(tmp_path):
    """Four videos of 4 to 30 frames, the mirrored view 100 higher."""
    writer = LatentWriter(tmp_path, META)
    for number, frames in enumerate((30, 20, 10, 4)):
        views = {"": moments(frames), ".flip": moments(frames, 100)}
        writer.add(
            video(f"{number}.mp4", frames, number % 2, "test" if number == 1 else "train"), views
        )
    writer.finish()
    return LatentSet.open(tmp_path)


def config(**values):
    defaults = {"data.frames": 4, "data.interval": 2, "train.batch_size": 16, "data.flip": "true"}
    given = defaults | {key.replace("__", "."): value for key, value in values.items()}
    return load_config("shapes", [f"{key}={value}" for key, value in given.items()])


def test_any_window_of_any_view_is_read_back(latents):
    assert latents.meta == META
    assert [v.path for v in latents.videos] == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
    read = latents.moments(latents.videos[0], 3, 7)
    assert read.mean[:, 0, 0, 0].tolist() == [3, 4, 5, 6]
    assert (read.std == 0.25).all()
    assert latents.moments(latents.videos[2], 9, 10, flip=True).mean[0, 0, 0, 0] == 109


def test_shards_are_cut_by_size_and_later_runs_add_to_them(tmp_path, monkeypatch):
    monkeypatch.setattr(latents_module, "_SHARD_BYTES", 2 * 4 * 8 * 8 * 2 * 10)
    for names in (["a", "b"], ["c"]):
        writer = LatentWriter(tmp_path, META, read_index(tmp_path))
        for name in names:
            writer.add(video(name, 10), {"": moments(10)})
        writer.finish()
    assert [v.shard for v in read_index(tmp_path)] == [
        f"shard-0000{i}.safetensors" for i in range(3)
    ]


def test_a_shard_that_the_index_does_not_name_is_written_over(tmp_path):
    (tmp_path / "shard-00000.safetensors").write_bytes(b"half")
    writer = LatentWriter(tmp_path, META)
    writer.add(video("a", 3), {"": moments(3)})
    writer.finish()
    opened = LatentSet.open(tmp_path)
    assert opened.moments(opened.videos[0], 0, 3).mean.shape == (3, 4, 8, 8)


def test_an_interrupted_encoding_is_not_taken_for_whole(tmp_path):
    writer = LatentWriter(tmp_path, META)
    writer.add(video("a", 3), {"": moments(3)})
    writer.flush()
    with pytest.raises(DataError, match="1 of 4 videos"):
        LatentSet.open(tmp_path)
    assert len(writer.finish()) == 1
    assert LatentSet.open(tmp_path).meta.videos == 1


def test_lines_that_no_longer_hold_are_dropped_and_their_shard_is_not_written_over(tmp_path):
    for kept, name in (([], "a"), (None, "b")):
        writer = LatentWriter(tmp_path, META, read_index(tmp_path) if kept is None else kept)
        writer.add(video(name, 3), {"": moments(3)})
        writer.finish()
    _, b = read_index(tmp_path)
    writer = LatentWriter(tmp_path, META, [b])
    writer.add(video("c", 3), {"": moments(3)})
    assert [(v.path, v.shard[-17:-12]) for v in writer.finish()] == [("b", "00001"), ("c", "00002")]


def test_missing_and_damaged_latents_are_told(latents):
    with pytest.raises(DataError, match="no latents here"):
        LatentSet.open(latents.folder / "none")
    (latents.folder / "shard-00000.safetensors").write_bytes(b"x")
    reopened = LatentSet.open(latents.folder)
    with pytest.raises(DataError, match="missing or damaged"):
        reopened.moments(reopened.videos[0], 0, 1)
    (latents.folder / "meta.json").write_text("{}")
    with pytest.raises(DataError, match="damaged"):
        LatentSet.open(latents.folder)


def test_a_batch_is_a_function_of_seed_and_step(latents):
    first, again = (ClipSampler(latents, config()).batch(5) for _ in range(2))
    for name in ("x_start", "noise", "t", "y"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    other_step, other_seed = ClipSampler(latents, config()).batch(6), config(train__seed=1)
    assert not torch.equal(first.noise, other_step.noise)
    assert not torch.equal(first.noise, ClipSampler(latents, other_seed).batch(5).noise)


def test_a_clip_does_not_depend_on_the_batch_size(latents):
    small = ClipSampler(latents, config(train__batch_size=3)).batch(2)
    large = ClipSampler(latents, config(train__batch_size=9)).batch(2)
    assert torch.equal(small.x_start, large.x_start[:3])


def test_clips_are_windows_at_the_interval_of_long_enough_videos(latents):
    sampler = ClipSampler(latents, config())
    assert [v.path for v in sampler.videos] == ["0.mp4", "2.mp4"], "7 source frames, split train"
    assert sampler.too_short == 1
    flipped = 0
    for step in range(8):
        batch = sampler.batch(step)
        assert batch.x_start.shape == batch.noise.shape == (16, 4, 4, 8, 8)
        means = batch.x_start.mean(dim=(2, 3, 4)) / META.scaling_factor
        steps = means.diff(dim=1)
        assert (steps - 2).abs().max() < 0.2, "every second frame"
        flipped += int((means[:, 0] > 90).sum())
        assert ((batch.t >= 0) & (batch.t < 1000)).all()
    assert 40 < flipped < 88, "half of 128 clips are mirrored"


def test_each_draw_of_the_posterior_is_new(latents):
    sampler = ClipSampler(latents, config(data__frames=1, train__batch_size=400))
    values = sampler.batch(0).x_start / META.scaling_factor
    spread = (values - values.mean(dim=(2, 3, 4), keepdim=True).round()).std()
    assert abs(float(spread) - 0.25) < 0.01


def test_labels_are_dropped_at_the_asked_rate(latents):
    batch = ClipSampler(latents, config(train__batch_size=1000, data__split="all")).batch(0)
    assert 60 < int((batch.y == 8).sum()) < 140, "a tenth, replaced by the null label"
    assert set(batch.y.tolist()) == {0, 1, 8}
    none = ClipSampler(latents, config(model__condition="none", model__num_classes="null"))
    assert none.batch(0).y is None


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"data__interval": 40}, "no video is as long"),
        ({"model__num_classes": 1, "data__split": "all"}, "label 1, model.num_classes is 1"),
    ],
)
def test_latents_that_do_not_serve_are_told_beforehand(latents, values, told):
    with pytest.raises(DataError, match=told):
        ClipSampler(latents, config(**values))


def test_missing_views_labels_and_splits_are_told(latents):
    latents.meta = replace(META, flip=False)
    with pytest.raises(DataError, match="mirrored views"):
        ClipSampler(latents, config())
    latents.videos = tuple(replace(v, label=None) for v in latents.videos)
    with pytest.raises(DataError, match="without a label"):
        ClipSampler(latents, config(data__flip="false"))
    latents.videos = tuple(replace(v, split="test") for v in latents.videos)
    with pytest.raises(DataError, match="no videos of the split"):
        ClipSampler(latents, config(data__flip="false"))
