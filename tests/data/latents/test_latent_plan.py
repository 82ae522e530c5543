"""Which videos are to be encoded, and in which chunks."""

from dataclasses import replace
from pathlib import Path

import pytest

from latte_cli.data.latents import plan as latent_plan
from latte_cli.data.latents.plan import Content, Source, chunks_of, sources_of
from latte_cli.data.manifest import Dataset, VideoRecord
from latte_cli.runtime.errors import VideoError
from latte_cli.runtime.files import sha256_of


def record(path: str, frames: int = 10, sha256: str = "", **values: object) -> VideoRecord:
    plain = VideoRecord(path, frames, 25.0, 64, 48, None, None, "train", 5, sha256 or path)
    return replace(plain, **values)


def source(name: str, frames: int = 10, sha256: str = "") -> Source:
    return Source(record(name, frames, sha256), Path(name), None)


def names(chunks: list[tuple[Source, ...]]) -> list[str]:
    return ["".join(each.video.path for each in chunk) for chunk in chunks]


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(latent_plan, "SHARD_BYTES", 300)


def test_a_chunk_holds_the_videos_that_start_within_one_shard():
    videos = [source(name) for name in "abcdefgh"]
    assert names(chunks_of(videos, 10)) == ["abc", "def", "gh"]
    assert names(chunks_of(videos, 12)) == ["abc", "de", "fgh"]
    assert names(chunks_of(videos, 1000)) == list("abcdefgh"), "a large video has its own"
    assert chunks_of([], 10) == []


def test_appended_videos_do_not_change_earlier_chunks():
    videos = [
        source(name, frames) for name, frames in zip("abcdefgh", range(3, 27, 3), strict=True)
    ]
    whole = chunks_of(videos, 10)
    for count in range(len(videos)):
        fewer = chunks_of(videos[:count], 10)
        assert fewer[:-1] == whole[: max(0, len(fewer) - 1)]


def test_of_identical_videos_only_the_first_is_encoded():
    videos = [source("a"), source("b", sha256="a"), source("c"), source("d", 11, sha256="a")]
    assert names(chunks_of(videos, 10)) == ["acd"]


def test_keys_depend_on_content_length_and_mask_but_not_on_the_path():
    contents = [Content("a", 3), Content("b", 3), Content("a", 4), Content("a", 3, "m")]
    contents.append(Content("a", 3, pixel_aspect=1.5))
    assert len({content.key for content in contents}) == 5
    assert source("x", 3, "a").key == source("y", 3, "a").key == Content("a", 3).key


def test_a_mask_is_identified_by_its_content(tmp_path):
    for name, content in (("v.mp4", b"video"), ("m.mp4", b"mask")):
        (tmp_path / name).write_bytes(content)
    video = record("v.mp4", mask="m.mp4")
    dataset = Dataset(tmp_path, (video, replace(video, mask=None), replace(video, mask="n")), ())
    with_mask, without, unreadable = sources_of(dataset)
    assert with_mask.mask == sha256_of(tmp_path / "m.mp4")
    assert with_mask.path == tmp_path / "v.mp4"
    assert len({with_mask.key, without.key, unreadable.key}) == 3


def test_a_changed_or_missing_source_raises_an_error(tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(b"video")
    video = Source(record("v.mp4", sha256=sha256_of(path)), path, None)
    video.check()
    path.write_bytes(b"another")
    with pytest.raises(VideoError, match=r"v\.mp4: changed since it was prepared"):
        video.check()
    path.write_bytes(b"")
    with pytest.raises(VideoError, match="empty"):
        video.check()
    path.unlink()
    with pytest.raises(VideoError, match="no such file"):
        video.check()
