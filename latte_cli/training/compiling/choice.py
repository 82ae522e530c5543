"""`train.compile` auto on a CPU: measured once, then the same for the whole run."""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from latte_cli.checkpoints.folder import read_checkpoint_meta
from latte_cli.config import Config
from latte_cli.data.batch import Batch
from latte_cli.data.clips import ClipSampler
from latte_cli.diffusion import Diffusion
from latte_cli.models import Latte, LatteT2V
from latte_cli.runtime.console import Console, format_duration
from latte_cli.runtime.devices import resolve_precision
from latte_cli.runtime.distributed import is_distributed
from latte_cli.runtime.files import cache_folder, write_text
from latte_cli.runtime.records import record_from
from latte_cli.training.batches import micro_batches
from latte_cli.training.compiling.blocks import (
    can_compile_on_cpu,
    compile_blocks,
    is_compiled,
    uncompile_blocks,
)
from latte_cli.training.planning.measurement import measurement_path
from latte_cli.training.state import TrainState
from latte_cli.training.step import accumulate_gradients

MIN_STEPS = 100
"""A run of fewer steps is not compiled, nor measured: that takes several steps."""

COMPILE_S = 60.0
"""What compiling takes: S/2's two kinds of blocks took 48 s on two cores."""

MAX_SHARE = 0.1
"""Of a run's time that compiling may take, since what it gains is not known before."""

MIN_GAIN = 1.05
"""Times as fast that compiled blocks must be: below, it may be chance."""

_ROUNDS, _ROUNDS_S = 3, 20.0
_COMPILING = "compiling the blocks, which takes a minute or so; it is kept for later runs"


@dataclass(frozen=True)
class MicroBatchTimes:
    """Seconds of a micro-batch's gradients on this machine.

    Attributes:
        plain: with blocks as they are.
        compiled: with compiled blocks.
    """

    plain: float
    compiled: float

    @property
    def is_faster(self) -> bool:
        """Whether compiled blocks gain enough."""
        return self.plain >= MIN_GAIN * self.compiled


def settle_compiling(
    state: TrainState,
    sampler: ClipSampler,
    config: Config,
    device: torch.device,
    newest: Path | None,
    console: Console,
) -> bool:
    """Compile the blocks if `train.compile` is auto and that pays on this CPU; else leave them.

    A run that is resumed goes on as before, since losses of compiled blocks differ in their last
    digits; one of a version that knew no compiling on a CPU goes on without.

    Args:
        state: that the run begins with; it is not changed but for the blocks.
        sampler: cuts the clips that are measured with.
        config: of the run.
        device: of the network.
        newest: the checkpoint that is resumed from; None for a new run.
        console: says what is done.

    Returns:
        Whether the blocks are compiled, for the checkpoints to record.
    """
    before = read_checkpoint_meta(newest).compiled if newest else None
    if is_compiled(state.model):
        console.info(_COMPILING)
    elif _is_open(config, device, state):
        trial = _Trial(state, sampler, config, device, console)
        if before:
            trial.compile()
        elif newest is None and config.train.steps >= MIN_STEPS:
            trial.choose()
    now = is_compiled(state.model)
    if before not in (None, now):
        how = "compiled" if now else "plain"
        console.warning(f"the run goes on with {how} blocks: losses may differ in last digits")
    return now


def _is_open(config: Config, device: torch.device, state: TrainState) -> bool:
    """Whether there is a choice: in one process on a CPU."""
    is_here = device.type == "cpu" and not is_distributed()
    is_left = state.step < config.train.steps
    return config.train.compile == "auto" and is_here and is_left


class _Trial:
    """Compiling the blocks, and timing a micro-batch before and after it.

    Arguments are those of `settle_compiling`.
    """

    def __init__(
        self,
        state: TrainState,
        sampler: ClipSampler,
        config: Config,
        device: torch.device,
        console: Console,
    ) -> None:
        self._state, self._config, self._console = state, config, console
        self._dtype = resolve_precision(config.train.precision, device)
        self._diffusion = Diffusion(**config.diffusion.model_dump())
        self._sampler = sampler
        self._batch: Batch | None = None
        path = measurement_path(cache_folder(), config, device, self._dtype)
        self._path = path.with_name(f"{path.stem}-compiled.json")

    def choose(self) -> None:
        """Compile the blocks if the run is long enough, and they are faster for it."""
        if not can_compile_on_cpu():
            return
        known = _read(self._path)
        plain = known.plain if known else self._run()
        if self._is_short(plain) or (known and not known.is_faster):
            return
        if known is None:
            plain = min(plain, self._fastest())
        if self._is_short(plain) or not self.compile() or known is not None:
            return
        found = MicroBatchTimes(plain, self._fastest())
        with suppress(OSError):
            write_text(self._path, json.dumps(asdict(found)) + "\n")
        told = f"{plain / found.compiled:.2f} times as fast as plain ones"
        if found.is_faster:
            self._console.info(f"compiled blocks are {told}")
        else:
            self._console.info(f"compiled blocks are {told}: the run goes on with plain ones")
            self._uncompile()

    def compile(self) -> bool:
        """Compile the blocks; whether that succeeded. If not, they are left as they were."""
        self._console.info(_COMPILING)
        try:
            for network in self._networks():
                compile_blocks(network)
            seconds = self._run()
        except Exception as error:  # compilers fail in many ways; plain blocks need none
            self._uncompile()
            reason, _, _ = str(error).partition("\n")
            self._console.warning(f"the blocks could not be compiled, and stay plain: {reason}")
            return False
        self._console.debug(f"compiled in {format_duration(seconds)}")
        return True

    def _networks(self) -> tuple[Latte | LatteT2V, ...]:
        """The network, and the one that teaches it."""
        state = self._state
        return (state.model,) if state.teacher is None else (state.model, state.teacher)

    def _uncompile(self) -> None:
        for network in self._networks():
            uncompile_blocks(network)

    def _is_short(self, seconds: float) -> bool:
        """Whether the run is too short, by the seconds of a micro-batch."""
        train = self._config.train
        return seconds * train.accumulate * train.steps * MAX_SHARE < COMPILE_S

    def _fastest(self) -> float:
        """Seconds of a micro-batch, the fastest of a few."""
        times = [self._run()]
        while len(times) < _ROUNDS and sum(times) < _ROUNDS_S:
            times.append(self._run())
        return min(times)

    def _run(self) -> float:
        """Compute the gradients of the next micro-batch, forget them, and return the seconds."""
        state, train = self._state, self._config.train
        if self._batch is None:
            self._batch = self._sampler.batch(state.batch_number, micro_batches(train)[0])
        started = time.perf_counter()
        with torch.random.fork_rng(devices=[]):  # as if nothing had been computed
            accumulate_gradients(state, [self._batch], self._diffusion, train, self._dtype)
        seconds = time.perf_counter() - started
        state.optimizer.zero_grad(set_to_none=True)
        state.answers.forget()  # compiled, the teacher may answer otherwise in the last digits
        return seconds


def _read(path: Path) -> MicroBatchTimes | None:
    """What was measured before; None if that cannot be read."""
    try:
        return record_from(MicroBatchTimes, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
