"""Clips longer than a network's own, and clips that begin with a given frame."""

import itertools

import pytest
import torch

from latte_cli.diffusion import Diffusion, build_sampler, denoise, noise_levels
from latte_cli.models import Latte, LatteShape, LatteT2V, TextShape
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.randomness import seeded
from latte_cli.sampling.long_video import LongClip, SamplingLoop, long_clip

SIZE = (2, 4, 4)
FRAMES = 4


@pytest.fixture
def model():
    """A tiny network whose every weight matters."""
    shape = LatteShape(
        in_channels=2, latent_size=4, num_frames=FRAMES, width=16, depth=2, heads=2, patch=2
    )
    network = Latte(shape)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval().requires_grad_(False)


def walker(model, name="ddim", objective="eps", steps=6, **options):
    sampler = build_sampler(name, Diffusion(objective=objective), steps)
    return SamplingLoop(model, sampler, [seeded(1)], **options)


def noise_source(seed=0):
    generator = seeded(seed)
    return lambda frames: torch.randn(1, frames, *SIZE, generator=generator)


def long(walker, frames, overlap=2, method="window", known=None):
    plan = LongClip(frames, FRAMES, overlap, method)
    return torch.cat(list(walker.long(plan, noise_source(), known)), dim=1)


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
def test_levels_are_those_that_the_network_was_trained_at(name, objective):
    diffusion = Diffusion(objective=objective)
    sampler = build_sampler(name, diffusion, 7)
    timesteps = torch.tensor(sampler.timesteps)
    trained = diffusion.schedule.coefficients(timesteps, torch.zeros(7))
    levels = noise_levels(sampler)
    assert torch.allclose(levels.x_start.float(), trained.x_start.flatten(), atol=2e-6)
    assert torch.allclose(levels.noise.float(), trained.noise.flatten(), atol=2e-6)


@pytest.mark.parametrize(("name", "objective"), KINDS)
def test_known_frames_are_kept_and_steer_the_others(model, name, objective):
    walk = walker(model, name, objective)
    noise, known = noise_source()(FRAMES), torch.randn(1, 1, *SIZE)
    drawn = walk.clip(noise, known)
    assert torch.equal(drawn[:, :1], known)
    free = walker(model, name, objective).clip(noise)
    assert drawn.isfinite().all()
    assert not torch.allclose(drawn[:, 1:], free[:, 1:], atol=1e-3)


@pytest.mark.parametrize(("name", "objective"), KINDS)
def test_what_the_network_sees_of_known_frames_is_at_the_level_of_the_step(name, objective):
    """A network that knows the clean clip says so only where it is shown that clip, noised."""
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


def test_each_window_begins_with_the_end_of_the_one_before(model):
    """What the network is shown in the overlap, at the lowest level, is what was handed on."""
    starts = []

    def watched(x, t):
        starts.append(x.clone())
        return model(x, t)

    walk = walker(watched)
    clip = long(walk, 10, overlap=3)
    assert clip.shape == (1, 10, *SIZE)
    level = noise_levels(walk.sampler)
    source = noise_source()
    noises = [source(FRAMES) for _ in range(7)]
    for number in range(1, 7):  # windows move on by one frame
        shown = starts[6 * number + 5][:, :3]
        handed_on = clip[:, number : number + 3]
        noised = level.x_start[0] * handed_on + level.noise[0] * noises[number][:, :3]
        assert torch.allclose(shown, noised.float(), atol=1e-5)


@pytest.mark.parametrize("method", ["window", "fifo"])
@pytest.mark.parametrize("steps", [3, 6])
def test_a_longer_clip_begins_with_the_shorter_one(model, method, steps):
    short, longer = (long(walker(model, steps=steps), n, 2, method) for n in (7, 12))
    assert short.shape[1] == 7
    assert longer.shape[1] == 12
    assert torch.equal(longer[:, :7], short)
    frames = longer[0].flatten(1)
    assert (frames[1:] - frames[:-1]).abs().amax(1).min() > 1e-3, "no frame is another's copy"


def test_a_clip_in_windows_begins_with_what_is_drawn_at_once(model):
    walk = walker(model)
    at_once = denoise(model, noise_source()(FRAMES), walk.sampler, [])
    assert torch.equal(long(walk, 9)[:, :FRAMES], at_once)


@pytest.mark.parametrize("method", ["window", "fifo"])
@pytest.mark.parametrize("steps", [3, 4, 9])
def test_the_given_frame_is_the_first_of_a_long_clip(model, method, steps):
    known = torch.randn(1, 1, *SIZE)
    clip = long(walker(model, steps=steps), 9, 2, method, known)
    assert torch.equal(clip[:, :1], known)
    assert clip.shape[1] == 9


