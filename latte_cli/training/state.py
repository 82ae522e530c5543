"""The training state: network, EMA, optimizer, guard, and the position in the data."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latte_cli.checkpoints.folder import NARROW_AVERAGE, read_checkpoint_meta
from latte_cli.checkpoints.state import (
    OPTIMIZER,
    empty_moments,
    named_moments,
    read_guard,
    read_progress,
)
from latte_cli.config import Config
from latte_cli.config.locations import weights_path
from latte_cli.config.train_section import TrainConfig
from latte_cli.models import Latte, LatteT2V, build_model
from latte_cli.models.initializing.from_weights import WeightsReport, initialize
from latte_cli.models.kernels.choice import use_kernels
from latte_cli.models.lora.layers import add_lora
from latte_cli.models.reading import read_weights
from latte_cli.runtime.distributed import all_reduce_max, is_distributed, local_shard
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.finite import not_finite
from latte_cli.training.compiling.blocks import compile_blocks, should_compile
from latte_cli.training.guard import SpikeGuard
from latte_cli.training.optimizer import build_optimizer, freeze_the_rest
from latte_cli.training.parallel import load_full_weights, shard
from latte_cli.training.targets.teacher import KeptAnswers, load_teacher


@dataclass
class TrainState:
    """Everything that a step changes. There is no random state: batches follow from their number.

    Attributes:
        model: the network, float32.
        ema: the moving average of its weights; with `train.ema` power, the wide one.
        optimizer: AdamW, alone or beside Muon; each step sets its learning rates.
        guard: skips bad steps.
        teacher: the network of `train.teacher`, which no step changes; None without it.
        answers: of the teacher, that later steps use again.
        narrow: the parameters of the narrow average, with `train.ema` power; else None.
        network: the module to call: the model itself, or DDP around it.
        step: optimizer steps taken, skipped ones included.
        data_offset: batches left out by rollbacks.
        times_rolled_back: to a checkpoint, after too many bad steps.
    """

    model: Latte | LatteT2V
    ema: Latte | LatteT2V
    optimizer: torch.optim.AdamW
    guard: SpikeGuard
    narrow: dict[str, Tensor] | None = None
    teacher: Latte | None = None
    answers: KeptAnswers = field(default_factory=KeptAnswers)
    network: nn.Module = field(init=False)
    step: int = 0
    data_offset: int = 0
    times_rolled_back: int = 0

    def __post_init__(self) -> None:
        self.network = self.model

    def set_position_scale(self, train: TrainConfig) -> None:
        """Let the frames' positions be as large as `train.position_warmup` says at this step."""
        if train.position_warmup:
            scale = min(1.0, self.step / train.position_warmup)
            for network in (self.model, self.ema):
                network.position_scale = scale

    @property
    def batch_number(self) -> int:
        """The number of the next batch."""
        return self.step + self.data_offset


def new_state(config: Config, device: torch.device) -> TrainState:
    """A fresh network, its EMA and its optimizer.

    Raises:
        ConfigError: if blocks are to be compiled and there is no compiler.
        CheckpointError: if `train.teacher` cannot be read, or does not fit.
    """
    train = config.train
    compiled = should_compile(train.compile, device)
    model = _with_adapters(_fresh_network(config), train)
    freeze_the_rest(model, train.trainable)
    model.checkpointing = train.checkpointing == "blocks"
    if train.kernels == "auto":
        use_kernels(model, device, compiled=compiled)
    ema = copy.deepcopy(model).eval()
    ema.requires_grad_(False)
    shard(model, ema, train, device)
    model.to(device).train()
    ema.to(device)
    teacher = load_teacher(config, device)
    if compiled:
        for network in (model, teacher) if teacher else (model,):
            compile_blocks(network)
    if device.type == "cpu" and not is_distributed():
        _let_signals_in(model)
    # Sharded as the EMA is. Neither needs its first values: the first step replaces them.
    narrow = None
    if train.ema == "power":
        narrow = {name: value.detach().clone() for name, value in ema.named_parameters()}
    optimizer, guard = build_optimizer(model, train), SpikeGuard(train, device)
    return TrainState(model, ema, optimizer, guard, narrow, teacher)


def _let_signals_in(model: nn.Module) -> None:
    """Run Python between the operations of a backward pass: signals are handled only there.

    On a CPU a backward pass may take minutes.
    """
    trained = (parameter for parameter in model.parameters() if parameter.requires_grad)
    for parameter in trained:
        parameter.register_post_accumulate_grad_hook(lambda _: None)


