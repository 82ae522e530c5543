"""`latte prepare` through the command line."""

import errno
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from conftest import fail, invoke, succeed

from latte_cli.data import checking
from latte_cli.data.journal import Journal
from latte_cli.data.manifest import read_dataset
from latte_cli.runtime import files
from latte_cli.sources import shapes
from latte_cli.video_io import write_video

KILLS = Path(__file__).parents[1] / "recipes" / "kill_prepare.py"


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def videos(tmp_path):
    """Two valid videos and four files that are not."""
    folder = tmp_path / "in put"
    for number in range(2):
        write_video(folder / f"{number} é.mp4", shapes.render_clip(number, num_frames=20), 8)
    whole = (folder / "0 é.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 3])
    (folder / "empty.mp4").touch()
    (folder / "text.avi").write_text("no video")
    (folder / "header.webm").write_bytes(b"\x1aE\xdf\xa3" + bytes(40))
    return folder


def test_a_folder_becomes_a_manifest_and_reasons(videos, tmp_path):
    result = succeed("--json", "prepare", "folder", "--source", videos, "--out", tmp_path / "d")
    shown = json.loads(result.stdout)
    assert (shown["accepted"], shown["rejected"]) == (2, 4)
    manifest = rows(tmp_path / "d" / "manifest.jsonl")
    rejected = rows(tmp_path / "d" / "rejected.jsonl")
    assert [(row["frames"], row["fps"], row["width"]) for row in manifest] == [(20, 8.0, 64)] * 2
    reasons = {os.path.basename(row["path"]): row["reason"] for row in rejected}
    assert set(reasons) == {"truncated.mp4", "empty.mp4", "text.avi", "header.webm"}
    assert reasons["empty.mp4"] == "the file is empty"


@pytest.fixture
def words(videos, tmp_path):
    return "prepare", "folder", "--source", videos, "--out", tmp_path / "d"


@pytest.mark.usefixtures("terminal")
def test_the_summary_is_printed_last_and_fits_a_terminal(words):
    lines = succeed(*words).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    shown = json.loads(succeed("--json", *words).stdout)
    values = {"accepted": 2, "rejected": 4, "frames": 40, "hours": 40 / 8 / 3600, "labels": 0}
    assert shown.items() >= values.items()
    assert shown["reasons"] == {"cannot be decoded": 2, "is cut off": 1, "the file is empty": 1}
    table = " ".join(" ".join(lines).split())
    assert all(key.replace("_", " ") in table for key in shown.keys() - {"hours"})
    assert "duration 5.0 s" in table
    assert "2 x cannot be decoded" in table


def test_an_interrupted_run_continues(words, tmp_path, monkeypatch):
    check_videos = checking.check_videos

    def stop_after_three(jobs, workers, timeout_s):
        for number, verdict in enumerate(check_videos(jobs, workers, timeout_s)):
            if number == 3:
                raise KeyboardInterrupt
            yield verdict

    monkeypatch.setattr(checking, "check_videos", stop_after_three)
    assert invoke(*words).exit_code == 130
    assert not (tmp_path / "d" / "manifest.jsonl").exists()
    monkeypatch.setattr(checking, "check_videos", check_videos)
    assert "3 of 6 videos were checked before" in succeed(*words).stderr
    succeed(*words[:-1], tmp_path / "undisturbed", "--workers=1")
    assert contents(tmp_path / "d") == contents(tmp_path / "undisturbed")


def test_killed_runs_end_with_the_files_of_an_undisturbed_run():
    command = [sys.executable, str(KILLS), "--kills=3", "--count=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["kills"] == 3


def test_a_second_run_opens_only_what_has_changed(words, videos, tmp_path, monkeypatch):
    succeed(*words)
    before = contents(tmp_path / "d")
    with monkeypatch.context() as patch:
        patch.setattr(checking, "check_videos", partial(checking.check_videos, check=None))
        assert "6 of 6 videos were checked before" in succeed(*words).stderr
    assert contents(tmp_path / "d") == before
    write_video(videos / "0 é.mp4", shapes.render_clip(4, num_frames=7), 8)
    (videos / "empty.mp4").unlink()
    (videos / "new.mp4").touch()
    assert "4 of 6 videos were checked before" in succeed(*words).stderr
    assert [row["frames"] for row in rows(tmp_path / "d" / "manifest.jsonl")] == [7, 20]
    rejected = [os.path.basename(row["path"]) for row in rows(tmp_path / "d" / "rejected.jsonl")]
    assert rejected == ["header.webm", "new.mp4", "text.avi", "truncated.mp4"]


def test_labels_are_updated_without_opening_a_video(words, tmp_path):
    succeed(*words)
    source = ("--source", tmp_path, "--labels", "--out", tmp_path / "d")
    assert "6 of 6 videos were checked before" in succeed("prepare", "folder", *source).stderr
    assert [row["label"] for row in rows(tmp_path / "d" / "manifest.jsonl")] == [0, 0]


def test_a_full_disk_is_reported_and_no_verdict_is_lost(words, tmp_path, monkeypatch):
    append, added = Journal._append, []

    def add(self, line):
        if len(added) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "checked.jsonl")
        added.append(append(self, line))

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_append", add)
        assert "checked.jsonl: the disk is full hint: make room" in fail(*words)
    assert contents(tmp_path / "d").keys() == {"checked.jsonl"}
    assert "2 of 6 videos were checked before" in succeed(*words).stderr


@pytest.mark.parametrize("name", ["manifest.jsonl", "rejected.jsonl", "meta.json"])
def test_files_are_complete_or_unchanged(words, videos, tmp_path, monkeypatch, name):
    succeed(*words)
    before = contents(tmp_path / "d")
    flush = files._flush

    def full(path):
        flush(path)
        if path.name.endswith(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    write_video(videos / "0 é.mp4", shapes.render_clip(4, num_frames=7), 8)
    (videos / "new.mp4").touch()
    with monkeypatch.context() as patch:
        patch.setattr(files, "_flush", full)
        assert "the disk is full" in fail(*words)
    after = contents(tmp_path / "d")
    assert after.keys() == before.keys()
    assert after[name] == before[name]
    assert after["manifest.jsonl"] == before["manifest.jsonl"], "the last one to be replaced"
    assert "7 of 7 videos were checked before" in succeed(*words).stderr


def test_two_runs_cannot_write_one_data_set(words, tmp_path):
    with files.lock_folder(tmp_path / "d"):
        assert "another run is writing here" in fail(*words)
    succeed(*words)


def test_sub_folders_are_labels(tmp_path):
    for name in ("dog", "cat"):
        write_video(tmp_path / "in" / name / "1.mp4", shapes.render_clip(0, num_frames=3), 8)
    succeed("prepare", "folder", "--source", tmp_path / "in", "--labels", "--out", tmp_path / "d")
    dataset = read_dataset(tmp_path / "d")
    assert dataset.classes == ("cat", "dog")
    assert [video.label for video in dataset.videos] == [0, 1]


def test_shapes_become_a_data_set_too(world):
    dataset = read_dataset(world.root / "data" / "shapes")
    assert len(dataset.videos) == 16
    assert dataset.classes == shapes.CLASSES
    assert [video.label for video in dataset.videos] == [*range(8), *range(8)]
    assert all(dataset.path_of(video).suffix == ".mp4" for video in dataset.videos)
    assert not os.path.isabs(dataset.videos[0].path), "the folder may be moved"


def test_real_videos_are_accepted_and_odd_ones_named(real_clips, tmp_path):
    succeed("prepare", "folder", "--source", real_clips / "odd", "--out", tmp_path / "odd")
    reasons = {os.path.basename(r["path"]) for r in rows(tmp_path / "odd" / "rejected.jsonl")}
    assert reasons >= {"corrupted.mp4", "result.webm", "clip_h264.mp4", "count-english-audio.mp4"}
    good = {os.path.basename(v.path) for v in read_dataset(tmp_path / "odd").videos}
    assert good >= {"-video-with-dash-.mp4", "no_duration.webm", "video_90.mov"}


def test_a_ucf101_tree_of_real_videos(real_clips, tmp_path):
    """Labels by sorted class folder; the official list, CR LF and all, tells test from train."""
    for path in (real_clips / "videos").glob("v_*.avi"):
        folder = tmp_path / "in" / "UCF-101" / path.name.split("_")[1]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).symlink_to(path)
    (tmp_path / "in" / "ucfTrainTestlist").symlink_to(real_clips / "lists")
    succeed("prepare", "ucf101", "--source", tmp_path / "in", "--out", tmp_path / "d")
    dataset = read_dataset(tmp_path / "d")
    assert dataset.classes == ("ApplyEyeMakeup", "BaseballPitch", "SoccerJuggling")
    found = {os.path.basename(v.path): (v.label, v.split) for v in dataset.videos}
    assert found["v_ApplyEyeMakeup_g01_c01.avi"] == (0, "test")
    assert found["v_SoccerJuggling_g23_c01.avi"] == (2, "train")
    succeed("prepare", "ucf101", "--source=in", "--split=test", "--out", tmp_path / "t")
    assert {v.split for v in read_dataset(tmp_path / "t").videos} == {"test"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "no data set named `nothing`"),
        (["shapes", "--size", "17"], "--size 17 is odd"),
        (["folder"], "needs --source"),
        (["folder", "--source", ".", "--split", "val"], "no split named `val`"),
        (["folder", "--source", "missing"], "no such file or folder"),
        (["folder", "--source", "."], "no videos in this folder"),
        (["ucf101", "--source", "."], "no videos in this folder"),
        (["shapes", "--count", "8", "--size", "16", "--split", "test"], "no videos of the split"),
    ],
)
def test_wrong_arguments_raise_an_error(words, message):
    assert message in fail("prepare", *words)
    assert not Path("data", words[0], "manifest.jsonl").exists()


def test_a_folder_without_valid_videos_raises_an_error(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.mp4").write_text("text")
    said = fail("prepare", "folder", "--source", tmp_path / "in", "--out", tmp_path / "d")
    assert re.search("none of 1 files could be read .* hint: see .*rejected.jsonl", said)


def test_an_unwritable_folder_raises_an_error(words, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert "file is a file, not a folder" in fail(*words[:-1], tmp_path / "file" / "d")

    def refuse(*words, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "d"))

    monkeypatch.setattr(os, "mkdir", refuse)
    assert "d: the disk is read-only hint: choose a folder" in fail(*words)


def test_unfinished_videos_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / ".part-1-half.mp4").touch()
    succeed("prepare", "shapes", "--count=8", "--size=16", "--out", tmp_path)
    assert len(contents(tmp_path / "videos")) == 8
