"""Habits of other programs lead somewhere: each mistake names what is meant."""

import json
from pathlib import Path

import pytest
from conftest import fail, invoke, succeed
from helpers.eval_data import mp4_folder

from latte_cli.cli.usage import habits
from latte_cli.config import known_keys
from latte_cli.config.other_names import _NAMES, likely_keys


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["train", "--lr", "1e-3"], "-o train.lr=1e-3"),
        (["train", "-p", "shapes", "-lr", "1e-3"], "-o train.lr=1e-3"),
        (["train", "--learning_rate=1e-3"], "-o train.lr=1e-3"),
        (["train", "--batch-size", "8"], "-o train.batch_size=8"),
        (["train", "--train.steps", "8"], "-o train.steps=8"),
        (["train", "--max-steps", "8"], "--steps 8"),
        (["train", "folder"], "--preset folder"),
        (["train", "foldr"], "--preset folder"),
        (["train", "lr=1"], "-o train.lr=1"),
        (["train", "mine.yaml"], "--preset mine.yaml"),
        (["sample", "--cfg-scale", "7"], "--guidance 7"),
        (["sample", "--eta", "1"], "-o sample.eta=1"),
        (["t2v", "a", "--negative_prompt", "b"], "--negative b"),
        (["encode-latents", "--data_root", "x"], "--data-root x"),
        (["prepare", "folder", "--input", "x"], "--source x"),
        (["evaluate"], "latte eval"),
        (["trian"], "latte train"),
    ],
)
def test_wrong_usage_says_what_may_be_meant(words, meant):
    result = invoke(*words)
    assert result.exit_code == 2
    assert f"hint: did you mean `{meant}`? " in " ".join(result.stderr.split())
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize("words", [["train", "--nonesuch", "1"], ["sample", "-n"], ["nonesuch"]])
def test_what_is_like_nothing_leads_to_the_help(words):
    result = invoke(*words)
    assert result.exit_code == 2
    assert "did you mean" not in result.stderr
    assert "--help` " in result.stderr


def test_errors_are_objects_where_results_are():
    result = invoke("--json", "train", "--lr", "1")
    assert json.loads(result.stdout).keys() == {"error", "hint"}
    result = invoke("sample", "--preset", "nosuch", "--json")
    assert json.loads(result.stdout)["error"].startswith("no preset named `nosuch`")


def test_a_key_is_found_by_its_last_part():
    assert "did you mean `train.lr`?" in fail("train", "-p", "shapes", "-o", "lr=1")
    said = fail("train", "-p", "shapes", "-o", "steps=1")
    assert "did you mean `train.steps` or `sample.steps`?" in said
    assert likely_keys("--Learning-Rate".lstrip("-"), known_keys()) == ["train.lr"]


def test_all_that_is_suggested_exists():
    from typer.main import get_command

    from latte_cli.cli import app

    commands = get_command(app).commands
    options = {name for each in commands.values() for param in each.params for name in param.opts}
    assert set(_NAMES.values()) <= set(known_keys())
    assert set(habits._OPTIONS.values()) <= options
    named = {meant.split()[0] for meant in habits._COMMANDS.values()}
    assert named <= {*commands, "--help", "--version"}


def test_a_path_in_place_of_a_data_set_is_a_source(tmp_path):
    mp4_folder(tmp_path / "in", 3, 6)
    result = succeed("--json", "prepare", "in", "--workers", "1")
    assert json.loads(result.stdout)["accepted"] == 3
    assert "latte prepare folder --source in" in result.stderr
    assert (tmp_path / "data/folder/manifest.jsonl").is_file()
    Path("list.csv").write_text("video,caption\nin/00000.mp4,a cat\n")
    assert "prepare captions --source list.csv" in invoke("prepare", "list.csv").stderr


def test_a_data_set_that_is_none_is_guessed():
    assert "did you mean `ucf101`?" in fail("prepare", "ucf102")
    assert "no data set named `./nosuch`" in fail("prepare", "./nosuch")


def test_a_prompt_without_quotes_is_told(tmp_path):
    said = fail("t2v", "a", "cat", "--model", "./nosuch")
    assert "2 prompts make 2 clips: `a`, `cat`" in said
    assert "latte t2v 'a cat'" in said
    assert "prompts make" not in fail("t2v", "a cat", "--model", "./nosuch")


def test_the_second_folder_is_measured_against_the_first(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        mp4_folder(tmp_path / name, 5, 4, seed=seed)
    words = ["--metrics", "fd-random", "--interval", "1", "-o", "data.frames=4"]
    words += ["-o", "data.size=32", "-o", "eval.resamples=0"]
    result = succeed("--json", "eval", "a", "b", *words)
    assert "b is measured against a" in result.stderr
    named = succeed("--json", "eval", "--real", "a", "--fake", "b", *words)
    shown, expected = (json.loads(each.stdout) for each in (result, named))
    assert shown["metrics"] == expected["metrics"]
    assert "`latte eval --preset shapes` measures" in fail("eval", "shapes")
