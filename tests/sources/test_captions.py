"""`captions`: tables of videos and captions, where invalid lines are skipped."""

import json
import os

import pytest
from helpers.trees import touch, with_warnings

from latte_cli.runtime.errors import DataError
from latte_cli.sources import captions


def found_in(source, folder=None):
    """Names, captions, splits and labels; class names; warnings."""
    (videos, classes), warned = with_warnings(captions.find, source)
    folder = folder or (source if source.is_dir() else source.parent)
    rows = [
        (os.path.relpath(video.path, folder), video.caption, video.split, video.label)
        for video in videos
    ]
    return rows, classes, warned


def written(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


CSV = """caption,video,split,label,note
a cat,a.mp4,,cat,x
"a ""big"" dog, asleep
on a mat",sub/b c.mp4,TEST,dog,
 an é 猫 ,frames,val,cat,
"""


def test_a_csv_table_gives_captions_splits_and_labels(tmp_path):
    """Columns come in any order; quoted cells may hold commas, quotes and line breaks."""
    rows, classes, warned = found_in(written(tmp_path, "table.csv", CSV))
    assert rows == [
        ("a.mp4", "a cat", "train", 0),
        ("sub/b c.mp4", 'a "big" dog, asleep\non a mat', "test", 1),
        ("frames", "an é 猫", "test", 0),
    ]
    assert classes == ["cat", "dog"]
    assert warned == []


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_tables_of_other_programs_are_read(tmp_path, ends):
    """A byte order mark, tabs, line ends of Windows, spaces around column names."""
    text = f"\ufeff video\tcaption {ends}a.mp4\ta, b{ends}{ends}b.mp4\tc"
    path = tmp_path / "t.tsv"
    path.write_bytes(text.encode())
    assert [row[:2] for row in found_in(path)[0]] == [("a.mp4", "a, b"), ("b.mp4", "c")]


def test_json_lines_give_the_same_as_csv(tmp_path):
    table = written(
        tmp_path,
        "table.jsonl",
        lines(
            {"video": "a.mp4", "caption": "a cat", "label": None},
            {"video": "new\nline.mp4", "caption": "one", "split": "validation", "more": [1]},
        )
        + "\n",
    )
    assert found_in(table) == (
        [("a.mp4", "a cat", "train", None), ("new\nline.mp4", "one", "test", None)],
        [],
        [],
    )


def test_numeric_labels_keep_their_numbers(tmp_path):
    rows = [
        {"video": f"{n}.mp4", "caption": "x", "label": label} for n, label in enumerate([7, "2"])
    ]
    found, classes, _ = found_in(written(tmp_path, "t.jsonl", lines(*rows)))
    assert [label for *_, label in found] == [7, 2]
    assert classes == [str(number) for number in range(8)]
    rows[0]["label"] = "cat"
    found, classes, _ = found_in(written(tmp_path, "t.jsonl", lines(*rows)))
    assert ([label for *_, label in found], classes) == ([1, 0], ["2", "cat"])


def test_a_folder_with_a_single_table_may_be_given(tmp_path):
    written(tmp_path, "pets/table.jsonl", lines({"video": "a.mp4", "caption": "x"}))
    touch(tmp_path / "pets", "a.mp4", ".hidden.csv")
    assert found_in(tmp_path, tmp_path / "pets")[0] == [("a.mp4", "x", "train", None)]
    touch(tmp_path / "pets", "other.csv")
    with pytest.raises(DataError, match=r"one table .* found: other\.csv, table\.jsonl"):
        captions.find(tmp_path)


def test_paths_are_relative_to_the_table_and_may_start_with_a_space(tmp_path):
    touch(tmp_path / "else", "x.mp4")
    touch(tmp_path / "in", "a.mp4", " b.mp4")
    text = f"video,caption\n a.mp4,x\n b.mp4,x\n{tmp_path}/else/x.mp4,x\n../else/y.mp4,x\n"
    rows, _, _ = found_in(written(tmp_path / "in", "t.csv", text))
    assert [path for path, *_ in rows] == ["a.mp4", " b.mp4", "../else/x.mp4", "../else/y.mp4"]


def test_missing_videos_are_listed(tmp_path):
    """So that each is reported as rejected later."""
    found = found_in(written(tmp_path, "t.csv", "video,caption\ngone.mp4,x\n"))
    assert found == ([("gone.mp4", "x", "train", None)], [], [])


def test_a_repeated_video_has_all_its_captions_each_once(tmp_path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    lines = "a.mp4,x\n./a.mp4,y\nlink.mp4,z\nb.mp4,w\na.mp4,x\n"
    table = written(tmp_path, "t.csv", f"video,caption\n{lines}")
    rows, _, warned = found_in(table)
    assert [row[:2] for row in rows] == [("a.mp4", "x"), ("b.mp4", "w")]
    assert [video.more_captions for video in captions.find(table)[0]] == [("y", "z"), ()]
    assert warned == [f"{table}: 1 lines repeat a video and are skipped, the first: line 6: a.mp4"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"video": "b.mp4"', "does not parse"),
        ("[1]", "is not an object"),
        ('{"caption": "x"}', "no video"),
        ('{"video": "", "caption": "x"}', "no video"),
        ('{"video": "b.mp4"}', "no caption"),
        ('{"video": "b.mp4", "caption": " "}', "no caption"),
        ('{"video": "b.mp4", "caption": null}', "no caption"),
        ('{"video": ["b.mp4"], "caption": "x"}', "video is not text"),
        ('{"video": "b.mp4", "caption": "x", "label": 1.5}', "label is not text"),
        ('{"video": "b.mp4", "caption": "x", "split": "a"}', "unknown split: a"),
        ('{"video": "b\\u0000.mp4", "caption": "x"}', "video holds an invalid character"),
        ('{"video": "b.mp4", "caption": "\\ud800"}', "caption holds an invalid character"),
        ("[" * 100_000, "does not parse"),
    ],
)
def test_an_invalid_line_is_skipped_with_a_warning(tmp_path, line, message):
    good = '{"video": "a.mp4", "caption": "x"}'
    table = written(tmp_path, "t.jsonl", f"{good}\n\n{line}\n")
    rows, _, words = found_in(table)
    assert [path for path, *_ in rows] == ["a.mp4"]
    assert len(words) == 1
    assert words[0].startswith(f"{table}: 1 lines are invalid and are skipped, the first: ")
    assert f"line 3: {message}" in words[0]
    with pytest.raises(DataError, match=f"no line names a video; line 1: {message}"):
        captions.find(written(tmp_path, "t.jsonl", line))


def test_a_row_with_another_number_of_cells_is_skipped_with_a_warning(tmp_path):
    text = 'video,caption\na.mp4,"two\nlines"\nb.mp4,a cat, asleep\nc.mp4\nd.mp4,x\n'
    rows, _, warned = found_in(written(tmp_path, "t.csv", text))
    assert [path for path, *_ in rows] == ["a.mp4", "d.mp4"]
    assert "2 lines are invalid" in warned[0]
    assert "line 4: 3 cells, expected 2 (commas need quotes)" in warned[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "no column `video`; found: none"),
        ("t.csv", b"video,note\na.mp4,x\n", "no column `caption`; found: video, note"),
        ("t.csv", b"video,caption\n", "no line names a video"),
        ("t.csv", b'video,caption\na.mp4,x\nb.mp4,"open\nc.mp4,x\n', "line 3: does not parse"),
        ("t.csv", b"video,caption\na.mp4,caf\xe9\n", "is not UTF-8 text"),
        ("t.jsonl", b"", "no line names a video"),
        ("t.txt", b"video,caption\n", "is not a table of captions"),
    ],
)
def test_a_file_that_is_not_a_table_is_rejected(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        captions.find(tmp_path / name)
    assert error.value.hint


def test_a_missing_table_is_rejected(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        captions.find(tmp_path / "t.csv")
    with pytest.raises(DataError, match="found: none"):
        captions.find(tmp_path)
