"""The same text-to-video clip from diffusers' pipeline and from `latte t2v`."""

import numpy as np
import torch
from diffusers import LattePipeline
from diffusers.utils import logging

from latte_cli.commands import t2v
from latte_cli.runtime.console import Console
from latte_cli.runtime.randomness import seeded
from latte_cli.sampling.text_to_video import TextGenerator
from latte_cli.text.prompts import Prompt


def published_clip(folder, noise, prompt, guidance=7.5, steps=5, **options):
    """The clip of diffusers' pipeline from the same noise, (f, h, w, 3) uint8."""
    logging.disable_progress_bar()
    pipe = LattePipeline.from_pretrained(folder, **options)
    pipe.set_progress_bar_config(disable=True)
    frames = pipe(
        prompt,
        negative_prompt="low quality",
        num_inference_steps=steps,
        guidance_scale=guidance,
        video_length=noise.shape[1],
        height=noise.shape[3] * 8,
        width=noise.shape[4] * 8,
        latents=noise.transpose(1, 2),
        generator=seeded(0, 0, 1),  # of the noise that stochastic schedulers add
        output_type="np",
    ).frames[0]
    return (torch.as_tensor(np.asarray(frames)) * 255).round().to(torch.uint8)


def sampled_clip(monkeypatch, folder, prompt, **values):
    """The initial noise of `latte t2v`, and its clip."""
    seen = {}
    noise = TextGenerator.noise

    def keep_noise(self, *values):
        seen["noise"] = noise(self, *values)
        return seen["noise"]

    def keep_frames(path, frames, *values):
        seen["frames"] = frames

    monkeypatch.setattr(TextGenerator, "noise", keep_noise)
    monkeypatch.setattr(t2v, "write_clip", keep_frames)
    options = {"negative": "low quality", "steps": 5, "frames": 4, "precision": "float32", **values}
    asked = t2v.T2VOptions((Prompt(prompt),), folder / "clip.mp4", str(folder), **options)
    t2v.run(asked, Console(quiet=True))
    return seen["noise"], torch.from_numpy(seen["frames"])
