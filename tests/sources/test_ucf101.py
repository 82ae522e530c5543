"""`ucf101`: class folders are labels, the official lists give the splits."""

import shutil
import zipfile

import pytest
from helpers.trees import touch, with_warnings

from latte_cli.runtime.errors import DataError, LatteWarning
from latte_cli.sources import ucf101

ARCHERY = "Archery/v_Archery_g01_c01.avi"


@pytest.mark.parametrize("lists", ["ucfTrainTestlist", "UCF-101/../ucfTrainTestlist", "."])
def test_folders_give_labels_and_lists_give_splits(tmp_path, lists):
    """File names may spell a class differently from its folder; lists use CR LF."""
    touch(
        tmp_path / "UCF-101",
        ARCHERY,
        "HandstandPushups/v_HandStandPushups_g01_c01.avi",
        "HandstandPushups/v_HandStandPushups_g08_c01.avi",
    )
    (tmp_path / lists).mkdir(parents=True, exist_ok=True)
    (tmp_path / lists / "testlist01.txt").write_bytes(
        b"HandstandPushups/v_HandStandPushups_g01_c01.avi\r\n"
    )
    for source in (tmp_path, tmp_path / "UCF-101"):
        videos, classes = ucf101.find(source)
        assert classes == ["Archery", "HandstandPushups"]
        assert [(v.label, v.split) for v in videos] == [(0, "train"), (1, "test"), (1, "train")]


def test_without_lists_all_is_train(tmp_path):
    touch(tmp_path, ARCHERY)
    assert [video.split for video in ucf101.find(tmp_path)[0]] == ["train"]
    with pytest.raises(DataError, match="no sub-folders"):
        touch(tmp_path / "flat", "1.avi")
        ucf101.find(tmp_path / "flat")


def test_the_official_lists_match_the_official_folders(tmp_path, real_clips):
    """All 101 classes, whose order in the list differs from that of the sorted folders."""
    lists = real_clips / "lists"
    names = [line.split()[1] for line in (lists / "classInd.txt").read_text().split("\n") if line]
    assert names != sorted(names)
    listed = [
        line.split()[0]
        for name in ("trainlist01.txt", "testlist01.txt")
        for line in (lists / name).read_text().split("\n")
        if line
    ]
    touch(tmp_path / "UCF-101", *listed)
    (tmp_path / "ucfTrainTestlist").mkdir()
    for name in ("classInd.txt", "testlist01.txt"):
        shutil.copy(lists / name, tmp_path / "ucfTrainTestlist")
    (videos, classes), warned = with_warnings(ucf101.find, tmp_path)
    assert warned == []
    assert classes == sorted(names)
    assert len(videos) == 13320, "train and test together, as the paper has it"
    assert sum(video.split == "test" for video in videos) == 3783
    assert all(classes[video.label] == video.path.parent.name for video in videos)


@pytest.mark.parametrize("inside", ["ucfTrainTestlist/", ""])
def test_lists_are_read_from_their_archive(tmp_path, inside):
    touch(tmp_path / "unpacked" / "UCF-101", ARCHERY, "Archery/v_Archery_g08_c01.avi")
    (tmp_path / "downloads").mkdir()
    archive = tmp_path / "downloads" / "UCF101TrainTestSplits-RecognitionTask.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(f"{inside}testlist01.txt", ARCHERY + "\r\n")
        opened.writestr(f"{inside}classInd.txt", "1 Archery\r\n")
    videos, _ = ucf101.find(tmp_path / "unpacked", beside=tmp_path / "downloads")
    assert [video.split for video in videos] == ["test", "train"]
    archive.write_bytes(b"PK\3\4 half of it")
    with pytest.raises(DataError, match=r"RecognitionTask.zip: is damaged .*not a zip"):
        ucf101.find(tmp_path / "unpacked", beside=tmp_path / "downloads")


def test_a_folder_that_is_not_a_class_is_rejected_with_the_nearest(tmp_path):
    touch(tmp_path, ARCHERY, "Bowlin/1.avi")
    with pytest.raises(DataError, match="has no class `Bowlin`") as error:
        ucf101.find(tmp_path)
    assert error.value.hint == "rename the folder to Bowling"
    touch(tmp_path / "other", ARCHERY, "samples/1.avi")
    with pytest.raises(DataError, match="has no class `samples`") as error:
        ucf101.find(tmp_path / "other")
    assert "Archery/v_Archery_g01_c01.avi" in error.value.hint
    assert "latte prepare folder --labels" in error.value.hint


def test_the_classes_are_those_of_the_official_list(real_clips):
    lines = (real_clips / "lists" / "classInd.txt").read_text().split("\n")
    assert tuple(sorted(line.split()[1] for line in lines if line)) == ucf101.CLASSES


