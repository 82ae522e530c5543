"""Seeds, devices, signals and the console."""

import json
import os
import signal

import pytest
import torch

from latte_cli.runtime import console as console_module
from latte_cli.runtime.console import Console, format_bytes, format_duration
from latte_cli.runtime.devices import autocast, resolve_precision
from latte_cli.runtime.randomness import seeded
from latte_cli.runtime.signals import EXIT_INTERRUPTED, EXIT_TEMPFAIL, listen_for_requests


def test_seeds_are_functions_of_all_their_words():
    def draw(*words):
        return torch.randn(4, generator=seeded(*words)).tolist()

    assert draw(1, 2) == draw(1, 2)
    assert len({tuple(draw(*w)) for w in [(0,), (0, 0), (0, 1), (1, 0), (1, 1), (2**40, 1)]}) == 6


def test_precision_follows_the_machine():
    cpu = torch.device("cpu")
    assert resolve_precision("float32", cpu) == torch.float32
    assert resolve_precision("bf16", cpu) == torch.bfloat16
    assert resolve_precision("auto", cpu) in (torch.float32, torch.bfloat16)
    with autocast(cpu, torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with autocast(cpu, torch.float32):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, EXIT_TEMPFAIL), (signal.SIGINT, EXIT_INTERRUPTED)]
)
def test_signals_become_requests(number, code):
    before = signal.getsignal(number)
    with listen_for_requests() as request:
        assert request.exit_code is None
        os.kill(os.getpid(), number)
        assert request.exit_code == code
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_stops_at_once():
    with pytest.raises(KeyboardInterrupt), listen_for_requests():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_results_go_to_stdout_and_the_rest_to_stderr(capsys):
    Console().info("working")
    Console().warning("odd")
    Console().result({"clips": 3, "bytes": 1_500_000, "seconds": 93.0, "loss": None})
    shown = capsys.readouterr()
    assert "working" in shown.err
    assert "warning: odd" in shown.err
    assert "working" not in shown.out
    assert "1.50MB" in shown.out
    assert "01:33" in shown.out


def test_json_is_one_object(capsys):
    Console(as_json=True).result({"name": "é", "n": 1})
    assert json.loads(capsys.readouterr().out) == {"name": "é", "n": 1}


def test_quiet_leaves_errors(capsys):
    console = Console(quiet=True)
    console.info("x")
    console.warning("y")
    console.debug("z")
    console.error("bad", "mend it")
    assert capsys.readouterr().err.splitlines() == ["error: bad", "hint: mend it"]


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(console_module, "PLAIN_EVERY_S", 0.0)
    with Console().progress("training", 10, "steps") as bar:
        bar.start(4)
        bar.advance(1, "loss 0.5")
    line = capsys.readouterr().err
    assert "training: 5/10 steps" in line
    assert "loss 0.5" in line
    assert "left" in line


def test_progress_on_a_terminal_is_a_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with Console().progress("training", 10, "steps") as bar:
        bar.start(2)
        bar.advance(3, "loss 0.5")
    shown = capsys.readouterr().err
    assert "5/10" in shown
    assert "loss 0.5" in shown


def test_units():
    assert format_duration(93) == "01:33"
    assert format_duration(-1) == "00:00"
    assert format_bytes(2_000_000) == "2.00MB"
