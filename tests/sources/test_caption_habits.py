"""Tables of captions as other programs and other systems write them."""

import json
import unicodedata

import pytest
from helpers.trees import touch, with_warnings

from latte_cli.runtime.errors import DataError
from latte_cli.sources import captions


def found_in(folder, name, text, encoding="utf-8"):
    """Paths, captions, splits and labels; class names; warnings."""
    table = folder / name
    table.write_bytes(text.encode(encoding))
    (videos, classes), warned = with_warnings(captions.find, table)
    rows = [
        (str(video.path.relative_to(folder)), video.caption, video.split, video.label)
        for video in videos
    ]
    return rows, classes, warned


def labels_of(folder, *labels):
    text = "".join(f"{n}.mp4,x,{label}\n" for n, label in enumerate(labels))
    rows, classes, warned = found_in(folder, "t.csv", "video,caption,label\n" + text)
    return [label for *_, label in rows], classes, warned


def test_whole_numbers_written_as_floats_are_class_numbers(tmp_path):
    """As pandas writes a column with an empty cell."""
    labels, classes, warned = labels_of(tmp_path, "1.0", "", "3.0", "1")
    assert labels == [1, None, 3, 1]
    assert classes == ["0", "1", "2", "3"]
    assert warned == [f"{tmp_path / 't.csv'}: 1 of 4 videos have no label, the first: 1.mp4"]


@pytest.mark.parametrize("none", ["nan", "NaN", "None", "null", "<NA>", "NA", "-1", "-1.0"])
def test_words_for_no_label_beside_numbers_are_no_class(tmp_path, none):
    labels, classes, warned = labels_of(tmp_path, "0", none, "1.0")
    assert (labels, classes) == ([0, None, 1], ["0", "1"])
    assert len(warned) == 1


def test_class_names_are_taken_as_they_are(tmp_path):
    assert labels_of(tmp_path, "None", "1.0", "cat")[:2] == ([1, 0, 2], ["1.0", "None", "cat"])
    assert labels_of(tmp_path, "0.5", "1.0")[:2] == ([0, 1], ["0.5", "1.0"])
    cafe = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    assert labels_of(tmp_path, *cafe)[:2] == ([0, 0], [cafe[0]])


def test_a_negative_class_number_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"label -2, but class numbers begin at 0") as error:
        labels_of(tmp_path, "1", "-2")
    assert "empty" in error.value.hint


@pytest.mark.parametrize(
    "header",
    [
        ("Video", "Caption"),
        ("video_path", "text"),
        ("Video Path", "Prompt"),
        ("filename", "description"),
        ("file_name", "Sentence"),
        ("path", "caption"),
        ("clip_path", "captions"),
    ],
)
def test_columns_go_by_their_usual_names(tmp_path, header):
    text = f"id,{header[0]},{header[1]},Class,Subset\n7,a.mp4,a cat,cats,Validation\n"
    expected = [("a.mp4", "a cat", "test", 0)]
    assert found_in(tmp_path, "t.csv", text) == (expected, ["cats"], [])
    row = dict(zip((*header, "Class", "Subset"), ("a.mp4", "a cat", "cats", "dev"), strict=True))
    assert found_in(tmp_path, "t.jsonl", json.dumps(row)) == (expected, ["cats"], [])


