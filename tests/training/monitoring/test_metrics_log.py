"""What a run writes of itself: losses by quarter, and metrics.jsonl."""

import json
import time
from pathlib import Path

import pytest
import torch

from latte_cli.config import Config, load_config
from latte_cli.models.designs import (
    count_design,
    count_training_flops,
    training_flops_by_part,
)
from latte_cli.runtime.devices import matrix_peak
from latte_cli.training.monitoring.metrics_log import LossByQuarter, MetricsLog, read_rows
from latte_cli.training.step import StepMetrics

CPU = torch.device("cpu")
TINY = [
    *("data.size=32", "data.frames=4", "model.size=null", "model.width=32", "model.depth=2"),
    *("model.heads=2", "train.batch_size=4"),
]


def tiny(*words: str) -> Config:
    return load_config(None, [*TINY, *words])


def metrics(loss: float, t: list[int], per_clip: list[float]) -> StepMetrics:
    value = torch.tensor(loss)
    return StepMetrics(value, value, value, value, torch.tensor(t), torch.tensor(per_clip))


def open_log(run: Path, step: int = 0, *words: str) -> MetricsLog:
    return MetricsLog(run, step, tiny(*words), CPU, torch.float32)


def lines(run: Path) -> list[dict]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    text = (run / "metrics.jsonl").read_text()
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


@pytest.mark.parametrize("scale", [1000, 1001, 4])
def test_losses_by_quarter_are_the_means_of_the_clips_of_each(scale):
    quarters = LossByQuarter(scale, CPU)
    t, loss = torch.randint(scale, (3, 50)), torch.rand(3, 50)
    for row in range(3):
        quarters.add(t[row], loss[row])
    sums, clips = quarters.pop()
    for number in range(4):
        here = loss[(t >= number * scale / 4) & (t < (number + 1) * scale / 4)]
        assert clips[number] == len(here)
        assert sums[number] == pytest.approx(float(here.sum()), rel=1e-5)
    assert not quarters.pop().any(), "reset"


def test_losses_that_are_not_finite_are_left_out_of_the_quarters():
    quarters = LossByQuarter(1000, CPU)
    quarters.add(torch.tensor([0, 1, 999]), torch.tensor([float("nan"), 2.0, float("inf")]))
    assert quarters.pop().tolist() == [[2, 0, 0, 0], [1, 0, 0, 0]]


def test_counting_clips_by_quarter_does_not_wait_for_the_device():
    """A tensor of the meta device has no values: whoever reads one fails."""
    meta = torch.device("meta")
    quarters = LossByQuarter(1000, meta)
    quarters.add(torch.zeros(8, dtype=torch.long, device=meta), torch.zeros(8, device=meta))
    assert quarters.pop().shape == (2, 4)


def test_a_line_holds_the_step_and_means_over_the_steps_since_the_last_one(tmp_path):
    log = open_log(tmp_path)
    log.count(metrics(5.0, [0, 10], [1.0, 3.0]))
    log.count(metrics(7.0, [0, 999], [8.0, 9.0]))
    row = log.write(2, metrics(7.0, [0], [0.0]), 1e-4, {"val_loss": 0.5})
    assert lines(tmp_path) == [row]
    assert row["loss"] == 7.0
    assert [row[f"loss_q{n}"] for n in (1, 2, 3, 4)] == [4.0, None, None, 9.0]
    assert (row["lr"], row["val_loss"]) == (1e-4, 0.5)
    flops = count_training_flops(tiny())
    share = flops * row["clips_per_s"] / matrix_peak(CPU, torch.float32)
    assert row["peak_share"] == pytest.approx(share)
    assert row["memory_gb"] > 0.05, "this process has PyTorch in it"


def test_non_finite_values_are_null_in_json(tmp_path):
    log = open_log(tmp_path)
    log.count(metrics(1.0, [0], [1.0]))
    log.write(1, metrics(1.0, [0], [1.0]), 1e-4)
    log.write(2, metrics(float("nan"), [0], [1.0]), 1e-4)
    assert [row["loss"] for row in lines(tmp_path)] == [1.0, None]
    assert log.losses == [1.0]


def test_lines_of_repeated_steps_are_dropped(tmp_path):
    log = open_log(tmp_path)
    for step in (1, 2, 3):
        log.write(step, metrics(step, [0], [1.0]), 1e-4)
    log.roll_back(1)
    log.write(2, metrics(20.0, [0], [1.0]), 1e-4)
    assert [(row["step"], row["loss"]) for row in lines(tmp_path)] == [(1, 1), (2, 20)]
    again = open_log(tmp_path, 1)
    assert again.losses == [1.0]
    assert [row["step"] for row in lines(tmp_path)] == [1]


