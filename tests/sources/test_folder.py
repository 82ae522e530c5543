"""`folder`: which videos are found, and their labels."""

import unicodedata

import pytest
from helpers.trees import touch, with_warnings

from latte_cli.checkpoints.labels import label_number
from latte_cli.runtime.errors import DataError
from latte_cli.sources import folder


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


def test_sub_folders_are_labels_and_other_videos_are_skipped_with_a_warning(tmp_path):
    touch(tmp_path, "dog/1.mp4", "cat/x/2.mp4", "loose.mp4", "z.mp4")
    (videos, classes), warned = with_warnings(folder.find, tmp_path, labels=True)
    assert classes == ["cat", "dog"]
    assert [(v.path.name, v.label) for v in videos] == [("2.mp4", 0), ("1.mp4", 1)]
    assert warned == [
        "2 videos are in no sub-folder, so they have no label and are skipped, the first: loose.mp4"
    ]


def test_folders_of_frames_have_labels_like_files(tmp_path):
    touch(tmp_path, "dog/clip 1/1.jpg", "dog/clip 1/2.jpg", "cat/1.mp4", "loose/1.jpg")
    (videos, classes), warned = with_warnings(folder.find, tmp_path, labels=True)
    assert classes == ["cat", "dog"]
    assert [(v.path.name, v.label) for v in videos] == [("1.mp4", 0), ("clip 1", 1)]
    assert len(warned) == 1
    assert "loose" in warned[0], "a folder of frames is a video, not a class"


def test_circular_links_end(tmp_path):
    touch(tmp_path, "a/1.mp4")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(folder.find(tmp_path)[0]) == 1


def test_empty_missing_and_unlabeled_folders_are_rejected(tmp_path):
    with pytest.raises(DataError, match="no videos"):
        folder.find(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        folder.find(tmp_path / "none")
    touch(tmp_path, "1.mp4")
    with pytest.raises(DataError, match="no sub-folders"):
        folder.find(tmp_path, labels=True)


def test_class_names_are_the_same_in_either_form_of_unicode(tmp_path):
    """Folders of Macs have accents taken apart; one folder of each kind may be there."""
    forms = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    touch(tmp_path, f"{forms[0]}/1.mp4", f"{forms[1]}/2.mp4", "zebra/3.mp4")
    videos, classes = folder.find(tmp_path, labels=True)
    assert classes == [forms[0], "zebra"]
    assert sorted(video.label for video in videos) == [0, 0, 1]
    for names in (classes, [forms[1], "zebra"]):
        assert [label_number(form, 2, names) for form in forms] == [0, 0]


def test_folders_named_like_splits_are_splits(tmp_path):
    touch(tmp_path, "train/cat/1.mp4", "Val/dog/x/2.mp4", "test/cat/3.mp4", "test/4.mp4")
    (videos, classes), warned = with_warnings(folder.find, tmp_path, labels=True)
    assert classes == ["cat", "dog"]
    assert [(v.path.name, v.label, v.split) for v in videos] == [
        ("2.mp4", 1, "test"),
        ("3.mp4", 0, "test"),
        ("1.mp4", 0, "train"),
    ]
    assert warned[0].endswith("Val, test, train are taken for splits, folders in them for classes")
    touch(tmp_path / "flat", "train/1.mp4", "test/2.mp4")
    assert with_warnings(folder.find, tmp_path / "flat", labels=True)[0][1] == ["test", "train"]
