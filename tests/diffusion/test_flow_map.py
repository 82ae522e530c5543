"""Flow maps: the identity that their target states, and the derivative it takes."""

import math

import pytest
import torch
from helpers.networks import randomized, small_shape
from torch import Tensor
from torch.func import functional_call

from latte_cli.config import load_config
from latte_cli.diffusion import Diffusion, build_sampler, denoise, guided
from latte_cli.diffusion.flow_map import flow_map_losses, map_step_losses, mean_velocity_change
from latte_cli.models import Latte
from latte_cli.runtime.errors import ConfigError

MAP = Diffusion(objective="flow-map")
SPREAD = 0.5
T, END = torch.tensor([999, 700, 400, 300]), torch.tensor([-1, 200, 400, 100])


def level(t: Tensor, like: Tensor) -> Tensor:
    """The time of a timestep, from 0 to 1."""
    return ((t.double() + 1) / 1000).to(like).reshape(-1, *[1] * (like.ndim - 1))


def spread_at(s: Tensor) -> Tensor:
    """Standard deviation at time s of data from N(0, SPREAD^2)."""
    return ((1 - s) ** 2 * SPREAD**2 + s**2).sqrt()


def exact_map(x: Tensor, t: Tensor, *, end: Tensor) -> Tensor:
    """The mean velocity for such data, whose flow only scales: x_r = x_t spread_r / spread_t."""
    s, r = level(t, x), level(end, x)
    ratio = spread_at(r) / spread_at(s)
    velocity = (s - (1 - s) * SPREAD**2) / spread_at(s) ** 2 * x
    return torch.where(s == r, velocity, x * (1 - ratio) / (s - r).where(s != r, 1))


def exact_velocity(x: Tensor, t: Tensor) -> Tensor:
    return exact_map(x, t, end=t)


def test_the_exact_map_has_no_loss():
    """With the flow's own velocity in place of that of a single clip."""
    generator = torch.Generator().manual_seed(0)
    x_start, noise = torch.randn(2, 4, 2, 4, 4, 4, generator=generator, dtype=torch.float64)
    x_t = MAP.add_noise(SPREAD * x_start, T, noise)
    shift = exact_velocity(x_t, T) - (noise - SPREAD * x_start)
    terms = flow_map_losses(
        exact_map, exact_map, MAP, SPREAD * x_start, T, END, noise, torch.zeros(4),
        target_shift=shift,
    )  # fmt: skip
    assert terms.mse.max() < 1e-10
    wrong = flow_map_losses(
        lambda x, t, *, end: exact_velocity(x, t), exact_map, MAP, SPREAD * x_start, T, END, noise,
        torch.zeros(4), target_shift=shift,
    )  # fmt: skip
    assert (wrong.mse[END != T] > 1e-3).all(), "the velocity itself is not the mean velocity"
    assert wrong.mse[END == T].max() < 1e-10, "except over no time"


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_any_number_of_steps_ends_at_the_same_clip(steps):
    noise = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    sampler = build_sampler("flow-map", MAP, steps)
    clips = denoise(guided(exact_map, {}, {}, 1.0), noise, sampler, [])
    torch.testing.assert_close(clips, SPREAD * noise, atol=1e-4, rtol=1e-4)


def test_the_log_loss_is_least_at_the_log_of_the_error():
    """Its derivative by the weight w vanishes where mse / e^w is 1 - 0.01 (equation 12)."""
    zero = torch.zeros(1, 1, 4, 2, 2)
    weight = torch.zeros(1, requires_grad=True)
    end = torch.tensor([500])
    terms = flow_map_losses(
        lambda x, t, *, end: zero, lambda x, t, *, end: zero, MAP, zero, end, end,
        torch.ones_like(zero) * 0.99**0.5, weight,
    )  # fmt: skip
    terms.total.backward()
    assert terms.mse.item() == pytest.approx(0.99)
    assert weight.grad.abs().item() == pytest.approx(0.01, abs=1e-4)


@pytest.fixture(scope="module")
def network() -> Latte:
    return randomized(Latte(small_shape(depth=6, flow_map=True, learn_sigma=False)), std=0.1)


CLIP = torch.randn(4, 4, 4, 4, 4, generator=torch.Generator().manual_seed(3))
VELOCITY = torch.randn(4, 4, 4, 4, 4, generator=torch.Generator().manual_seed(4))
Y = torch.tensor([0, 1, 2, 3])


def test_a_step_of_no_length_is_the_network_as_it_was(network):
    with torch.no_grad():
        assert torch.equal(network(CLIP, T, Y, end=T), network(CLIP, T, Y))
        assert not torch.equal(network(CLIP, T, Y, end=END), network(CLIP, T, Y))


