"""Options of sampling that are invalid or would be ignored: errors before any clip is sampled."""

import math

import pytest
from conftest import fail, succeed, tiny

from latte_cli.runtime.errors import ConfigError
from latte_cli.sampling.text_requests import T2VOptions
from latte_cli.text.prompts import Prompt

DOGS = "two dogs run"


@pytest.mark.parametrize("number", ["inf", "1e999"])
def test_infinite_guidance_is_an_error(tmp_path, number):
    stderr = fail("sample", "--preset=shapes", f"--guidance={number}")
    assert "`sample.guidance` is " in stderr
    assert "finite" in stderr
    for command in ("t2v", "calibrate"):
        stderr = fail(command, DOGS, "--model=.", f"--guidance={number}")
        assert f"--guidance {float(number)} is not finite" in stderr
    (tmp_path / "a.csv").write_text(f"prompt,guidance\nsea,{number}\n")
    assert "it is a number from 0 on" in fail("t2v", "--prompts=a.csv", "--model=./none")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("number", ["guidance", "eta", "fps"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_infinite_numbers_and_nan_are_errors_for_t2v(number, value):
    with pytest.raises(ConfigError, match=f"--{number} {value} is not finite") as caught:
        T2VOptions((Prompt(DOGS),), **{number: value})
    assert caught.value.hint


@pytest.mark.parametrize("fps", ["1e9", "1e-9", "inf"])
def test_fps_out_of_range_is_an_error(tmp_path, fps):
    hint = "a number such as" if fps == "inf" else "from 0.1 to 1000"
    assert f"hint: {hint}" in fail("t2v", DOGS, "--model=./none", f"--fps={fps}")
    assert "frames per second" in fail("sample", "--preset=shapes", "-o", f"sample.fps={fps}")


@pytest.mark.parametrize(
    "args",
    [("--overlap", 99), ("--overlap", 99, "--long-method", "foo"), ("--long-method", "fifo")],
)
@pytest.mark.parametrize("command", [("sample", "--preset=shapes"), ("t2v", DOGS, "--model=none")])
def test_options_of_long_clips_need_long(tmp_path, command, args):
    assert f"{args[0]} {args[1]} without --long" in fail(*command, *args)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("command", [("sample", "--preset=shapes"), ("t2v", DOGS, "--model=none")])
def test_long_clips_need_windows_of_two_frames(command):
    stderr = fail(*command, "--frames=1", "--long=5")
    assert "--long needs at least 2 frames in a window, not 1" in stderr
    assert stderr.endswith("hint: --frames 2 or more")


@pytest.mark.parametrize("key", ["sample.steps", "model.width", "name"])
def test_a_key_without_a_value_is_an_error(world, tmp_path, key):
    stderr = fail("sample", "--preset=shapes", "-n", 1, "-o", key)
    assert f"`-o {key}` has no value" in stderr
    assert f"hint: -o {key}=VALUE" in stderr
    assert not any(tmp_path.iterdir())


def test_an_output_folder_may_have_the_name_of_a_key(world, tmp_path):
    runs = f"--runs-root={world.root / 'runs'}"
    args = ("sample", "--preset=shapes", *tiny(), runs, "-n", 1, "--steps=1", "--frames=2")
    succeed(*args, "-o", "./sample.steps")
    assert (tmp_path / "sample.steps/samples.jsonl").is_file()


@pytest.mark.parametrize("command", ["sample", "calibrate"])
def test_the_embedded_checkpoint_needs_a_preset(command):
    stderr = fail(command, "--checkpoint=embedded")
    assert "--checkpoint embedded needs --preset, too" in stderr
    assert "--preset shapes" in stderr


def test_overrides_without_a_preset_are_an_error():
    stderr = fail("presets", "-o", "model.size=S")
    assert "-o overrides a value of a preset, but no preset is named" in stderr
    assert "latte presets NAME -o KEY=VALUE" in stderr


@pytest.mark.parametrize("command", [("sample", "--preset=shapes"), ("t2v", DOGS, "--model=none")])
@pytest.mark.parametrize("name", ["out.jpg", "out.WEBP", "out.npy", "out.mov"])
def test_a_file_of_another_format_does_not_become_a_folder(tmp_path, command, name):
    option = "--out" if command[0] == "sample" else "-o"
    stderr = fail(*command, option, name)
    assert "known endings: " in stderr
    assert not any(tmp_path.iterdir())


def test_guidance_by_skipped_blocks_changes_clips_and_is_part_of_their_settings(world, tmp_path):
    words = ["sample", f"--checkpoint={world.run}", "-n", 1, "--steps=2", f"--out={tmp_path / 's'}"]
    lead = ["-o", "sample.skip_guidance=1", "-o", "sample.skip_blocks=1"]
    succeed(*words)
    assert "other settings" in fail(*words, *lead)
    before = (tmp_path / "s" / "samples.jsonl").read_text()
    succeed(*words, *lead, "--overwrite")
    assert (tmp_path / "s" / "samples.jsonl").read_text() != before


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["sample.skip_guidance=1"], "names no block"),
        (["sample.skip_guidance=1", "sample.skip_blocks=0,99"], "blocks are 0 to"),
        (["sample.skip_guidance=-1", "sample.skip_blocks=1"], "skip_guidance"),
    ],
)
def test_guidance_by_skipped_blocks_needs_blocks_that_there_are(world, tmp_path, overrides, said):
    words = [word for each in overrides for word in ("-o", each)]
    folder = tmp_path / "s"
    given = (f"--checkpoint={world.run}", "-n", 1, *words, f"--out={folder}")
    assert said in fail("sample", *given)
    assert not list(folder.glob("*.mp4"))