@pytest.mark.parametrize(("name", "objective"), [("ddim", "eps"), ("ddim", "v"), ("euler", "flow")])
@pytest.mark.parametrize("steps", [3, 4, 9])
def test_a_queue_leads_every_frame_to_the_clip_that_the_network_knows(name, objective, steps):
    """With a network that is right about every frame at its own level, each comes out exact."""
    diffusion = Diffusion(objective=objective)
    truth = torch.randn(2, 1, 1)
    levels = diffusion.schedule

    def right(x, t):
        t = t if t.ndim == 2 else t[:, None].expand(-1, x.shape[1])
        mixture = levels.coefficients(t.flatten(), torch.zeros(t.numel()))
        signal, amount = (
            part.reshape(*t.shape, 1, 1, 1) for part in (mixture.x_start, mixture.noise)
        )
        noise = (x - signal * truth) / amount
        said = {"eps": noise, "v": signal * noise - amount * truth, "flow": noise - truth}
        out = said[objective].expand_as(x)
        return torch.cat([out, torch.zeros_like(out)], dim=2)

    clip = long(walker(right, name, objective, steps), 11, 2, "fifo")
    assert clip.shape == (1, 11, *SIZE)
    assert torch.allclose(clip, truth.expand_as(clip), atol=1e-3)


@pytest.mark.parametrize("method", ["window", "fifo"])
@pytest.mark.parametrize(("steps", "frames"), [(6, 9), (3, 9), (4, 5), (9, 13)])
def test_steps_are_foretold(model, method, steps, frames):
    calls = itertools.count()
    walk = walker(model, steps=steps, on_step=lambda: next(calls))
    long(walk, frames, 3, method)
    assert next(calls) == LongClip(frames, FRAMES, 3, method).steps(steps)


def test_a_timestep_a_frame_that_is_one_for_all_is_a_timestep_a_clip(model):
    x = torch.randn(2, FRAMES, *SIZE)
    t = torch.tensor([3, 700])
    alike = model(x, t[:, None].expand(-1, FRAMES))
    assert torch.allclose(alike, model(x, t), atol=1e-5)
    other = model(x, torch.arange(8).reshape(2, 4) * 100)
    assert not torch.allclose(other, model(x, t), atol=1e-2)


def test_so_it_is_in_the_network_that_is_told_a_text():
    shape = TextShape(
        latent_size=4, num_frames=FRAMES, width=16, depth=2, heads=2, patch=2, text_width=8
    )
    network = LatteT2V(shape).eval().requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, text = torch.randn(2, FRAMES, 4, 4, 4), torch.randn(2, 3, 8)
    t = torch.tensor([3, 700])
    alike = network(x, t[:, None].expand(-1, FRAMES), text=text)
    assert torch.allclose(alike, network(x, t, text=text), atol=1e-5)
    other = network(x, torch.arange(8).reshape(2, 4) * 100, text=text)
    assert not torch.allclose(other, network(x, t, text=text), atol=1e-2)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((4, 4, 2), "no more than the 4 frames"),
        ((9, 4, 4), "--overlap 4"),
        ((9, 4, 0), "--overlap 0"),
        ((9, 4, 2, "magic"), "--long-method magic is unknown"),
        ((5, 1, 1), "--long needs at least 2 frames in a window, not 1"),
    ],
)
def test_plans_that_cannot_be_are_told(values, told):
    with pytest.raises(ConfigError, match=told):
        LongClip(*values)


@pytest.mark.parametrize(
    ("overlap", "method", "told"),
    [(99, "window", "--overlap"), (None, "fifo", "--long-method"), (None, "foo", "--long-method")],
)
def test_what_is_said_of_long_clips_needs_a_long_clip(overlap, method, told):
    with pytest.raises(ConfigError, match=rf"{told} \w+ without --long") as caught:
        long_clip(None, FRAMES, overlap, method)
    assert "--long N" in caught.value.hint
    assert long_clip(None, FRAMES, None, "window") is None


@pytest.mark.parametrize("name", ["ddpm", "dpm++"])
def test_a_queue_takes_no_step_with_memory_or_noise(model, name):
    with pytest.raises(ConfigError, match="without memory"):
        long(walker(model, name), 9, 2, "fifo")


def test_a_clip_of_known_frames_alone_is_refused(model):
    with pytest.raises(ConfigError, match="1 frames are given and 1 are asked for"):
        walker(model).clip(torch.randn(1, 1, *SIZE), torch.randn(1, 1, *SIZE))
