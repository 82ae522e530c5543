"""`taichi-hd`: clips as mp4 or as folders of frames, and their table."""

import csv

import pytest
from helpers.trees import touch, with_warnings

from latte_cli.runtime.errors import DataError
from latte_cli.sources import taichi_hd

HEADER = "video_id,start,end,bbox,fps,width,height,partition\n"


def found_in(root, **options):
    (videos, classes), warned = with_warnings(taichi_hd.find, root, **options)
    assert classes == []
    return [(str(video.path.relative_to(root)), video.split) for video in videos], warned


def table(root, *rows):
    root.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{video},{start},{end},1-2-3-4,29.97,640,480,{part}\n" for video, start, end, part in rows
    ]
    (root / "taichi-metadata.csv").write_text(HEADER + "".join(lines))


@pytest.mark.parametrize("around", [".", "taichi"])
def test_videos_and_folders_of_frames_with_clip_names_are_clips(tmp_path, around):
    root = tmp_path / around
    touch(root, "train/-a#b#000080#000300.mp4", "test/c#000000#000128.mp4/0000000.png")
    found, warned = found_in(root)
    assert found == [
        ("test/c#000000#000128.mp4", "test"),
        ("train/-a#b#000080#000300.mp4", "train"),
    ]
    assert warned == []


def test_one_split_may_be_given_alone(tmp_path):
    touch(tmp_path, "test/a#000000#000128.mp4")
    assert found_in(tmp_path / "test") == ([("a#000000#000128.mp4", "test")], [])


@pytest.mark.parametrize("place", [".", "..", "train"])
def test_the_table_decides_the_split(tmp_path, place):
    root = tmp_path / "taichi"
    touch(root, "train/a#000080#000300.mp4", "train/b#000000#000128/0.png", "train/mine.mp4")
    table(root / place, ("a", 80, 300, "train"), ("b", 0, 128, "test"))
    found, warned = found_in(root)
    assert [split for _, split in found] == ["train", "test", "train"]
    assert warned == ["1 clips are in the folder of another split, the first: b#000000#000128"]


def test_the_table_may_be_beside_the_archive(tmp_path):
    touch(tmp_path / "in", "a#000080#000300.mp4")
    table(tmp_path / "downloads", ("a", 80, 300, "test"))
    assert found_in(tmp_path / "in", beside=tmp_path / "downloads")[0][0][1] == "test"


def test_missing_clips_give_a_warning(tmp_path):
    touch(tmp_path, "train/a#000080#000300.mp4")
    table(tmp_path, ("a", 80, 300, "train"), ("a", 300, 500, "train"), ("b", 0, 128, "test"))
    assert found_in(tmp_path)[1] == [f"found 1 of the 3 clips of {tmp_path}/taichi-metadata.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video_id,start,end\na,1,2\n", "no column `partition`"),
        (HEADER + "a,80,300,1-2-3-4,29.97,640,480,train\na,x,2,,,,,train\n", "line 3: does not"),
        (HEADER + "a,80,300,1-2-3-4,29.97,640,480,dev\n", "line 2: does not parse .'dev'"),
        (HEADER + "a,80\n", "line 2: does not parse"),
    ],
)
def test_an_invalid_table_is_rejected(tmp_path, text, message):
    touch(tmp_path, "train/a#000080#000300.mp4")
    (tmp_path / "taichi-metadata.csv").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        taichi_hd.find(tmp_path)
    assert "move it away" in error.value.hint


def test_the_official_table_matches_its_clips(tmp_path, real_clips):
    metadata = real_clips / "lists" / "taichi-metadata.csv"
    with metadata.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        name = f"{row['video_id']}#{int(row['start']):06d}#{int(row['end']):06d}.mp4"
        touch(tmp_path / "taichi" / row["partition"], name)
    (tmp_path / "taichi-metadata.csv").write_bytes(metadata.read_bytes())
    found, warned = found_in(tmp_path / "taichi")
    assert len(found) == len({(row["video_id"], row["start"], row["end"]) for row in rows})
    assert warned == []
