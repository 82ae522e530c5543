"""The page of a run as other commands leave it: training, sampling and evaluating."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import World, invoke, succeed
from helpers.runs import rows, train_words

from latte_cli.reporting import run_report
from latte_cli.reporting.writing import data_of_page

PAGE = Path("runs/shapes/report.html")


@pytest.fixture
def run(world: World, tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "shapes"
    # Other tests sample from the small world's run, which adds to its page.
    shutil.copytree(world.run, folder, ignore=shutil.ignore_patterns("added.jsonl", "report.html"))
    return folder


def test_training_writes_the_page_at_checkpoints_and_says_where_it_is(world, monkeypatch):
    pages = []
    write = run_report.write_run_page
    monkeypatch.setattr(
        run_report,
        "write_run_page",
        lambda run: pages.append(rows(run)[-1]["step"]) or write(run),
    )
    result = succeed(*train_words(world))
    # Steps 3 and 6 are saved; a page that takes much of a short run's time is left for its end.
    assert pages in ([3, 6], [3, 6, 6])
    assert result.stdout.strip().splitlines()[-1].split() == ["report", str(PAGE)]
    (shown,) = data_of_page(PAGE)["runs"]
    assert shown["curves"]["loss"]["x"] == [1, 2, 3, 4, 5, 6]


def test_starts_are_recorded_and_a_restart_is_marked(world):
    succeed(*train_words(world, train__steps=3))
    succeed(*train_words(world))
    starts = rows("runs/shapes", "starts")
    assert [each["step"] for each in starts] == [0, 3]
    assert {"device", "devices", "precision", "torch", "python", "latte"} <= starts[0].keys()
    assert data_of_page(PAGE)["runs"][0]["events"] == [{"step": 3, "kind": "restart"}]
    shutil.rmtree("runs/shapes/checkpoints")  # so it starts anew
    succeed(*train_words(world))
    assert [each["step"] for each in rows("runs/shapes", "starts")] == [0]


def test_a_page_that_cannot_be_written_does_not_end_a_training(world):
    PAGE.mkdir(parents=True)
    result = invoke(*train_words(world))
    assert result.exit_code == 0
    assert result.stderr.count("training goes on") == 1
    assert [each["step"] for each in rows("runs/shapes")] == [1, 2, 3, 4, 5, 6]


def test_a_bug_in_the_page_does_not_end_a_training(world, monkeypatch):
    def fail(run: Path) -> Path:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(run_report, "write_run_page", fail)
    result = invoke(*train_words(world))
    assert result.exit_code == 0
    assert "a bug" in result.stderr


def test_samples_and_results_are_added(run, world):
    data = f"--data-root={world.root / 'data'}"
    small = ["-o", "eval.protocol=stylegan-v", "-o", "data.frames=4"]
    succeed("sample", "--preset=shapes", "-n", 3, "--steps=2", "--out=made")
    succeed("sample", "--preset=shapes", "-n", 3, "--steps=2", "--out=made")  # again
    text = PAGE.read_text()
    assert text.count('src="../../made/') == 3
    evaluated = ("eval", "--preset=shapes", "--fake=made", "--metrics=direction", "--clips=3")
    shown = json.loads(succeed("--json", *evaluated, *small, data).stdout)
    assert rows(run, "added") == [
        {"samples": "../../made", "step": 6},
        {"result": f"../../{shown['out']}", "step": 6},
    ]
    (chart,) = data_of_page(PAGE)["evaluations"]
    (line,) = chart["lines"]
    ((step, value, low, high),) = line["points"]
    assert (step, value) == (6, shown["metrics"]["direction"]["value"])
    assert [low, high] == shown["metrics"]["direction"]["interval"]
    # What was deleted since is left out.
    shutil.rmtree("made")
    Path(shown["out"]).unlink()
    succeed("report", "shapes")
    assert data_of_page(PAGE)["evaluations"] == []
    assert "../../made" not in PAGE.read_text()


def test_a_run_that_cannot_be_written_to_is_a_warning(run):
    (run / "added.jsonl").mkdir()
    result = succeed("sample", "--preset=shapes", "-n", 2, "--steps=2", "--out=made")
    assert "stays as it was" in result.stderr
    assert len(list(Path("made").glob("*.mp4"))) == 2


def test_what_is_from_no_run_is_added_to_none(tmp_path):
    result = succeed("sample", "--preset=shapes", "-n", 2, "--steps=2", "--out=made")
    assert not [line for line in result.stdout.splitlines() if line.startswith("report ")]
    assert not (tmp_path / "runs").exists()
