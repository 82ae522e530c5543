"""Latents on disk: writing shards, and reading them."""

# Axes: v views, n frames of a batch, f frames, c latent channels, h w latent size.

import errno
import json
from dataclasses import replace

import pytest
import torch
from helpers.latent_sets import write_latents, write_shard
from safetensors import safe_open
from safetensors.torch import load_file

from latte_cli.data.latents.folder import WORK
from latte_cli.data.latents.plan import Content
from latte_cli.data.latents.reading import INDEX, LatentMeta, LatentSet
from latte_cli.data.latents.shards import Place, Shards, ShardWriter
from latte_cli.runtime.errors import DataError
from latte_cli.vae import Moments

META = LatentMeta("embedded", "abc", 0.5, 4, 64, "crop-resize", True, ("a", "b"), videos=4)
PLAIN = replace(META, flip=False)
SIDE = 8


def moments(frames: int, offset: float = 0.0) -> Moments:
    """Frame n is n everywhere, plus an offset; the deviation is 0.25."""
    mean = torch.arange(frames).float().view(-1, 1, 1, 1).expand(-1, 4, SIDE, SIDE) + offset
    return Moments(mean, torch.full_like(mean, 0.25))


def row(name: str, frames: int) -> dict[str, object]:
    sha256 = f"{sum(map(ord, name)):064x}"
    return {"path": name, "sha256": sha256, "frames": frames, "label": 0, "split": "train"}


@pytest.fixture
def latents(tmp_path) -> LatentSet:
    """Four videos of 4 to 30 frames in two shards, the mirrored view 100 higher."""
    videos = [
        (row(f"{number}.mp4", frames), [moments(frames), moments(frames, 100)])
        for number, frames in enumerate((30, 20, 10, 4))
    ]
    return write_latents(tmp_path, META, videos, a_shard=3)


def test_any_window_of_any_view_can_be_read(latents):
    assert latents.meta == META
    assert [video.path for video in latents.videos] == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
    assert len({video.shard for video in latents.videos}) == 2
    read = latents.moments(latents.videos[0], 3, 7)
    assert read.mean[:, 0, 0, 0].tolist() == [3, 4, 5, 6]
    assert (read.std == 0.25).all()
    assert latents.moments(latents.videos[2], 9, 10, flip=True).mean[0, 0, 0, 0] == 109
    assert latents.clip(3, range(0, 4, 2), flip=True).mean[:, 0, 0, 0].tolist() == [100, 102]


def test_a_shard_does_not_depend_on_the_order_of_batches(tmp_path):
    """Against the library's own reader; numbers are rounded to float16, once."""
    generator = torch.Generator().manual_seed(0)
    videos = [Content("a", 5), Content("b", 3)]
    shapes = [(2, video.frames, 4, SIDE, SIDE) for video in videos]
    parts = [[torch.randn(s, generator=generator) for _ in range(2)] for s in shapes]

    def batch(number: int, start: int, stop: int) -> tuple[int, int, Moments]:
        mean, std = parts[number]
        return number, start, Moments(mean[:, start:stop], std[:, start:stop])

    written = []
    for order in ([(0, 0, 2), (0, 2, 5), (1, 0, 3)], [(1, 2, 3), (0, 2, 5), (1, 0, 2), (0, 0, 2)]):
        with ShardWriter(tmp_path, tmp_path / WORK, META, SIDE, videos) as writer:
            for number, start, stop in order:
                writer.put(*batch(number, start, stop))
            written.append(writer.finish([0, 1]).read_bytes())
    assert written[0] == written[1]
    (shard,) = tmp_path.glob("shard-*")
    tensors = load_file(shard)
    assert len(tensors) == 8
    for number, (mean, std) in enumerate(parts):
        for view, name in enumerate(("", ".flip")):
            assert torch.equal(tensors[f"{number}{name}.mean"], mean[view].half())
            assert torch.equal(tensors[f"{number}{name}.std"], std[view].half())


def test_incomplete_videos_are_left_out_of_the_shard(tmp_path):
    videos = [Content("a", 4), Content("b", 6), Content("c", 2)]
    with ShardWriter(tmp_path, tmp_path / WORK, PLAIN, SIDE, videos) as writer:
        for number, frames in ((0, 4), (1, 1), (2, 2)):
            value = moments(frames, 10 * number)
            writer.put(number, 0, Moments(value.mean[None], value.std[None]))
        path = writer.finish([0, 2])
    with ShardWriter(tmp_path / "x", tmp_path / WORK, PLAIN, SIDE, videos) as writer:
        assert writer.finish([]) is None, "nothing is whole, so there is no shard"
    shards = Shards(tmp_path, PLAIN)
    shards.refresh()
    assert shards.find("c-2") == Place(path.name, 1)
    assert shards.find("b-6") is None
    with safe_open(path, "pt") as shard:
        assert sorted(shard.keys()) == ["0.mean", "0.std", "1.mean", "1.std"]
        assert shard.get_tensor("1.mean")[:, 0, 0, 0].tolist() == [20, 21]
    alone = write_shard(
        tmp_path / "alone",
        PLAIN,
        [({"sha256": s, "frames": f}, [moments(f, o)]) for s, f, o in (("a", 4, 0), ("c", 2, 20))],
    )
    assert alone.read_bytes() == path.read_bytes(), "as if it had never been tried"


