"""Native layouts: what is found, how it is labelled."""

import pytest

from latte_cli.errors import DataError
from latte_cli.sources import folder, ucf101


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_a_folder_is_searched_to_any_depth_and_sorted(tmp_path):
    touch(tmp_path, "b/c/2.MP4", "a.avi", "b/1.webm", "notes.txt", ".hidden.mp4", "with space.mkv")
    videos, classes = folder.find(tmp_path)
    assert [str(v.path.relative_to(tmp_path)) for v in videos] == [
        "a.avi",
        "b/1.webm",
        "b/c/2.MP4",
        "with space.mkv",
    ]
    assert classes == []
    assert all(video.label is None for video in videos)


def test_sub_folders_are_labels_when_asked(tmp_path):
    touch(tmp_path, "dog/1.mp4", "cat/x/2.mp4", "loose.mp4")
    videos, classes = folder.find(tmp_path, labels=True)
    assert classes == ["cat", "dog"]
    assert [(v.path.name, v.label) for v in videos] == [("2.mp4", 0), ("1.mp4", 1)]


def test_links_that_go_round_are_survived(tmp_path):
    touch(tmp_path, "a/1.mp4")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(folder.find(tmp_path)[0]) == 1


def test_empty_missing_and_unlabelled_folders_are_told(tmp_path):
    with pytest.raises(DataError, match="no videos"):
        folder.find(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        folder.find(tmp_path / "none")
    touch(tmp_path, "1.mp4")
    with pytest.raises(DataError, match="no sub-folders"):
        folder.find(tmp_path, labels=True)


@pytest.mark.parametrize("lists", ["ucfTrainTestlist", "UCF-101/../ucfTrainTestlist", "."])
def test_ucf101_labels_by_class_and_splits_by_list(tmp_path, lists):
    """File names may be spelled otherwise than their class folder; lists end lines in CR LF."""
    touch(
        tmp_path / "UCF-101",
        "Archery/v_Archery_g01_c01.avi",
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


def test_ucf101_without_lists_is_all_train(tmp_path):
    touch(tmp_path, "Archery/v_Archery_g01_c01.avi")
    assert [video.split for video in ucf101.find(tmp_path)[0]] == ["train"]
    with pytest.raises(DataError, match="no sub-folders"):
        touch(tmp_path / "flat", "v_Archery_g01_c01.avi")
        ucf101.find(tmp_path / "flat")
