"""Small networks with random weights, their inputs, and comparisons of outputs."""

# Axes: b clips, f frames, i images, c latent channels, h w latent size, l tokens of text.

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from safetensors import safe_open
from torch import Tensor, nn

from latte_cli.models import Latte, LatteShape, LatteT2V, TextShape

VARIANTS = (1, 2, 3, 4, 5, 6)
OF_WHOLE_FRAMES = (5, 6)
"""Those with attention over whole frames, which takes no additional tokens."""

DESIGNS = [
    {"variant": 1},
    {"variant": 2},
    {"variant": 3},
    {"variant": 4},
    {"variant": 1, "tube": 2},
    {"variant": 3, "temporal_position": "rope"},
    {"variant": 4, "temporal_position": "rope", "num_classes": None},
    {"variant": 2, "injection": "tokens"},
    {"variant": 3, "injection": "tokens", "tube": 2},
    {"variant": 5},
    {"variant": 6, "frame_queries": 3},
    {"variant": 5, "temporal_position": "rope", "tube": 2},
    {"variant": 6, "temporal_position": "rope", "num_classes": None},
]
"""Every variant, and every other choice with some of them."""


def of_every_variant(*choices: dict[str, object]) -> list[dict[str, object]]:
    """Designs of every variant with each of some choices that it has."""
    return [
        {"variant": variant, **choice}
        for choice in choices
        for variant in VARIANTS
        if variant not in OF_WHOLE_FRAMES or choice.get("injection") != "tokens"
    ]


def named(design: dict[str, object]) -> str:
    """A design as the name of a test."""
    return "-".join(f"{key}_{value}" for key, value in design.items())


def randomized(module: nn.Module, std: float = 0.2) -> nn.Module:
    """The same module, in evaluation mode, with random parameters."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std)
    return module.eval()


def small_shape(**design: object) -> LatteShape:
    """Four frames of 2 x 2 tokens, two blocks, three labels."""
    sizes = {"latent_size": 4, "num_frames": 4, "patch": 2, "width": 16, "depth": 2, "heads": 4}
    return LatteShape(**{**sizes, "num_classes": 3, **design})


def initial_latte(**design: object) -> Latte:
    """A small network with its own initialization."""
    return Latte(small_shape(**design))


def random_latte(**design: object) -> Latte:
    """A small network with random weights."""
    return randomized(initial_latte(**design))


def inputs(model: Latte, clips: int = 2, images: int = 0) -> tuple[Tensor, dict[str, object]]:
    """Latents that fit the network, (b, f + i, c, h, w), and its other arguments."""
    shape = model.shape
    x = torch.randn(clips, shape.num_frames + images, 4, shape.latent_size, shape.latent_size)
    cond: dict[str, object] = {
        "t": torch.linspace(50, 950, clips).long(),
        "num_images": images,
    }
    if shape.num_classes is not None:
        cond["y"] = torch.arange(clips) % (shape.num_classes + 1)
        if images:
            labels = torch.arange(clips * images).reshape(clips, images)
            cond["y_image"] = labels % (shape.num_classes + 1)
    return x, cond


def small_text_shape(**sizes: object) -> TextShape:
    """As `small_shape`, with texts of width 12."""
    trained = {"latent_size": 4, "num_frames": 4, "patch": 2, "width": 16, "depth": 4, "heads": 4}
    return TextShape(**{**trained, "text_width": 12, **sizes})


def initial_text(**sizes: object) -> LatteT2V:
    """A small text-to-video network with its own initialization."""
    return LatteT2V(small_text_shape(**sizes))


def random_text(**sizes: object) -> LatteT2V:
    """A small text-to-video network with random weights."""
    return randomized(initial_text(**sizes))


def text_inputs(
    model: LatteT2V, clips: int = 2, images: int = 0
) -> tuple[Tensor, dict[str, object]]:
    """Latents, (b, f + i, c, h, w), timesteps, and texts of six tokens, (b, l, 12)."""
    x = torch.randn(clips, model.shape.num_frames + images, 4, 4, 4)
    cond: dict[str, object] = {
        "t": torch.linspace(50, 950, clips).long(),
        "num_images": images,
    }
    cond["text"] = torch.randn(clips, 6, 12)
    if images:
        cond["text_image"] = torch.randn(clips, images, 6, 12)
    return x, cond


def differ(a: Tensor, b: Tensor, over: tuple[int, ...]) -> Tensor:
    """Where two tensors differ by more than rounding, reduced over some axes."""
    return (a - b).abs().amax(over) > 1e-5 * b.abs().max()


def relative_error(a: Tensor, b: Tensor) -> float:
    """The norm of the difference over the norm of the reference."""
    return float((a.detach() - b.detach()).norm() / b.detach().norm())


@contextmanager
def record_blocks(blocks: nn.ModuleList) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Inputs and outputs of blocks, in the order of calls."""
    passed: list[tuple[Tensor, Tensor]] = []
    hooks = [
        block.register_forward_hook(lambda _, given, out: passed.append((given[0], out)))
        for block in blocks
    ]
    yield passed
    for hook in hooks:
        hook.remove()


def published(path: str) -> tuple[LatteShape, int]:
    """The shape that a golden's metadata states, and its number of images."""
    with safe_open(path, "pt") as file:
        words = file.metadata()
    meta = {key: int(value) for key, value in words.items() if value.isdecimal()}
    # Without class dropout the published table has no row for the null label.
    rows = meta["num_classes"] + (float(words["class_dropout_prob"]) > 0)
    shape = LatteShape(
        latent_size=meta["input_size"],
        num_frames=meta["num_frames"],
        patch=meta["patch_size"],
        width=meta["hidden_size"],
        depth=meta["depth"],
        heads=meta["num_heads"],
        joint="only-video",
        num_classes=rows - 1 if meta["extras"] == 2 else None,
    )
    return shape, meta["use_image_num"]
