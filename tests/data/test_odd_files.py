"""Every odd file gets one line, in words, and none of them ends a run."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from conftest import succeed

from latte_cli.data.checking import Job, check_video
from latte_cli.data.manifest import Rejection, SourceVideo, VideoRecord
from latte_cli.sources import shapes
from latte_cli.video_io import read_video, write_video

NAMES = [
    "two  spaces",
    "it's",
    'a "quote"',
    "new\nline",
    "tab\t",
    "Ünï çødé 视频",
    "-dash",
    "$HOME;*",
]
UNIX = pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")


def ffmpeg(*words):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, words)]
    subprocess.run(command, check=True)


def pictures(path, size="64x48", frames=12, *words):
    """A moving test picture."""
    path.parent.mkdir(exist_ok=True)
    source = ["-f", "lavfi", "-i", f"testsrc=size={size}:rate=8"]
    ffmpeg(*source, "-frames:v", frames, "-threads", 1, "-pix_fmt", "yuv420p", *words, path)
    return path


def checked(path, mask=None):
    return check_video(Job(SourceVideo(path, mask=mask), path.parent))


def reason(path, mask=None):
    """Why a file is rejected, in one sentence without its place or a traceback."""
    outcome = checked(path, mask).outcome
    assert isinstance(outcome, Rejection)
    assert outcome.path == path.name
    assert str(path.parent) not in outcome.reason
    assert "\n" not in outcome.reason
    assert "Traceback" not in outcome.reason
    return outcome.reason


def facts(path):
    outcome = checked(path).outcome
    assert isinstance(outcome, VideoRecord), outcome
    return outcome.frames, outcome.width, outcome.height


@pytest.fixture
def clip(tmp_path):
    return pictures(tmp_path / "in" / "whole.mp4", frames=24)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.mp4", b"", "the file is empty"),
        ("text.mp4", b"this is a text file\n" * 50, "cannot be decoded (invalid data"),
        ("zeros.mkv", bytes(5000), "cannot be decoded (invalid data"),
        ("header.webm", b"\x1aE\xdf\xa3" + bytes(40), "cannot be decoded ("),
        ("list.mp4", b"#EXTM3U\n#EXTINF:9,\nhttp://localhost:9/a.ts\n#EXT-X-ENDLIST\n", "cannot"),
    ],
)
def test_files_that_are_not_videos_are_rejected(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert message in reason(tmp_path / name)


def test_a_video_whose_packets_are_damaged(clip):
    content = bytearray(clip.read_bytes())
    start = content.index(b"mdat") + 8
    content[start : start + 3000] = np.random.default_rng(0).bytes(3000)
    clip.write_bytes(content)
    assert any(word in reason(clip) for word in ("cannot be decoded (", "is damaged (in frame "))


@pytest.mark.parametrize(
    ("suffix", "words", "message"),
    [
        (".mp4", [], "is cut off ("),
        (".mov", ["-movflags", "+faststart"], "is cut off ("),
        (".avi", ["-c:v", "mpeg4"], "is cut off ("),
        (".mkv", [], "is cut off ("),
        (".webm", ["-c:v", "libvpx"], "is cut off ("),
    ],
)
def test_a_video_that_ends_early(tmp_path, suffix, words, message):
    path = pictures(tmp_path / f"short{suffix}", "128x96", 40, *words)
    assert facts(path) == (40, 128, 96)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert message in reason(path)


def test_an_audio_file_is_rejected(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", tmp_path / "song.mp4")
    assert reason(tmp_path / "song.mp4") == "holds no video stream"


def test_the_cover_picture_of_an_audio_file_is_not_a_video(tmp_path):
    pictures(tmp_path / "cover.png", "64x48", 1)
    sound = ["-f", "lavfi", "-i", "sine=duration=1", "-i", tmp_path / "cover.png"]
    kinds = ["-map", 0, "-map", 1, "-c:a", "aac", "-c:v", "png", "-disposition:v", "attached_pic"]
    ffmpeg(*sound, *kinds, tmp_path / "song.mp4")
    assert reason(tmp_path / "song.mp4") == "holds no video stream"


def test_a_video_that_changes_its_size(tmp_path):
    parts = [pictures(tmp_path / f"{side}.mjpeg", f"{side}x{side}", 6) for side in (64, 96)]
    (tmp_path / "both.mjpeg").write_bytes(b"".join(part.read_bytes() for part in parts))
    path = tmp_path / "joined.avi"
    ffmpeg("-framerate", 8, "-i", tmp_path / "both.mjpeg", "-c", "copy", path)
    assert reason(path) == "changes its size (64 x 64, from frame 6 on 96 x 96)"


@pytest.mark.parametrize("size", ["63x47", "17x33", "8x8"])
def test_odd_and_small_sizes_are_accepted(tmp_path, size):
    path = pictures(tmp_path / "odd.mp4", size, 3, "-pix_fmt", "yuv444p")
    assert facts(path) == (3, *map(int, size.split("x")))
    assert read_video(path).shape[:1] == (3,)


def test_one_frame_is_a_video(tmp_path):
    assert facts(pictures(tmp_path / "one.mp4", frames=1)) == (1, 64, 48)


def test_8k_is_accepted(tmp_path):
    path = pictures(tmp_path / "8k.mp4", "7680x4320", 2, "-c:v", "mpeg4", "-q:v", 20)
    assert facts(path) == (2, 7680, 4320)


def test_rotation_and_uneven_times_are_recorded(tmp_path):
    path = pictures(tmp_path / "a.mp4")
    turned, uneven = tmp_path / "turned.mp4", tmp_path / "uneven.mkv"
    ffmpeg("-display_rotation", 90, "-i", path, "-c", "copy", turned)
    late = "settb=1/1000,setpts='if(lt(N,6),N,3*N)*100'"
    ffmpeg("-i", path, "-vf", late, "-fps_mode", "vfr", "-enc_time_base", "1/1000", uneven)
    even, around, slower = (checked(each).outcome for each in (path, turned, uneven))
    assert (even.rotation, even.width, even.height) == (0, 64, 48)
    assert (around.rotation, around.width, around.height) == (270, 48, 64)
    assert [video.variable_fps for video in (even, around, slower)] == [False, False, True]
    assert even.fps == 8


@UNIX
def test_a_name_that_is_not_utf8_is_escaped(clip):
    path = Path(os.fsdecode(os.fsencode(clip.parent) + b"/\xff.mp4"))
    clip.rename(path)
    outcome = checked(path).outcome
    assert outcome == Rejection("\\udcff.mp4", "its name is not valid UTF-8")


@pytest.mark.parametrize(
    ("code", "message"), [(errno.EACCES, "permission denied"), (errno.EIO, "input/output error")]
)
def test_an_unreadable_file_is_tried_again_by_the_next_run(clip, monkeypatch, code, message):
    def refuse(*words):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "open", refuse)
    assert reason(clip) == f"cannot be read ({message})"
    assert checked(clip).stamp is None


def test_running_out_of_memory_is_tried_again_by_the_next_run(clip, monkeypatch):
    def full(*words):
        raise MemoryError

    monkeypatch.setattr("latte_cli.data.checking.inspect_video", full)
    assert reason(clip) == "cannot be read (not enough memory)"
    assert checked(clip).stamp is None


def test_any_exception_of_a_decoder_rejects_its_file(clip, monkeypatch):
    def fails(*words):
        raise ZeroDivisionError("fps")

    monkeypatch.setattr("latte_cli.data.checking.inspect_video", fails)
    assert reason(clip) == "the decoder failed (ZeroDivisionError: fps)"


def test_missing_files_and_broken_links_are_rejected(tmp_path):
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    assert reason(tmp_path / "gone.mp4") == "no such file"
    assert reason(tmp_path / "link.mp4") == "a broken link"
    assert reason(tmp_path / "loop.mp4")
    assert checked(tmp_path / "gone.mp4").stamp is None


def test_folders_without_frames_or_with_damaged_ones(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    assert reason(tmp_path / "a.mp4") == "holds no frames"
    (tmp_path / "a.mp4" / "1.png").write_text("no picture")
    assert "frame 1.png cannot be read" in reason(tmp_path / "a.mp4")


def test_a_mask_must_fit_its_video(clip, tmp_path):
    masks = tmp_path / "masks"
    assert reason(clip, masks / "none.mp4") == "its mask: no such file"
    short = pictures(masks / "short.mp4", frames=23)
    expected = "its mask has another number of frames (23, the video 24)"
    assert reason(clip, short) == expected
    small = pictures(masks / "small.mp4", "32x48", 24)
    assert reason(clip, small) == "its mask has another size (32 x 48, the video 64 x 48)"
    (masks / "text.mp4").write_text("no mask")
    assert reason(clip, masks / "text.mp4").startswith("its mask: cannot be decoded (")
    sound = checked(clip, pictures(masks / "sound.mp4", frames=24)).outcome
    assert sound.mask == str(masks / "sound.mp4")


@pytest.fixture
def zoo(clip):
    """Sound files under odd names, and odd ones under all sorts of names."""
    folder = clip.parent
    for number, name in enumerate(NAMES if sys.platform == "linux" else NAMES[:2]):
        write_video(folder / f"{name}.mp4", shapes.render_clip(number, num_frames=3), 8)
        (folder / f"{name} - copy.mp4").write_bytes((folder / f"{name}.mp4").read_bytes())
        (folder / f"{name} - text.avi").write_text("no video")
    if sys.platform == "linux":
        clip.rename(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.mp4"))
    (folder / "empty.mp4").touch()
    (folder / "link.mp4").symlink_to(folder / "gone.mp4")
    (folder / "folder.mp4").mkdir()
    return folder


def test_each_odd_file_has_one_line(zoo, tmp_path):
    result = succeed("--json", "prepare", "folder", "--source", zoo, "--out", tmp_path / "d")
    assert "Traceback" not in result.stderr
    assert "folder.mp4: empty folders, skipped" in " ".join(result.stderr.split())
    rows = {name: [] for name in ("manifest", "rejected")}
    for name, found in rows.items():
        with (tmp_path / "d" / f"{name}.jsonl").open(encoding="utf-8") as lines:
            found += [json.loads(line) for line in lines]
    paths = [row["path"] for found in rows.values() for row in found]
    there = [path for path in zoo.iterdir() if not path.is_dir()]
    names = [os.fspath(path).encode(errors="backslashreplace").decode() for path in there]
    assert sorted(paths) == sorted(names), "one line each"
    accepted = {os.path.basename(row["path"]) for row in rows["manifest"]}
    count = len(NAMES if sys.platform == "linux" else NAMES[:2])
    assert len(accepted) >= count
    reasons = [row["reason"] for row in rows["rejected"]]
    assert sum(why.startswith("a duplicate (") for why in reasons) == count
    assert sum(why.startswith("cannot be decoded (") for why in reasons) == count
    shown = json.loads(result.stdout)
    assert shown["reasons"]["a duplicate"] == count
    assert sum(shown["reasons"].values()) == shown["rejected"] == len(rows["rejected"])
    assert shown["accepted"] == len(rows["manifest"])
