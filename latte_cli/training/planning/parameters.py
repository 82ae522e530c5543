"""Counts of a network's parameters, with adapters, and of those that are trained."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from latte_cli.config import Config
from latte_cli.models import Latte, LatteT2V
from latte_cli.models.loading import new_network
from latte_cli.models.lora.layers import add_lora
from latte_cli.models.shapes import shape_from_config
from latte_cli.training.optimizer import freeze_the_rest, takes_muon
from latte_cli.training.targets.teacher import teacher_config


@dataclass(frozen=True)
class Parameters:
    """Counts of a network's parameters.

    Attributes:
        total: with adapters, without tables of positions.
        trained: those that are not frozen.
        moments: numbers that the optimizer keeps of them: two each by AdamW, one by Muon.
    """

    total: int
    trained: int
    moments: int

    @classmethod
    def all_trained(cls, count: int) -> "Parameters":
        """Those of a network that AdamW trains as a whole."""
        return cls(count, count, 2 * count)


def network_on_meta(config: Config, depth: int | None = None) -> Latte | LatteT2V:
    """The network to train, with adapters and frozen weights, on the meta device.

    Args:
        config: of the run.
        depth: blocks in place of the configured ones.

    Raises:
        ConfigError: if a pattern of `train.trainable` or `train.lora.targets` matches nothing, or
            values do not go together.
    """
    shape = shape_from_config(config)
    shape = shape if depth is None else replace(shape, depth=depth)
    with torch.device("meta"):
        model = new_network(shape)
        if config.train.lora is not None:
            add_lora(model, config.train.lora)
    freeze_the_rest(model, config.train.trainable)
    model.checkpointing = config.train.checkpointing == "blocks"
    return model.train()


def count_trained(config: Config) -> Parameters:
    """Count a configuration's parameters.

    Raises:
        ConfigError: as `network_on_meta`.
    """
    return count(network_on_meta(config), uses_muon=config.train.optimizer == "muon")


def count_teacher(config: Config) -> int:
    """Count the parameters of the network of `train.teacher`; 0 if there is none.

    Raises:
        CheckpointError: if it cannot be read, or does not fit.
    """
    theirs = teacher_config(config)
    if theirs is None:
        return 0
    with torch.device("meta"):
        model = new_network(shape_from_config(theirs))
    return count(model, uses_muon=False).total


def count(model: nn.Module, *, uses_muon: bool) -> Parameters:
    """Count a network's parameters.

    Args:
        model: with adapters and frozen weights.
        uses_muon: whether Muon optimizes the matrices of blocks.
    """
    total = trained = moments = 0
    for name, value in model.named_parameters():
        total += value.numel()
        if value.requires_grad:
            trained += value.numel()
            moments += value.numel() * (1 if uses_muon and takes_muon(name, value) else 2)
    return Parameters(total, trained, moments)
