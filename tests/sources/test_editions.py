"""A data set given under the name of another one is refused, whatever its edition."""

import pytest
from helpers.trees import touch, with_warnings

from latte_cli.runtime.errors import DataError, LatteWarning
from latte_cli.sources import find_videos

CLIP = "Archery/v_Archery_g01_c01"
EDITIONS = {
    "ucf101": {
        "official": [f"UCF-101/{CLIP}.avi", "UCF-101/Bowling/v_Bowling_g02_c01.avi"],
        "portal": [f"train/{CLIP}.avi", "val/Archery/v_Archery_g02_c01.avi"],
        "csv": [f"videos/{CLIP}.avi", "train.csv", "test.csv"],
        "flat": ["v_Archery_g01_c01.avi", "v_HandStandPushups_g01_c02.mp4"],
        "flat splits": ["train/v_Archery_g01_c01.avi", "test/v_Bowling_g01_c02.avi"],
        "frames": [
            f"jpegs_256/{CLIP[8:]}/frame000001.jpg",
            f"jpegs_256/{CLIP[8:]}/frame000002.jpg",
        ],
        "own names": ["Archery/1.mp4", "Bowling/1.mp4", "Diving/a.mp4"],
        "spaced": ["train/Apply Eye Makeup/1.avi", "test/Tai Chi/1.avi", "test/Yo Yo/2.avi"],
    },
    "skytimelapse": {
        "official": ["sky_train/a/a_1/a_frames_00000001.jpg", "sky_test/b/b_1/b_frames_1.jpg"],
        "train test": ["train/a/a_1/a_frames_00000001.jpg", "test/b/b_1/b_frames_1.jpg"],
        "renamed frames": ["train/07U1fSrk9oI/07U1fSrk9oI_1/000.jpg"],
        "mp4": ["sky_timelapse/sky_train/07U1fSrk9oI_1.mp4"],
        "around": ["sky_timelapse/sky_train/a/a_1/1.jpg", "sky_timelapse/sky_test/b/b_1/1.jpg"],
    },
    "faceforensics": {
        "official": ["train/original/a.avi", "train/mask/a.avi", "train/altered/a.avi"],
        "cropped": ["preprocess_ffs/train/videos/a.mp4", "preprocess_ffs/val/videos/b.mp4"],
        "plus plus": [
            "original_sequences/youtube/c23/videos/000.mp4",
            "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
            "manipulated_sequences/Deepfakes/masks/videos/000_003.mp4",
        ],
        "plus plus originals": ["original_sequences/youtube/c23/videos/000.mp4"],
        "plus plus portal": ["FF/original/000.mp4", "FF/Deepfakes/000_003.mp4", "FF/csv/a.csv"],
    },
    "taichi-hd": {
        "official": ["train/a#000080#000300.mp4", "test/b#000000#000128.mp4"],
        "frames": ["train/a#000080#000300.mp4/0000.png", "test/b#000000#000128/0.png"],
        "flat": ["a#000080#000300.mp4"],
    },
}
TREES = [(dataset, name) for dataset, trees in EDITIONS.items() for name in trees]


@pytest.mark.parametrize("asked", EDITIONS)
@pytest.mark.parametrize(("given", "edition"), TREES)
@pytest.mark.filterwarnings("ignore::latte_cli.runtime.errors.LatteWarning")
def test_only_the_data_set_itself_is_accepted(tmp_path, asked, given, edition):
    touch(tmp_path, *EDITIONS[given][edition])
    if given == asked:
        assert find_videos(asked, tmp_path)[0]
    else:
        with pytest.raises(DataError) as error:
            find_videos(asked, tmp_path)
        assert f"latte prepare {given}` reads it" in error.value.hint
    assert find_videos("folder", tmp_path)[0]
    with pytest.raises(DataError, match=r"expected one table|no column|no line"):
        find_videos("captions", tmp_path)


@pytest.mark.parametrize("asked", [name for name in EDITIONS if name != "faceforensics"])
def test_a_folder_inside_a_data_set_is_known_by_those_above(tmp_path, asked):
    inside = tmp_path / "original_sequences/youtube/c23/videos"
    touch(inside, "000.mp4", "001.mp4")
    with pytest.raises(DataError, match="is FaceForensics"):
        find_videos(asked, inside)


@pytest.mark.parametrize("asked", EDITIONS)
def test_a_data_set_that_no_source_reads_is_refused_by_its_names(tmp_path, asked):
    touch(tmp_path, "train/id10001#7w0IBEWc9Qw#000993#001143.mp4")
    with pytest.raises(DataError, match="is VoxCeleb") as error:
        find_videos(asked, tmp_path)
    assert error.value.hint == "`latte prepare folder` reads any videos"


def test_synthesized_faces_of_another_data_set_are_left_out(tmp_path):
    """Celeb-DF is named like this."""
    touch(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4")
    (videos, _), _ = with_warnings(find_videos, "faceforensics", tmp_path)
    assert [video.path.name for video in videos] == ["id0_0000.mp4"]


def test_a_class_folder_or_two_are_no_data_set(tmp_path):
    touch(tmp_path, "train/Surfing/a.mp4", "train/Swing/a.mp4", "test/Skiing/x/a.mp4", "test/b.mp4")
    touch(tmp_path, *(f"train/{n}.mp4" for n in range(4)))
    (videos, _), _ = with_warnings(find_videos, "skytimelapse", tmp_path)
    assert len(videos) == 8


@pytest.mark.parametrize("dataset", ["skytimelapse", "taichi-hd"])
def test_an_incomplete_data_set_gives_a_warning(tmp_path, dataset):
    touch(tmp_path, *EDITIONS[dataset]["official"])
    with pytest.warns(LatteWarning, match=r"has 1 train videos, not \d+ and 1 test videos, not"):
        find_videos(dataset, tmp_path)


def test_other_names_than_those_of_taichi_hd_give_a_warning(tmp_path):
    touch(tmp_path, "train/00000.mp4")
    with pytest.warns(LatteWarning, match="no video is named ID#START#END.*00000.mp4"):
        find_videos("taichi-hd", tmp_path)
