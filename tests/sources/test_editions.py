"""A data set given under the name of another one is refused."""

import pytest
from helpers.trees import touch

from latte_cli.runtime.errors import DataError, LatteWarning
from latte_cli.sources import find_videos

TREES = {
    "ucf101": ["train/Archery/v_Archery_g01_c01.avi", "test/Archery/v_Archery_g02_c01.avi"],
    "skytimelapse": ["sky_train/a/a_1/a_frames_00000001.jpg", "sky_test/b/b_1/b_frames_1.jpg"],
    "faceforensics": ["train/original/a.avi", "train/mask/a.avi", "train/altered/a.avi"],
    "taichi-hd": ["train/a#000080#000300.mp4", "test/b#000000#000128/0.png"],
}
OTHERS = {
    "ucf101": ["v_Archery_g01_c01/1.jpg"],
    "skytimelapse": ["train/a/a_1/a_frames_00000001.jpg", "test/b/b_1/b_frames_1.jpg"],
    "faceforensics": ["original_sequences/youtube/c23/videos/000.mp4"],
    "taichi-hd": ["a#000080#000300.mp4"],
}


@pytest.mark.parametrize("trees", [TREES, OTHERS])
@pytest.mark.parametrize("dataset", TREES)
@pytest.mark.parametrize("given", TREES)
@pytest.mark.filterwarnings("ignore::latte_cli.runtime.errors.LatteWarning")
def test_only_the_data_set_itself_is_accepted(tmp_path, dataset, given, trees):
    touch(tmp_path, *trees[given])
    if given == dataset:
        assert find_videos(dataset, tmp_path)[0]
    else:
        with pytest.raises(DataError) as error:
            find_videos(dataset, tmp_path)
        assert f"latte prepare {given}` reads it" in error.value.hint
    assert find_videos("folder", tmp_path)[0]


@pytest.mark.parametrize("dataset", ["skytimelapse", "taichi-hd"])
def test_an_incomplete_data_set_gives_a_warning(tmp_path, dataset):
    touch(tmp_path, *TREES[dataset])
    with pytest.warns(LatteWarning, match=r"has 1 train videos, not \d+ and 1 test videos, not"):
        find_videos(dataset, tmp_path)


def test_other_names_than_those_of_taichi_hd_give_a_warning(tmp_path):
    touch(tmp_path, "train/00000.mp4")
    with pytest.warns(LatteWarning, match="no video is named ID#START#END.*00000.mp4"):
        find_videos("taichi-hd", tmp_path)
