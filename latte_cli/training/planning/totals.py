"""What the stages of a preset cost together."""

from collections.abc import Iterator, Mapping
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
    """

    stages: Mapping[str, TrainPlan]
    steps: int
    flops: int
    hours: Mapping[int, float | None]
    checkpoints_bytes: int

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Rows of a table: what, the figure, and how it is known."""
        yield "steps", f"{self.steps:,}", "preset"
        yield "work", format_flop(self.flops), "counted"
        for count, hours in self.hours.items():
            what = f"all steps, {count} device{'s' if count > 1 else ''}"
            yield what, "-" if hours is None else format_duration(3600 * hours), "estimate"
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
    )
