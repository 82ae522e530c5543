"""Low-rank adapters inside a network that is trained, and weights without them."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn

from latte_cli.config.train_section import LoraConfig
from latte_cli.runtime.errors import ConfigError

DOWN, UP = "lora_A", "lora_B"
"""Names of an adapter's two matrices, (r, in) and (out, r), as `peft` has them."""

_IN_NETWORK = re.compile(rf"(.+)\.(?:base_layer\.(weight|bias)|({DOWN}|{UP})\.default\.weight)")


def add_lora(model: nn.Module, lora: LoraConfig) -> list[str]:
    """Give linear layers of a network adapters that begin as zero; nothing else is trained then.

    Args:
        model: the network, changed in place.
        lora: rank, scale and which layers.

    Returns:
        Names of the layers.

    Raises:
        ConfigError: if no linear layer matches, or `peft` is not installed.
    """
    if find_spec("peft") is None:
        raise ConfigError("train.lora needs the package peft", hint="pip install 'latte-cli[lora]'")
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    targets = target_layers(model, lora.targets)
    settings: dict[str, Any] = {
        "r": lora.rank,
        "lora_alpha": lora.scale_alpha,
        "lora_dropout": lora.dropout,
        "target_modules": targets,
    }
    inject_adapter_in_model(PeftConfig(**settings), model)
    return targets


def target_layers(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Names of the linear layers that match any of some patterns of shells.

    Raises:
        ConfigError: if a pattern matches none.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    chosen: set[str] = set()
    for pattern in patterns:
        matching = fnmatch.filter(linear, pattern)
        if not matching:
            raise ConfigError(
                f"train.lora.targets: no linear layer matches `{pattern}`",
                hint=f"names are as {linear[len(linear) // 2]}; * stands for any part of one",
            )
        chosen.update(matching)
    return [name for name in linear if name in chosen]


def without_adapters(weights: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Weights of a network with adapters, as those of the plain network that does the same.

    Args:
        weights: by their names in the network with adapters.
        scale: of the adapters: alpha over rank.
    """
    plain: dict[str, Tensor] = {}
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        match = _IN_NETWORK.fullmatch(name)
        if match is None:
            plain[name] = value
        elif match[2]:
            plain[f"{match[1]}.{match[2]}"] = value
        else:
            pairs.setdefault(match[1], {})[match[3]] = value
    for name, pair in pairs.items():
        weight = plain[f"{name}.weight"]
        change = scale * (pair[UP].float() @ pair[DOWN].float())
        plain[f"{name}.weight"] = (weight.float() + change).to(weight.dtype)
    return plain


def has_adapters(weights: Mapping[str, Tensor]) -> bool:
    """Whether weights are of a network with adapters."""
    return any(name.endswith(f".{DOWN}.default.weight") for name in weights)


def adapters_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The adapters alone: their matrices by `LAYER.lora_A` and `LAYER.lora_B`."""
    return {
        f"{match[1]}.{match[3]}": value
        for name, value in weights.items()
        if (match := _IN_NETWORK.fullmatch(name)) and match[3]
    }