def test_a_shards_name_depends_on_content_and_settings(tmp_path):
    def name(meta: LatentMeta, *contents: Content) -> str:
        videos = [({"sha256": c.sha256, "frames": c.frames}, [moments(c.frames)]) for c in contents]
        views = [(row, value * (len(meta.tensor_suffixes) // 2)) for row, value in videos]
        return write_shard(tmp_path, meta, views).name

    a, b = Content("a", 2), Content("b", 2)
    given = [
        (PLAIN, a), (PLAIN, b), (PLAIN, a, b), (PLAIN, b, a), (PLAIN, Content("a", 3)), (META, a),
        *((replace(PLAIN, **{key: value}), a)
        for key, value in (("vae_fingerprint", "x"), ("size", 128), ("crop", "resize-crop"))),
    ]  # fmt: skip
    assert len({name(*each) for each in given}) == len(given)
    same_kind = replace(PLAIN, vae="elsewhere", classes=(), videos=9)
    assert name(same_kind, a) == name(PLAIN, a)


def test_a_shards_metadata_record_settings_and_videos(tmp_path):
    path = write_shard(tmp_path, PLAIN, [(row("x", 3), [moments(3)])])
    with safe_open(path, "pt") as shard:
        metadata = shard.metadata()
    assert json.loads(metadata["kind"]) == {
        "vae": "embedded",
        "vae_fingerprint": "abc",
        "latent_channels": 4,
        "size": 64,
        "crop": "crop-resize",
        "flip": False,
    }
    (video,) = json.loads(metadata["videos"])
    assert (video["sha256"], video["frames"], video["mask"]) == (row("x", 3)["sha256"], 3, None)
    assert "x" not in video.values(), "a video can be moved or relabeled"


def test_damaged_shards_and_those_of_other_settings_count_as_empty(tmp_path):
    ours = write_shard(tmp_path, PLAIN, [(row("x", 3), [moments(3)])])
    other = replace(PLAIN, vae_fingerprint="other")
    theirs = write_shard(tmp_path, other, [(row("y", 3), [moments(3)])])
    half = tmp_path / f"shard-{'0' * 16}.safetensors"
    half.write_bytes(ours.read_bytes()[:300])
    (tmp_path / "model.safetensors").write_bytes(b"another's")
    shards = Shards(tmp_path, PLAIN)
    shards.refresh()
    assert {name: len(videos) for name, videos in shards.held.items()} == {
        ours.name: 1,
        theirs.name: 0,
        half.name: 0,
    }
    assert shards.foreign[theirs.name]["vae_fingerprint"] == "other"
    ours.unlink()
    shards.refresh()
    assert shards.find(f"{row('x', 3)['sha256']}-3") is None


def test_a_full_disk_leaves_no_partial_files(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with (
        ShardWriter(tmp_path, tmp_path / WORK, PLAIN, SIDE, [Content("a", 3)]) as writer,
        pytest.raises(OSError, match="No space left") as caught,
    ):
        value = moments(3)
        writer.put(0, 0, Moments(value.mean[None], value.std[None]))
        writer.finish([0])
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_interrupted_encoding_cannot_be_opened(latents):
    index = latents.folder / INDEX
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(DataError, match="3 of 4 videos: the encoding was interrupted"):
        LatentSet.open(latents.folder)


def test_missing_and_damaged_latents_raise_an_error(latents):
    with pytest.raises(DataError, match="no latents here"):
        LatentSet.open(latents.folder / "none")
    (latents.folder / latents.videos[0].shard).write_bytes(b"x")
    (latents.folder / latents.videos[3].shard).unlink()
    reopened = LatentSet.open(latents.folder)
    for video in (reopened.videos[0], reopened.videos[3]):
        with pytest.raises(DataError, match=f"{video.shard}: missing or damaged"):
            reopened.moments(video, 0, 1)
    (latents.folder / "meta.json").write_text("{}")
    with pytest.raises(DataError, match="damaged"):
        LatentSet.open(latents.folder)
