"""Files of low-rank adapters: those of `peft`, of diffusers, and of kohya's scripts."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from latte_cli.models.lora.layers import DOWN, UP
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.files import atomic_folder, sha256_of, write_tensors, write_text

PEFT_WEIGHTS, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
DIFFUSERS_WEIGHTS = "pytorch_lora_weights.safetensors"
BASE = "base_sha256"
"""Key of the metadata that names the network an adapter is for, by checksum."""

_PREFIXES = ("base_model.model.", "transformer.", "unet.", "diffusion_model.")
_PART = re.compile(rf"(.+)\.(?:({DOWN}|{UP})(?:\.default)?\.weight|lora_(down|up)\.weight|(alpha))")
_KOHYA = re.compile(r"lora_(?:unet|transformer)_(.+)")
_HINT = "an adapter is a folder of peft's, or a .safetensors of diffusers' or kohya's layout"


@dataclass(frozen=True)
class LowRank:
    """The change of a linear layer's weights: scale * up @ down, (out, r) and (r, in)."""

    down: Tensor
    up: Tensor
    scale: float


@dataclass(frozen=True)
class Adapter:
    """Changes of some linear layers of a network.

    Attributes:
        path: where they are from.
        layers: the change of each, by the layer's name; kohya's names have `_` in place of dots.
        base: checksum of the network that they were trained on; empty if unknown.
    """

    path: Path
    layers: Mapping[str, LowRank]
    base: str = ""


def read_adapter(path: Path) -> Adapter:
    """Read an adapter: a folder, or a file of safetensors.

    Raises:
        CheckpointError: if there is none, or it is damaged.
    """
    file = _file_of(path)
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: no adapter can be read here", hint=_HINT) from error
    is_of_peft = file.name == PEFT_WEIGHTS
    scale = _scale_of_folder(file.parent / PEFT_CONFIG) if is_of_peft else 1.0
    layers = _layers(weights, scale, file)
    if not layers:
        raise CheckpointError(f"{path}: holds no adapter", hint=_HINT)
    return Adapter(path, layers, metadata.get(BASE, ""))


def checksum_of_adapter(path: Path) -> str:
    """SHA-256 of an adapter's matrices, in hex.

    Raises:
        CheckpointError: if there is none.
    """
    if not (file := _file_of(path)).is_file():
        raise CheckpointError(f"{path}: no adapter can be read here", hint=_HINT)
    return sha256_of(file)


def _file_of(path: Path) -> Path:
    """The file of an adapter's matrices."""
    if not path.is_dir():
        return path
    there = (path / name for name in (PEFT_WEIGHTS, DIFFUSERS_WEIGHTS))
    return next((file for file in there if file.is_file()), path / PEFT_WEIGHTS)


def _scale_of_folder(config: Path) -> float:
    """Alpha over rank, as `adapter_config.json` says; 1 without it."""
    if not config.is_file():
        return 1.0
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
        return float(values["lora_alpha"]) / float(values["r"])
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise CheckpointError(f"{config}: damaged", hint="copy the adapter again") from error


def _layers(weights: Mapping[str, Tensor], scale: float, file: Path) -> dict[str, LowRank]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        match = _PART.fullmatch(name)
        if match is None:
            raise CheckpointError(f"{file}: {name} is no part of an adapter", hint=_HINT)
        layer, part = match[1], match[2] or {"down": DOWN, "up": UP}.get(match[3], "alpha")
        for prefix in _PREFIXES:
            layer = layer.removeprefix(prefix)
        parts.setdefault(layer, {})[part] = value
    layers = {}
    for layer, found in parts.items():
        if not found.keys() >= {DOWN, UP}:
            raise CheckpointError(
                f"{file}: {layer} lacks half of its adapter", hint="copy it again"
            )
        own = float(found["alpha"]) / len(found[DOWN]) if "alpha" in found else scale
        layers[layer] = LowRank(found[DOWN], found[UP], own)
    return layers


@torch.no_grad()
def merge_adapter(model: nn.Module, adapter: Adapter, scale: float = 1.0) -> None:
    """Add an adapter to the weights of a network.

    Args:
        model: the network, changed in place; at scale 0 it stays as it is, bit for bit.
        adapter: for this network.
        scale: how strongly it is felt.

    Raises:
        CheckpointError: if it is for another network.
    """
    if adapter.base and adapter.base != checksum_of_network(model):
        raise CheckpointError(
            f"{adapter.path}: this adapter was trained on another network",
            hint="use it with the network that it was trained on",
        )
    linear = {name: each for name, each in model.named_modules() if isinstance(each, nn.Linear)}
    by_kohya = {name.replace(".", "_"): name for name in linear}
    for name, change in adapter.layers.items():
        match = _KOHYA.fullmatch(name)
        own = by_kohya.get(match[1], name) if match else name
        layer = linear.get(own)
        if layer is None:
            raise CheckpointError(
                f"{adapter.path}: changes {name}, which this network does not have",
                hint="use it with the network that it was trained on",
            )
        delta = change.up.float() @ change.down.float()
        if delta.shape != layer.weight.shape:
            raise CheckpointError(
                f"{adapter.path}: {name} is {tuple(delta.shape)}, the network's is "
                f"{tuple(layer.weight.shape)}",
                hint="use it with the network that it was trained on",
            )
        if scale:
            layer.weight += (scale * change.scale * delta).to(layer.weight)


def checksum_of_network(model: nn.Module) -> str:
    """SHA-256 of a network's weights in float16, in which many are published; 16 hex digits."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def write_adapter(
    folder: Path, layers: Mapping[str, Tensor], rank: int, alpha: float, base: str
) -> None:
    """Write an adapter in the layouts of peft and of diffusers.

    Args:
        folder: appears whole or not at all.
        layers: matrices by `LAYER.lora_A` and `LAYER.lora_B`.
        rank: of the adapter.
        alpha: its scale is alpha over rank.
        base: checksum of the network that it was trained on.
    """
    targets = sorted({name.rpartition(".")[0] for name in layers})
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": targets,
    }
    plain = {f"base_model.model.{name}.weight": value for name, value in layers.items()}
    # Its loader of single networks reads no alpha: the scale goes into the matrices.
    theirs = {
        f"transformer.{name}.weight": value * (alpha / rank) if name.endswith(UP) else value
        for name, value in layers.items()
    }
    with atomic_folder(folder) as part:
        write_text(part / PEFT_CONFIG, json.dumps(config, indent=2) + "\n")
        write_tensors(part / PEFT_WEIGHTS, plain, {"format": "pt", BASE: base})
        write_tensors(part / DIFFUSERS_WEIGHTS, theirs, {"format": "pt", BASE: base})
