"""A plan for people: what, how much, and how that is known."""

from collections.abc import Iterator

from latte_cli.runtime.console import format_bytes
from latte_cli.training.planning.measurement import USABLE
from latte_cli.training.planning.plan import PAPER_STEPS, TrainPlan


def rows_of(plan: TrainPlan) -> Iterator[tuple[str, str, str]]:
    """The lines of a table of three columns."""
    yield "network", f"{plan.parameters / 1e6:.2f} M parameters", "counted"
    yield "device", f"{plan.device.name}, {plan.device.precision}", ""
    paper = f"{plan.share_of_paper_step:.2f} times the paper's 8 x 5"
    yield "a step", f"{plan.clips_per_step} clips in all, {paper}", "preset"
    work = f"{_flop(plan.flops_per_clip)} a clip, {_flop(plan.flops_per_step)} a step"
    yield "work", work, "counted, forward and backward"
    yield from _rows_of_speed(plan)
    yield from _rows_of_time(plan)
    reached = f"step {plan.paper_step:,} has seen as many clips"
    yield f"the paper's {PAPER_STEPS:,} steps", reached, "its curves end there"
    if plan.passes is not None:
        yield "passes", f"{plan.passes:,.0f} over all videos", "counted"
    if plan.disk.latents_bytes is None:
        frames = format_bytes(1000 * plan.disk.latents_bytes_per_frame)
        yield "disk for latents", f"{frames} for 1000 frames", "no data here yet"
    else:
        yield "disk for latents", format_bytes(plan.disk.latents_bytes), "of the data that is here"
    each = f"{format_bytes(plan.disk.checkpoint_bytes)} each"
    yield "disk for checkpoints", f"{format_bytes(plan.disk.checkpoints_bytes)}, {each}", "counted"


def _rows_of_speed(plan: TrainPlan) -> Iterator[tuple[str, str, str]]:
    limit = format_bytes(plan.device.memory_bytes)
    if plan.clips_per_s is None or plan.peak_share is None or plan.memory_bytes is None:
        least = format_bytes(plan.device.least_bytes)
        usable = f"{USABLE:.0%} of {limit} can be counted on"
        yield "fits", f"no: {least} without a single clip; {usable}", "counted"
        return
    day = (plan.measured or "")[:10]
    how = f"measured {day}: {plan.measured_steps} x {plan.measured_clips:g} clips"
    yield "speed", f"{_short(plan.clips_per_s)} clips/s, {plan.peak_share:.0%} of peak", how
    held = f"{format_bytes(plan.memory_bytes)}, the device has {limit}"
    as_measured = plan.measured_clips == plan.clips_at_a_time
    what = f"memory, {plan.clips_at_a_time} clips at a time"
    yield what, held, "measured" if as_measured else "estimate"
    most = "all" if plan.largest_batch is None else str(plan.largest_batch)
    yield "largest batch that fits", f"{most} clips at a time", "estimate"


def _rows_of_time(plan: TrainPlan) -> Iterator[tuple[str, str, str]]:
    for count, hours in plan.hours.items():
        what = f"step {plan.steps:,}, {count} device{'s' if count > 1 else ''}"
        portions = plan.accumulate[count]
        if hours is None:
            if plan.clips_per_s is not None:
                yield what, "-", f"{plan.clips_per_step} clips do not divide"
        elif portions is None:
            yield what, _duration(hours), "estimate, if it fitted: no clip does"
        elif portions > 1:
            yield what, _duration(hours), f"estimate, with train.accumulate={portions}"
        else:
            yield what, _duration(hours), "estimate"


def _duration(hours: float) -> str:
    """90 -> `3 d 18 h`; 0.5 -> `30 min`."""
    minutes = round(hours * 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 600:
        return f"{minutes // 60} h {minutes % 60} min"
    days, rest = divmod(round(hours), 24)
    return f"{days:,} d {rest} h" if days else f"{rest} h"


def _flop(count: float) -> str:
    for name, size in (("P", 1e15), ("T", 1e12), ("G", 1e9)):
        if count >= size:
            return f"{count / size:.1f} {name}FLOP"
    return f"{count / 1e6:.1f} MFLOP"


def _short(rate: float) -> str:
    return f"{rate:.1f}" if rate >= 1 else f"{rate:.3g}"