def test_classes_without_videos_give_a_warning_and_no_label(tmp_path):
    touch(tmp_path, ARCHERY, "Bowling/1.avi")
    with pytest.warns(LatteWarning) as warned:
        videos, classes = ucf101.find(tmp_path)
    assert classes == ["Archery", "Bowling"]
    assert [video.label for video in videos] == [0, 1]
    assert [str(each.message) for each in warned] == [
        "found 2 of the 13320 videos of UCF101 and 2 of its 101 classes, without ApplyEyeMakeup; "
        "labels count the classes found"
    ]


def test_a_test_list_of_other_videos_gives_a_warning(tmp_path):
    touch(tmp_path, ARCHERY)
    (tmp_path / "testlist01.txt").write_text("Bowling/v_Bowling_g01_c01.avi\n")
    _, warned = with_warnings(ucf101.find, tmp_path)
    assert len(warned) == 1
    assert "lists none of the videos, so it does not tell test from train" in warned[0]


PORTAL = [
    f"{split}/Archery/v_Archery_g0{n}_c01.avi" for n, split in enumerate(("test", "train", "val"))
]


def splits_of(source, **options):
    (videos, classes), warned = with_warnings(ucf101.find, source, **options)
    assert warned == []
    return classes, [(video.path.stem[-7:-4], video.label, video.split) for video in videos]


@pytest.mark.parametrize("around", [".", "archive/UCF101"])
def test_splits_above_the_classes_are_understood(tmp_path, around):
    """As data portals have them, with lists beside them."""
    touch(tmp_path / around, *PORTAL, "train/Bowling/v_Bowling_g01_c01.avi")
    for name in ("train", "test", "val"):
        (tmp_path / around / f"{name}.csv").write_text("clip_name,clip_path,label\n")
    assert splits_of(tmp_path) == (
        ["Archery", "Bowling"],
        [("g00", 0, "test"), ("g01", 0, "train"), ("g01", 1, "train"), ("g02", 0, "test")],
    )
    assert splits_of(tmp_path / around / "val")[1] == [("g02", 0, "test")]


def test_the_official_list_decides_above_the_folders(tmp_path):
    touch(tmp_path, *PORTAL)
    (tmp_path / "testlist01.txt").write_text("Archery/v_Archery_g01_c01.avi\r\n")
    (videos, _), warned = with_warnings(ucf101.find, tmp_path)
    assert [video.split for video in videos] == ["train", "test", "train"]
    assert "decides the split of 3 videos in the folder of another" in warned[0]


def test_csv_lists_give_the_splits_of_class_folders(tmp_path):
    touch(tmp_path / "UCF-101", *(f"Archery/v_Archery_g0{n}_c01.avi" for n in range(3)))
    row = r"v_Archery_g02_c01,videos\Archery\v_Archery_g02_c01.avi,Archery"
    (tmp_path / "Test.CSV").write_text(f"clip_name,clip_path,label\n{row}\n")
    (tmp_path / "notes.csv").write_text("v_Archery_g01_c01,no split\n")
    assert [split for *_, split in splits_of(tmp_path)[1]] == ["train", "train", "test"]


def test_a_column_of_a_list_gives_the_splits(tmp_path):
    touch(tmp_path / "videos", *(f"v_Archery_g0{n}_c01.avi" for n in range(3)))
    rows = [f"videos/v_Archery_g0{n}_c01.avi,{s}\n" for n, s in enumerate(("Train", "val", "test"))]
    (tmp_path / "metadata.csv").write_text("video,split\n" + "".join(rows))
    assert [split for *_, split in splits_of(tmp_path)[1]] == ["train", "test", "test"]


def test_names_give_the_classes_where_folders_do_not(tmp_path):
    names = ["v_Archery_g01_c01.avi", "v_HandStandPushups_g01_c02.avi"]
    touch(tmp_path, f"train/{names[0]}", f"test/{names[1]}")
    assert splits_of(tmp_path)[0] == ["Archery", "HandstandPushups"]


@pytest.mark.parametrize("name", ["apply eye makeup", "Apply_Eye_Makeup", "applyeyemakeup"])
def test_classes_may_be_spelled_differently(tmp_path, name):
    touch(tmp_path, f"{name}/1.mp4", f"{name}/v_ApplyEyeMakeup_g01_c02/1.jpg")
    assert splits_of(tmp_path)[0] == ["ApplyEyeMakeup"]


def test_a_video_in_the_folder_of_another_class_is_rejected(tmp_path):
    touch(tmp_path, ARCHERY, "Bowling/v_Archery_g02_c01.avi")
    with pytest.raises(DataError, match="folder is of the class Bowling, the name of Archery"):
        ucf101.find(tmp_path)


@pytest.mark.parametrize("copy", ["rawframes/Archery/v_Archery_g01_c01/1.jpg", "train/" + ARCHERY])
def test_a_clip_that_is_there_twice_is_rejected(tmp_path, copy):
    touch(tmp_path, f"videos/{ARCHERY}", copy)
    with pytest.raises(DataError, match="the same clip is") as error:
        ucf101.find(tmp_path)
    assert "the folder of one of the copies" in error.value.hint
