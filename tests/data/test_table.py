"""A file of one JSON object a video, in columns."""

import json

import numpy as np
import pytest

from latte_cli.data import table as table_module
from latte_cli.data.table import VideoTable
from latte_cli.runtime.errors import DataError

ROWS = [
    {"path": "ä b.mp4", "frames": 30, "label": None, "split": "train", "position": 0},
    {"path": "c\nd.mp4", "frames": 4, "label": 3, "split": "test", "position": 1},
    {"path": "e.mp4", "frames": 9, "label": 0, "split": "train", "position": 2},
]


@pytest.fixture(params=[1, 2, 10_000])
def table(request, tmp_path, monkeypatch) -> VideoTable:
    """The same file, read in parts of several sizes."""
    monkeypatch.setattr(table_module, "_LINES_AT_A_TIME", request.param)
    path = tmp_path / "index.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS))
    return VideoTable.read(path, numbers=("position",), words=("split",))


def test_columns_hold_the_values_of_the_lines(table):
    assert len(table) == 3
    assert table.frames.tolist() == [30, 4, 9]
    assert table.labels.tolist() == [-1, 3, 0]
    assert table.columns["position"].tolist() == [0, 1, 2]
    assert [table.word("split", number) for number in range(3)] == ["train", "test", "train"]
    assert np.flatnonzero(table.where("split", "train")).tolist() == [0, 2]
    assert not table.where("split", "other").any()


def test_contents_are_the_last_bits_of_the_checksums(tmp_path, monkeypatch):
    monkeypatch.setattr(table_module, "_LINES_AT_A_TIME", 2)
    checksums = ["ab" * 32, "00", "f" * 64]
    lines = [{**row, "sha256": sha256} for row, sha256 in zip(ROWS, checksums, strict=True)]
    path = tmp_path / "index.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    contents = VideoTable.read(path, contents=True).contents
    assert contents.tolist() == [0xABABABABABABABAB, 0, 2**64 - 1]
    path.write_text(json.dumps(ROWS[0]) + "\n")
    with pytest.raises(DataError, match="by another version"):
        VideoTable.read(path, contents=True)


def test_a_whole_line_can_be_read(table):
    assert [table.row(number) for number in range(3)] == ROWS


def test_an_empty_file_has_no_videos(tmp_path):
    (tmp_path / "index.jsonl").write_text("")
    table = VideoTable.read(tmp_path / "index.jsonl", words=("split",))
    assert len(table) == 0
    assert not table.where("split", "train").any()


@pytest.mark.parametrize("line", ["{", '{"frames": 3}', '{"frames": "x", "label": 1}', "[]"])
def test_a_damaged_line_raises_an_error(tmp_path, line):
    path = tmp_path / "index.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + line + "\n")
    with pytest.raises(DataError, match=r"index\.jsonl: damaged"):
        VideoTable.read(path)


def test_a_number_in_place_of_a_word_raises_an_error(tmp_path):
    path = tmp_path / "index.jsonl"
    path.write_text(json.dumps(ROWS[0] | {"split": 10**19}) + "\n")
    with pytest.raises(DataError, match=r"index\.jsonl: damaged"):
        VideoTable.read(path, words=("split",))
