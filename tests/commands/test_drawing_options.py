"""Options of drawing that cannot be, or would be passed over: told before anything is drawn."""

import math

import pytest
from conftest import fail, invoke, succeed, tiny

from latte_cli.runtime.errors import ConfigError
from latte_cli.sampling.text_requests import T2VOptions
from latte_cli.text.prompts import Prompt

DOGS = "two dogs run"


@pytest.mark.parametrize("number", ["inf", "1e999"])
def test_guidance_is_a_finite_number_however_it_is_given(tmp_path, number):
    said = fail("sample", "--preset=shapes", f"--guidance={number}")
    assert "`sample.guidance` is " in said
    assert "finite" in said
    for command in ("t2v", "calibrate"):
        said = fail(command, DOGS, "--model=./none", f"--guidance={number}")
        assert f"--guidance {float(number)} is not finite" in said
    (tmp_path / "a.csv").write_text(f"prompt,guidance\nsea,{number}\n")
    assert "it is a number from 0 on" in fail("t2v", "--prompts=a.csv", "--model=./none")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("number", ["guidance", "eta", "fps"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_numbers_of_clips_of_text_are_finite(number, value):
    with pytest.raises(ConfigError, match=f"--{number} {value} is not finite") as caught:
        T2VOptions((Prompt(DOGS),), **{number: value})
    assert caught.value.hint


@pytest.mark.parametrize("fps", ["1e9", "1e-9", "inf"])
def test_frames_a_second_are_within_bounds(tmp_path, fps):
    said = invoke("t2v", DOGS, "--model=./none", f"--fps={fps}")
    assert said.exit_code == 2
    assert "Invalid value for '--fps'" in said.stderr
    assert "frames per second" in fail("sample", "--preset=shapes", "-o", f"sample.fps={fps}")


@pytest.mark.parametrize(
    "words",
    [("--overlap", 99), ("--overlap", 99, "--long-method", "foo"), ("--long-method", "fifo")],
)
@pytest.mark.parametrize("command", [("sample", "--preset=shapes"), ("t2v", DOGS, "--model=none")])
def test_what_is_said_of_long_clips_is_not_passed_over(tmp_path, command, words):
    assert f"{words[0]} {words[1]} without --long" in fail(*command, *words)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("command", [("sample", "--preset=shapes"), ("t2v", DOGS, "--model=none")])
def test_a_window_of_one_frame_cannot_be_overlapped(command):
    said = fail(*command, "--frames=1", "--long=5")
    assert "--long needs at least 2 frames in a window, not 1" in said
    assert said.endswith("hint: --frames 2 or more")


@pytest.mark.parametrize("key", ["sample.steps", "model.width", "name"])
def test_a_key_without_a_value_is_no_place(world, tmp_path, key):
    said = fail("sample", "--preset=shapes", "-n", 1, "-o", key)
    assert f"`-o {key}` has no value" in said
    assert f"hint: -o {key}=VALUE" in said
    assert not any(tmp_path.iterdir())


def test_a_folder_may_still_be_called_as_a_key(world, tmp_path):
    runs = f"--runs-root={world.root / 'runs'}"
    words = ("sample", "--preset=shapes", *tiny(), runs, "-n", 1, "--steps=1", "--frames=2")
    succeed(*words, "-o", "./sample.steps")
    assert (tmp_path / "sample.steps/samples.jsonl").is_file()


@pytest.mark.parametrize("command", ["sample", "calibrate"])
def test_the_embedded_checkpoint_needs_a_preset(command):
    said = fail(command, "--checkpoint=embedded")
    assert "--checkpoint embedded needs --preset, too" in said
    assert "--preset shapes" in said


def test_overrides_of_no_preset_are_not_passed_over():
    said = fail("presets", "-o", "model.size=S")
    assert "-o overrides a value of a preset, but no preset is named" in said
    assert "latte presets NAME -o KEY=VALUE" in said
