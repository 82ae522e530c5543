"""`faceforensics`: original videos with their masks, or cropped videos."""

import pytest
from helpers.trees import touch, with_warnings

from latte_cli.runtime.errors import DataError
from latte_cli.sources import faceforensics


def found_in(root, source="."):
    (videos, classes), warned = with_warnings(faceforensics.find, root / source)
    assert classes == []
    return [
        (
            str(video.path.relative_to(root)),
            video.split,
            video.mask and str(video.mask.relative_to(root)),
        )
        for video in videos
    ], warned


def release(root):
    for split in ("train", "val", "test"):
        for kind in ("original", "mask", "altered"):
            touch(root / split / kind, f"{split}_0_x_1.avi", "sp ace_0_é_1.avi")
    return root


@pytest.mark.parametrize("around", [".", "FaceForensics_compressed"])
def test_originals_get_the_masks_of_the_same_name(tmp_path, around):
    found, warned = found_in(release(tmp_path / around), tmp_path)
    expected = [
        (f"{folder}/original/{name}.avi", split, f"{folder}/mask/{name}.avi")
        for folder, split in (("test", "test"), ("train", "train"), ("val", "test"))
        for name in ("sp ace_0_é_1", f"{folder}_0_x_1")
    ]
    assert (sorted(found), warned) == (sorted(expected), [])


@pytest.mark.parametrize("source", ["train", "train/original"])
def test_a_split_or_its_originals_may_be_given_alone(tmp_path, source, monkeypatch):
    release(tmp_path)
    found, _ = found_in(tmp_path, source)
    expected = [
        ("train/original/sp ace_0_é_1.avi", "train", "train/mask/sp ace_0_é_1.avi"),
        ("train/original/train_0_x_1.avi", "train", "train/mask/train_0_x_1.avi"),
    ]
    assert found == expected
    monkeypatch.chdir(tmp_path / source)
    here = faceforensics.find(type(tmp_path)("."))[0]
    assert [video.split for video in here] == ["train", "train"]
    assert all(video.mask is not None for video in here)


def test_masks_may_have_another_suffix_or_be_folders_of_frames(tmp_path):
    touch(tmp_path / "train", "original/a.avi", "original/b.avi", "mask/a.mp4", "mask/b/1.png")
    assert [mask for _, _, mask in found_in(tmp_path)[0]] == ["train/mask/a.mp4", "train/mask/b"]


def test_videos_without_a_mask_give_a_warning(tmp_path):
    touch(tmp_path / "train", "original/a.avi", "original/b.avi", "mask/b.avi")
    found, warned = found_in(tmp_path)
    assert [mask for _, _, mask in found] == [None, "train/mask/b.avi"]
    assert warned == [
        "1 of 2 train videos have no mask and are cropped to their center, the first: a.avi"
    ]


@pytest.mark.parametrize("names", [["train/a.avi", "train/altered/b.avi"], ["a.avi"]])
def test_a_folder_without_masks_is_center_cropped_with_a_warning(tmp_path, names):
    touch(tmp_path, *names)
    found, warned = found_in(tmp_path)
    assert found == [(names[0], "train", None)]
    assert len(warned) == 1
    assert "cropped to their center" in warned[0]


def test_cropped_videos_need_no_masks(tmp_path):
    touch(tmp_path / "preprocess_ffs", "train/videos/a.mp4", "train/images/a/1.png")
    touch(tmp_path / "preprocess_ffs", "test/images/b/1.png")
    assert found_in(tmp_path) == (
        [
            ("preprocess_ffs/test/images/b", "test", None),
            ("preprocess_ffs/train/videos/a.mp4", "train", None),
        ],
        [],
    )


def test_a_folder_without_videos_is_rejected_with_the_layout(tmp_path):
    touch(tmp_path, "train/altered/a.avi")
    with pytest.raises(DataError, match="no videos") as error:
        faceforensics.find(tmp_path)
    assert "train/original/*.avi" in error.value.hint
