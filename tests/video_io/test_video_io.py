"""Reading videos as ffmpeg decodes them, from the first frame on, by both readers."""

import errno
import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from latte_cli import video_io
from latte_cli.runtime.errors import VideoError
from latte_cli.sources import shapes
from latte_cli.video_io import reading, writing


@pytest.fixture(params=["PyAV", "decord"])
def reader(request, monkeypatch):
    """The same tests by each reader, the other one being out of the way."""
    if request.param == "PyAV":
        monkeypatch.setattr(reading, "decord", None)
    elif reading.decord is None:
        pytest.skip("decord has no wheel for this machine")
    else:
        monkeypatch.setattr(reading, "av_frames", gives_up)
    return request.param


def gives_up(*words):
    raise VideoError("made to fail")
    yield


@pytest.fixture
def clip(tmp_path) -> Path:
    path = tmp_path / "clip.mp4"
    video_io.write_video(path, shapes.render_clip(1, num_frames=12), 8)
    return path


def test_what_is_written_is_read_back(reader, clip):
    frames = video_io.read_video(clip)
    assert frames.shape == (12, 64, 64, 3)
    assert frames.dtype == np.uint8
    error = (frames.astype(float) - shapes.render_clip(1, num_frames=12)) ** 2
    assert 10 * np.log10(255**2 / error.mean()) > 30, "H.264 at this rate factor is hardly visible"
    facts = video_io.inspect_video(clip)
    assert (facts.frames, facts.fps, facts.width, facts.height) == (12, 8.0, 64, 64)


def test_any_frames_in_any_order(reader, clip):
    whole = video_io.read_video(clip)
    assert np.array_equal(video_io.read_video(clip, [7, 2, 2, 11]), whole[[7, 2, 2, 11]])
    with pytest.raises(VideoError, match="has no frame 12"):
        video_io.read_video(clip, [3, 12])
    with pytest.raises(VideoError, match="-1"):
        video_io.read_video(clip, [-1])


def test_reading_stops_at_the_last_frame_needed(clip, monkeypatch):
    monkeypatch.setattr(reading, "decord", None)
    decoded = []
    original = reading.decoded

    def counting(*words):
        for frame in original(*words):
            decoded.append(frame)
            yield frame

    monkeypatch.setattr(reading, "decoded", counting)
    video_io.read_video(clip, [0, 3])
    assert len(decoded) == 4


def test_still_videos_keep_all_their_frames(tmp_path):
    still = np.full((9, 32, 32, 3), 77, np.uint8)
    video_io.write_video(tmp_path / "still.mp4", still, 8)
    assert len(video_io.read_video(tmp_path / "still.mp4")) == 9


def test_pyav_takes_over_where_decord_fails(clip, monkeypatch):
    if reading.decord is None:
        pytest.skip("decord has no wheel for this machine")
    whole = video_io.read_video(clip)

    def gives_up_later(*words):
        yield from whole[:5]
        raise reading.decord.DECORDError("made to fail")

    monkeypatch.setattr(reading, "_decord_frames", gives_up_later)
    assert np.array_equal(video_io.read_video(clip), whole)
    window = list(video_io.iter_frames(clip, range(0, 12, 2)))
    assert np.array_equal(window, whole[:12:2]), "it goes on where decord stopped"


def test_writing_to_a_full_disk_leaves_nothing(tmp_path):
    """As a limit of the size of files does, which fails in the same calls."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), dtype=np.uint8)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            video_io.write_video(tmp_path / "x.mp4", noise, 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(tmp_path / "x.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_sampled_clip_on_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    """The program that writes it does not say how it ended."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
    monkeypatch.setattr(writing, "_is_complete", lambda path, frames: False)
    with pytest.raises(OSError, match="No space left") as caught:
        video_io.write_clip(tmp_path / "x.mp4", np.zeros((2, 32, 32, 3), np.uint8), 8, {})
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(64, 64), (34, 34), (66, 34), (240, 320)])
def test_the_same_frames_make_the_same_file(size, tmp_path):
    """Whatever the memory held before, which x264 reads beyond the edges of some sizes."""
    chance, written = np.random.default_rng(0), set()
    frames = chance.integers(0, 32, (6, *size, 3), dtype=np.uint8) + np.arange(3, dtype=np.uint8)
    for _ in range(12):
        noise = [chance.integers(0, 255, 1000 << n, dtype=np.uint8) for n in range(9)]
        del noise
        video_io.write_video(tmp_path / "x.mp4", frames, 8)
        written.add((tmp_path / "x.mp4").read_bytes())
    assert len(written) == 1


def test_colors_are_halved_as_by_the_program_of_ffmpeg(tmp_path):
    """Still frames of a rate factor this low come back as they were halved."""
    frames = np.repeat(shapes.render_clip(3, num_frames=1), 4, axis=0)
    video_io.write_video(tmp_path / "ours.mp4", frames, 8, crf=0)
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x64", "-r", "8", "-i", "-"]
    target = ["-pix_fmt", "yuv420p", "-crf", "0", str(tmp_path / "theirs.mp4")]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, *target]
    subprocess.run(command, input=frames.tobytes(), check=True)
    ours, theirs = (video_io.read_video(tmp_path / f"{name}.mp4") for name in ("ours", "theirs"))
    assert np.array_equal(ours, theirs)


def test_files_that_are_not_videos_are_rejected(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is a text file")
    for name, message in [
        ("empty", "is empty"),
        ("text", "cannot be decoded"),
        ("none", "no such"),
    ]:
        with pytest.raises(VideoError, match=message):
            video_io.inspect_video(tmp_path / f"{name}.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".webm"])
def test_a_truncated_video_does_not_pass(tmp_path, suffix):
    """Decoders give what is there of AVI, Matroska and WebM without a word."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 64, 3), dtype=np.uint8)
    video_io.write_video(tmp_path / "whole.mp4", noise, 8)
    path = tmp_path / f"clip{suffix}"
    codec = {".avi": "mpeg4", ".webm": "libvpx"}.get(suffix, "copy")
    words = ["-v", "error", "-i", tmp_path / "whole.mp4", "-c:v", codec, path]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *words], check=True)
    assert video_io.inspect_video(path).frames == 48
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(VideoError):
        video_io.inspect_video(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("corrupted.mp4", "cannot be decoded"),
        ("result.webm", "empty"),
        ("clip_h264.mp4", "cannot be decoded"),
        ("count-english-audio.mp4", "no video stream"),
        ("FlashVideo.flv", "cannot be decoded"),
        ("WindowsMediaVideo.wmv", "no frames"),
        ("AudioVideoInterleave.avi", "no frames"),
    ],
)
def test_odd_files_are_rejected_with_a_reason(real_clips, name, message):
    with pytest.raises(VideoError, match=message):
        video_io.inspect_video(real_clips / "odd" / name)


@pytest.mark.parametrize("name", ["no_duration.webm", "-video-with-dash-.mp4", "unordered.mov"])
def test_odd_but_valid_files_are_read(real_clips, name):
    path = real_clips / "odd" / name
    assert len(video_io.read_video(path)) == video_io.inspect_video(path).frames
