"""Processes that measure their run together: one result, and none waits for another in vain."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import World, succeed
from helpers.launches import RANKS, words

from latte_cli.checkpoints.folder import find_corruption, list_checkpoints

VALUES = {
    "train__eval_every": 3,
    "eval__metrics": "fd-random,direction",
    "eval__clips": 16,
    "eval__resamples": 2,
}


def chosen(world: World, runs: str, **values: object) -> list[str]:
    data = f"--data-root={world.root / 'data'}"
    return [*words(world, runs, **VALUES | values), data, f"--features-root={runs}-features"]


def measured(runs: Path) -> dict[int, dict[str, float]]:
    """What result files say, by step."""
    found = {}
    for path in sorted((runs / "shapes/eval").glob("step-*.json")):
        told = json.loads(path.read_text())
        numbers = {name: number["value"] for name, number in told["metrics"].items()}
        found[told["notes"]["step"]] = numbers
    return found


def logged(runs: Path) -> list[dict]:
    return [json.loads(line) for line in (runs / "shapes/metrics.jsonl").read_text().splitlines()]


@dataclass(frozen=True)
class Launched:
    """What several launches left in a folder."""

    folder: Path
    codes: list[int]
    said: list[str]


@pytest.fixture(scope="module")
def launched(world: World, tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """Two processes; the same with weights in parts; and one of two that is told to end."""
    folder = tmp_path_factory.mktemp("evaluating")
    long = {"train__steps": 100_000, "train__eval_every": 1, "eval__clips": 2048}
    launches = [
        {"processes": 2, "words": chosen(world, "two")},
        {"processes": 2, "words": chosen(world, "parts", train__shard="fsdp")},
        {
            "processes": 2,
            "words": chosen(world, "runs", **long),
            **{"killed": 1, "by": "SIGTERM", "after": "runs-features/*/part-*"},
        },
    ]
    command = [sys.executable, str(RANKS), json.dumps(launches)]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said, told = process.communicate(timeout=300)
    codes = [json.loads(line)[0] for line in said.splitlines() if line.startswith("[")]
    return Launched(folder, codes, told.split("-- end of launch --\n"))


def test_the_numbers_of_weights_are_the_same_for_two_processes(world, launched):
    """Each checkpoint of two, measured by one."""
    assert launched.codes[0] == 0, launched.said[0]
    together = measured(launched.folder / "two")
    assert list(together) == [3, 6]
    config = launched.folder / "two/shapes/config.yaml"
    real = f"--real={world.root / 'data' / 'shapes'}"
    for step, numbers in together.items():
        fake = launched.folder / f"two/shapes/checkpoints/step-{step:08d}"
        shown = succeed("--json", "eval", f"--fake={fake}", f"--preset={config}", real)
        alone = json.loads(shown.stdout)["metrics"]
        assert {name: alone[name]["value"] for name in alone} == numbers


def test_their_losses_are_those_of_two_that_measure_nothing(world, launched):
    rows = [row for row in logged(launched.folder / "two") if row["step"] in (3, 6)]
    assert [row["eval_fd-random"] for row in rows] == [
        numbers["fd-random"] for numbers in measured(launched.folder / "two").values()
    ]
    succeed(*words(world))
    for ours, theirs in zip(logged(launched.folder / "two"), logged(Path("runs")), strict=True):
        assert abs(ours["loss"] - theirs["loss"]) < 1e-5


def test_weights_in_parts_are_measured_from_their_whole_checkpoint(launched):
    assert launched.codes[1] == 0, launched.said[1]
    assert list(measured(launched.folder / "parts")) == [3, 6]
    assert (launched.folder / "parts/shapes/best.json").is_file()


def test_all_leave_an_evaluation_that_one_is_told_to_leave(launched):
    """While clips are described; the checkpoint that it is of is what the run ends at."""
    assert launched.codes[2] == 75, launched.said[2]
    run = launched.folder / "runs/shapes"
    (checkpoint,) = list_checkpoints(run)
    assert find_corruption(checkpoint) is None
    assert "measuring step 1" in launched.said[2]
    assert measured(launched.folder / "runs") == {}
    assert not list((run / "eval").glob(".over*"))
    assert "error" not in launched.said[2]