def test_of_several_columns_for_one_thing_the_usual_one_is_taken_with_a_warning(tmp_path):
    rows, _, warned = found_in(tmp_path, "t.csv", "path,text,prompt,video\nno.mp4,x,y,a.mp4\n")
    assert rows == [("a.mp4", "x", "train", None)], "`video` is the name"
    assert warned == [f"{tmp_path / 't.csv'}: of the columns text, prompt the first is read"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_header_tells_what_separates_columns(tmp_path, delimiter, name, encoding):
    lines = [["video", "caption", "label"], ["a.mp4", '"a; b, c\t""d""|\r\né"', "1"]]
    text = "\r\n".join(delimiter.join(cells) for cells in lines)
    rows, *_ = found_in(tmp_path, name, text, encoding)
    assert rows == [("a.mp4", 'a; b, c\t"d"|\r\né', "train", 1)]


def test_lines_of_spreadsheets(tmp_path):
    """A first line that names the separator, and empty cells behind the last column."""
    text = "sep=;\r\nvideo;caption\r\na.mp4;x;;\r\n;;\r\n"
    assert found_in(tmp_path, "t.csv", text)[0] == [("a.mp4", "x", "train", None)]


ROWS = [
    {"video": "a.mp4", "caption": "x", "label": 1.0},
    {"video": "b.mp4", "caption": ["y", "z"], "label": [3]},
    {"video": "c.mp4", "caption": "w", "label": float("nan")},
]
COLUMNS = {"video": ["a.mp4", "b.mp4", "c.mp4"], "caption": ["x", "y", "w"], "label": [1, 3, None]}


@pytest.mark.parametrize(
    "name", ["t.json", "t.jsonl"]
)  # some write a list under the suffix of lines
@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        {"info": {"version": 1}, "annotations": ROWS},
        {row["video"]: {**row, "video": None} for row in ROWS},
        COLUMNS,
        {key: dict(enumerate(column)) for key, column in COLUMNS.items()},
    ],
)
def test_lists_of_json(tmp_path, name, content):
    rows, classes, warned = found_in(tmp_path, name, json.dumps(content, indent=1))
    assert rows == [
        ("a.mp4", "x", "train", 1),
        ("b.mp4", "y", "train", 3),
        ("c.mp4", "w", "train", None),
    ]
    assert classes == ["0", "1", "2", "3"]
    assert not [text for text in warned if "label" not in text]


def test_json_of_published_data_sets(tmp_path):
    touch(tmp_path, "video0.mp4", "video1.mkv")
    sentences = [{"video_id": "video0", "caption": text} for text in "xy"]
    msr_vtt = {"videos": [{"video_id": "video0", "split": "train"}], "sentences": sentences}
    assert found_in(tmp_path, "t.json", json.dumps(msr_vtt))[0] == [
        ("video0.mp4", "x", "train", None)
    ]
    vatex = [{"videoID": "video1", "enCap": ["x", "y"], "chCap": ["z"]}]
    assert found_in(tmp_path, "t.json", json.dumps(vatex))[0] == [
        ("video1.mkv", "x", "train", None)
    ]
    activity_net = {"video0": {"duration": 3, "timestamps": [[0, 1]], "sentences": ["x"]}}
    assert found_in(tmp_path, "t.json", json.dumps(activity_net))[0][0][:2] == ("video0.mp4", "x")


def test_a_mapping_from_videos_to_captions(tmp_path):
    text = json.dumps({"a.mp4": "x", "b.mp4": ["y"]})
    assert [row[:2] for row in found_in(tmp_path, "t.json", text)[0]] == [
        ("a.mp4", "x"),
        ("b.mp4", "y"),
    ]


def test_json_lines_under_the_suffix_of_json(tmp_path):
    text = "\n".join(json.dumps(row) for row in ROWS)
    assert len(found_in(tmp_path, "t.json", text)[0]) == 3


@pytest.mark.parametrize("text", ["", "{", "3", '{"a": 1}', "[1]", "[]", '{"a": {"b": 1}}'])
def test_other_json_is_an_error(tmp_path, text):
    with pytest.raises(DataError) as error:
        found_in(tmp_path, "t.json", text)
    assert error.value.hint


def test_a_table_beside_other_json_is_found(tmp_path):
    touch(tmp_path, "info.json", "a.mp4")
    (tmp_path / "t.csv").write_text("video,caption\na.mp4,x\n")
    assert len(captions.find(tmp_path)[0]) == 1


def paths_of(folder, *names):
    text = "".join(json.dumps({"video": name, "caption": "x"}) + "\n" for name in names)
    rows, _, warned = found_in(folder, "t.jsonl", text)
    return [path for path, *_ in rows], warned


