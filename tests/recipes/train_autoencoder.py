"""Train the embedded autoencoder: `latte_cli/assets/autoencoder`.

    python tests/recipes/train_autoencoder.py --out latte_cli/assets/autoencoder

Diffusers' `AutoencoderKL`, 8 times down, 4 latent channels, small enough for a laptop. It learns
from procedural pictures alone: frames of `shapes`, and "dead leaves" (overlapping discs with a
power law of sizes), whose statistics of edges and occlusion are those of natural pictures. Prints
the peak signal-to-noise ratio on held-out pictures as it goes; the guide
`inside` quotes what it reached.
"""

# Axes: b pictures, c channels, h height, w width.

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from latte_cli.sources import shapes

SIZE = 64
KL_WEIGHT = 1e-4
WARMUP_STEPS = 100


def build_autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 32, 48, 56),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=SIZE,
    )


def shape_frames(clips: int, seed: int) -> Tensor:
    """Eight frames of each of so many clips: (b, 3, h, w) uint8."""
    drawn = [shapes.render_clip(i, seed=seed, size=SIZE)[::4] for i in range(clips)]
    return torch.from_numpy(np.concatenate(drawn)).permute(0, 3, 1, 2).contiguous()


def dead_leaves(count: int, generator: torch.Generator, leaves: int = 48) -> Tensor:
    """(b, 3, h, w) uint8 pictures of overlapping, softly shaded discs; later ones lie on top."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    picture = uniform(count, 3, 1, 1).expand(count, 3, SIZE, SIZE)
    saturation = uniform(count, 1, 1, 1)
    for _ in range(leaves):
        radius = 3 / (uniform(count, 1, 1, 1) + 0.08)  # p(r) ~ r^-2 between 3 and 37 px
        dx, dy = x - SIZE * uniform(count, 1, 1, 1), y - SIZE * uniform(count, 1, 1, 1)
        mask = (0.5 + radius - torch.hypot(dx, dy)).clamp(0, 1)
        grey = uniform(count, 1, 1, 1)
        color = grey + saturation * (uniform(count, 3, 1, 1) - grey)
        tilt = (uniform(count, 1, 1, 1) - 0.5) * dx + (uniform(count, 1, 1, 1) - 0.5) * dy
        picture = torch.lerp(picture, color + 0.4 * tilt / SIZE, mask)
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)


def to_signal(pictures: Tensor) -> Tensor:
    return (pictures.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def psnr(vae: AutoencoderKL, pictures: Tensor) -> float:
    """Mean over pictures of the reconstruction's PSNR in dB, of the posterior's mean."""
    errors = []
    for part in pictures.split(64):
        x = to_signal(part)
        decoded = vae.decode(vae.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
        errors.append(((decoded - x) / 2).square().mean(dim=(1, 2, 3)))
    return float((-10 * torch.cat(errors).log10()).mean())


def train(out: Path, steps: int, batch: int, lr: float, clips: int, seed: int) -> None:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    vae = build_autoencoder().to(memory_format=torch.channels_last)
    parameters = sum(p.numel() for p in vae.parameters())
    print(f"{parameters} parameters, {2 * parameters / 1e6:.2f} MB in float16", flush=True)
    pool = shape_frames(clips, seed=seed + 1)
    held_shapes, held_leaves = shape_frames(64, seed=seed + 2), dead_leaves(256, generator)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0)
    started, mse_sum, last = time.monotonic(), 0.0, 0
    for step in range(1, steps + 1):
        warm = min(1.0, step / WARMUP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = lr * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        chosen = torch.randint(len(pool), (batch // 2,), generator=generator)
        x = to_signal(torch.cat([pool[chosen], dead_leaves(batch - batch // 2, generator)]))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            decoded = vae.decode(posterior.sample(generator)).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        mse = F.mse_loss(decoded.float(), x)
        loss = mse + 0.1 * F.l1_loss(decoded.float(), x) + KL_WEIGHT * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        mse_sum += mse.item()
        if step % 250 == 0 or step == steps:
            print(
                f"step {step}  mse {mse_sum / (step - last):.5f}  kl {kl.item():.2f}  "
                f"held-out shapes {psnr(vae, held_shapes):.2f} dB, leaves "
                f"{psnr(vae, held_leaves):.2f} dB  {time.monotonic() - started:.0f} s",
                flush=True,
            )
            mse_sum, last = 0.0, step
            save(vae, held_shapes, out)


@torch.no_grad()
def save(vae: AutoencoderKL, pictures: Tensor, out: Path) -> None:
    """Write float16 weights; the scaling factor makes the latents of `shapes` unit variance."""
    latents = vae.encode(to_signal(pictures)).latent_dist.sample()
    vae.register_to_config(scaling_factor=round(1 / float(latents.std()), 5))
    half = build_autoencoder().half()
    half.load_state_dict(vae.state_dict())
    half.register_to_config(scaling_factor=vae.config.scaling_factor)
    half.save_pretrained(out, safe_serialization=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--clips", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    train(**vars(parser.parse_args()))
