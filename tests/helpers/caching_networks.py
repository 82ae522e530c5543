"""Tiny networks with random weights, for tests of caching."""

import torch

from latte_cli.config import load_config
from latte_cli.models import LatteT2V, TextShape, build_model

STEPS = 6
DEPTH = 4
NOISE = torch.randn(1, 4, 4, 4, 4, generator=torch.Generator().manual_seed(1))


def randomized(model):
    """Random weights everywhere: freshly initialized blocks are the identity."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    return model.eval()


def class_network(variant=1):
    values = {"data.size": 32, "data.frames": 4, "model.size": "null", "model.variant": variant}
    sizes = {"model.width": 32, "model.depth": DEPTH, "model.heads": 2, "model.num_classes": 3}
    given = {**values, **sizes, "model.condition": "class"}
    return randomized(build_model(load_config(None, [f"{k}={v}" for k, v in given.items()])))


def text_network():
    shape = TextShape(
        width=32, depth=DEPTH, heads=2, patch=2, latent_size=4, num_frames=4, text_width=12
    )
    return randomized(LatteT2V(shape))


def conditioning(model, clips=1):
    """The conditioning of some clips, and the negative one for guidance."""
    if isinstance(model, LatteT2V):
        text = torch.randn(2, 1, 5, 12, generator=torch.Generator().manual_seed(2))
        return [{"text": each.expand(clips, -1, -1)} for each in text]
    return [{"y": torch.full((clips,), label)} for label in (1, 3)]
