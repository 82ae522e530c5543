"""`latte prepare` from downloads: archives, and trees with odd files."""

import io
import json
import os
import shutil
import struct
import zipfile

import numpy as np
import pytest
from conftest import fail, succeed
from helpers.archive_writer import archive_of
from PIL import Image

from latte_cli.sources import shapes
from latte_cli.video_io import write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Returns the bytes of a small video, different for each number."""
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    write_video(path, shapes.render_clip(1, num_frames=3, size=32), 8)
    whole = path.read_bytes()
    return lambda number=0: whole + struct.pack(">I4sI", 12, b"free", number)


def picture(number=0):
    """The bytes of a small image."""
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (number, 0, 0)).save(file, "png")
    return file.getvalue()


def prepare(*words):
    return json.loads(succeed("--json", "prepare", *words, "--out=out", "--workers=1").stdout)


def manifest(name="manifest.jsonl"):
    with open(os.path.join("out", name), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_ucf101_and_its_lists_are_prepared_from_their_archives(tmp_path, video):
    names = [f"{c}/v_{c}_g0{g}_c01.avi" for c in ("Archery", "Bowling") for g in (1, 8)]
    members = {f"UCF-101/{name}": video(number) for number, name in enumerate(names)}
    archive = archive_of(tmp_path / "got" / "UCF101.zip", members)
    lists = {"ucfTrainTestlist/testlist01.txt": f"{names[0]}\r\n{names[2]}\r\n".encode()}
    archive_of(tmp_path / "got" / "UCF101TrainTestSplits-RecognitionTask.zip", lists)
    shown = prepare("ucf101", f"--source={archive}")
    assert (shown["accepted"], shown["rejected"]) == (4, 0), "train and test, as the paper has it"
    rows = manifest()
    assert [row["path"] for row in rows] == [f"unpacked/UCF101/UCF-101/{name}" for name in names]
    assert [(row["label"], row["split"]) for row in rows] == [
        (0, "test"),
        (0, "train"),
        (1, "test"),
        (1, "train"),
    ]
    before = (tmp_path / "out" / "manifest.jsonl").read_bytes()
    prepare("ucf101", f"--source={archive}")
    assert (tmp_path / "out" / "manifest.jsonl").read_bytes() == before
    assert prepare("ucf101", f"--source={archive}", "--split=test")["accepted"] == 2


def test_folders_of_frames_are_prepared_from_an_archive(tmp_path):
    members = {
        f"sky_timelapse/{split}/a/a_1/a_frames_{86552 + number:08d}.png": picture(colour + number)
        for colour, split in enumerate(("sky_train", "sky_test"))
        for number in range(3)
    }
    archive = archive_of(tmp_path / "sky.tar.gz", members)
    prepare("skytimelapse", f"--source={archive}")
    rows = manifest()
    assert [(row["split"], row["frames"], row["fps"]) for row in rows] == [
        ("test", 3, 0),
        ("train", 3, 0),
    ]
    assert all((tmp_path / "out" / row["path"]).is_dir() for row in rows)


def test_faces_keep_their_masks_and_missing_ones_give_a_warning(tmp_path):
    white = np.full((3, 32, 32, 3), 255, np.uint8)
    white[:, 8:24, 8:24] = 0
    for number, name in enumerate(("original/a_0", "original/b_0", "mask/a_0")):
        frames = white if name == "mask/a_0" else shapes.render_clip(number, num_frames=3, size=32)
        write_video(tmp_path / "ff" / "train" / f"{name}.mp4", frames, 8)
    result = succeed("prepare", "faceforensics", "--source=ff", "--out=out", "--workers=1")
    masks = {os.path.basename(row["path"]): row["mask"] for row in manifest()}
    assert masks == {"a_0.mp4": str(tmp_path / "ff/train/mask/a_0.mp4"), "b_0.mp4": None}
    message = "1 of 2 train videos have no mask and are cropped to their center, the first: b_0.mp4"
    assert message in " ".join(result.stderr.split())


def test_a_table_and_its_videos_are_prepared_from_one_archive(tmp_path, video):
    table = "video,caption\nin/a b.mp4,é 猫\ngone.mp4,none\n,x\n".encode()
    archive = archive_of(tmp_path / "c.tar", {"c/table.csv": table, "c/in/a b.mp4": video()})
    result = succeed("prepare", "captions", f"--source={archive}", "--out=out", "--workers=1")
    assert [row["caption"] for row in manifest()] == ["é 猫"]
    assert [row["path"] for row in manifest("rejected.jsonl")] == ["unpacked/c/c/gone.mp4"]
    assert "1 lines are invalid and are skipped" in " ".join(result.stderr.split())


def test_odd_files_do_not_affect_the_others(tmp_path, video):
    """Each gets its own line, whatever its name or link."""
    root = tmp_path / "tree"
    good = ["sp ace.mp4", "quote'\".mp4", "é 猫.mp4", "new\nline.mp4", "-dash.mp4", "x/again.mp4"]
    for number, name in enumerate(good):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(video(number))
    for number in range(3):
        (root / "frames").mkdir(exist_ok=True)
        (root / "frames" / f"{number}.png").write_bytes(picture(number))
    (root / "broken frames").mkdir()
    (root / "broken frames" / "1.png").write_bytes(picture()[:40])
    (root / "text.mp4").write_text("no video")
    (root / "empty.mp4").touch()
    (root / os.fsdecode(b"\xff.mp4")).write_bytes(video(99))
    (root / "folder.mp4").mkdir()
    (root / "nowhere.mp4").symlink_to("gone.mp4")
    (root / "round.mp4").symlink_to("round.mp4")
    (root / "x" / "up").symlink_to("..")
    (root / "same").symlink_to("x")
    os.mkfifo(root / "pipe.mp4")
    result = succeed("prepare", "folder", f"--source={root}", "--out=out", "--workers=1")
    names = [os.path.relpath(row["path"], root) for row in manifest()]
    assert sorted(names) == sorted([*good, "frames"])
    rejected = {os.path.basename(row["path"]): row["reason"] for row in manifest("rejected.jsonl")}
    odd = ["broken frames", "empty.mp4", "nowhere.mp4", "round.mp4", "text.mp4"]
    assert sorted(rejected) == ["\\udcff.mp4", *odd]
    assert all(reason and "Error" not in reason for reason in rejected.values())
    said = " ".join(result.stderr.split())
    assert "folder.mp4: empty folders, skipped" in said
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["../evil.mp4", "/evil.mp4", "x/../../evil.mp4"])
def test_an_unsafe_archive_ends_the_run_with_a_message(tmp_path, video, name):
    archive = archive_of(tmp_path / "a.zip", {"good.mp4": video(), name: video()})
    said = fail("prepare", "folder", f"--source={archive}", "--out=out")
    assert "lies outside" in said
    assert not list(tmp_path.rglob("*.mp4"))


def test_real_videos_are_unpacked_unchanged(tmp_path, real_clips):
    videos = sorted((real_clips / "videos").glob("v_*.avi"))
    lists = real_clips / "lists"
    with zipfile.ZipFile(tmp_path / "UCF101.zip", "w") as opened:
        for path in videos:
            opened.write(path, f"UCF-101/{path.name.split('_')[1]}/{path.name}")
    (tmp_path / "ucfTrainTestlist").mkdir()
    for name in ("classInd.txt", "testlist01.txt"):
        shutil.copy(lists / name, tmp_path / "ucfTrainTestlist")
    shown = prepare("ucf101", "--source=UCF101.zip")
    assert (shown["accepted"], shown["rejected"]) == (len(videos), 0)
    for row, path in zip(manifest(), videos, strict=True):
        assert (tmp_path / "out" / row["path"]).read_bytes() == path.read_bytes()
        assert row["split"] == ("test" if "_g01_" in path.name else "train")
