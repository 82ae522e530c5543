"""`skytimelapse`: nested folders of frames, and the other forms of the data set."""

import pytest
from helpers.trees import touch, with_warnings
from PIL import Image

from latte_cli.runtime.errors import DataError
from latte_cli.sources import skytimelapse
from latte_cli.video_io import read_video


def frames(video, clip, first=86552, count=3):
    return [f"{video}/{clip}/{clip}_frames_{first + n:08d}.jpg" for n in range(count)]


def found_in(root):
    (videos, classes), warned = with_warnings(skytimelapse.find, root)
    assert classes == []
    assert all(video.label is None and video.mask is None for video in videos)
    return [(str(video.path.relative_to(root)), video.split) for video in videos], warned


@pytest.mark.parametrize("around", [".", "sky_timelapse", "download/sky_timelapse"])
def test_every_folder_of_frames_is_a_video_of_its_split(tmp_path, around):
    root = tmp_path / around
    touch(root / "sky_train", *frames("-abC", "-abC_1"), *frames("-abC", "-abC_2"))
    touch(root / "sky_test", *frames("x y", "x y_1", count=2), "list.txt")
    found, warned = found_in(tmp_path)
    inside = [(name.removeprefix(f"{around}/"), split) for name, split in found]
    assert warned == []
    assert inside == [
        ("sky_test/x y/x y_1", "test"),
        ("sky_train/-abC/-abC_1", "train"),
        ("sky_train/-abC/-abC_2", "train"),
    ]


def test_one_split_may_be_given_alone(tmp_path):
    touch(tmp_path / "sky_test", *frames("a", "a_1"))
    assert found_in(tmp_path / "sky_test") == ([("a/a_1", "test")], [])


def test_empty_folders_give_a_warning_and_short_ones_are_listed(tmp_path):
    """The data set has both."""
    touch(tmp_path / "sky_train", *frames("a", "a_1", count=1))
    (tmp_path / "sky_train" / "a" / "a_2").mkdir()
    found, warned = found_in(tmp_path)
    assert found == [("sky_train/a/a_1", "train")]
    assert warned == [f"{tmp_path}/sky_train/a/a_2: empty folders, skipped"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["train/a_1/1.png", "train/a_1/2.png", "test/b_1/1.png"], ["test/b_1", "train/a_1"]),
        (["train/a_1.mp4", "test/b_1.mp4"], ["test/b_1.mp4", "train/a_1.mp4"]),
    ],
)
def test_the_release_at_256_pixels_has_no_folders_of_videos(tmp_path, names, found):
    touch(tmp_path / "sky_timelapse_256", *names)
    there, _ = found_in(tmp_path / "sky_timelapse_256")
    assert there == [(found[0], "test"), (found[1], "train")]


def test_without_splits_all_is_train(tmp_path):
    touch(tmp_path, *frames("a", "a_1"), *frames("b", "b_1"))
    assert found_in(tmp_path)[0] == [("a/a_1", "train"), ("b/b_1", "train")]


def test_frames_are_read_by_their_numbers(tmp_path):
    """They do not start at 0, and those of long videos have more digits."""
    folder = tmp_path / "sky_train" / "a" / "a_1"
    folder.mkdir(parents=True)
    for place, number in enumerate((99998, 99999, 100000)):
        name = f"a_frames_{number}.png"
        Image.new("RGB", (16, 12), (place, 0, 0)).save(folder / name)
    (video,) = skytimelapse.find(tmp_path)[0]
    assert [int(frame[0, 0, 0]) for frame in read_video(video.path)] == [0, 1, 2]


def test_a_folder_without_videos_is_rejected(tmp_path):
    (tmp_path / "sky_train").mkdir()
    with pytest.raises(DataError, match="no videos in this folder") as error:
        skytimelapse.find(tmp_path)
    assert "a folder of images (.bmp .jpeg .jpg .png .webp) is a video, too" in error.value.hint


def test_splits_are_found_beside_other_folders(tmp_path):
    touch(tmp_path / "sky_timelapse" / "sky_train", *frames("a", "a_1"))
    touch(tmp_path / "sky_timelapse" / "sky_test", *frames("b", "b_1"))
    touch(tmp_path, "readme/notes.txt", "demo/c.mp4")
    found, warned = found_in(tmp_path)
    assert found == [
        ("sky_timelapse/sky_test/b/b_1", "test"),
        ("sky_timelapse/sky_train/a/a_1", "train"),
    ]
    assert warned == [
        "1 videos are in no folder of a split and are left out, the first: demo/c.mp4"
    ]
