"""Clips longer than a window, and clips that begin with given frames."""

import itertools

import pytest
import torch

from latte_cli.diffusion import Diffusion, build_sampler, denoise, noise_levels
from latte_cli.models import Latte, LatteShape, LatteT2V, TextShape
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.randomness import seeded
from latte_cli.sampling.long_plan import LongClipPlan, plan_long_clip
from latte_cli.sampling.long_video import SamplingLoop

SIZE = (2, 4, 4)
FRAMES = 4


@pytest.fixture
def model():
    """A tiny network with random weights everywhere."""
    shape = LatteShape(
        in_channels=2, latent_size=4, num_frames=FRAMES, width=16, depth=2, heads=2, patch=2
    )
    network = Latte(shape)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval().requires_grad_(False)


def sampling_loop(model, name="ddim", objective="eps", steps=6, **options):
    sampler = build_sampler(name, Diffusion(objective=objective), steps)
    return SamplingLoop(model, sampler, [seeded(1)], **options)


def noise_source(seed=0):
    generator = seeded(seed)
    return lambda frames: torch.randn(1, frames, *SIZE, generator=generator)


def long(sampling_loop, frames, overlap=2, method="window", first_frames=None):
    plan = LongClipPlan(frames, FRAMES, overlap, method)
    return torch.cat(list(sampling_loop.long(plan, noise_source(), first_frames)), dim=1)


KINDS = [
    ("ddpm", "eps"),
    ("ddim", "eps"),
    ("ddim", "v"),
    ("dpm++", "eps"),
    ("unipc", "v"),
    ("euler", "flow"),
    ("dpm++", "flow"),
    ("unipc", "flow"),
]


@pytest.mark.parametrize(("name", "objective"), KINDS)
def test_noise_levels_are_those_of_training(name, objective):
    diffusion = Diffusion(objective=objective)
    sampler = build_sampler(name, diffusion, 7)
    timesteps = torch.tensor(sampler.timesteps)
    trained = diffusion.schedule.coefficients(timesteps, torch.zeros(7))
    levels = noise_levels(sampler)
    assert torch.allclose(levels.x_start.float(), trained.x_start.flatten(), atol=2e-6)
    assert torch.allclose(levels.noise.float(), trained.noise.flatten(), atol=2e-6)


@pytest.mark.parametrize(("name", "objective"), KINDS)
def test_first_frames_are_kept_and_change_the_others(model, name, objective):
    loop = sampling_loop(model, name, objective)
    noise, first_frames = noise_source()(FRAMES), torch.randn(1, 1, *SIZE)
    clip = loop.clip(noise, first_frames)
    assert torch.equal(clip[:, :1], first_frames)
    unconstrained = sampling_loop(model, name, objective).clip(noise)
    assert clip.isfinite().all()
    assert not torch.allclose(clip[:, 1:], unconstrained[:, 1:], atol=1e-3)


@pytest.mark.parametrize(("name", "objective"), KINDS)
def test_the_network_sees_first_frames_at_the_noise_level_of_the_step(name, objective):
    diffusion = Diffusion(objective=objective)
    clip, noise = torch.randn(1, FRAMES, *SIZE), noise_source()(FRAMES)
    seen = []

    def model(x, t):
        seen.append((x[:, :2].clone(), t.clone()))
        return torch.zeros(1, FRAMES, 4, 4, 4)

    sampler = build_sampler(name, diffusion, 5)
    SamplingLoop(model, sampler, [seeded(1)]).clip(noise, clip[:, :2])
    assert len(seen) == 5
    for x, t in seen:
        mixture = diffusion.schedule.coefficients(t, x)
        expected = mixture.x_start * clip[:, :2] + mixture.noise * noise[:, :2]
        assert torch.allclose(x, expected, atol=1e-5)


def test_each_window_begins_with_the_last_frames_of_the_one_before(model):
    """In the overlap the network sees the yielded frames, at the lowest noise level."""
    inputs = []

    def watched(x, t):
        inputs.append(x.clone())
        return model(x, t)

    loop = sampling_loop(watched)
    clip = long(loop, 10, overlap=3)
    assert clip.shape == (1, 10, *SIZE)
    level = noise_levels(loop.sampler)
    source = noise_source()
    noises = [source(FRAMES) for _ in range(7)]
    for number in range(1, 7):  # windows move on by one frame
        shown = inputs[6 * number + 5][:, :3]
        yielded = clip[:, number : number + 3]
        noised = level.x_start[0] * yielded + level.noise[0] * noises[number][:, :3]
        assert torch.allclose(shown, noised.float(), atol=1e-5)


@pytest.mark.parametrize("method", ["window", "fifo"])
@pytest.mark.parametrize("steps", [3, 6])
def test_a_longer_clip_begins_with_the_shorter_one(model, method, steps):
    short, longer = (long(sampling_loop(model, steps=steps), n, 2, method) for n in (7, 12))
    assert short.shape[1] == 7
    assert longer.shape[1] == 12
    assert torch.equal(longer[:, :7], short)
    frames = longer[0].flatten(1)
    assert (frames[1:] - frames[:-1]).abs().amax(1).min() > 1e-3, "no frame is a copy of another"