def _fresh_network(config: Config) -> Latte | LatteT2V:
    """The network that a run begins with, unless it is initialized from other weights."""
    torch.manual_seed(config.train.seed)
    return build_model(config)


def _with_adapters(model: Latte | LatteT2V, train: TrainConfig) -> Latte | LatteT2V:
    """The network, with adapters if `train.lora` says so."""
    if train.lora is not None:
        add_lora(model, train.lora)
    return model


def initialize_from(state: TrainState, path: str, config: Config) -> WeightsReport:
    """Initialize network and EMA from `train.init`; parameters that it lacks are fresh.

    Raises:
        CheckpointError: if the weights do not fit.
    """
    fresh = _fresh_network(config)
    report = initialize(fresh, read_weights(weights_path(path)), config.vae.downsample)
    fresh = _with_adapters(fresh, config.train)
    for network in (state.model, state.ema):
        load_full_weights(network, fresh.state_dict())
    return report


def reset_to_start(state: TrainState, config: Config) -> None:
    """Return a state to where its run began."""
    if config.train.init is not None:
        initialize_from(state, config.train.init, config)
    else:
        fresh = _fresh_network(config).state_dict()
        for network in (state.model, state.ema):
            load_full_weights(network, fresh)
    state.optimizer.state.clear()
    state.guard.reset()
    state.step = 0


def checkpoint_parts(state: TrainState) -> dict[str, Mapping[str, Any]]:
    """The parts of a checkpoint, as `save_checkpoint` takes them; tensors are not copied."""
    progress = {
        "data_offset": state.data_offset,
        "times_gone_back": state.times_rolled_back,
        "bad_steps": state.guard.skipped,
        "bad_steps_in_a_row": state.guard.in_a_row,
    }
    return {
        **average_parts(state),
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "guard": state.guard.state_dict(),
        "progress": progress,
    }


def average_parts(state: TrainState) -> dict[str, Mapping[str, Any]]:
    """The averaged weights among the parts of a checkpoint."""
    narrow = {} if state.narrow is None else {"narrow": state.narrow}
    return {"ema": state.ema.state_dict(), **narrow}


def load_state(state: TrainState, folder: Path) -> None:
    """Load a checkpoint; learning rate and weight decay stay those of the configuration.

    Raises:
        CheckpointError: if it is damaged, does not fit, or is not finite.
    """
    from latte_cli.checkpoints.reading import read_into  # takes a second to import

    numbered = [p for group in state.optimizer.param_groups for p in group["params"]]
    moments = empty_moments(folder, numbered)
    read_into(
        {
            "model.safetensors": state.model.state_dict(),
            "ema.safetensors": state.ema.state_dict(),
            **({} if state.narrow is None else {NARROW_AVERAGE: state.narrow}),
            OPTIMIZER: named_moments(moments),
        },
        folder,
    )
    _check_finite(state, moments, folder)
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    guard: Mapping[str, Tensor] | None = read_guard(folder)
    if guard is None:  # a checkpoint of an earlier version
        state.guard.reset()
    else:
        state.guard.load_state_dict(guard)
    progress = read_progress(folder)
    state.data_offset = progress.get("data_offset", 0)
    state.times_rolled_back = progress.get("times_gone_back", 0)
    state.step = read_checkpoint_meta(folder).step


def _check_finite(
    state: TrainState, moments: Mapping[int, Mapping[str, Tensor]], folder: Path
) -> None:
    """Raise CheckpointError on every process if any holds loaded numbers that are not finite."""
    loaded = {
        **{f"model.safetensors: {name}": value for name, value in state.model.named_parameters()},
        **{f"ema.safetensors: {name}": value for name, value in state.ema.named_parameters()},
        **{f"{NARROW_AVERAGE}: {name}": value for name, value in (state.narrow or {}).items()},
        **{f"{OPTIMIZER}: {name}": value for name, value in named_moments(moments).items()},
    }
    broken = not_finite({name: local_shard(value) for name, value in loaded.items()})
    if not all_reduce_max(len(broken)):
        return
    raise CheckpointError(
        f"{folder}: numbers that are not finite{f', in {broken[0]}' if broken else ''}",
        hint=f"delete {folder}: the run resumes from the checkpoint before it",
    )
