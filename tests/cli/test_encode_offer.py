"""`latte train` encodes a prepared data set first, with `--yes` or as the user answers."""

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import fail, succeed, tiny
from helpers.small_data import copy_data

from latte_cli.data.latents.reading import INDEX, LatentSet


@pytest.fixture
def words(world, tmp_path):
    """Training on eight videos that are prepared, and not encoded."""
    data = copy_data(world, tmp_path)
    return ["train", "--preset=shapes", *tiny(train__steps=2), "-o", f"data.root={data}"]


def test_without_a_terminal_nothing_is_encoded_unasked(words):
    said = fail(*words)
    assert "no latents here hint: --yes makes them first" in said
    assert "latte encode-latents --preset=shapes" in said
    assert not Path("latents").exists()


def test_yes_encodes_what_is_missing_and_trains(words):
    shown = succeed(*words, "--yes")
    assert "encoded 8 videos into latents/data-32-embedded" in shown.stderr
    assert Path("runs/shapes/checkpoints/step-00000002").is_dir()
    assert "encoded" not in succeed(*words, "--yes").stderr


def test_an_interrupted_encoding_is_finished(words):
    succeed(*words, "--yes")
    index = Path("latents/data-32-embedded") / INDEX
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:3]))
    assert "3 of 8 videos" in fail(*words, "--run=other")
    succeed(*words, "--run=other", "--yes")
    assert len(LatentSet.open(index.parent).videos) == 8


def test_mistakes_come_before_the_encoding(words):
    assert "no such file or folder" in fail(*words, "--yes", "--init=none.pt")
    assert "does not divide" in fail(*words, "--yes", "-o", "train.accumulate=3")
    assert not Path("latents").exists()


@pytest.mark.parametrize("answer", ["y\n", "\n"])
def test_a_terminal_is_asked(words, answer):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "latte_cli", *map(str, words)],
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.DEVNULL,
    )
    os.close(theirs)
    os.write(ours, answer.encode())
    with suppress(OSError):  # how Linux tells that the other side is closed
        while os.read(ours, 4096):
            pass
    os.close(ours)
    assert (process.wait(timeout=60) == 0) == (answer == "y\n")
    assert Path("latents").exists() == (answer == "y\n")
