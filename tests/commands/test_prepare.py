"""`latte prepare` through the command line."""

import json
import os

import pytest
from conftest import fail, invoke, succeed

from latte_cli.data.manifest import read_dataset
from latte_cli.sources import shapes
from latte_cli.video_io import write_video


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def videos(tmp_path):
    """Two sound videos and four files that are none."""
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
    assert [(row["frames"], row["fps"], row["width"]) for row in manifest] == [(20, 8.0, 64)] * 2
    reasons = {
        os.path.basename(r["path"]): r["reason"] for r in rows(tmp_path / "d/rejected.jsonl")
    }
    assert set(reasons) == {"truncated.mp4", "empty.mp4", "text.avi", "header.webm"}
    assert reasons["empty.mp4"] == "the file is empty"
    assert not (tmp_path / "d" / "checked.jsonl").exists()


def test_an_interrupted_run_goes_on(videos, tmp_path, monkeypatch):
    from latte_cli.commands import prepare
    from latte_cli.data import check

    def stop_after_three(sources, folder, workers):
        for number, checked in enumerate(check.check_videos(sources, folder, workers)):
            if number == 3:
                raise KeyboardInterrupt
            yield checked

    monkeypatch.setattr(prepare, "check_videos", stop_after_three)
    stopped = invoke("prepare", "folder", "--source", videos, "--out", tmp_path / "d")
    assert stopped.exit_code == 130
    assert not (tmp_path / "d" / "manifest.jsonl").exists()
    monkeypatch.setattr(prepare, "check_videos", check.check_videos)
    result = succeed("prepare", "folder", "--source", videos, "--out", tmp_path / "d")
    assert "videos were checked before" in result.stderr
    succeed("prepare", "folder", "--source", videos, "--out", tmp_path / "undisturbed")
    for name in ("manifest.jsonl", "rejected.jsonl"):
        assert (tmp_path / "d" / name).read_bytes() == (
            tmp_path / "undisturbed" / name
        ).read_bytes()


def test_a_changed_file_is_checked_again(videos, tmp_path):
    words = ("prepare", "folder", "--source", videos, "--out", tmp_path / "d")
    succeed(*words)
    write_video(videos / "0 é.mp4", shapes.render_clip(4, num_frames=7), 8)
    assert "1 of 6 videos were checked before" in succeed(*words).stderr
    assert [row["frames"] for row in rows(tmp_path / "d" / "manifest.jsonl")] == [7, 20]


def test_sub_folders_are_labels(tmp_path):
    for name in ("dog", "cat"):
        write_video(tmp_path / "in" / name / "1.mp4", shapes.render_clip(0, num_frames=3), 8)
    succeed("prepare", "folder", "--source", tmp_path / "in", "--labels", "--out", tmp_path / "d")
    dataset = read_dataset(tmp_path / "d")
    assert dataset.classes == ("cat", "dog")
    assert [video.label for video in dataset.videos] == [0, 1]


def test_shapes_enter_by_the_same_door(world):
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
    only = ("--split", "test", "--out", tmp_path / "t")
    succeed("prepare", "ucf101", "--source", tmp_path / "in", *only)
    assert {v.split for v in read_dataset(tmp_path / "t").videos} == {"test"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nothing"], "no data set named `nothing`"),
        (["shapes", "--size", "17"], "--size 17 is odd"),
        (["folder"], "needs --source"),
        (["folder", "--source", "missing"], "no such folder"),
        (["folder", "--source", "."], "no videos in this folder"),
        (["ucf101", "--source", "."], "no videos in this folder"),
        (["shapes", "--count", "8", "--size", "16", "--split", "test"], "no videos of the split"),
    ],
)
def test_wrong_words_are_told(words, told):
    assert told in fail("prepare", *words)


def test_a_folder_without_any_sound_video_is_told(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.mp4").write_text("text")
    said = fail("prepare", "folder", "--source", tmp_path / "in", "--out", tmp_path / "d")
    assert "none of 1 files could be read" in said
    assert "rejected.jsonl" in said


def test_an_unwritable_place_is_told(videos, tmp_path):
    (tmp_path / "file").touch()
    said = fail("prepare", "folder", "--source", videos, "--out", tmp_path / "file" / "d")
    assert "a file stands where a folder is needed" in said
