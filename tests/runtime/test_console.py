"""Messages and progress go to stderr, results to stdout."""

import json
import shlex

import pytest

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
    assert "1 min 33 s" in shown.out


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


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0.0 s"),
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (93, "1 min 33 s"),
        (1800, "30 min"),
        (3599.7, "1 h"),
        (12_000, "3 h 20 min"),
        (36_000, "10 h"),
        (86_000, "1 d"),
        (324_000, "3 d 18 h"),
        (3600 * 24_005, "1,000 d 5 h"),
    ],
)
def test_durations_read_as_people_say_them(seconds, shown):
    assert format_duration(seconds) == shown


def test_numbers_of_hours_are_shown_as_durations(capsys):
    Console().result({"hours": 2.778e-05, "seconds": 12_000.0})
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown == {"duration": "0.1 s", "time": "3 h 20 min"}


def test_no_value_is_folded_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    path = "/".join(["a-folder-of-a-long-name"] * 20)
    console = Console()
    console.result({"out": path})
    console.table(("what", "path"), [("x", path), ("longer", "y")], [])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["out", path]
    assert lines[2].split() == ["x", path]
    assert all(line == line.rstrip() for line in lines)


def test_the_next_command_is_on_a_line_of_its_own_and_can_be_pasted(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    words = ["train", "--preset", "my preset", *["-o", "data.root=somewhere"] * 10]
    Console().next_step("The latents are there. Train on them next:", words)
    Console(quiet=True).next_step("silent", words)
    said, command = capsys.readouterr().err.splitlines()
    assert said.endswith("next:")
    assert shlex.split(command) == ["latte", *words]


def test_units():
    assert format_bytes(2_000_000) == "2.00MB"
