"""Bad steps are logged with the batch that they took and its clips."""

from types import SimpleNamespace
from typing import Any

import pytest
from helpers.small import small_config

from latte_cli.runtime.console import Console
from latte_cli.training.bad_steps import BadStepHandler
from latte_cli.training.guard import BadStep
from latte_cli.training.monitoring.metrics_log import read_rows


@pytest.mark.parametrize(("step", "batch"), [(64, 63), (70, 5), (129, 64)])
def test_a_batch_that_is_drawn_again_is_named_by_its_first_number(tmp_path, step, batch):
    """Rounds of 64 batches, each drawn twice."""
    teacher = {"train__teacher": "runs/flow", "train__teacher_reuse": 2}
    flow = {"diffusion__objective": "flow", "train__min_snr_gamma": "null"}
    sampler: Any = SimpleNamespace(
        config=small_config(**flow, **teacher), names=lambda number: [[f"of {number}"]]
    )
    bad = BadStep(step, float("nan"), 1.0, 1.0)
    state: Any = SimpleNamespace(
        step=step, data_offset=0, guard=SimpleNamespace(fetch=lambda _: [bad])
    )
    BadStepHandler(tmp_path, 0, sampler, Console(quiet=True)).report(state)
    (row,) = read_rows(tmp_path / "bad_steps.jsonl")
    assert (row["step"], row["batch"], row["clips"]) == (step, batch, [f"of {batch}"])


@pytest.mark.parametrize("reuse", [1, 2, 4])
@pytest.mark.parametrize("number", [0, 1, 64, 70, 256, 300])
def test_batches_left_out_do_not_come_again_in_their_round(reuse, number):
    train = small_config(
        diffusion__objective="flow",
        train__min_snr_gamma="null",
        train__teacher="runs/flow",
        train__teacher_reuse=reuse,
    ).train
    following = train.next_unseen_batch(number)
    assert number <= following < number + 64 * reuse
    seen = {train.drawn_batch(each) for each in range(number)}
    assert seen.isdisjoint(train.drawn_batch(each) for each in range(following, 1000))
