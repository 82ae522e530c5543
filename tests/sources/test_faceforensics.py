"""`faceforensics`: original videos with their masks, or cropped videos."""

import unicodedata

import pytest
from helpers.trees import touch, with_warnings

from latte_cli.runtime.errors import DataError, LatteWarning
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


def test_masks_match_in_either_form_of_unicode(tmp_path):
    forms = [unicodedata.normalize(form, "é.avi") for form in ("NFC", "NFD")]
    touch(tmp_path / "train", f"original/{forms[0]}", f"mask/{forms[1]}")
    assert [mask for *_, mask in found_in(tmp_path)[0]] == [f"train/mask/{forms[1]}"]


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


@pytest.mark.parametrize("names", [["train/altered/a.avi"], ["notes.txt"]])
def test_a_folder_without_original_videos_is_rejected_with_the_layout(tmp_path, names):
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=r"no videos|manipulated videos and masks only") as error:
        faceforensics.find(tmp_path)
    assert "train/original/*.avi" in error.value.hint


PLUS_PLUS = [
    "original_sequences/youtube/c23/videos/000.mp4",
    "original_sequences/youtube/c23/videos/003.mp4",
    "original_sequences/actors/c23/videos/01__exit_phone_room.mp4",
    "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
    "manipulated_sequences/Deepfakes/masks/videos/000_003.mp4",
    "manipulated_sequences/NeuralTextures/c40/videos/003_000.mp4",
    "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__exit__YVGY8LOK.mp4",
]


def test_only_originals_of_faceforensics_plus_plus_are_taken(tmp_path):
    touch(tmp_path, *PLUS_PLUS)
    found, warned = found_in(tmp_path)
    assert found == [(name, "train", None) for name in PLUS_PLUS[:2]]
    assert len(warned) == 1
    assert "is FaceForensics++, not FaceForensics; 2 of its 7 videos are originals" in warned[0]
    assert "all are `train`" in warned[0]


def test_other_names_of_manipulated_folders_are_known(tmp_path):
    """Data portals name them differently."""
    kept = ["original/000.mp4", "original/003.mp4"]
    names = ["Deepfakes/000_003", "Face2Face/000_003", "FaceShifter/000_003", "FaceSwap/000_003"]
    touch(tmp_path / "FaceForensics++_C23", *kept, *(f"{name}.mp4" for name in names))
    touch(tmp_path / "FaceForensics++_C23", "csv/Original.csv", "DF/003_000.mp4")
    found, _ = found_in(tmp_path / "FaceForensics++_C23")
    assert [name for name, *_ in found] == kept
    touch(tmp_path / "other", "real/a.mp4", "fake/b.mp4", "Manipulated videos/c.mp4")
    assert [name for name, *_ in found_in(tmp_path / "other")[0]] == ["real/a.mp4"]


def test_each_original_is_taken_once_at_its_best_compression(tmp_path):
    for kind in ("c40", "c23", "raw"):
        touch(tmp_path / "original_sequences" / "youtube" / kind, "videos/000.mp4")
    touch(tmp_path / "original_sequences/youtube/c40", "videos/001.mp4", "images/000/0000.png")
    found, _ = found_in(tmp_path)
    above = "original_sequences/youtube"
    assert [name for name, *_ in found] == [
        f"{above}/c40/videos/001.mp4",
        f"{above}/raw/videos/000.mp4",
    ]


def test_official_lists_of_faceforensics_plus_plus_give_the_splits(tmp_path):
    touch(tmp_path / "ff", *PLUS_PLUS[:2])
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "test.json").write_text('[["003", "953"]]')
    (tmp_path / "lists" / "train.json").write_text('[["000", "071"]]')
    videos, _ = with_warnings(faceforensics.find, tmp_path / "ff", tmp_path / "lists")[0]
    assert [video.split for video in videos] == ["train", "test"]


@pytest.mark.parametrize(
    "source",
    ["manipulated_sequences", "manipulated_sequences/Deepfakes/c23/videos", "Deepfakes/masks"],
)
def test_manipulated_videos_and_masks_alone_are_refused(tmp_path, source):
    touch(tmp_path / source, "000_003.mp4")
    with pytest.raises(DataError, match="holds manipulated videos and masks only") as error:
        faceforensics.find(tmp_path / source)
    assert "the folder of the original videos" in error.value.hint


def test_a_part_of_the_release_gives_a_warning(tmp_path):
    release(tmp_path)
    with pytest.warns(LatteWarning, match="has 2 train videos, not 704 and 4 test videos, not 300"):
        faceforensics.find(tmp_path)
