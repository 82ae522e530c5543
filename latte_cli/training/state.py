"""What training moves: network, average, optimizer, and where in the data it stands."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import torch
from torch import Tensor, nn

from latte_cli.checkpoints.folder import read_checkpoint_meta
from latte_cli.checkpoints.state import (
    OPTIMIZER,
    by_name,
    moments_to_fill,
    read_guard,
    read_progress,
)
from latte_cli.config import Config
from latte_cli.models import Latte, build_model
from latte_cli.models.weights.importing import WeightsReport, initialize
from latte_cli.models.weights.reading import read_weights
from latte_cli.runtime.errors import ConfigError
from latte_cli.training.ema import make_ema
from latte_cli.training.guard import SpikeGuard
from latte_cli.training.parallel import put_weights, shard


@dataclass
class TrainState:
    """Everything that a step changes; no random state, since batches follow from their number.

    Attributes:
        model: the network, float32.
        ema: its average.
        optimizer: with a learning rate that the step sets.
        guard: skips bad steps.
        network: what is called in the model's place: itself, or its part in a distributed one.
        step: optimizer steps taken, those that were skipped included.
        data_offset: batches that were left out because they went bad.
        times_gone_back: to a checkpoint, for the same reason.
    """

    model: Latte
    ema: Latte
    optimizer: torch.optim.AdamW
    guard: SpikeGuard
    network: nn.Module = field(init=False)
    step: int = 0
    data_offset: int = 0
    times_gone_back: int = 0

    def __post_init__(self) -> None:
        self.network = self.model

    @property
    def data_step(self) -> int:
        """The number of the next batch."""
        return self.step + self.data_offset


def new_state(config: Config, device: torch.device) -> TrainState:
    """A fresh network, its average and its optimizer.

    Raises:
        ConfigError: on a text model, for which there are no encoded captions to learn from, or if
            blocks are to be compiled and there is no compiler.
    """
    train = config.train
    compiled = compiles(train.compile, device)
    model = _fresh_network(config)
    model.checkpointing = train.checkpointing == "blocks"
    ema = make_ema(model)
    shard(model, ema, train, device)
    model.to(device).train()
    ema.to(device)
    if compiled:
        for block in model.blocks:
            block.compile()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=train.lr, weight_decay=train.weight_decay, fused=True
    )
    return TrainState(model, ema, optimizer, SpikeGuard(train, device))


def _fresh_network(config: Config) -> Latte:
    """The network that a run begins with, if it does not begin from other weights."""
    torch.manual_seed(config.train.seed)
    model = build_model(config)
    if not isinstance(model, Latte):
        raise ConfigError(
            "training is on labels, or on none: latents hold no encoded captions",
            hint="set model.condition to class or none",
        )
    return model


def compiles(how: str, device: torch.device) -> bool:
    """Whether blocks are compiled; by `auto` where that can be done and is worth its minutes.

    That is on a GPU, for which Triton writes kernels and has a C compiler build what starts them.
    For the CPU PyTorch writes C++.

    Args:
        how: `train.compile`.
        device: of the network.

    Raises:
        ConfigError: if it is `blocks`, and there is no compiler.
    """
    if how == "none" or (how == "auto" and device.type != "cuda"):
        return False
    if device.type == "cuda":
        language, variable, usual = "C", "CC", ["gcc", "clang"]
    else:
        language, variable = "C++", "CXX"
        usual = ["clang++" if sys.platform == "darwin" else "g++"]
    names = [os.environ[variable]] if variable in os.environ else usual
    there = any(which(name) for name in names)
    if how == "auto":
        return there and find_spec("triton") is not None
    if not there:
        raise ConfigError(
            f"train.compile is blocks, which needs a {language} compiler: there is no "
            f"{' or '.join(names)}",
            hint=f"install one, name one by {variable}, or give -o train.compile=none",
        )
    return True


def initialize_from(state: TrainState, path: str, config: Config) -> WeightsReport:
    """Put any weights that have counterparts into a state's network and average, else fresh ones.

    Raises:
        CheckpointError: if they do not fit.
    """
    fresh = _fresh_network(config)
    report = initialize(fresh, read_weights(path), config.vae.downsample)
    for network in (state.model, state.ema):
        put_weights(network, fresh.state_dict())
    return report


def restart_from(state: TrainState, config: Config) -> None:
    """Put a state back to where its run began."""
    if config.train.init is not None:
        initialize_from(state, config.train.init, config)
    else:
        fresh = _fresh_network(config).state_dict()
        for network in (state.model, state.ema):
            put_weights(network, fresh)
    state.optimizer.state.clear()
    state.guard.reset()
    state.step = 0


def contents(state: TrainState) -> dict[str, Mapping[str, Any]]:
    """The parts of a checkpoint, as `save_checkpoint` takes them; tensors are the state's own."""
    progress = {
        "data_offset": state.data_offset,
        "times_gone_back": state.times_gone_back,
        "bad_steps": state.guard.skipped,
        "bad_steps_in_a_row": state.guard.in_a_row,
    }
    return {
        "ema": state.ema.state_dict(),
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "guard": state.guard.state_dict(),
        "progress": progress,
    }


def load_state(state: TrainState, folder: Path) -> None:
    """Put a checkpoint into a state; learning rate and weight decay are the state's own."""
    from latte_cli.checkpoints.reading import read_into  # a second, which a fresh run does not need

    moments = moments_to_fill(folder, list(state.model.parameters()))
    read_into(
        {
            "model.safetensors": state.model.state_dict(),
            "ema.safetensors": state.ema.state_dict(),
            OPTIMIZER: by_name(moments),
        },
        folder,
    )
    own = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": own})
    guard: Mapping[str, Tensor] | None = read_guard(folder)
    if guard is None:  # a checkpoint of an earlier version
        state.guard.reset()
    else:
        state.guard.load_state_dict(guard)
    progress = read_progress(folder)
    state.data_offset = progress.get("data_offset", 0)
    state.times_gone_back = progress.get("times_gone_back", 0)
    state.step = read_checkpoint_meta(folder).step
