"""A training run while it runs: a panel that fits the terminal, or a line a logged step."""

import io
from pathlib import Path

import pytest
from rich.console import Console as RichConsole

from latte_cli.runtime.console import Console
from latte_cli.training.monitoring.panel import TrainingPanel, spark_line

ROW = {
    **{"step": 150_000, "loss": 0.0123, "grad_norm": 0.1, "lr": 1e-4, "val_loss": 0.0456},
    **{"loss_q1": 0.4, "loss_q2": 0.03, "loss_q3": None, "loss_q4": 0.001},
    **{"clips_per_s": 31.25, "peak_share": 0.456, "memory_gb": 120.5},
}


def view(console: Console, losses: list[float], checkpoint: Path | None = None) -> TrainingPanel:
    return TrainingPanel(console, "ucf101", 1_000_000, 149_999, losses, checkpoint)


def rendered(shown: TrainingPanel, width: int) -> list[str]:
    out = io.StringIO()
    RichConsole(file=out, width=width, force_terminal=False).print(shown)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_panel_fits_the_terminal(width):
    shown = view(Console(), [1.0 / (n + 1) for n in range(1000)], Path("step-00140000"))
    shown.advance()
    shown.show(ROW)
    shown.show_saved(Path("step-00150000"))
    lines = rendered(shown, width)
    assert {len(line) for line in lines} == {width}
    assert len(lines) == 7, "nothing is wrapped"


def test_the_panel_shows_all_that_a_user_looks_for():
    shown = view(Console(), [2.0, 1.0])
    assert "nothing yet" in " ".join(rendered(shown, 80))
    shown.advance()
    shown.show(ROW)
    shown.show_saved(Path("runs/ucf101/checkpoints/step-00150000"))
    text = " ".join(rendered(shown, 80))
    for word in (
        *("training ucf101", "150000/1000000", "left", "0.0123", "held-out 0.0456"),
        *("0.4000", "0.0300", "0.0010", "31.2 clips/s", "46% of peak", "120.5 GB"),
        "step-00150000",
    ):
        assert word in text


def test_without_a_terminal_each_logged_step_is_a_line(capsys):
    shown = view(Console(), [])
    shown.advance()
    assert capsys.readouterr().err == ""
    shown.show(ROW)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("step 150000/1000000  loss 0.0123  held-out 0.0456  31.2 clips/s")
    shown.show({**ROW, "loss": None})
    assert "loss not finite" in capsys.readouterr().err


def test_an_evaluation_is_shown(capsys):
    shown = view(Console(), [])
    shown.advance()
    shown.start_evaluation()
    assert "measuring step 150000" in " ".join(rendered(shown, 80))
    shown.show_evaluation({"eval_fvd": 201.234, "eval_is": None}, best=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "fvd 201.2  is not finite  at step 150000, the best"
    assert line in " ".join(rendered(shown, 80))
    shown.show_evaluation({"eval_fvd": 1e3}, best=False)
    assert capsys.readouterr().err == "fvd 1000  at step 150000\n"
    shown.show_evaluation({}, best=False)
    assert "quality" not in " ".join(rendered(shown, 80))


def test_quiet_shows_nothing(capsys):
    console = Console(quiet=True)
    shown = view(console, [])
    with console.live(shown):
        shown.show(ROW)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_the_panel_stays_in_sight(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    console = Console()
    shown = view(console, [])
    with console.live(shown):
        shown.show(ROW)
    said = capsys.readouterr().err
    assert "training ucf101" in said
    assert "step 149999/" not in said, "no lines beside it"


def test_a_spark_line_goes_from_the_lowest_to_the_highest():
    assert spark_line([], 5) == ""
    assert spark_line([3.0, 3.0], 5) == "▁▁"
    assert spark_line([0.0, 1.0, 7.0], 5) == "▁▂█"


def test_a_spark_line_of_a_long_run_shows_means_of_chunks():
    values = [float(number // 10) for number in range(80)]
    assert spark_line(values, 8) == "▁▂▃▄▅▆▇█"
