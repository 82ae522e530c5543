"""Both readers against ffmpeg's sequential decode, over the containers that ffmpeg writes."""

import subprocess

import numpy as np
import pytest
from helpers.clips import by_ffmpeg, copied, ffmpeg, moving

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io import inspect_video, iter_frames, reading

FRAMES = 25
MIN_PSNR_DB = 40.0  # decord converts colors by an ffmpeg of its own; another frame is below 25

H264 = ["mp4", "mov", "mkv", "ts", "m2ts", "flv", "avi", "asf", "nut", "3gp", "m4v", "f4v"]
HEVC = ["mp4", "mov", "mkv", "ts", "m2ts", "flv", "nut"]
OTHER = {
    "mpeg4": ["mp4", "avi", "mkv", "mov", "ts"],
    "mpeg2video": ["mpg", "vob", "ts", "mkv", "avi"],
    "mjpeg": ["avi", "mov", "mkv"],
    "libvpx": ["webm", "mkv", "ivf"],
    "libvpx-vp9": ["webm", "mp4"],
    "libtheora": ["ogv", "mkv"],
    "wmv2": ["wmv", "avi"],
    "flv": ["flv"],
    "ffv1": ["mkv", "avi"],
}
FRAGMENTS = ["frag_keyframe+empty_moov", "dash", "global_sidx"]


def encoded(path, codec, b_frames, open_gop):
    """A base with three groups of pictures; packets are copied from it."""
    name = codec.removeprefix("lib")
    quiet = ":log-level=none" if name == "x265" else ""
    gop = f"keyint=10:min-keyint=10:scenecut=0:bframes={b_frames}:open-gop={open_gop}{quiet}"
    return moving(path, "-c:v", codec, "-preset", "ultrafast", f"-{name}-params", gop)


def compare(path):
    """What is accepted must be equal by both readers; ffmpeg must fail on what is rejected.

    It fails on some H.264 that it copied to ASF itself, whose first packet cannot be decoded there.
    """
    try:
        facts = inspect_video(path)
    except VideoError:
        if path.suffix != ".asf":
            raise
        with pytest.raises(VideoError, match="cannot be decoded"):
            inspect_video(path)
        with pytest.raises(subprocess.CalledProcessError):
            ffmpeg("-xerror", "-i", path, "-f", "null", "-")
        return None
    expected = by_ffmpeg(path, (facts.height, facts.width, 3))
    assert facts.frames == len(expected) > 0, path.name
    by_pyav = np.stack([*reading.av_frames(path)])
    assert np.array_equal(by_pyav, expected), path.name
    either = np.stack([*iter_frames(path)])
    assert either.shape == expected.shape, path.name
    errors = np.square(either.astype(np.int32) - expected).mean(axis=(1, 2, 3)).max()
    assert errors < 255**2 / 10 ** (MIN_PSNR_DB / 10), path.name
    window = list(iter_frames(path, range(3, len(expected), 4)))
    assert np.array_equal(window, either[3::4]), path.name
    return facts


@pytest.mark.parametrize("open_gop", [0, 1])
@pytest.mark.parametrize("b_frames", [0, 3])
@pytest.mark.parametrize(("codec", "containers"), [("libx264", H264), ("libx265", HEVC)])
def test_frames_equal_those_of_ffmpeg(tmp_path, codec, containers, b_frames, open_gop):
    base = encoded(tmp_path / "base.mp4", codec, b_frames, open_gop)
    for container in containers:
        facts = compare(copied(base, tmp_path / f"a.{container}"))
        assert facts is None or (facts.frames, round(facts.fps)) == (FRAMES, 25), container


@pytest.mark.parametrize(("codec", "containers"), OTHER.items())
def test_frames_of_other_codecs_equal_those_of_ffmpeg(tmp_path, codec, containers):
    b_frames = ["-bf", 2] if codec in ("mpeg4", "mpeg2video") else []
    for container in containers:
        path = moving(tmp_path / f"a.{container}", "-c:v", codec, "-g", 10, *b_frames)
        assert compare(path).frames == FRAMES


@pytest.mark.parametrize("flags", FRAGMENTS)
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_fragments_equal_what_ffmpeg_decodes(tmp_path, codec, flags):
    base = encoded(tmp_path / "base.mp4", codec, 3, 1)
    flags = "frag_keyframe+empty_moov+default_base_moof+" + flags
    assert compare(copied(base, tmp_path / "a.mp4", "-movflags", flags)).frames == FRAMES


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("container", ["mp4", "mov", "mkv", "flv"])
def test_trims_without_encoding_equal_what_ffmpeg_decodes(tmp_path, codec, container):
    base = encoded(tmp_path / "base.mp4", codec, 3, 0)
    for number, times in enumerate(
        [("-ss", 0.5), ("-ss", 0.5, "-t", 0.3), ("-copyts", "-ss", 0.5)]
    ):
        compare(copied(base, tmp_path / f"{number}.{container}", before=times))


@pytest.mark.skipif(reading.decord is None, reason="decord has no wheel for this machine")
@pytest.mark.parametrize(
    ("container", "by_decord"), [("mp4", 1), ("mkv", 1), ("ts", 0), ("asf", 0)]
)
def test_decord_reads_only_containers_that_it_reads_rightly(tmp_path, container, by_decord):
    base = encoded(tmp_path / "base.mp4", "libx264", 2, 0)
    path = copied(base, tmp_path / f"a.{container}")
    assert bool(reading._suits_decord(path, None)) == by_decord


@pytest.mark.skipif(reading.decord is None, reason="decord has no wheel for this machine")
def test_pyav_reads_on_where_decord_repeats_a_frame(tmp_path, monkeypatch):
    path = encoded(tmp_path / "a.mp4", "libx264", 2, 0)
    whole = np.stack([*iter_frames(path)])

    class Padding:
        """Loses two frames and repeats the last one instead, as decord does."""

        def __init__(self, *words, **options):
            self._frames = iter([*whole[:-2], *[whole[-3]] * 2])

        def __len__(self):
            return FRAMES

        def next(self):
            frame = next(self._frames)
            return type("Array", (), {"asnumpy": lambda self: frame})()

    monkeypatch.setattr(reading.decord, "VideoReader", Padding)
    assert np.array_equal(np.stack([*iter_frames(path)]), whole)
