"""Sampling from Latte-XL/2, and encoding by an autoencoder of Stable Diffusion's size."""

import time
from collections.abc import Iterator

import torch

from gpu_parts.context import Context, Row, reason
from latte_cli.diffusion import Diffusion, build_sampler, denoise, guided
from latte_cli.models import build_model
from latte_cli.models.kernels.choice import set_kernels, use_kernels
from latte_cli.runtime.devices import autocast, synchronize

# Stable Diffusion's autoencoder: 83.65 M parameters.
SD_SIZE = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
}
GUIDANCE = 4.0


def sampling(context: Context) -> Iterator[Row]:
    """Clips a second with 50 guided DDIM steps in bf16; fewer steps are taken, and said."""
    config = context.config("XL")
    with context.device:
        model = build_model(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    clips = 1 if context.tiny else 8
    steps = 2 if context.tiny else 10
    shape = (clips, config.data.frames, 4, config.latent_size, config.latent_size)
    noise, labels = torch.randn(shape, device=context.device), torch.arange(clips)
    labels = labels.to(context.device)
    null = torch.full_like(labels, config.model.num_classes)
    denoiser = guided(model, {"y": labels}, {"y": null}, GUIDANCE)
    sampler = build_sampler("ddim", Diffusion(), steps)
    generators = [torch.Generator().manual_seed(index) for index in range(clips)]
    for kernels in (False, True) if context.on_gpu else (False,):
        set_kernels(model, attention=False, norms=False)
        if kernels:
            use_kernels(model, context.device)
        times = []
        for _ in range(3):
            synchronize(context.device)
            started = time.perf_counter()
            with autocast(context.device, torch.bfloat16):
                denoise(denoiser, noise, sampler, generators)
            synchronize(context.device)
            times.append((time.perf_counter() - started) / steps)
        step = min(times)
        yield {
            "network": "XL/2, bf16, eager" + (", kernels" if model.blocks[1].kernels else ""),
            "clips": clips,
            "steps timed": steps,
            "s per step": step,
            "clips/s at 50 steps": clips / (50 * step),
            "clips/s at 250 steps": clips / (250 * step),
        }


def encoding(context: Context) -> Iterator[Row]:
    """Frames of 256 x 256 pixels a second into latents, as `encode-latents` encodes them."""
    from diffusers import AutoencoderKL

    from latte_cli.vae import LatentCodec

    size = {**SD_SIZE, "block_out_channels": [32, 32, 32, 32]} if context.tiny else SD_SIZE
    codec = LatentCodec(AutoencoderKL(**size, latent_channels=4), context.device)
    side, frames = (32, 4) if context.tiny else (256, 32)
    pixels = torch.rand(1, frames, 3, side, side) * 2 - 1
    for name, dtype, last in (
        ("float32", torch.float32, False),
        ("bf16", torch.bfloat16, False),
        ("bf16, channels last", torch.bfloat16, True),
    ):
        if context.left < 2:
            yield {"products": name, "note": "no time left"}
            continue
        if last:
            codec.vae.to(memory_format=torch.channels_last)
        try:
            with autocast(context.device, dtype):
                took = context.time_of(lambda: codec.encode(pixels))
        except Exception as failed:
            yield {"products": name, "note": reason(failed)}
            continue
        yield {"products": name, "frames": frames, "frames/s": frames / took}
