"""What holds for every command."""

import errno
import json
import os
import subprocess
import sys
import warnings
from importlib.metadata import version

import pytest
import torch
import typer
from conftest import fail, invoke, succeed

from latte_cli import __version__
from latte_cli.cli.boundary import error_boundary, global_options
from latte_cli.runtime.errors import LatteError, LatteWarning

ROAD = ["prepare", "encode-latents", "train", "demo", "sample", "t2v", "eval"]
TOOLS = ["similarity", "convert", "calibrate", "presets"]
COMMANDS = ROAD + TOOLS


def test_help_lists_what_exists_and_no_more():
    shown = succeed("--help").stdout
    for command in COMMANDS:
        assert command in shown
    listed = shown.partition("Commands")[2]
    places = [listed.index(f" {command} ") for command in COMMANDS]
    assert places == sorted(places), "the road first, then what helps beside it"
    for later in ("report", "doctor"):
        assert f" {later} " not in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_fits_eighty_columns(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = succeed(command, "--help").stdout
    assert max(len(line) for line in shown.splitlines()) <= 80


@pytest.mark.parametrize("words", [["--json", "presets"], ["presets", "--json"]])
def test_options_for_all_commands_stand_anywhere(words):
    assert json.loads(succeed(*words).stdout)
    assert not global_options.debug


@pytest.mark.parametrize("command", COMMANDS)
def test_options_for_all_commands_stand_before_and_after_each(command):
    for words in (("--quiet", command, "-h"), (command, "--debug", "-h")):
        assert command in succeed(*words).stdout


@pytest.mark.parametrize("words", [[], ["nothing"], ["sample", "--presett", "x"], ["sample", "-n"]])
def test_wrong_usage_exits_2(words):
    assert invoke(*words).exit_code == 2


def test_the_version_is_told_once():
    assert (
        succeed("--version").stdout.strip()
        == f"latte {__version__}"
        == f"latte {version('latte-cli')}"
    )


def test_the_module_is_the_command():
    words = [sys.executable, "-m", "latte_cli", "presets", "--json"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout)


@pytest.mark.parametrize(
    ("code", "told", "hint"),
    [
        (errno.ENOSPC, "the disk is full", "make room"),
        (errno.EACCES, "permission denied", "may write"),
        (errno.EROFS, "the disk is read-only", "may write"),
        (errno.ENOTDIR, "Not a directory", "a file exists"),
        (errno.EIO, "Input/output error", "--debug"),
    ],
)
def test_system_errors_become_words(capsys, code, told, hint):
    with pytest.raises(typer.Exit) as caught, error_boundary():
        raise OSError(code, os.strerror(code), "/some/where")
    assert caught.value.exit_code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"error: /some/where: {told}" in said
    assert hint in said


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: not enough memory"),
        MemoryError(),
    ],
)
def test_a_full_memory_is_told_in_words(error, capsys):
    with pytest.raises(typer.Exit) as caught, error_boundary():
        raise error
    assert caught.value.exit_code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "error: out of memory" in said
    assert "train.checkpointing=blocks" in said


def test_errors_of_the_program_itself_are_not_hidden():
    with pytest.raises(RuntimeError, match="shape"), error_boundary():
        raise RuntimeError("shape mismatch")


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setattr(global_options, "debug", True)
    with pytest.raises(LatteError), error_boundary():
        raise LatteError("x")


def test_errors_wrap_between_words_at_eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "did you mean `shapes`" in fail("presets", "shape")


def test_own_warnings_are_told_once_and_in_words(capsys, monkeypatch):
    monkeypatch.setattr(global_options, "quiet", False)
    with error_boundary():
        for text in ("quality may fall", "quality may fall", "so may speed"):
            warnings.warn(text, LatteWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: quality may fall\nwarning: so may speed\n"
    with error_boundary():
        warnings.warn("quality may fall", LatteWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: quality may fall\n", "once a command"


def test_own_warnings_are_told_although_others_are_silenced(capsys, monkeypatch):
    monkeypatch.setattr(global_options, "quiet", False)
    warnings.simplefilter("ignore")
    with error_boundary():
        warnings.warn("quality may fall", LatteWarning, stacklevel=1)
        warnings.warn("other", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: quality may fall\n"


def test_quiet_leaves_own_warnings_out(capsys, monkeypatch):
    monkeypatch.setattr(global_options, "quiet", True)
    with error_boundary():
        warnings.warn("quality may fall", LatteWarning, stacklevel=1)
    assert not capsys.readouterr().err


def test_warnings_of_others_and_those_after_a_command_stay_pythons(recwarn):
    filters = list(warnings.filters)
    with pytest.raises(typer.Exit), error_boundary():
        warnings.warn("theirs", UserWarning, stacklevel=1)
        raise LatteError("x")
    warnings.warn("after", LatteWarning, stacklevel=1)
    assert [str(warning.message) for warning in recwarn] == ["theirs", "after"]
    assert warnings.filters == filters


def test_a_walk_tells_a_warning_of_its_steps_once(capsys, monkeypatch):
    monkeypatch.setattr(global_options, "quiet", False)
    with error_boundary():
        monkeypatch.setattr(global_options, "nested", True)
        for _ in range(2):
            with error_boundary():
                warnings.warn("quality may fall", LatteWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: quality may fall\n"
