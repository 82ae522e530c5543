"""Guidance trained in: the target is the guided prediction."""

from dataclasses import replace

import pytest
import torch
from helpers.small import random_batch, small_config, take_step

from latte_cli.config import load_config
from latte_cli.diffusion import Diffusion
from latte_cli.runtime.errors import ConfigError
from latte_cli.training.state import new_state
from latte_cli.training.targets.guidance import guidance_shift

CPU = torch.device("cpu")
FLOW = {"diffusion__objective": "flow", "train__min_snr_gamma": "null", "model__num_classes": 3}


class OfLabel:
    """Predicts its label, whatever it sees."""

    def __call__(self, x, t, y, **_):
        return y.float()[:, None, None, None, None].expand_as(x)


def test_the_target_moves_from_the_unconditional_to_the_conditional_prediction():
    config = small_config(**FLOW, train__guidance_target=2.0)
    batch = replace(random_batch(config), y=torch.tensor([0, 3] * (config.train.batch_size // 2)))
    diffusion = Diffusion(**config.diffusion.model_dump())
    shift = guidance_shift(OfLabel(), batch, 3, diffusion, config.train)
    assert (shift[0::2] == 2.0 * (0 - 3)).all()
    assert (shift[1::2] == 0).all(), "a clip without a label is not guided"


def test_guidance_is_limited_to_an_interval():
    config = small_config(
        **FLOW, train__guidance_target=1.0, train__guidance_target_interval=[0.2, 0.6]
    )
    clips = config.train.batch_size
    batch = replace(random_batch(config), y=torch.zeros(clips, dtype=torch.long))
    batch.t[:] = torch.linspace(0, 999, clips).long()
    diffusion = Diffusion(**config.diffusion.model_dump())
    shift = guidance_shift(OfLabel(), batch, 3, diffusion, config.train)
    inside = (batch.t >= 200) & (batch.t <= 599)
    assert ((shift != 0).flatten(1).all(1) == inside).all()
    assert inside.any()
    assert not inside.all()


@pytest.mark.parametrize("source", ["ema", "model"])
def test_a_step_learns_the_shifted_target(source):
    """Of a network whose labels do something, the loss is that of the target with the shift."""
    plain = small_config(**FLOW)
    guided = small_config(**FLOW, train__guidance_target=3.0, train__guidance_target_from=source)
    batch, state = random_batch(plain), new_state(plain, CPU)
    for parameter in state.model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    state.ema.load_state_dict(state.model.state_dict())
    diffusion = Diffusion(**plain.diffusion.model_dump())
    shift = guidance_shift(state.ema, batch, state.model.null_label, diffusion, guided.train)
    expected = diffusion.losses(
        state.model, batch.x_start, batch.t, batch.noise, target_shift=shift, **batch.cond
    )
    found = take_step(state, guided, batch)
    assert shift.abs().max() > 0.1
    torch.testing.assert_close(found.loss_per_clip, expected.total.detach())


@pytest.mark.parametrize(
    ("preset", "words", "message"),
    [
        ("skytimelapse", [], "for networks with classes"),
        (
            "skytimelapse-fast",
            ["train.guidance_target_from=teacher", "train.teacher=embedded/shapes-fast"],
            "for networks with classes",
        ),
        ("ucf101", ["train.condition_dropout=0"], "never learns"),
        ("ucf101", ["train.guidance_target_interval=[0.7,0.2]"], "ascending"),
    ],
)
def test_what_cannot_be_trained_in_is_an_error(preset, words, message):
    with pytest.raises(ConfigError, match=message):
        load_config(preset, ["train.guidance_target=1.5", *words])