def test_paths_of_windows(tmp_path):
    touch(tmp_path, "clips/cats/a.mp4", "clips/b.mp4", "odd\\name.mp4")
    assert paths_of(tmp_path, "clips\\cats\\a.mp4", ".\\clips\\b.mp4", "odd\\name.mp4") == (
        ["clips/cats/a.mp4", "clips/b.mp4", "odd\\name.mp4"],
        [],
    )
    assert paths_of(tmp_path, "clips\\gone.mp4") == (["clips/gone.mp4"], [])


@pytest.mark.parametrize(
    "top", ["C:\\Users\\me\\data\\", "\\\\server\\share\\", "D:/", "/home/me/data/"]
)
def test_absolute_paths_of_another_computer_are_found_by_their_ends(tmp_path, top):
    touch(tmp_path, "clips/cats/a.mp4", "clips/a.mp4")
    sep = "\\" if "\\" in top else "/"
    found, warned = paths_of(tmp_path, f"{top}clips{sep}cats{sep}a.mp4", f"{top}clips{sep}a.mp4")
    assert found == ["clips/cats/a.mp4", "clips/a.mp4"]
    assert len(warned) == 1
    assert "2 videos are on another computer by their paths" in warned[0]


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_names_match_in_either_form_of_unicode(tmp_path, written, on_disk):
    """Macs take accents apart, tables are mostly written with them composed."""
    name = "Café/für Élise.mp4"
    touch(tmp_path, unicodedata.normalize(on_disk, name))
    found, _ = paths_of(tmp_path, unicodedata.normalize(written, name))
    assert found == [unicodedata.normalize(on_disk, name)]


def test_names_match_in_another_case_or_without_suffix_if_only_one_does(tmp_path):
    touch(tmp_path, "Clips/A.MP4", "b.mp4", "b.txt", "c.mp4", "C.mp4", "d.mp4", "d.mkv")
    names = ["clips/a.mp4", "b", "C.MP4", "d"]
    assert paths_of(tmp_path, *names)[0] == ["Clips/A.MP4", "b.mp4", "C.MP4", "d"]


def test_bare_names_are_found_in_folders_below_if_only_one_has_them(tmp_path):
    touch(tmp_path, "v/1/a.mp4", "v/2/b.mp4", "v/3/b.mp4", "v/2/c.mp4", "v/3/c.mp4", "x/v/d.mp4")
    found, warned = paths_of(tmp_path, "a", "b.mp4", "3/c.mp4", "v/d.mp4", "w/a.mp4")
    assert found == ["v/1/a.mp4", "b.mp4", "v/3/c.mp4", "x/v/d.mp4", "w/a.mp4"]
    assert warned[0] == (
        f"{tmp_path / 't.jsonl'}: 3 videos are in folders below the one that the table says, "
        "the first: a is v/1/a.mp4"
    )


def test_addresses_are_found_by_their_ends_and_else_invalid(tmp_path):
    touch(tmp_path, "videos/7/stock a.mp4", "preview/b.mp4")
    there = ["https://a.net/7/stock%20a.mp4?x=1#y", "s3://bucket/set/preview/b.mp4"]
    found, warned = paths_of(tmp_path, *there, "https://a.net/gone.mp4")
    assert found == ["videos/7/stock a.mp4", "preview/b.mp4"]
    assert len(warned) == 1
    assert "line 3: https://a.net/gone.mp4 is an address, and gone.mp4 is not in" in warned[0]


def test_videos_beside_those_of_the_table_are_told_if_they_are_in_no_line(tmp_path):
    touch(tmp_path, "in/a.mp4", "in/b.mp4", "in/c.webm", "in/.d.mp4", "in/n.txt", "other/e.mp4")
    (tmp_path / "in" / "link.mp4").symlink_to("a.mp4")
    _, warned = paths_of(tmp_path, "in/a.mp4", "gone/x.mp4")
    assert warned == [
        f"{tmp_path / 't.jsonl'}: 1 files beside these videos are in no line and are left out, "
        f"the first: {tmp_path / 'in' / 'b.mp4'}"
    ]
