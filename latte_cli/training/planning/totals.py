"""What the stages of a preset cost together."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from latte_cli.runtime.console import format_bytes, format_duration, format_flop
from latte_cli.training.planning.plan import DEVICES, TrainPlan


@dataclass(frozen=True)
class TotalPlan:
    """What all stages cost, each on the devices that a plan is for.

    Attributes:
        stages: the plan of each, by its title.
        steps: of all.
        flops: of all steps.
        hours: of all, by number of devices; None where that of a stage is not known.
        checkpoints_bytes: of the checkpoints of all.
        encoding_s: of what is encoded before, once for all stages; None without data.
    """

    stages: Mapping[str, TrainPlan]
    steps: int
    flops: int
    hours: Mapping[int, float | None]
    checkpoints_bytes: int
    encoding_s: float | None

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Rows of a table: what, the figure, and how it is known."""
        yield "steps", f"{self.steps:,}", "preset"
        yield "work", format_flop(self.flops), "counted"
        for count, hours in self.hours.items():
            what = f"all steps, {count} device{'s' if count > 1 else ''}"
            yield what, "-" if hours is None else format_duration(3600 * hours), "estimate"
        if self.encoding_s is not None:
            yield "encoding before, one device", format_duration(self.encoding_s), "estimate"
        yield "disk for checkpoints", format_bytes(self.checkpoints_bytes), "counted"


def sum_of(plans: Mapping[str, TrainPlan]) -> TotalPlan:
    """Add up the plans of stages.

    Args:
        plans: by the title of the stage.
    """
    hours: dict[int, float | None] = {}
    for count in DEVICES:
        known = [h for plan in plans.values() if (h := plan.hours[count]) is not None]
        hours[count] = sum(known) if len(known) == len(plans) else None
    return TotalPlan(
        stages=plans,
        steps=sum(plan.steps for plan in plans.values()),
        flops=sum(plan.flops_per_step * plan.steps for plan in plans.values()),
        hours=hours,
        checkpoints_bytes=sum(plan.disk.checkpoints_bytes for plan in plans.values()),
        encoding_s=_encoding_seconds(plans.values()),
    )


def _encoding_seconds(plans: Collection[TrainPlan]) -> float | None:
    """The time to encode what the stages train on: frames of each size and captions once."""
    found = {plan.caching.latents: plan.caching for plan in plans if plan.caching is not None}
    parts = [each.frames for each in found.values()]
    parts += [each.captions for each in found.values() if each.captions is not None][:1]
    if not parts or any(part.count is None for part in parts):
        return None
    return sum((part.count or 0) * part.seconds for part in parts)
