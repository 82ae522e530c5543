"""Folders of frames: in order, upright, only the needed ones; errors name the damaged one."""

import os

import numpy as np
import pytest
from PIL import Image

from latte_cli.data.checking import Job, check_video
from latte_cli.data.manifest import SourceVideo
from latte_cli.runtime.errors import VideoError
from latte_cli.video_io import frame_folders as folders
from latte_cli.video_io import inspect_video, iter_frames, read_video


def picture(value, height=12, width=16):
    return Image.fromarray(np.full((height, width, 3), value, np.uint8))


@pytest.fixture
def clip(tmp_path):
    """Six frames whose numbers begin at 86552 and grow a digit, among other things."""
    folder = tmp_path / "a 'clip' é\n"
    folder.mkdir()
    for number in range(6):
        picture(10 * number).save(folder / f"x_frames_{99997 + number}.png")
    for name in (".hidden.png", ".part-1-x_frames_9.png", "notes.txt", "x.jpg.part"):
        (folder / name).write_text("no picture")
    (folder / "3.png").mkdir()
    return folder


def test_frames_are_sorted_by_number(clip):
    names = [path.name for path in folders.frame_files(clip)]
    assert names == [f"x_frames_{number}.png" for number in range(99997, 100003)]
    assert [frame[0, 0, 0] for frame in iter_frames(clip)] == [0, 10, 20, 30, 40, 50]
    whole = read_video(clip)
    assert (whole.shape, whole.dtype) == ((6, 12, 16, 3), np.uint8)
    assert np.array_equal(read_video(clip, [4, 0, 4]), whole[[4, 0, 4]])


def test_frames_without_a_number_come_last_by_name(tmp_path):
    for name in ("b.bmp", "a.webp", "shot10.JPG", "shot9.jpeg", "9.png", "007_left.png"):
        picture(0).save(tmp_path / name)
    order = [path.name for path in folders.frame_files(tmp_path)]
    assert order == ["9.png", "shot9.jpeg", "shot10.JPG", "007_left.png", "a.webp", "b.bmp"]


def test_reading_a_window_opens_no_other_file(clip, monkeypatch):
    opened = []
    original = Image.open
    monkeypatch.setattr(
        Image, "open", lambda path: (opened.append(os.path.basename(path)), original(path))[1]
    )
    read_video(clip, [5, 2, 2])
    assert opened == ["x_frames_99999.png", "x_frames_100002.png"]
    next(iter_frames(clip))
    assert opened[2:] == ["x_frames_99997.png"]
    wanted = range(1, 6, 2)
    some = list(iter_frames(clip, wanted))
    assert [frame[0, 0, 0] for frame in some] == [10, 30, 50]
    assert opened[3:] == [f"x_frames_{99997 + number}.png" for number in wanted]
    assert list(iter_frames(clip, range(6, 9))) == []


def test_inspection_and_checksum_read_every_frame(clip):
    facts = inspect_video(clip)
    assert (facts.frames, facts.fps, facts.width, facts.height) == (6, 0, 16, 12)
    seen = []
    inspect_video(clip, lambda: seen.append("inspected"))
    folders.checksum_of_frames(clip, lambda: seen.append("summed"))
    assert seen == 6 * ["inspected"] + 6 * ["summed"], "one call for each frame"
    sizes = [path.stat().st_size for path in folders.frame_files(clip)]
    assert check_video(Job(SourceVideo(clip), clip.parent)).outcome.bytes == sum(sizes)
    first = folders.checksum_of_frames(clip)
    assert len(first) == 64
    (clip / "notes.txt").write_text("changed")
    assert folders.checksum_of_frames(clip) == first
    (clip / "x_frames_99997.png").rename(clip / "x_frames_1.png")
    renamed = folders.checksum_of_frames(clip)
    picture(7).save(clip / "x_frames_1.png")
    assert len({first, renamed, folders.checksum_of_frames(clip)}) == 3


def test_all_picture_modes_become_rgb(tmp_path):
    colors = Image.fromarray(np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3))
    turned = colors.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    turned.save(tmp_path / "0.png", exif=exif)
    colors.convert("RGBA").save(tmp_path / "1.png")
    colors.convert("P").save(tmp_path / "2.png")
    colors.convert("L").save(tmp_path / "3.png")
    Image.fromarray(np.full((12, 16), 0x8000, np.uint16)).save(tmp_path / "4.png")
    colors.convert("CMYK").save(tmp_path / "5.jpg")
    frames = read_video(tmp_path)
    assert frames.shape == (6, 12, 16, 3)
    assert np.array_equal(frames[0], np.asarray(colors))
    assert np.array_equal(frames[1], np.asarray(colors))
    assert (frames[4] == 0x80).all()


def break_off(folder):
    path = folder / "x_frames_99999.png"
    path.write_bytes(path.read_bytes()[:40])


def not_a_picture(folder):
    (folder / "x_frames_99999.png").write_text("text")


def lead_nowhere(folder):
    (folder / "x_frames_99999.png").unlink()
    (folder / "x_frames_99999.png").symlink_to("gone.png")


def lead_round(folder):
    (folder / "x_frames_99999.png").unlink()
    (folder / "x_frames_99999.png").symlink_to("x_frames_99999.png")


def enlarge(folder):
    picture(0, 16, 12).save(folder / "x_frames_99999.png")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_off, "frame x_frames_99999.png cannot be read"),
        (not_a_picture, "frame x_frames_99999.png cannot be read"),
        (lead_nowhere, "x_frames_99999.png cannot be read .no such file"),
        (lead_round, "x_frames_99999.png cannot be read .too many levels"),
        (enlarge, "x_frames_99999.png is 12 x 16, x_frames_99997.png is 16 x 12"),
    ],
)
def test_a_bad_frame_is_named(clip, damage, message):
    damage(clip)
    assert len(read_video(clip, [0, 1])) == 2
    for read in (read_video, inspect_video):
        with pytest.raises(VideoError, match=message):
            read(clip)


def test_missing_frames_raise_an_error(clip, tmp_path):
    with pytest.raises(VideoError, match="has no frame 6, the folder holds 6"):
        read_video(clip, [0, 6])
    with pytest.raises(VideoError, match=r"cannot read frames \[-1\]"):
        read_video(clip, [-1])
    for read in (read_video, inspect_video, folders.checksum_of_frames):
        with pytest.raises(VideoError, match="holds no frames"):
            read(tmp_path)
