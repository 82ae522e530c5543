"""Processes that evaluate their run together: one result, and no process waits forever."""

import json

import pytest
from conftest import World, succeed
from helpers.runs import Launched, evaluated, launch, rows, several_words

from latte_cli.checkpoints.folder import find_corruption, list_checkpoints

VALUES = {
    "train__eval_every": 3,
    "eval__metrics": "fd-random,direction",
    "eval__clips": 16,
    "eval__resamples": 2,
}


def chosen(world: World, runs: str, **values: object) -> list[object]:
    data = f"--data-root={world.root / 'data'}"
    return [
        *several_words(world, runs, **VALUES | values),
        data,
        f"--features-root={runs}-features",
    ]


@pytest.fixture(scope="module")
def launched(world: World, tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """Two processes; the same with sharded weights; and two of which one gets SIGTERM."""
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
    return launch(folder, launches)


def test_the_numbers_of_weights_are_the_same_for_two_processes(world, launched):
    """Each checkpoint of two, measured by one."""
    assert launched.codes[0] == 0, launched.said[0]
    together = evaluated(launched.folder / "two/shapes")
    assert list(together) == [3, 6]
    config = launched.folder / "two/shapes/config.yaml"
    real = f"--real={world.root / 'data' / 'shapes'}"
    for step, numbers in together.items():
        fake = launched.folder / f"two/shapes/checkpoints/step-{step:08d}"
        shown = succeed("--json", "eval", f"--fake={fake}", f"--preset={config}", real)
        alone = json.loads(shown.stdout)["metrics"]
        assert {name: alone[name]["value"] for name in alone} == numbers


def test_their_losses_are_those_of_two_that_do_not_evaluate(world, launched):
    logged = rows(launched.folder / "two/shapes")
    assert [row["eval_fd-random"] for row in logged if row["step"] in (3, 6)] == [
        numbers["fd-random"] for numbers in evaluated(launched.folder / "two/shapes").values()
    ]
    succeed(*several_words(world))
    for ours, theirs in zip(logged, rows("runs/shapes"), strict=True):
        assert abs(ours["loss"] - theirs["loss"]) < 1e-5


def test_sharded_weights_are_evaluated_from_their_whole_checkpoint(launched):
    assert launched.codes[1] == 0, launched.said[1]
    assert list(evaluated(launched.folder / "parts/shapes")) == [3, 6]
    assert (launched.folder / "parts/shapes/best.json").is_file()


def test_all_processes_leave_an_evaluation_if_one_gets_sigterm(launched):
    """While features are extracted; the run ends at the checkpoint under evaluation."""
    assert launched.codes[2] == 75, launched.said[2]
    run = launched.folder / "runs/shapes"
    (checkpoint,) = list_checkpoints(run)
    assert find_corruption(checkpoint) is None
    assert "measuring step 1" in launched.said[2]
    assert evaluated(launched.folder / "runs/shapes") == {}
    assert not list((run / "eval").glob(".over*"))
    assert "error" not in launched.said[2]
