"""A plan as a table for people."""

from collections.abc import Iterator

from latte_cli.runtime.console import format_bytes, format_duration, format_flop
from latte_cli.training.planning.measurement import USABLE
from latte_cli.training.planning.memory_plan import memory_rows
from latte_cli.training.planning.plan import TrainPlan
from latte_cli.training.planning.released import GPUS, PAPER_STEPS


def table_rows(plan: TrainPlan) -> Iterator[tuple[str, str, str]]:
    """The rows of the plan's table: what, the figure, and how it is known."""
    yield "network", f"{plan.parameters / 1e6:.2f} M parameters", "counted"
    if plan.trained < plan.parameters:
        yield "of these, trained", f"{plan.trained / 1e6:.2f} M", "counted, the rest is frozen"
    yield "device", f"{plan.device.name}, {plan.device.precision}", ""
    paper = f"{plan.share_of_paper_step:.2f} times the released"
    shape = f"{GPUS} x {plan.released.clips_per_gpu}"
    yield "a step", f"{plan.clips_per_step} clips in all, {paper} {shape}", "preset"
    work = f"{format_flop(plan.flops_per_clip)} a clip, {format_flop(plan.flops_per_step)} a step"
    yield "work", work, f"counted, {', '.join(plan.flops_by_part)}"
    for part, flops in list(plan.flops_by_part.items())[1:]:
        yield f"of this, {part}", f"{format_flop(flops)} a clip", "counted"
    yield from _speed_rows(plan)
    yield from _time_rows(plan)
    reached = f"step {plan.paper_step:,} has seen as many clips"
    if plan.sent_bytes:
        sent = f"{format_bytes(plan.sent_bytes)} a clip by each of its processes"
        yield "sent to share clips", sent, "counted"
    yield f"the paper's {PAPER_STEPS:,} steps", reached, "its curves end there"
    yield "compared with", f"the released settings: {plan.released.with_settings}", ""
    yield "differs", plan.released.differences(), "this run (released)"
    if plan.passes is not None:
        yield "passes", f"{plan.passes:,.0f} over all videos", "counted"
    if plan.memory is not None:
        yield from memory_rows(plan.memory, plan.clips_per_step)
    if plan.caching is not None:
        yield from plan.caching.rows()
    if plan.disk.latents_bytes is None:
        frames = format_bytes(1000 * plan.disk.latents_bytes_per_frame)
        yield "disk for latents", f"{frames} for 1000 frames", "no data here yet"
    else:
        yield "disk for latents", format_bytes(plan.disk.latents_bytes), "of the data that is here"
    each = f"{format_bytes(plan.disk.checkpoint_bytes)} each"
    yield "disk for checkpoints", f"{format_bytes(plan.disk.checkpoints_bytes)}, {each}", "counted"
    if count := plan.disk.snapshots:
        size = f"{count} snapshots, {format_bytes(plan.disk.snapshot_bytes)} each"
        yield "of these for averages", size, "counted"


def _speed_rows(plan: TrainPlan) -> Iterator[tuple[str, str, str]]:
    limit = format_bytes(plan.device.memory_bytes)
    if plan.clips_per_s is None or plan.peak_share is None or plan.memory_bytes is None:
        least = format_bytes(plan.device.least_bytes)
        usable = f"{USABLE:.0%} of {limit} can be counted on"
        if plan.device.least_bytes <= USABLE * plan.device.memory_bytes:
            yield "speed", "not measured: this device is too slow", ""
        else:
            yield "fits", f"no: {least} without a single clip; {usable}", "counted"
        return
    day = (plan.measured or "")[:10]
    how = f"measured {day}: {plan.measured_steps} x {plan.measured_clips:g} clips"
    rate = f"{plan.clips_per_s:.1f}" if plan.clips_per_s >= 1 else f"{plan.clips_per_s:.3g}"
    speed = f"{rate} clips/s, {plan.peak_share:.0%} of peak"
    yield "speed", speed, how
    if plan.measured_under is not None:
        yield "measured", plan.measured_under, "--fresh: again"
    held = f"{format_bytes(plan.memory_bytes)}, the device has {limit}"
    as_measured = plan.measured_clips == plan.clips_at_a_time
    what = f"memory, {plan.clips_at_a_time} clips at a time"
    yield what, held, "measured" if as_measured else "estimate"
    most = "all" if plan.largest_batch is None else str(plan.largest_batch)
    yield "largest batch that fits", f"{most} clips at a time", "estimate"


def _time_rows(plan: TrainPlan) -> Iterator[tuple[str, str, str]]:
    for count, hours in plan.hours.items():
        what = f"step {plan.steps:,}, {count} device{'s' if count > 1 else ''}"
        accumulate = plan.accumulate[count]
        if hours is None:
            if plan.clips_per_s is not None:
                yield what, "-", f"{plan.clips_per_step} clips do not divide"
            continue
        how = "estimate"
        if accumulate is None:
            how = "estimate, if it fitted: no clip does"
        elif accumulate > 1:
            how = f"estimate, with train.accumulate={accumulate}"
        yield what, format_duration(3600 * hours), how
