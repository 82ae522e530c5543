"""Training on a GPU, by batch, with and without activation checkpointing and compilation.

Run by `training.py gpu`.
"""

import argparse
import time
from pathlib import Path

import torch

from latte_cli.config import Config, load_config
from latte_cli.diffusion import Diffusion
from latte_cli.models.designs import count_training_flops
from latte_cli.runtime.devices import (
    device_name,
    matrix_peak,
    peak_memory,
    pick_device,
    reset_peak_memory,
    synchronize,
)
from latte_cli.training.planning.measuring import synthetic_batch
from latte_cli.training.state import new_state
from latte_cli.training.step import train_step

WAYS = [(again, compiled) for again in ("none", "blocks") for compiled in ("none", "blocks")]
BATCHES = [1, 2, 4, 8, 16, 24, 32, 40, 48, 64, 96, 128]
WARM = 3


def table_of_batches(options: argparse.Namespace, folder: Path) -> None:
    """Each way, up to the largest batch that fits; without a GPU, words."""
    device, size = pick_device(), options.gpu_size
    if device.type != "cuda":
        print(
            f"gpu: none here. It would take {options.steps} steps of {size}/2 at 16 x 256 x 256 in "
            f"bf16, at each batch of {', '.join(map(str, BATCHES))} that fits, with and without "
            "activation checkpointing and compilation, against the rate of a bf16 product"
        )
        return
    peak = matrix_peak(device, torch.bfloat16)
    print(f"gpu: {device_name(device)}, dense bf16 product {peak / 1e12:.0f} TFLOP/s")
    print("checkpointing  compile  batch  clips/s  share of peak  memory")
    for again, compiled in WAYS:
        words = [f"train.checkpointing={again}", f"train.compile={compiled}"]
        config = load_config(None, [f"model.size={size}", "data.num_images=0", *words])
        for clips in BATCHES:
            try:
                rate, held = measured(config, device, clips, options.steps)
            except torch.OutOfMemoryError:
                break
            share = rate * count_training_flops(config) / peak
            print(f"{again:13}  {compiled:7}  {clips:5}  {rate:7.2f}  {share:13.1%}  {held:.1f} GB")


def measured(config: Config, device: torch.device, clips: int, steps: int) -> tuple[float, float]:
    """Clips a second and GB, of a network that lives no longer than this."""
    torch.cuda.empty_cache()
    state, batch = new_state(config, device), synthetic_batch(config, clips).to(device)
    for number in range(WARM + steps):
        if number == WARM:
            reset_peak_memory(device)
            synchronize(device)
            started = time.perf_counter()
        train_step(state, [batch], Diffusion(), config.train, torch.bfloat16)
    synchronize(device)
    return clips * steps / (time.perf_counter() - started), peak_memory(device) / 1e9
