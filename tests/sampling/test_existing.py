"""The rule about results that exist: what counts as the same request, and how others differ."""

import pytest

from latte_cli.runtime.errors import ExistsError
from latte_cli.sampling.existing import differences, is_there

STEP = {"checkpoint": "step 400 of runs/x", "weights_sha256": "a", "guidance": 4.0}


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({}, []),
        ({"checkpoint": "./runs/x, whatever it is called"}, []),
        ({"guidance": 7.0}, ["guidance 4 against 7"]),
        (
            {"weights_sha256": "b", "checkpoint": "step 800 of runs/x"},
            ["step 400 of runs/x against step 800"],
        ),
        (
            {"weights_sha256": "b", "checkpoint": "step 400 of runs/y"},
            ["step 400 of runs/x against step 400 of runs/y"],
        ),
        ({"weights_sha256": "b", "checkpoint": "w.pt"}, ["step 400 of runs/x against w.pt"]),
        (
            {"weights_sha256": "b"},
            ["other weights against those of step 400 of runs/x as they are now"],
        ),
        ({"diffusion": None, "eta": 0.5}, ["eta none against 0.5"]),
        ({"image_sha256": "c"}, ["--image now, none then"]),
    ],
)
def test_differences_are_words(now, words):
    assert differences(STEP, {**STEP, **now}) == words


def test_what_may_be_written(tmp_path):
    path = tmp_path / "out.mp4"
    assert not is_there(path, None, STEP, overwrite=False), "there is nothing"
    path.touch()
    assert not is_there(path, None, STEP, overwrite=False), "there is nothing in it"
    path.write_bytes(b"x")
    assert is_there(path, STEP, STEP, overwrite=False)
    assert is_there(path, STEP, STEP, overwrite=True), "overwriting does not redo what is done"
    for stored in (None, {**STEP, "guidance": 7.0}):
        assert not is_there(path, stored, STEP, overwrite=True)
        with pytest.raises(ExistsError) as caught:
            is_there(path, stored, STEP, overwrite=False)
        assert caught.value.free == tmp_path / "out-2.mp4"
        assert "--overwrite" in caught.value.hint


def test_a_free_name_keeps_the_ending_of_a_file_and_the_whole_name_of_a_folder(tmp_path):
    (tmp_path / "v1.5").mkdir()
    (tmp_path / "a-2.gif").touch()
    assert ExistsError("", tmp_path / "v1.5").free.name == "v1.5-2"
    assert ExistsError("", tmp_path / "a.gif").free.name == "a-3.gif"