def test_later_results_join_the_line_of_their_step(tmp_path):
    log = open_log(tmp_path)
    log.write(1, metrics(1.0, [0], [1.0]), 1e-4)
    log.add(1, {"eval_fvd": 200.5, "eval_is": float("inf")})
    before = lines(tmp_path)
    assert [(row["step"], row["loss"], row["eval_fvd"]) for row in before] == [(1, 1.0, 200.5)]
    assert before[0]["eval_is"] is None
    again = open_log(tmp_path, 1)
    again.add(1, {"eval_fvd": 200.5})
    again.add(1, {})
    assert lines(tmp_path) == before


def test_a_step_that_was_not_logged_gets_a_line_without_a_loss(tmp_path):
    log = open_log(tmp_path)
    log.write(1, metrics(1.0, [0], [1.0]), 1e-4)
    log.add(2, {})
    log.add(3, {"eval_fvd": 200.5})
    assert lines(tmp_path)[1:] == [
        {"step": 3, "loss": None, "clips_per_s": None, "eval_fvd": 200.5}
    ]
    assert log.losses == [1.0]
    assert log.clips_per_s == lines(tmp_path)[0]["clips_per_s"]


def test_first_and_last_loss_are_means_over_a_tenth_of_the_run(tmp_path):
    log = open_log(tmp_path)
    assert log.loss_first_tenth is None
    for step in range(1, 21):
        log.write(step, metrics(step, [0], [1.0]), 1e-4)
    assert (log.loss_first_tenth, log.loss_last_tenth) == (1.5, 19.5)


def test_training_costs_three_forward_passes():
    """The backward pass of each product is two products."""
    config = load_config(None, ["model.size=S", "data.num_images=0"])
    assert count_training_flops(config) == 3 * count_design(config).flops


def test_guidance_costs_two_forward_passes_and_a_derivative_one_for_it_is_of_half_of_the_clips():
    words = ["model.size=S", "data.num_images=0", "model.condition=class", "model.num_classes=3"]
    once = count_design(load_config(None, words)).flops
    newer = ["diffusion.objective=flow-map", "train.guidance_target=1"]
    parts = training_flops_by_part(load_config(None, [*words, *newer]))
    assert parts == {
        "forward and backward": 3 * parts["derivative"],
        "guidance trained in": 2 * parts["derivative"],
        "derivative": pytest.approx(once, rel=0.01),  # the end of a step is embedded, too
    }


def test_no_token_waits_for_answers_that_are_learned():
    words = ["train.guidance_target=0.5", "train.route.share=0.5"]
    routed = training_flops_by_part(load_config("shapes-fast", words))
    plain = training_flops_by_part(load_config("shapes-fast", words[:1]))
    assert routed["guidance trained in"] == plain["guidance trained in"]
    assert routed["forward and backward"] < plain["forward and backward"]
    own = ["train.guidance_target_from=teacher", "train.teacher=embedded/shapes-fast"]
    kept = load_config("shapes-fast", [*words[:1], *own, "train.teacher_reuse=4"])
    assert training_flops_by_part(kept)["guidance trained in"] == pytest.approx(
        plain["guidance trained in"] / 4
    )


def test_a_teacher_costs_its_answers_shared_among_the_steps_that_use_them():
    """Between levels 17 for a path, with and without the label; there is no derivative."""
    once = training_flops_by_part(load_config("shapes-fast"))["forward and backward"] / 3
    words = ["train.teacher=embedded/shapes-fast", "train.teacher_guidance=2"]
    shift = training_flops_by_part(load_config("shapes-fast", [*words, "train.teacher_reuse=4"]))
    assert shift["teacher"] == pytest.approx(2 * once / 4)
    path = training_flops_by_part(load_config("shapes-map", ["train.teacher_reuse=8"]))
    assert path.keys() == {"forward and backward", "teacher"}
    assert path["teacher"] == pytest.approx(2 * 17 * once / 8, rel=0.01)  # an end is embedded


def test_each_image_costs_the_same():
    """Where temporal blocks leave images out, cost is a line in their number."""
    words = [*TINY, "model.joint=only-video"]
    costs = [
        count_training_flops(load_config(None, [*words, f"data.num_images={n}"])) for n in (0, 4, 8)
    ]
    assert costs[2] - costs[1] == costs[1] - costs[0] > 0


def test_a_pause_does_not_count_into_the_rate(tmp_path):
    log = open_log(tmp_path)
    step = metrics(1.0, [0], [1.0])
    log.count(step)
    with log.paused():
        time.sleep(0.3)
    assert log.write(1, step, 1e-4)["clips_per_s"] > 4 / 0.25


def test_a_line_whose_loss_is_no_number_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": "0.4"}\n{"step": 3}\n')
    assert [row["step"] for row in read_rows(path)] == [1, 3]
