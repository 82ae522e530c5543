"""The memory of a run on GPUs, as a plan shows it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from latte_cli.config import Config
from latte_cli.runtime.console import format_bytes
from latte_cli.training.planning.memory import MemoryModel, StepMemory

_SHOWN_GB = (24, 80)  # GPUs whose largest batch is shown


@dataclass(frozen=True)
class MemoryPlan:
    """The memory of a run on GPUs.

    Attributes:
        step: of one clip at a time, on one device.
        each_clip: bytes of each further clip at a time.
        most_clips: at a time on one GPU, by its memory in 10^9 bytes.
        sharded: a step of one clip on each device, by the number of devices that `train.shard`
            divides weights among; empty without it.
    """

    step: StepMemory
    each_clip: int
    most_clips: Mapping[int, int]
    sharded: Mapping[int, StepMemory]


def plan_memory(config: Config, devices: Sequence[int]) -> MemoryPlan | None:
    """Predict the memory of a run on GPUs; None for flow maps, whose steps depend on the values.

    Args:
        config: of the run.
        devices: numbers of devices to plan for.
    """
    if config.diffusion.objective == "flow-map":
        return None
    model = MemoryModel(config)
    one, two = model.step(1), model.step(2)
    several = [count for count in devices if count > 1] if model.is_sharded else []
    return MemoryPlan(
        step=one,
        each_clip=two.total - one.total,
        most_clips={size: model.most_clips(size * 10**9) for size in _SHOWN_GB},
        sharded={count: model.step(1, count) for count in several},
    )


def memory_rows(plan: MemoryPlan, batch: int) -> Iterator[tuple[str, str, str]]:
    """Rows of a table: what, the figure, and how it is known.

    Args:
        plan: the memory of a run.
        batch: clips of a step, on one device.
    """
    step = plan.step
    yield "memory on one GPU", "one clip at a time, by part", ""
    parts = {"weights": step.weights, "averages": step.averages}
    parts |= {"teacher": step.teacher} if step.teacher else {}
    parts |= {"moments": step.moments, "gradients": step.gradients}
    for what, size in parts.items():
        yield f"- {what}", format_bytes(size), "counted"
    yield "- activations", format_bytes(step.activations), "simulated"
    yield "- together", _with_gpu(step), "estimate"
    yield "- each further clip", format_bytes(plan.each_clip), "estimate"
    for size, most in plan.most_clips.items():
        yield f"on a GPU of {size} GB", _with_accumulate(most, batch), "estimate"
    for count, sharded in plan.sharded.items():
        yield f"on each of {count} GPUs, sharded", _with_gpu(sharded), "estimate, one clip"


def _with_gpu(step: StepMemory) -> str:
    fits = f"fits {step.gpu_gb} GB" if step.gpu_gb else "fits no usual GPU"
    return f"{format_bytes(step.total)}, {fits}"


def _with_accumulate(most: int, batch: int) -> str:
    """How many clips fit at a time, and what lets a step have no more."""
    if not most:
        return "not one clip fits"
    clips = max(n for n in range(1, min(most, batch) + 1) if batch % n == 0)
    return f"{clips} clips at a time, train.accumulate={batch // clips}"
