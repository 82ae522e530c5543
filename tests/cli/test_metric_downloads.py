"""Weights of metrics are downloaded only with `--download`, or when the user agrees."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import fail
from helpers.eval_data import flat

from latte_cli.cli import downloads
from latte_cli.config import load_config
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.runtime.weight_files.metric_networks import (
    ALEXNET,
    C3D,
    C3D_MEAN,
    I3D_STATE,
    I3D_TORCHSCRIPT,
    INCEPTION,
)

ALL = ("--metrics=fvd,fid,is,lpips", "-o", "data.frames=16")


@pytest.fixture
def unasked(monkeypatch):
    """A machine that may download, and has no weights; anything that is downloaded fails."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setattr("latte_cli.runtime.weight_files.published.urlopen", None)


def consent(*metrics, download=False, trust=False, folder=None, frames=16):
    config = load_config("shapes", [f"eval.metrics={','.join(metrics)}", f"data.frames={frames}"])
    return downloads.check_metric_weights(
        Console(), [config], folder, trust_torchscript=trust, download=download
    )


@pytest.mark.parametrize("metric", ["fvd", "kvd", "fid", "kid", "is", "lpips"])
def test_without_a_terminal_the_error_names_file_place_and_options(clips, unasked, metric):
    said = fail("eval", "--real=real", "--fake=fake", f"--metrics={metric}", *flat()[:-2], *ALL[1:])
    assert f"error: {metric}: " in said
    assert "MB) is not on this machine, and nothing is downloaded unasked" in said
    assert "--download fetches it, or put https://" in said
    assert "--weights" in said
    assert not Path("cache").exists()


def test_offline_the_option_does_not_help(clips, unasked, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = fail("eval", "--real=real", "--fake=fake", *ALL, "--download")
    assert "HF_HUB_OFFLINE forbids downloads" in said
    assert "--download fetches" not in said


def test_what_is_here_needs_no_consent(unasked):
    assert not consent("fd-random", "direction", "psnr")
    for network, files in (("fid", [INCEPTION]), ("is", [C3D, C3D_MEAN]), ("fvd", [I3D_STATE])):
        with pytest.raises(CheckpointError):
            consent(network)
        for file in files:
            (path := Path("cache/latte/weights") / file.names[-1]).parent.mkdir(
                parents=True, exist_ok=True
            )
            path.touch()
        assert not consent(network)
    (Path("given")).mkdir()
    (Path("cache/latte/weights") / I3D_STATE.names[-1]).unlink()
    (Path("given") / I3D_TORCHSCRIPT.name).touch()
    with pytest.raises(CheckpointError):
        consent("fvd", folder=Path("given"))
    assert not consent("fvd", folder=Path("given"), trust=True)


def test_short_clips_are_told_before_anything_is_asked(unasked):
    with pytest.raises(ConfigError, match="fvd or kvd needs at least 9"):
        consent("fvd", frames=8)


@pytest.mark.parametrize("answer", ["y\n", "n\n", "\n"])
def test_on_a_terminal_all_files_are_named_once_with_place_and_size(unasked, answer):
    """In a process of its own, with a terminal for stdin and stderr."""
    script = (
        "from latte_cli.cli import downloads; from latte_cli.config import load_config\n"
        "from latte_cli.runtime.console import Console; from latte_cli.runtime.errors import *\n"
        "config = load_config('shapes', ['eval.metrics=fid,is,lpips', 'data.frames=16'])\n"
        "try: print(downloads.check_metric_weights(Console(), [config], None))\n"
        "except CheckpointError as error: print(error)\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "200"}
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        os.write(ours, answer.encode())
        shown, _ = process.communicate(timeout=60)
    said = os.read(ours, 10_000).decode()
    assert f"fid needs {INCEPTION.name} (96 MB) from {INCEPTION.url}" in said
    assert f"is needs {C3D.name} (about 318 MB) from {C3D.url}" in said
    assert f"lpips needs {ALEXNET.name} (244 MB)" in said
    assert said.count("Download to cache/latte/weights?") == 1
    assert shown.startswith("True" if answer == "y\n" else f"fid: {INCEPTION}")


def test_train_asks_for_the_weights_of_its_evaluation_only(world, unasked):
    words = ["train", "--preset=shapes", *world.roots, "-o", "eval.metrics=fid"]
    said = fail(*words, "--run=new", "-o", "data.size=32", "-o", "train.eval_every=2")
    assert "error: train.eval_every: fid: weights-inception" in said
    assert "--download fetches it" in said
    assert "--download has no effect" in fail(*words, "--download")