def test_a_clip_in_windows_begins_with_the_clip_of_one_window(model):
    loop = sampling_loop(model)
    at_once = denoise(model, noise_source()(FRAMES), loop.sampler, [])
    assert torch.equal(long(loop, 9)[:, :FRAMES], at_once)


@pytest.mark.parametrize("method", ["window", "fifo"])
@pytest.mark.parametrize("steps", [3, 4, 9])
def test_the_given_frame_is_the_first_of_a_long_clip(model, method, steps):
    first_frames = torch.randn(1, 1, *SIZE)
    clip = long(sampling_loop(model, steps=steps), 9, 2, method, first_frames)
    assert torch.equal(clip[:, :1], first_frames)
    assert clip.shape[1] == 9


@pytest.mark.parametrize(("name", "objective"), [("ddim", "eps"), ("ddim", "v"), ("euler", "flow")])
@pytest.mark.parametrize("steps", [3, 4, 9])
def test_fifo_recovers_the_clip_of_an_oracle(name, objective, steps):
    """The oracle predicts exactly for each frame at its own noise level."""
    diffusion = Diffusion(objective=objective)
    truth = torch.randn(2, 1, 1)
    levels = diffusion.schedule

    def oracle(x, t):
        t = t if t.ndim == 2 else t[:, None].expand(-1, x.shape[1])
        mixture = levels.coefficients(t.flatten(), torch.zeros(t.numel()))
        signal, amount = (
            part.reshape(*t.shape, 1, 1, 1) for part in (mixture.x_start, mixture.noise)
        )
        noise = (x - signal * truth) / amount
        outputs = {"eps": noise, "v": signal * noise - amount * truth, "flow": noise - truth}
        out = outputs[objective].expand_as(x)
        return torch.cat([out, torch.zeros_like(out)], dim=2)

    clip = long(sampling_loop(oracle, name, objective, steps), 11, 2, "fifo")
    assert clip.shape == (1, 11, *SIZE)
    assert torch.allclose(clip, truth.expand_as(clip), atol=1e-3)


@pytest.mark.parametrize("method", ["window", "fifo"])
@pytest.mark.parametrize(("steps", "frames"), [(6, 9), (3, 9), (4, 5), (9, 13)])
def test_the_number_of_steps_is_predicted(model, method, steps, frames):
    calls = itertools.count()
    loop = sampling_loop(model, steps=steps, on_step=lambda: next(calls))
    long(loop, frames, 3, method)
    assert next(calls) == LongClipPlan(frames, FRAMES, 3, method).steps(steps)


def test_equal_timesteps_of_all_frames_equal_one_timestep_per_clip(model):
    x = torch.randn(2, FRAMES, *SIZE)
    t = torch.tensor([3, 700])
    same = model(x, t[:, None].expand(-1, FRAMES))
    assert torch.allclose(same, model(x, t), atol=1e-5)
    other = model(x, torch.arange(8).reshape(2, 4) * 100)
    assert not torch.allclose(other, model(x, t), atol=1e-2)


def test_equal_timesteps_of_all_frames_equal_one_timestep_per_clip_of_text():
    shape = TextShape(
        latent_size=4, num_frames=FRAMES, width=16, depth=2, heads=2, patch=2, text_width=8
    )
    network = LatteT2V(shape).eval().requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, text = torch.randn(2, FRAMES, 4, 4, 4), torch.randn(2, 3, 8)
    t = torch.tensor([3, 700])
    same = network(x, t[:, None].expand(-1, FRAMES), text=text)
    assert torch.allclose(same, network(x, t, text=text), atol=1e-5)
    other = network(x, torch.arange(8).reshape(2, 4) * 100, text=text)
    assert not torch.allclose(other, network(x, t, text=text), atol=1e-2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((4, 4, 2), "no more than the 4 frames"),
        ((9, 4, 4), "--overlap 4"),
        ((9, 4, 0), "--overlap 0"),
        ((9, 4, 2, "magic"), "--long-method magic is unknown"),
        ((5, 1, 1), "--long needs at least 2 frames in a window, not 1"),
    ],
)
def test_invalid_plans_raise(values, message):
    with pytest.raises(ConfigError, match=message):
        LongClipPlan(*values)


@pytest.mark.parametrize(
    ("overlap", "method", "message"),
    [(99, "window", "--overlap"), (None, "fifo", "--long-method"), (None, "foo", "--long-method")],
)
def test_options_of_long_clips_need_a_long_clip(overlap, method, message):
    with pytest.raises(ConfigError, match=rf"{message} \w+ without --long") as caught:
        plan_long_clip(None, FRAMES, overlap, method)
    assert "--long N" in caught.value.hint
    assert plan_long_clip(None, FRAMES, None, "window") is None


@pytest.mark.parametrize("name", ["ddpm", "dpm++"])
def test_fifo_needs_a_deterministic_single_step_sampler(model, name):
    with pytest.raises(ConfigError, match="deterministic single-step"):
        long(sampling_loop(model, name), 9, 2, "fifo")


def test_first_frames_for_the_whole_clip_raise(model):
    with pytest.raises(ConfigError, match="1 frames are given and 1 are requested"):
        sampling_loop(model).clip(torch.randn(1, 1, *SIZE), torch.randn(1, 1, *SIZE))
