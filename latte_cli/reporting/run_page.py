"""What the page about one or several runs shows."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.reporting.charts import charts_for, evaluation_charts
from latte_cli.reporting.clip_files import read_clips
from latte_cli.reporting.cost import Cost, cost_of, seconds_by_step
from latte_cli.reporting.curves import Curve, curves_of, thinned
from latte_cli.reporting.media import Budget, embedded, link_to, poster
from latte_cli.reporting.run_files import Preview, RunFiles
from latte_cli.reporting.run_tables import (
    Setting,
    digits,
    events_of,
    grouped,
    papers_tables,
    result_of,
    settings_of,
    start_of,
)
from latte_cli.reporting.writing import REPORT
from latte_cli.runtime.console import format_duration
from latte_cli.runtime.errors import LatteError

POSTER_WIDTH = 320
MOST_PREVIEWS = 120
"""Steps of the slider: more would not be told apart, and each has a poster."""

_TIME_POINTS = 200
_MOST_SAMPLES = 6
_CLIPS_OF_SAMPLES = 8
_SAMPLE_WIDTH = 240

Posters = dict[str, str | None]
"""Pictures by what they show: a run that is reported again and again keeps them."""


@dataclass(frozen=True)
class RunView:
    """What the page shows of a run in words and tables.

    Attributes:
        name: of the run.
        folder: of the run.
        description: of its preset.
        status: how far it is.
        facts: names and values for the top of the page.
        costs: names and values.
        settings: every value of the configuration.
        compared_with: which released settings those are compared with.
        events: steps, and what happened there: skipped steps, returns, and restarts.
        starts: when and where the run was started or resumed.
        results: evaluations in full, the newest first.
        samples: folders of clips that were sampled from the run.
        made_by: versions, of the newest checkpoint.
        notes: what is missing or damaged.
    """

    name: str
    folder: str
    description: str
    status: str
    facts: Sequence[tuple[str, str]]
    costs: Sequence[tuple[str, str]]
    settings: Sequence[Setting]
    compared_with: str
    events: Sequence[tuple[str, str]]
    starts: Sequence[tuple[str, ...]]
    results: Sequence[Mapping[str, Any]]
    samples: Sequence[Mapping[str, Any]]
    made_by: str
    notes: Sequence[str]


def run_page(
    runs: Sequence[RunFiles], page: Path, embed_bytes: int, posters: Posters
) -> dict[str, Any]:
    """The variables of the template.

    Args:
        runs: with different names.
        page: the file that will be written, for links.
        embed_bytes: how many bytes of clips are embedded.
        posters: that are known; those that are missing are added.
    """
    curves = [curves_of(run.rows) for run in runs]
    data = {
        "runs": [
            _run_data(run, each, page, embed_bytes // len(runs), posters)
            for run, each in zip(runs, curves, strict=True)
        ],
        "charts": charts_for(curves),
        "evaluations": evaluation_charts(runs, curves),
    }
    views = [_view(run, page, posters) for run in runs]
    names = [view.name for view in views]
    title = names[0] if len(names) == 1 else " against ".join(names)
    return {"title": title, "runs": views, "papers": papers_tables(runs), "data": data}


def _run_data(
    run: RunFiles, curves: Mapping[str, Curve], page: Path, embed_bytes: int, posters: Posters
) -> dict[str, Any]:
    """What the page's script draws of a run."""
    batch = run.config.train.batch_size if run.config else None
    return {
        "name": run.name,
        "total": run.total,
        "batch": batch,
        "hours": _hours(run, batch),
        "curves": {key: curve.as_values() for key, curve in curves.items()},
        "events": [{"step": each["step"], "kind": each["kind"]} for each in events_of(run)],
        "previews": list(_previews(run, page, embed_bytes, posters)),
        "fps": run.config.sample.fps if run.config else None,
    }


def _hours(run: RunFiles, batch: int | None) -> dict[str, Any] | None:
    """Training time by step, for an axis of hours."""
    if batch is None or not run.rows:
        return None
    steps, seconds = seconds_by_step(run.rows, batch)
    curve = thinned(steps, seconds / 3600, _TIME_POINTS)
    return {"x": list(curve.steps), "y": curve.as_values()["y"]}


def _previews(
    run: RunFiles, page: Path, embed_bytes: int, posters: Posters
) -> Iterator[dict[str, Any]]:
    """Previews of steps that are spread evenly, if there are very many."""
    shown = _thinned_previews(run.previews)
    embed = Budget(embed_bytes).chosen([each.path for each in shown])
    for each in shown:
        path = each.path
        try:
            stamp = f"{path.name} {path.stat().st_mtime_ns}"
        except OSError:  # deleted meanwhile
            continue
        key = f"preview {run.name} {stamp}"
        if key not in posters:
            posters[key] = poster(path, POSTER_WIDTH)
        content = embedded(path) if path in embed else None
        yield {
            "step": each.step,
            "stamp": stamp,
            "src": content or link_to(path, page),
            "linked": content is None,
            "poster": posters[key],
        }


