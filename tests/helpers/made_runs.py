"""Folders as `latte train` and `latte sample` leave them, made without a network."""

import json
from pathlib import Path

import numpy as np

from helpers.small import small_config
from latte_cli.runtime.files import json_lines
from latte_cli.video_io import write_video


def make_run(folder: Path, steps: int = 40, previews: int = 4, **values: object) -> Path:
    """A run with a logged line a step, previews, a skipped step, a return and a restart."""
    folder.mkdir(parents=True)
    config = small_config(train__steps=steps, **values)
    (folder / "config.yaml").write_text(config.to_yaml())
    rows = [
        {
            "step": step,
            "loss": 0.1 + 1 / step,
            **{f"loss_q{number}": number / step for number in range(1, 5)},
            "grad_norm": 0.5 + step % 3,
            "lr": 1e-4,
            "clips_per_s": 8.0,
            "memory_gb": 1.5,
        }
        for step in range(1, steps + 1)
    ]
    (folder / "metrics.jsonl").write_text(json_lines(rows))
    (folder / "bad_steps.jsonl").write_text(
        json_lines(
            [
                {"step": steps // 2, "why": "the loss is nan"},
                {"step": steps // 2 + 1, "back_to": steps // 4, "batches_left_out": 3},
            ]
        )
    )
    starts = [{"step": step, "time": "2026-01-02 03:04", "devices": 2} for step in (0, steps // 4)]
    (folder / "starts.jsonl").write_text(json_lines(starts))
    for number in range(1, previews + 1):
        step = steps * number // previews
        write_video(folder / "previews" / f"step-{step:08d}.mp4", moving_square(number), 8)
    return folder


def make_samples(folder: Path, count: int, prompt: str = "") -> Path:
    """Clips at seed 3 with the labels 0, 1, 2, 0, …, and their lists."""
    rows = []
    for index in range(count):
        name = f"{index:05d}-seed3-label{index % 3}"
        write_video(folder / f"{name}.mp4", moving_square(index), 8)
        row = {"file": f"{name}.mp4", "name": name, "index": index, "seed": 3, "label": index % 3}
        rows.append({**row, "prompt": prompt} if prompt else row)
    (folder / "samples.jsonl").write_text(json_lines(rows))
    (folder / "settings.json").write_text(json.dumps({"checkpoint": "a.pt", "steps": 5}))
    return folder


def moving_square(color: int, size: int = 32, frames: int = 16) -> np.ndarray:
    """A clip of 2 seconds at 8 fps, (frames, size, size, 3)."""
    clip = np.full((frames, size, size, 3), 20 + 30 * (color % 7), np.uint8)
    for number, frame in enumerate(clip):
        frame[8:16, number % (size - 8) :][:, :8] = np.roll([250, 120, 30], color)
    return clip
