"""What it costs to encode frames, from an autoencoder's configuration."""

import json
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from latte_cli.config.locations import EMBEDDED, asset
from latte_cli.vae.autoencoders import CLASSES

_STABLE_DIFFUSION = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 4,
    "layers_per_block": 2,
}


def flops_per_frame(path: str, size: int) -> int:
    """FLOPs of encoding a frame; a multiply-add counts as two.

    Args:
        path: `embedded`, a folder, or a hub id, which is taken for Stable Diffusion's autoencoder.
        size: of the square frame, pixels.
    """
    import diffusers

    folder = asset("autoencoder") if path == EMBEDDED else Path(path)
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # reported when frames are encoded
        values = _STABLE_DIFFUSION
    name = values.get("_class_name", CLASSES[0])
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        vae = getattr(diffusers, name if name in CLASSES else CLASSES[0]).from_config(values)
        with FlopCounterMode(display=False) as counter:
            vae.encode(torch.zeros(1, 3, size, size))
    return int(counter.get_total_flops())
