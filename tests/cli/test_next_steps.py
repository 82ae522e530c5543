"""The end of a command: what it made, and a next command that works as it is printed."""

import shlex

import pytest
from commands.pipelines import write_pipeline
from conftest import invoke, succeed, tiny

from latte_cli.cli import run_command
from latte_cli.cli.usage.typed_words import typed, typed_again, typed_overrides
from latte_cli.runtime.errors import LatteError


def printed(said: str) -> list[list[str]]:
    """The words of the commands at the end of what was said, without `latte`."""
    commands = [line.strip() for line in said.splitlines() if line.startswith("  latte ")]
    return [shlex.split(command)[1:] for command in commands]


def follow(words: list[str]) -> list[str]:
    """Run a command; the next one."""
    (command,) = printed(succeed(*words).stderr)
    return command


def test_each_command_of_the_first_day_works_as_the_one_before_prints_it(tmp_path):
    words = follow(["prepare", "shapes", "--count=16", "--size=32", "--data-root=d"])
    assert words == shlex.split("encode-latents --preset shapes --size 32 --data-root=d")
    words = follow([*words, *tiny(eval__clips=4), "--latents-root=l"])
    assert words[:3] == ["train", "--preset", "shapes"]
    assert "--latents-root=l" in words
    words = follow([*words, "--runs-root=r"])
    assert words == shlex.split("sample --preset shapes -o sample.steps=4 --runs-root=r")
    words = follow([*words, "-n3", "--data-root=d"])
    assert words[:5] == shlex.split("eval --preset shapes --fake samples/shapes/step-000006")
    words = follow(words)
    assert words[:2] == ["eval", "--show-protocol"]
    succeed(*words)


def test_a_missing_step_is_named_with_the_users_own_overrides():
    succeed("prepare", "shapes", "--count=16", "--size=32")
    (words,) = printed(invoke("train", "-p", "shapes", *tiny()).stderr)
    assert words == ["encode-latents", "-p", "shapes", *tiny()]
    follow(words)
    (words,) = printed(succeed("train", "-p", "shapes", *tiny(), "--plan").stderr)
    assert words == ["train", "-p", "shapes", *tiny()]


def test_hints_for_callers_in_python_are_whole_commands_too():
    with pytest.raises(LatteError) as caught:
        run_command("train", "--preset=shapes", "-o", "data.size=32")
    assert caught.value.command == "latte encode-latents --preset=shapes -o data.size=32"
    with pytest.raises(LatteError, match="has no option --lr") as caught:
        run_command("train", "--lr=1")
    assert "-o train.lr=1" in caught.value.hint


def test_a_plan_names_all_steps_that_are_missing():
    prepare, encode, train = printed(succeed("train", "-p", "shapes", *tiny(), "--plan").stderr)
    assert prepare == shlex.split("prepare shapes --out data/shapes")
    assert encode[0] == "encode-latents"
    assert train[0] == "train"


def test_data_in_another_place_is_named_again(world):
    other = "data/my own"
    (words,) = printed(
        succeed("prepare", "shapes", "--count=8", "--size=32", f"--out={other}").stderr
    )
    assert words == ["encode-latents", "--preset", "shapes", "--data", other, "--size", "32"]
    words = follow(words)
    assert words[3:5] == ["-o", f"data.root={other}"]


def test_a_schedule_is_followed_by_the_command_that_uses_it(world):
    words = ["--checkpoint", str(world.run), "--speed=1.2x", "--steps", "4"]
    words = follow(["calibrate", *words, "-n1"])
    assert words[0] == "sample"
    assert words[-2:] == ["--speed", "1.2x"]
    succeed(*words, "-n1", "--out=o")


def test_clips_of_a_prompt_are_followed_by_those_of_another_seed(tmp_path):
    write_pipeline(tmp_path / "FOLDER")
    words = ["--model=FOLDER", "--steps=2", "--frames=4", "--seed=3"]
    words = follow(["t2v", "two dogs run", "-o", "a.mp4", *words])
    assert words == [
        *("t2v", "two dogs run", "--model=FOLDER", "--steps=2", "--frames=4"),
        *("--seed", "4", "--out", "a-seed4.mp4"),
    ]
    succeed(*words)
    assert (tmp_path / "a-seed4.mp4").is_file()


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_the_result_alone_goes_to_stdout(option):
    result = succeed(option, "prepare", "shapes", "--count=8", "--size=16")
    assert "latte" not in result.stdout
    assert bool(printed(result.stderr)) == (option == "--json")


def test_words_are_kept_as_they_were_typed(monkeypatch):
    from latte_cli.cli.boundary import global_options

    words = ("sample", "-pmine", "-o", "sample.steps=4", "--seed", "1", "--plan", "--run=-o")
    monkeypatch.setattr(global_options, "words", (*words, "-odata.size=8"))
    assert typed("--preset", "-p", "--run") == ["-pmine", "--run=-o"]
    assert typed_overrides("sample") == ["-o", "sample.steps=4"]
    assert typed_overrides() == ["-o", "sample.steps=4", "-o", "data.size=8"]
    again = typed_again("--plan", seed=2, run=None)
    assert again == ["sample", "-pmine", "-o", "sample.steps=4", "-odata.size=8", "--seed", "2"]


def test_one_clip_is_no_plural(tmp_path):
    said = succeed("sample", "--preset=shapes-map", "-n", 1, f"--out={tmp_path / 'one'}").stderr
    assert f"The clip is in {tmp_path / 'one'}, and" in " ".join(said.split())
    assert "shows it." in said
