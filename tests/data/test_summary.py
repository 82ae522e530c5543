"""A prepared data set in numbers."""

from pathlib import Path

import pytest

from latte_cli.data.manifest import Rejection, VideoRecord
from latte_cli.data.summary import general_reason, summarize


def record(frames, fps, label=None, split="train"):
    return VideoRecord("a", frames, fps, 64, 32, label, None, split, 10, "ff")


def test_summary_counts_everything_once():
    outcomes = [
        record(90_000, 25.0, label=3),
        record(15, 0.0, label=3, split="test"),
        Rejection("b", "is cut off (5 of 9 frames are there)"),
        record(16, 16.0, label=0),
        Rejection("c", "is cut off (1 of 3 frames are there)"),
        Rejection("d", "the file is empty"),
        record(1, 0.0),
    ]
    summary = summarize(Path("out"), outcomes, classes=5)
    assert (summary.accepted, summary.rejected) == (4, 3)
    assert summary.frames == 90_032
    assert summary.hours == 1 + 1 / 3600, "folders of frames have no rate and count for none"
    assert (summary.classes, summary.labels) == (5, 2)
    assert summary.splits == {"test": 1, "train": 3}
    assert summary.shorter_than_16_frames == 2
    assert list(summary.reasons.items()) == [("is cut off", 2), ("the file is empty", 1)]


@pytest.mark.parametrize(
    ("reason", "general"),
    [
        ("cannot be decoded (invalid data (code 7))", "cannot be decoded"),
        ("frame 00017.jpg cannot be read (damaged)", "frame … cannot be read"),
        ("a duplicate (its bytes are those of a (1)\nb.mp4)", "a duplicate"),
        ("holds no video stream", "holds no video stream"),
    ],
)
def test_reasons_are_grouped_without_details(reason, general):
    assert general_reason(reason) == general
