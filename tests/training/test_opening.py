"""The first line of a run: what is trained, where, and on what."""

import pytest
import torch
from helpers.small import small_config

from latte_cli.config import load_config
from latte_cli.runtime import devices
from latte_cli.training.monitoring.opening import describe_start
from latte_cli.training.state import new_state


def test_the_opening_line_names_device_precision_parameters_and_clips(monkeypatch):
    config, cpu = small_config(train__steps=9), torch.device("cpu")
    state = new_state(config, cpu)
    state.step = 3
    said = describe_start("mine", config, 12, state, cpu)
    count = sum(p.numel() for p in state.model.parameters()) / 1e6
    assert said == (
        f"training mine: {count:.2f} M parameters on {devices.device_name(cpu)}, in float32; "
        "clips of 4 frames of 12 videos, 4 a step, from step 3 to 9"
    )


@pytest.mark.parametrize(
    ("words", "is_told"),
    [
        ([], False),
        (["train.guidance_target=0.5"], True),
        (["train.guidance_target=0.5", "sample.guidance=1"], False),
        (["train.teacher=embedded/shapes-fast"], False),
        (["train.teacher=embedded/shapes-fast", "train.teacher_guidance=2"], True),
    ],
)
def test_guidance_that_is_trained_in_and_asked_for_again_is_told(words, is_told):
    config, cpu = load_config("shapes-fast", [*words, "model.depth=2"]), torch.device("cpu")
    said = describe_start("mine", config, 12, new_state(config, cpu), cpu)
    assert ("sample.guidance 2 guides clips once more" in said) is is_told


def test_a_gpu_of_apple_that_is_not_used_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert "(MPS) is not used: it has no float64" in devices.why_on_cpu()
    assert devices.pick_device().type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert not devices.why_on_cpu()