def test_only_the_last_third_sees_the_end(network):
    seen = []
    hooks = [block.register_forward_hook(lambda _, __, out: seen.append(out))
             for block in network.blocks]  # fmt: skip
    with torch.no_grad():
        network(CLIP, T, Y, end=END)
        network(CLIP, T, Y)
    for hook in hooks:
        hook.remove()
    same = [torch.equal(a, b) for a, b in zip(seen[:6], seen[6:], strict=True)]
    assert same == [True] * 4 + [False] * 2


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 0.01), (torch.bfloat16, 0.03)])
def test_the_derivative_is_exact(network, dtype, within):
    """Against a central difference in float64, which has a relative error of 1e-8 or so."""
    exact = Latte(network.shape).double()
    exact.load_state_dict(network.state_dict())
    weights = {name: value.detach() for name, value in network.state_dict().items()}

    def frozen(*inputs, **cond):
        return functional_call(network, weights, inputs, cond)

    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        found = mean_velocity_change(frozen, CLIP, T, END, VELOCITY, 1000, y=Y).double()
    step, ends = 1e-6, END.double()
    with torch.no_grad():
        ahead, behind = (
            exact(CLIP.double() + h * VELOCITY.double(), T.double() + h * 1000, Y, end=ends)
            for h in (step, -step)
        )
    expected = (ahead - behind) / (2 * step)
    assert ((found - expected).norm() / expected.norm()).item() < within


def test_guidance_passes_the_end_on():
    ends = []

    def model(x, t, y, end):
        ends.append(end)
        return x

    labels = {"y": torch.tensor([1])}, {"y": torch.tensor([3])}
    x, t, end = torch.zeros(1, 1, 4, 2, 2), torch.tensor([9]), torch.tensor([4])
    guided(model, *labels, 2.0)(x, t, end=end)
    assert ends[0].tolist() == [4, 4]


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_half_of_the_clips_of_each_process_are_plain_flow(processes):
    """So that none waits for the derivatives of others."""
    generator = torch.Generator().manual_seed(0)
    for rank in range(processes):
        times = [MAP.sample_times(index, generator) for index in range(rank, 32, processes)]
        longer = [(t, end) for t, end in times if t != end]
        assert len(longer) == len(times) / 2
        assert all(-1 <= end < t <= 999 for t, end in longer)


def test_a_batch_of_one_has_no_half():
    with pytest.raises(ConfigError, match=r"train\.batch_size is 1"):
        load_config("shapes-fast", ["diffusion.objective=flow-map", "train.batch_size=1"])


def test_its_sampler_is_for_flow_maps_alone():
    with pytest.raises(ConfigError, match="flow-map"):
        build_sampler("flow-map", Diffusion(objective="flow"), 4)


def test_its_losses_have_their_own_weights():
    """Those by the ratio of signal to noise do not apply."""
    assert torch.equal(MAP.loss_weight(T, 0.0, 2.0), torch.ones(4))


FOUR = Diffusion(objective="flow-map", map_levels=[1, 0.857, 0.667, 0.4])


def test_steps_between_levels_are_those_of_its_sampler():
    generator = torch.Generator().manual_seed(0)
    drawn = [FOUR.sample_times(0, generator) for _ in range(2000)]
    times = set(drawn)
    sampler = build_sampler("flow-map", FOUR, 4)
    assert times == set(zip(sampler.timesteps, sampler.ends, strict=True))
    assert times == {(999, 856), (856, 666), (666, 399), (399, -1)}
    shares = [drawn.count(step) / 2000 for step in sorted(times)]
    assert shares == pytest.approx([0.25] * 4, abs=0.04)
    noise = torch.randn(2, 3, 4, 4, 4, generator=generator)
    clips = denoise(guided(exact_map, {}, {}, 1.0), noise, sampler, [])
    torch.testing.assert_close(clips, SPREAD * noise, atol=1e-4, rtol=1e-4)


def test_steps_follow_one_another_in_turn():
    t = torch.tensor([999, 856, 666, 399])
    for turns in range(6):
        start, end = FOUR.next_steps(t, turns)
        assert start.tolist() == t.roll(-turns).tolist()
        assert end.tolist() == torch.tensor([856, 666, 399, -1]).roll(-turns).tolist()


def test_a_step_of_a_path_is_learned_from_where_it_begins():
    """The mean velocity leads from there to where the path is at its end."""
    path, levels = torch.randn(4, 5, 2, 4, 4, 4), torch.tensor([1, 0.857, 0.667, 0.4, 0])
    t, end = torch.tensor([999, 856, 666, 399]), torch.tensor([856, 666, 399, -1])
    length = levels.diff()[:, None, None, None, None]
    seen = []

    def exact(x, times, *, end):
        seen.append((x, times, end))
        return (path[range(4), range(1, 5)] - x) / length

    terms = map_step_losses(exact, FOUR, path, t, end, torch.zeros(4))
    ((x, times, ends),) = seen
    assert torch.equal(x, path[range(4), range(4)])
    assert torch.equal(times, t)
    assert torch.equal(ends, end)
    assert terms.mse.max() < 1e-10
    torch.testing.assert_close(terms.total, torch.full((4,), math.log(0.01)))