def _thinned_previews(previews: Sequence[Preview]) -> Sequence[Preview]:
    if len(previews) <= MOST_PREVIEWS:
        return previews
    last = len(previews) - 1
    chosen = {round(number * last / (MOST_PREVIEWS - 1)) for number in range(MOST_PREVIEWS)}
    return [previews[number] for number in sorted(chosen)]


def _view(run: RunFiles, page: Path, posters: Posters) -> RunView:
    cost, config = cost_of(run), run.config
    settings, compared_with = settings_of(config)
    return RunView(
        name=run.name,
        folder=str(run.folder),
        description=config.description if config else "",
        status=_status(run),
        facts=list(_facts(run, cost)),
        costs=list(_costs(run, cost)),
        settings=settings,
        compared_with=compared_with,
        events=[(grouped(event["step"]), event["words"]) for event in events_of(run)],
        starts=[start_of(row) for row in run.starts],
        results=[result_of(each) for each in reversed(run.results)],
        samples=list(_samples(run, page, posters)),
        made_by=run.newest.made_by if run.newest else "",
        notes=run.notes,
    )


def _samples(run: RunFiles, page: Path, posters: Posters) -> Iterator[dict[str, Any]]:
    """The newest clips that were sampled from the run, the newest first."""
    for path in list(reversed(run.samples))[:_MOST_SAMPLES]:
        clips, words, gallery = [(path.name, path)], "", path / REPORT
        if path.is_dir():
            try:
                found = read_clips(path)
            except (LatteError, OSError):
                continue
            clips = [(clip.label or clip.name, clip.path) for clip in found.clips]
            words = f"{len(clips)} clips" + (f": {found.settings}" if found.settings else "")
        yield {
            "name": os.path.relpath(path),
            "words": words,
            "page": link_to(gallery, page) if gallery.is_file() else "",
            "is_folder": path.is_dir(),
            "clips": [
                {"name": name, "src": link_to(clip, page), "poster": _poster(clip, posters)}
                for name, clip in clips[:_CLIPS_OF_SAMPLES]
                if clip.suffix.lower() == ".mp4"
            ],
        }


def _poster(path: Path, posters: Posters) -> str:
    """The first frame of a clip; empty if it cannot be read."""
    try:
        key = f"sample {path.name} {path.stat().st_mtime_ns}"
    except OSError:
        return ""
    if key not in posters:
        posters[key] = poster(path, _SAMPLE_WIDTH)
    return posters[key] or ""


def _status(run: RunFiles) -> str:
    if run.total is None:
        return f"step {grouped(run.step)}"
    share = run.step / run.total
    state = "finished" if run.step >= run.total else f"{share:.0%}"
    return f"step {grouped(run.step)} of {grouped(run.total)}, {state}"


def _facts(run: RunFiles, cost: Cost) -> Iterator[tuple[str, str]]:
    """The few numbers that everybody looks for first."""
    losses = [row["loss"] for row in run.rows if row.get("loss") is not None]
    held_out = [row["val_loss"] for row in run.rows if row.get("val_loss") is not None]
    if losses:
        recent = losses[-max(1, len(losses) // 10) :]
        yield "loss, mean of the last tenth", f"{sum(recent) / len(recent):.4g}"
    if held_out:
        yield "held-out loss", f"{held_out[-1]:.4g}"
    if run.best:
        yield (
            f"best {run.best.get('metric')}",
            f"{digits(run.best.get('value'))} at step {digits(run.best.get('step'))}",
        )
    if cost.clips_per_s:
        yield "speed", f"{cost.clips_per_s:.3g} clips/s"
    if cost.seconds:
        yield "training time so far", format_duration(cost.seconds)
    if cost.seconds_left:
        yield "time left", format_duration(cost.seconds_left)


def _costs(run: RunFiles, cost: Cost) -> Iterator[tuple[str, str]]:
    yield "steps", _status(run).removeprefix("step ")
    if cost.clips is not None:
        yield "clips seen", grouped(cost.clips)
    if cost.passes is not None:
        yield "passes over the data", f"{cost.passes:.3g}"
    yield "training time so far", format_duration(cost.seconds)
    if cost.seconds_left is not None:
        yield "training time left", format_duration(cost.seconds_left)
        yield "training time in all", format_duration(cost.seconds + cost.seconds_left)
    if cost.devices is not None:
        yield "devices", str(cost.devices)
    if cost.device_hours is not None:
        in_all = cost.device_hours_in_all
        rest = "" if in_all is None else f" of {in_all:.3g}"
        yield "device hours so far", f"{cost.device_hours:.3g}{rest}"
