"""`latte t2v` with every scheduler of the published script, against diffusers' pipeline."""

import json
import shutil

import diffusers
import pytest
import torch
from commands.pipelines import write_pipeline
from commands.text_clips import published_clip, sampled_clip
from conftest import fail, succeed
from PIL import Image

from latte_cli.diffusion.published import PIPELINE_SCHEDULERS
from latte_cli.runtime.console import Console
from latte_cli.video_io import read_video

DOGS = "two dogs run"
LINEAR = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear", "clip_sample": False}
KARRAS = {"use_karras_sigmas": True}
EXPONENTIAL = {"use_exponential_sigmas": True}
VARIANTS = [
    ("DDIMScheduler", {"timestep_spacing": "trailing", "rescale_betas_zero_snr": False}),
    ("DDPMScheduler", {"variance_type": "learned_range"}),
    ("DDPMScheduler", {"variance_type": "learned_range", "timestep_spacing": "trailing"}),
    ("DEISMultistepScheduler", KARRAS),
    ("DPMSolverMultistepScheduler", KARRAS),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("DPMSolverMultistepScheduler", {"variance_type": "learned_range"}),
    ("DPMSolverSinglestepScheduler", {"solver_order": 3, **KARRAS}),
    ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "leading", "steps_offset": 1}),
    ("EulerDiscreteScheduler", KARRAS),
    ("EulerDiscreteScheduler", EXPONENTIAL),
    ("EulerDiscreteScheduler", {"timestep_spacing": "leading", "steps_offset": 1}),
    ("HeunDiscreteScheduler", KARRAS),
    ("KDPM2AncestralDiscreteScheduler", KARRAS),
    ("PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1}),
    ("UniPCMultistepScheduler", KARRAS),
]
EVERY = [(name, {}) for name in PIPELINE_SCHEDULERS] + VARIANTS


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture
def published_with(pipeline, tmp_path):
    """Publishes a copy of the pipeline with another scheduler; returns its folder."""

    def publish(name, values):
        copy = shutil.copytree(pipeline, tmp_path / "pipeline")
        scheduler = getattr(diffusers, name).from_config({**LINEAR, **values})
        scheduler.save_pretrained(copy / "scheduler")
        path = copy / "scheduler/scheduler_config.json"
        # `from_config` keeps what a class has no use for, such as DDPM's variance_type.
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
        index = json.loads((copy / "model_index.json").read_text())
        index["scheduler"] = ["diffusers", name]
        (copy / "model_index.json").write_text(json.dumps(index))
        return copy

    return publish


@pytest.mark.parametrize(("name", "values"), EVERY)
def test_clips_match_the_published_pipeline(published_with, monkeypatch, name, values):
    folder = published_with(name, values)
    noise, frames = sampled_clip(monkeypatch, folder, DOGS, size=(32, 32))
    if name != "DDPMScheduler" and "variance_type" in values:
        folder = forget_variance(folder)  # diffusers' pipeline breaks on what was left over
    expected = published_clip(folder, noise, DOGS)
    assert frames.float().std() > 10, "a flat picture would match anything"
    assert (frames.int() - expected.int()).abs().max() <= 1


def forget_variance(folder):
    path = folder / "scheduler/scheduler_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in config.items() if k != "variance_type"}))
    return folder


@pytest.mark.parametrize("name", ["PNDMScheduler", "HeunDiscreteScheduler"])
def test_every_call_of_the_network_counts_as_a_step(published_with, monkeypatch, name):
    """Of progress: these take several calls per step."""
    totals, progress = [], Console.progress

    def watched(self, text, total, unit):
        totals.append(total)
        return progress(self, text, total, unit)

    monkeypatch.setattr(Console, "progress", watched)
    folder, steps = published_with(name, {}), 5
    words = ("t2v", DOGS, "--model", folder, "--frames", 2, "--steps", steps)
    result = succeed(*words, "-o", "a.mp4")
    calls = {"PNDMScheduler": 14, "HeunDiscreteScheduler": 9}[name]
    assert totals == [calls], result.stderr


@pytest.mark.parametrize("name", ["PNDMScheduler", "HeunDiscreteScheduler"])
def test_caches_need_one_call_per_step(published_with, name):
    folder = published_with(name, {})
    words = ("t2v", DOGS, "--model", folder, "--frames", 2, "--steps", 5, "-o", "a.mp4")
    for cache in ("pab", "adaptive"):
        assert f"{name} calls the network several times per step" in fail(*words, "--cache", cache)
    message = fail("calibrate", DOGS, "--model", folder, "--steps", 5, "--speed", "2x")
    assert f"{name} calls the network several times per step" in message


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("EulerDiscreteScheduler", KARRAS),
        ("EulerAncestralDiscreteScheduler", {}),
        ("DPMSolverSinglestepScheduler", {}),
        ("PNDMScheduler", {}),
    ],
)
def test_a_clip_begins_with_the_given_picture(published_with, name, values):
    Image.new("RGB", (64, 64), "teal").save("first.png")
    words = ("--model", published_with(name, values), "--frames", 4, "--steps", 4)
    succeed("t2v", DOGS, *words, "--image", "first.png", "--format", "png", "-o", "out")
    clip = torch.from_numpy(read_video("out/00000-seed0"))
    assert len({frame.numpy().tobytes() for frame in clip}) == 4
