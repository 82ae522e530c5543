"""Real video through a real autoencoder whose latents are not 4 wide."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REAL_CLIPS, succeed
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from latte_cli.data.latents.reading import LatentSet

CLIP = "h265_video.mp4"  # 10 frames of 128 x 128


def pooled(block: Any) -> None:
    """Give a block the path by which the newest tiny autoencoders see the whole picture.

    As in madebyollin/taesd, which diffusers' class does not follow yet.
    """
    block.pool = nn.Sequential(
        nn.Conv2d(64, 256, 1, bias=False),
        nn.GroupNorm(4, 256),
        nn.ReLU(),
        nn.Conv2d(256, 64, 1, bias=False),
    )

    def add_pool(module: Any, args: tuple[Tensor]) -> tuple[Tensor]:
        return (args[0] + module.pool(args[0]),)

    block.register_forward_pre_hook(add_pool)


@pytest.fixture
def taef2(real_clips) -> AutoencoderTiny:
    """The tiny autoencoder of FLUX.2's latents: 32 channels, 8 times down."""
    weights = REAL_CLIPS.parent / "weights"
    if not weights.is_dir():
        pytest.skip("no real weights on this machine")
    vae = AutoencoderTiny(latent_channels=32)
    for half, blocks, shift in (("encoder", (11, 12, 13), 0), ("decoder", (2, 3, 4), 1)):
        layers = getattr(vae, half).layers
        for number in blocks:
            pooled(layers[number])
        state = torch.load(weights / f"taef2_{half}.pth", weights_only=True)
        names = (name.partition(".") for name in state)
        renamed = {f"{int(n) - shift}.{rest}": state[f"{n}.{rest}"] for n, _, rest in names}
        layers.load_state_dict(renamed)  # published decoders count the clamp, which has no weights
    return vae


def test_real_video_is_reconstructed(taef2, real_clips, tmp_path, monkeypatch):
    """26 dB and more is what this autoencoder was seen to reach on real frames of 256 x 256."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / CLIP).symlink_to(real_clips / "videos" / CLIP)
    monkeypatch.setattr("latte_cli.vae.codec.load_autoencoder", lambda path: taef2)
    succeed("prepare", "folder", "--source=in", "--out=data")
    Path("taef2").mkdir()
    words = ["--data=data", "--vae=taef2", "--size=128", "--no-flip", "--out=l", "--batch=4"]
    given = ["-o", "vae.latent_channels=32", "--preview=1"]
    shown = json.loads(succeed("--json", "encode-latents", *words, *given).stdout)
    assert (shown["videos"], shown["frames"]) == (1, 10)
    assert 26 < shown["preview_psnr_db"] < 40
    latents = LatentSet.open(Path("l"))
    assert latents.moments(latents.videos[0], 0, 1).mean.shape == (1, 32, 16, 16)
