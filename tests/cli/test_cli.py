"""Help, global options, errors and warnings of the command line."""

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

WORKFLOW = ["prepare", "encode-latents", "train", "demo", "sample", "t2v", "eval", "report"]
TOOLS = ["similarity", "convert", "calibrate", "presets", "init", "doctor", "guide"]
COMMANDS = WORKFLOW + TOOLS


def test_help_lists_exactly_the_existing_commands():
    shown = succeed("--help").stdout
    for command in COMMANDS:
        assert command in shown
    listed = shown.partition("Commands")[2]
    positions = [listed.index(f" {command} ") for command in COMMANDS]
    assert positions == sorted(positions), "the main workflow first, then the tools"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_fits_eighty_columns(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = succeed(command, "--help").stdout
    assert max(len(line) for line in shown.splitlines()) <= 80


@pytest.mark.parametrize("args", [["--json", "presets"], ["presets", "--json"]])
def test_global_options_may_stand_anywhere(args):
    assert json.loads(succeed(*args).stdout)
    assert not global_options.debug


@pytest.mark.parametrize("command", COMMANDS)
def test_global_options_may_stand_before_and_after_each_command(command):
    for args in (("--quiet", command, "-h"), (command, "--debug", "-h")):
        assert command in succeed(*args).stdout


@pytest.mark.parametrize("args", [[], ["nothing"], ["sample", "--presett", "x"], ["sample", "-n"]])
def test_wrong_usage_exits_2(args):
    assert invoke(*args).exit_code == 2


def test_version_is_printed():
    assert (
        succeed("--version").stdout.strip()
        == f"latte {__version__}"
        == f"latte {version('latte-cli')}"
    )


def test_python_m_latte_cli_runs_the_command_line():
    args = [sys.executable, "-m", "latte_cli", "presets", "--json"]
    shown = subprocess.run(args, capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout)


@pytest.mark.parametrize(
    ("code", "message", "hint"),
    [
        (errno.ENOSPC, "the disk is full", "make room"),
        (errno.EACCES, "permission denied", "may write"),
        (errno.EROFS, "the disk is read-only", "may write"),
        (errno.ENOTDIR, "Not a directory", "a file exists"),
        (errno.EIO, "Input/output error", "--debug"),
    ],
)
def test_system_errors_become_messages_with_hints(capsys, code, message, hint):
    with pytest.raises(typer.Exit) as caught, error_boundary():
        raise OSError(code, os.strerror(code), "/some/where")
    assert caught.value.exit_code == 1
    stderr = " ".join(capsys.readouterr().err.split())
    assert f"error: /some/where: {message}" in stderr
    assert hint in stderr


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: not enough memory"),
        MemoryError(),
    ],
)
def test_out_of_memory_becomes_a_message(error, capsys):
    with pytest.raises(typer.Exit) as caught, error_boundary():
        raise error
    assert caught.value.exit_code == 1
    stderr = " ".join(capsys.readouterr().err.split())
    assert "error: out of memory" in stderr
    assert "train.checkpointing=blocks" in stderr


def test_bugs_are_raised_with_their_traceback():
    with pytest.raises(RuntimeError, match="shape"), error_boundary():
        raise RuntimeError("shape mismatch")


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setattr(global_options, "debug", True)
    with pytest.raises(LatteError), error_boundary():
        raise LatteError("x")


def test_errors_wrap_between_words_at_eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "did you mean `shapes`" in fail("presets", "shape")


def test_own_warnings_are_printed_once(capsys, monkeypatch):
    monkeypatch.setattr(global_options, "quiet", False)
    with error_boundary():
        for text in ("quality may fall", "quality may fall", "so may speed"):
            warnings.warn(text, LatteWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: quality may fall\nwarning: so may speed\n"
    with error_boundary():
        warnings.warn("quality may fall", LatteWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: quality may fall\n", "once a command"


def test_own_warnings_are_printed_when_others_are_silenced(capsys, monkeypatch):
    monkeypatch.setattr(global_options, "quiet", False)
    warnings.simplefilter("ignore")
    with error_boundary():
        warnings.warn("quality may fall", LatteWarning, stacklevel=1)
        warnings.warn("other", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: quality may fall\n"


def test_quiet_hides_own_warnings(capsys, monkeypatch):
    monkeypatch.setattr(global_options, "quiet", True)
    with error_boundary():
        warnings.warn("quality may fall", LatteWarning, stacklevel=1)
    assert not capsys.readouterr().err


def test_other_warnings_and_those_after_a_command_are_left_to_python(recwarn):
    filters = list(warnings.filters)
    with pytest.raises(typer.Exit), error_boundary():
        warnings.warn("theirs", UserWarning, stacklevel=1)
        raise LatteError("x")
    warnings.warn("after", LatteWarning, stacklevel=1)
    assert [str(warning.message) for warning in recwarn] == ["theirs", "after"]
    assert warnings.filters == filters


def test_warnings_of_nested_commands_are_printed_once(capsys, monkeypatch):
    monkeypatch.setattr(global_options, "quiet", False)
    with error_boundary():
        monkeypatch.setattr(global_options, "nested", True)
        for _ in range(2):
            with error_boundary():
                warnings.warn("quality may fall", LatteWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: quality may fall\n"


def test_a_reader_that_ends_early_is_no_error():
    """As in `latte presets shapes | head -1`."""
    command = f"{sys.executable} -m latte_cli presets shapes | head -n 1"
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("key")
    assert "error" not in shown.stderr
