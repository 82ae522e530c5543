"""`ucf101`: class folders are labels, the official lists give the splits."""

import shutil
import zipfile

import pytest
from helpers.trees import touch, with_warnings

from latte_cli.runtime.errors import DataError
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
        touch(tmp_path / "flat", "v_Archery_g01_c01.avi")
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


def with_classes(root, text, *videos):
    touch(root, *videos)
    (root / "classInd.txt").write_text(text)
    return root


def test_a_folder_that_is_not_a_class_is_rejected_with_the_nearest(tmp_path):
    root = with_classes(tmp_path, "1 Archery\n2 Bowling\n", ARCHERY, "Bowlin/1.avi")
    with pytest.raises(DataError, match="has no class `Bowlin`") as error:
        ucf101.find(root)
    assert error.value.hint == "rename the folder to Bowling"
    root = with_classes(tmp_path / "other", "1 Archery\n", ARCHERY, "samples/1.avi")
    with pytest.raises(DataError, match="has no class `samples`") as error:
        ucf101.find(root)
    assert "Archery/v_Archery_g01_c01.avi" in error.value.hint


def test_classes_without_videos_give_a_warning_and_no_label(tmp_path):
    root = with_classes(tmp_path, "1 Apply\n2 Archery\n3 Bowling\n", ARCHERY, "Bowling/1.avi")
    (videos, classes), warned = with_warnings(ucf101.find, root)
    assert classes == ["Archery", "Bowling"]
    assert [video.label for video in videos] == [0, 1]
    assert warned == [
        "1 of the 3 classes of classInd.txt have no videos, the first: Apply; labels count the "
        "2 that have"
    ]


def test_a_test_list_of_other_videos_gives_a_warning(tmp_path):
    touch(tmp_path, ARCHERY)
    (tmp_path / "testlist01.txt").write_text("Bowling/v_Bowling_g01_c01.avi\n")
    _, warned = with_warnings(ucf101.find, tmp_path)
    assert len(warned) == 1
    assert "lists none of the videos, so all are in the split `train`" in warned[0]


@pytest.mark.parametrize("line", ["Archery", "one Archery", "2"])
def test_an_invalid_class_list_is_rejected_with_its_line(tmp_path, line):
    root = with_classes(tmp_path, f"1 Archery\n\n{line}\n", ARCHERY)
    with pytest.raises(
        DataError, match=f"classInd.txt, line 3: `{line}` is not a number and a class"
    ):
        ucf101.find(root)
