"""Messages and progress go to stderr, results to stdout."""

import json

from latte_cli.runtime import console as console_module
from latte_cli.runtime.console import Console, format_bytes, format_duration


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


def test_quiet_prints_errors_only(capsys):
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
