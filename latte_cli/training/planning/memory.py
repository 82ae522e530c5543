"""The memory of a training step on GPUs, by part, whatever the machine that plans it.

The model. Weights, averages, moments of the optimizer and gradients are counted: float32, and
frozen weights have neither moments nor gradients. Activations are simulated: `simulation.py` runs
the step of a shallow network on tensors without storage, at full width and size of the clip, and
records the most bytes that are alive. They grow by the same amount with each block and with each
clip, so two depths and two numbers of clips tell all others. The peak of a step is the largest of

- the end of the forward pass: inputs of blocks, and the weights that autocast has cast;
- the beginning of the backward pass: inputs of blocks, and all of the one that is recomputed;
- its end: all of the last block, and all gradients.

Not counted: the context of CUDA, workspaces of its libraries, gaps that the allocator leaves, and
what `train.compile` saves. The text encoder is never in memory: captions are encoded before.

With `train.shard` fsdp each device has a part of weights, averages, moments and gradients, and
gathers the blocks that are at work in the type of the matrix products.
"""

# Axes: n blocks, b clips.

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from latte_cli.config import Config
from latte_cli.training.planning.measurement import USABLE
from latte_cli.training.planning.parameters import count, count_teacher, network_on_meta
from latte_cli.training.planning.simulation import StepPeaks, simulate_step

GPUS_GB = (12, 16, 24, 40, 48, 80, 96, 141)
"""Memory of usual GPUs, in 10^9 bytes."""

_WEIGHT_BYTES = 4
_DEPTHS, _CLIPS = (2, 4), (1, 2)  # that are simulated
_Simulated = Mapping[int, Mapping[int, StepPeaks]]  # by number of blocks, and by number of clips
_GATHERED_BLOCKS = 3  # at work, the next one, and the buffer that this one is gathered into


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a step takes on each device, by part.

    Attributes:
        devices: that share the batch.
        clips: of each device, at a time.
        weights: of the network, and of adapters.
        averages: of the weights.
        moments: of the optimizer.
        gradients: of what is trained.
        activations: what the peak of the step is above all of these.
        gathered: of the blocks at work, where weights are sharded.
        teacher: weights of the network of `train.teacher`, whole on each device.
        total: of all parts.
    """

    devices: int
    clips: int
    weights: int
    averages: int
    moments: int
    gradients: int
    activations: int
    gathered: int = 0
    teacher: int = 0
    total: int = field(init=False)

    def __post_init__(self) -> None:
        kept = self.weights + self.averages + self.teacher + self.moments + self.gradients
        object.__setattr__(self, "total", kept + self.activations + self.gathered)

    @property
    def gpu_gb(self) -> int | None:
        """The smallest usual GPU that it fits; None if there is none."""
        return next((size for size in GPUS_GB if self.total <= USABLE * size * 10**9), None)


class MemoryModel:
    """Predicts the memory of a configuration's step.

    Args:
        config: of the run; its batch and its devices are given to the methods.

    Raises:
        ConfigError: if values do not go together.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        model = network_on_meta(config)
        self.parameters = count(model, uses_muon=config.train.optimizer == "muon")
        self._teacher = count_teacher(config)
        self._depth = len(model.blocks)
        blocks = [sum(value.numel() for value in each.parameters()) for each in model.blocks]
        self._block, self._root = max(blocks), self.parameters.total - sum(blocks)

    @property
    def is_sharded(self) -> bool:
        """Whether several devices have a part of the weights each."""
        return self._config.train.shard == "fsdp"

    def step(self, clips: int, devices: int = 1) -> StepMemory:
        """The memory of a step.

        Args:
            clips: of each device, at a time.
            devices: that share the batch.
        """
        counts, train = self.parameters, self._config.train
        weights, gradients = _WEIGHT_BYTES * counts.total, _WEIGHT_BYTES * counts.trained
        averages = weights * (2 if train.ema == "power" else 1)
        memory = StepMemory(
            devices=devices,
            clips=clips,
            weights=weights,
            averages=averages,
            moments=_WEIGHT_BYTES * counts.moments,
            gradients=gradients,
            activations=0,
            teacher=_WEIGHT_BYTES * self._teacher,
        )
        if devices == 1:
            return replace(memory, activations=self._peak(clips) - gradients)
        if not self.is_sharded:  # gradients lie in buckets from the beginning
            return replace(memory, activations=_at(self._whole, self._depth, clips).largest)
        peaks = _at(self._sharded, self._depth, clips)
        return self._shard(replace(memory, activations=peaks.largest))

    def _peak(self, clips: int) -> int:
        """Of activations and gradients, which take each other's place, on a single device."""
        peaks = _at(self._whole, self._depth, clips)
        if self._depth in self._whole:
            return peaks.together
        least = _at(self._whole, min(self._whole), clips)
        return max(peaks.largest, least.backward + _WEIGHT_BYTES * self.parameters.trained)

    def most_clips(self, memory_bytes: float, devices: int = 1) -> int:
        """The clips at a time that fit into the memory of a device, 0 where not one does."""
        one, two = (self.step(clips, devices).total for clips in (1, 2))
        room = USABLE * memory_bytes - one
        return 0 if room < 0 else 1 + int(room // max(1, two - one))

    def _shard(self, memory: StepMemory) -> StepMemory:
        """A part of everything on each device, and what is gathered: all but blocks in float32."""
        n, size = memory.devices, self._compute_bytes
        gathered = 2 * _WEIGHT_BYTES * self._root  # and its gradients, until these are reduced
        gathered += (_GATHERED_BLOCKS * size + size + _WEIGHT_BYTES) * self._block
        return replace(
            memory,
            weights=memory.weights // n,
            averages=memory.averages // n,
            moments=memory.moments // n,
            gradients=memory.gradients // n,
            gathered=gathered,
        )

    @property
    def _compute_bytes(self) -> int:
        """Of a number in a matrix product, on a GPU."""
        return 4 if self._config.train.precision == "float32" else 2

    @cached_property
    def _whole(self) -> _Simulated:
        return self._simulate(sharded=False)

    @cached_property
    def _sharded(self) -> _Simulated:
        return self._simulate(sharded=True)

    def _simulate(self, *, sharded: bool) -> _Simulated:
        """Few blocks stand for all where these are alike."""
        config = self._config
        are_alike = config.train.route is None and config.diffusion.objective != "flow-map"
        is_deep = self._depth > max(_DEPTHS)
        depths = _DEPTHS if are_alike and is_deep else (self._depth,)
        return {
            depth: {clips: simulate_step(config, depth, clips, sharded) for clips in _CLIPS}
            for depth in depths
        }


def _at(simulated: _Simulated, depth: int, clips: int) -> StepPeaks:
    """The peaks of any depth and any number of clips, on lines through those that are simulated."""
    by_depth = {
        few: by_clips[1].towards(by_clips[2], clips - 1) for few, by_clips in simulated.items()
    }
    (few, peaks), *rest = by_depth.items()
    for more, others in rest:
        return peaks.towards(others, (depth - few) / (more - few))
    return peaks
