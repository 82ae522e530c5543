"""Folders of frames: in order, upright, only the needed ones; errors name the damaged one."""

import os
from datetime import datetime, timedelta

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


def test_frames_of_several_kinds_are_in_natural_order(tmp_path):
    for name in ("b.bmp", "a.webp", "shot10.JPG", "shot9.jpeg", "9.png", "007_left.png"):
        picture(0).save(tmp_path / name)
    order = [path.name for path in folders.frame_files(tmp_path)]
    assert order == ["007_left.png", "9.png", "a.webp", "b.bmp", "shot9.jpeg", "shot10.JPG"]
    assert folders.unclear_order(order).startswith("5 kinds of names, such as ")


SECONDS = [datetime(2021, 1, 5, 23, 59, 40) + timedelta(seconds=n) for n in range(40)]
MINUTES = [datetime(2021, 1, 31, 23, 30) + timedelta(minutes=n) for n in range(40)]


@pytest.mark.parametrize(
    "names",
    [
        [f"{time:%Y-%m-%d_%H-%M-%S}.png" for time in SECONDS],
        [f"{time:IMG_%Y%m%d_%H%M%S}.png" for time in MINUTES],
        [f"{time:%Y-%m-%dT%H:%M:%S.%fZ}.png" for time in SECONDS],
        [f"{1305031102.175304 + n / 30:.6f}.png" for n in range(40)],
        [f"{n * 40 / 1000}.png" for n in range(60)],
        [f"{n / 8}.jpg" for n in range(60)],
        [f"1.{n}.png" for n in range(60)],
        [f"shot{shot}.{n}.png" for shot in (1, 2, 10) for n in range(1, 30)],
        [f"frame ({n + 1}).png" for n in range(40)],
        [f"frame{n + 1}_out.png" for n in range(40)],
        [f"{n}of40.png" for n in range(40)],
        [f"shot{shot}_{n:03d}.png" for shot in (1, 2, 10) for n in range(20)],
        [f"{n}_{n * 33}ms.webp" for n in range(40)],
        [f"{'aB'[n % 2]}_{n}".upper()[2:] + ".JPG" for n in range(40)],
        [f"{n:02d}.{'jpg' if n % 3 else 'png'}" for n in range(40)],
        [f"2k_take3_{n}.png" for n in range(95, 105)],
    ],
)
def test_numbers_anywhere_in_a_name_count(names):
    assert folders.in_natural_order(sorted(names)) == names
    assert folders.in_natural_order(reversed(names)) == names
    assert folders.unclear_order(names) == ""


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["left_1.png", "left_2.png", "right_1.png"], "2 kinds of names"),
        (["000.jpg", "000.png", "001.png"], "000.jpg and 000.png have the same number"),
        (["1.png", "01.png"], "01.png and 1.png have the same number"),
        (["Frame1.png", "frame1.png"], "Frame1.png and frame1.png have the same number"),
        (["3fa9.png", "c0de.png", "77ab.png"], "3 kinds of names"),
        (["cover.png", "1.png", "2.png"], "2 kinds of names, such as"),
        (["31-01-2021.png", "01-02-2021.png"], "dates with the year last, such as in "),
    ],
)
def test_why_an_order_is_not_clear(names, reason):
    assert folders.unclear_order(names).startswith(reason)


def test_transparent_pixels_are_white(tmp_path):
    """Their hidden colors may be anything; half transparent ones are mixed with white."""
    colors = np.zeros((4, 6, 4), np.uint8)
    colors[..., 0], colors[:, 3:, 3], colors[:, 5:, 3] = 200, 255, 51
    Image.fromarray(colors, "RGBA").save(tmp_path / "0.png")
    Image.fromarray(colors, "RGBA").save(tmp_path / "1.webp", lossless=True, exact=True)
    palette = Image.fromarray(colors[..., 3]).convert("P")
    palette.save(tmp_path / "2.png", transparency=palette.getpixel((0, 0)))
    Image.fromarray(colors[..., 0]).save(tmp_path / "3.png", transparency=200)
    frames = read_video(tmp_path)
    assert (frames[:, :, :3] == 255).all()
    assert frames[0, 0, 3].tolist() == frames[1, 0, 3].tolist() == [200, 0, 0]
    assert frames[0, 0, 5].tolist() == [244, 204, 204]


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
