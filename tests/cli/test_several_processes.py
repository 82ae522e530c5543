"""Errors of several processes under torchrun: once, by the main process, unless it is well."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import invoke

from latte_cli.cli import boundary
from latte_cli.runtime.errors import LatteError


@pytest.fixture
def second(monkeypatch):
    """This process as the second of three, which does not wait."""
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "3")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boundary, "_LET_MAIN_FAIL_S", 0.0)


def test_an_error_of_another_process_alone_is_printed_with_its_number(second):
    said = " ".join(invoke("presets", "nosuch").stderr.split())
    assert "error: process 1 of 3: no preset named `nosuch`" in said
    assert "hint: " in said


def test_a_process_that_is_ended_while_it_waits_prints_nothing():
    script = (
        "import sys; sys.argv = ['latte', 'presets', 'nosuch']; from latte_cli.cli import main\n"
        "from latte_cli.cli import boundary; print('ready', flush=True); main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "RANK": "1", "WORLD_SIZE": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=10)
    assert "error" not in said


def test_warnings_and_interruptions_are_told_by_the_main_process(second, capsys):
    with pytest.raises(BaseException, match="130"), boundary.error_boundary():
        raise KeyboardInterrupt
    assert not capsys.readouterr().err
    with pytest.raises(BaseException, match="1"), boundary.error_boundary():
        raise LatteError("own")
    assert "process 1 of 3: own" in capsys.readouterr().err


@pytest.mark.parametrize("rank", [0, 1])
def test_wrong_usage_exits_2_in_every_process(rank):
    script = (
        "import sys; sys.argv = ['latte', 'sample', '--presett=x']\n"
        "from latte_cli.cli import boundary, main\n"
        "boundary._LET_MAIN_FAIL_S = 0.01; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "presett" in ended.stderr
    assert "Traceback" not in ended.stderr
