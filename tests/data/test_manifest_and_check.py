"""What the manifest keeps, and how files are checked."""

import json
import os

import pytest

from latte_cli.data import check
from latte_cli.data.manifest import (
    Rejection,
    SourceVideo,
    VideoRecord,
    read_dataset,
    write_dataset,
)
from latte_cli.errors import DataError
from latte_cli.sources import shapes
from latte_cli.video_io import write_video

RECORD = VideoRecord("a b.mp4", 3, 8.0, 64, 32, 1, None, "train", 10, "ff")


def test_a_data_set_is_read_as_it_was_written(tmp_path):
    other = VideoRecord("/x/é\n.mp4", 9, 25.0, 8, 8, None, "a cat", "test", 1, "00")
    write_dataset(tmp_path, [RECORD, other], [Rejection("c", "why")], ["x", "y"])
    dataset = read_dataset(tmp_path)
    assert dataset.videos == (RECORD, other)
    assert dataset.classes == ("x", "y")
    assert dataset.of_split("test") == (other,)
    assert dataset.of_split("all") == (RECORD, other)
    assert dataset.path_of(RECORD) == tmp_path / "a b.mp4"
    assert str(dataset.path_of(other)) == other.path, "absolute paths stay"
    rejected = json.loads((tmp_path / "rejected.jsonl").read_text())
    assert rejected == {"path": "c", "reason": "why"}


def test_the_manifest_has_the_promised_keys(tmp_path):
    write_dataset(tmp_path, [RECORD], [], [])
    row = json.loads((tmp_path / "manifest.jsonl").read_text())
    assert list(row) == [
        "path",
        "frames",
        "fps",
        "width",
        "height",
        "label",
        "caption",
        "split",
        "bytes",
        "sha256",
    ]


def test_missing_empty_and_damaged_manifests_are_told(tmp_path):
    with pytest.raises(DataError, match="no prepared data set"):
        read_dataset(tmp_path)
    write_dataset(tmp_path, [], [], [])
    with pytest.raises(DataError, match="holds no videos"):
        read_dataset(tmp_path)
    (tmp_path / "manifest.jsonl").write_text('{"path": 1}\n')
    with pytest.raises(DataError, match="damaged"):
        read_dataset(tmp_path)
    (tmp_path / "manifest.jsonl").write_text("}{\n{}\n")
    with pytest.raises(DataError, match="damaged"):
        read_dataset(tmp_path)


def test_sound_files_are_described_and_others_rejected(tmp_path):
    write_video(tmp_path / "in" / "good.mp4", shapes.render_clip(0, num_frames=5), 8)
    (tmp_path / "in" / "bad.mp4").write_text("text")
    sources = [SourceVideo(tmp_path / "in" / f"{name}.mp4", 2, "test") for name in ("good", "bad")]
    results = {s.path.stem: r for s, r in check.check_videos(sources, tmp_path / "in", workers=2)}
    good, bad = results["good"], results["bad"]
    assert isinstance(good, VideoRecord)
    assert (good.path, good.frames, good.label, good.split) == ("good.mp4", 5, 2, "test")
    assert good.bytes == (tmp_path / "in" / "good.mp4").stat().st_size
    assert isinstance(bad, Rejection)
    assert "cannot be decoded" in bad.reason
    assert str(tmp_path) not in bad.reason
    elsewhere = check.check_video(sources[0], tmp_path / "out")
    assert elsewhere.path == str(tmp_path / "in" / "good.mp4"), "absolute outside the data set"


def _dies_on_bad(source, folder):
    if "bad" in source.path.name:
        os._exit(1)
    return Rejection(source.path.name, "seen")


def test_a_decoder_that_dies_costs_its_own_file_only(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "check_video", _dies_on_bad)
    sources = [SourceVideo(tmp_path / f"{name}.mp4") for name in ("a", "bad", "b", "c")]
    results = {s.path.stem: r.reason for s, r in check.check_videos(sources, tmp_path, workers=2)}
    assert results == {"a": "seen", "b": "seen", "c": "seen", "bad": "the decoder crashed on it"}
