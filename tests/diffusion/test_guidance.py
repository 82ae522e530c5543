"""Guidance: its direction, its timesteps and its channels."""

import pytest
import torch
from torch import Tensor

from latte_cli.diffusion import guided, timesteps_between

NULL = 7
X, T, Y = torch.randn(2, 3, 4, 2, 2), torch.tensor([500, 500]), torch.tensor([0, 1])
CONDITIONING, UNCONDITIONAL = {"y": Y}, {"y": torch.full_like(Y, NULL)}


class Network:
    """Its prediction is x plus the label; its covariance x times the label. Counts its clips."""

    def __init__(self) -> None:
        self.clips: list[int] = []

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        self.clips.append(len(x))
        label = torch.zeros(len(x)) if y is None else y.float()
        label = label.reshape(-1, 1, 1, 1, 1)
        return torch.cat([x + label, x * label], dim=2)


def plain() -> Tensor:
    return Network()(X, T, Y)


def expected(scale: float) -> Tensor:
    """From the prediction with the null label toward the one with the label, and beyond."""
    label = Y.reshape(-1, 1, 1, 1, 1)
    return torch.cat([X + NULL + scale * (label - NULL), X * label], dim=2)


def test_scale_one_and_no_label_give_the_network_itself():
    network = Network()
    assert torch.equal(guided(network, CONDITIONING, UNCONDITIONAL, 1.0)(X, T), plain())
    assert torch.equal(guided(network, {}, None, 4.0)(X, T), network(X, T))
    assert network.clips == [2, 2, 2], "no double batches"


@pytest.mark.parametrize("scale", [0.0, 0.5, 4.0])
def test_the_prediction_is_guided_and_the_covariance_is_not(scale):
    torch.testing.assert_close(
        guided(Network(), CONDITIONING, UNCONDITIONAL, scale)(X, T), expected(scale)
    )


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_other_channels_are_conditional_only(channels):
    out = guided(Network(), CONDITIONING, UNCONDITIONAL, 4.0, channels=channels)(X, T)
    torch.testing.assert_close(out[:, :, :channels], expected(4.0)[:, :, :channels])
    torch.testing.assert_close(out[:, :, channels:], plain()[:, :, channels:])


def test_every_conditioning_input_has_its_unconditional_counterpart():
    """For example a text and its mask."""

    def network(x: Tensor, t: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        prediction = x + (text * mask).sum(dim=1).reshape(-1, 1, 1, 1, 1)
        return torch.cat([prediction, x], dim=2)

    conditioning = {"text": torch.randn(2, 5), "mask": torch.ones(2, 5)}
    unconditional = {"text": torch.randn(2, 5), "mask": torch.zeros(2, 5)}
    shift = guided(network, conditioning, unconditional, 3.0)(X, T).chunk(2, dim=2)[0] - X
    expected = 3.0 * conditioning["text"].sum(dim=1).reshape(-1, 1, 1, 1, 1)
    torch.testing.assert_close(shift, expected.expand_as(X))


def test_outside_the_interval_the_network_is_evaluated_once():
    network = Network()
    denoiser = guided(network, CONDITIONING, UNCONDITIONAL, 4.0, timesteps=range(300, 501))
    for timestep, inside in ((299, False), (300, True), (500, True), (501, False)):
        out = denoiser(X, torch.full((2,), timestep))
        torch.testing.assert_close(out, expected(4.0) if inside else plain())
    assert network.clips == [2, 4, 4, 2]


def test_clips_of_a_batch_at_different_timesteps_are_guided_independently():
    out = guided(Network(), CONDITIONING, UNCONDITIONAL, 4.0, timesteps=range(300))(
        X, torch.tensor([100, 900])
    )
    torch.testing.assert_close(out, torch.stack([expected(4.0)[0], plain()[1]]))


def test_an_interval_includes_both_ends():
    assert timesteps_between(0.0, 1.0, 1000) is None
    assert timesteps_between(0.0, 0.5, 1000) == range(500)
    assert timesteps_between(0.5, 1.0, 1000) == range(500, 1000)
    assert timesteps_between(1.0, 1.0, 1000) == range(999, 1000)
    assert timesteps_between(0.0, 0.0, 1000) == range(1)


class WithoutBlocks(Network):
    """A weaker network: twice the prediction, so that the difference is minus the prediction."""

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return 2 * super().__call__(x, t, y)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_weaker_network_is_led_away_from_beside_the_label(scale):
    """Guided + k (prediction - weak prediction), with the label in both, in predicted channels."""
    network, weak = Network(), WithoutBlocks()
    lead = {"weak": weak, "weak_scale": 0.5}
    out = guided(network, CONDITIONING, UNCONDITIONAL, scale, **lead)(X, T)
    wanted = expected(scale)
    wanted[:, :, :4] -= 0.5 * plain()[:, :, :4]
    torch.testing.assert_close(out, wanted)
    assert (network.clips, weak.clips) == ([2 if scale == 1 else 4], [2])


def test_a_weaker_network_is_left_alone_outside_of_the_interval_and_at_scale_0():
    weak = WithoutBlocks()
    inside = {"weak": weak, "weak_scale": 0.5, "timesteps": range(600, 1000)}
    assert torch.equal(guided(Network(), CONDITIONING, UNCONDITIONAL, 3.0, **inside)(X, T), plain())
    off = guided(Network(), CONDITIONING, UNCONDITIONAL, 1.0, weak=weak, weak_scale=0.0)
    assert torch.equal(off(X, T), plain())
    assert not weak.clips
    frames = torch.tensor([[500, 700, 700], [500, 700, 700]])  # as FIFO has them
    out = guided(Network(), CONDITIONING, UNCONDITIONAL, 3.0, **inside)(X, frames)
    torch.testing.assert_close(out[:, 0], plain()[:, 0])
    wanted = expected(3.0)
    wanted[:, :, :4] -= 0.5 * plain()[:, :, :4]
    torch.testing.assert_close(out[:, 1:], wanted[:, 1:])
