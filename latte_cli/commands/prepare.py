"""`latte prepare`: from videos as they come to a manifest of those that decode to their end."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from latte_cli.console import Console
from latte_cli.data.check import Checked, check_videos, stored_path
from latte_cli.data.manifest import (
    MANIFEST,
    REJECTED,
    Rejection,
    SourceVideo,
    VideoRecord,
    record_from,
    write_dataset,
)
from latte_cli.errors import ConfigError, DataError
from latte_cli.files import read_json_lines, sha256_of
from latte_cli.sources import folder, shapes, ucf101

DATASETS = ("folder", "ucf101", "shapes")
_JOURNAL = "checked.jsonl"
_KNOWN = {field.name for field in fields(VideoRecord)}


@dataclass(frozen=True)
class PrepareOptions:
    """What `latte prepare` was asked for; `count`, `size` and `seed` are of `shapes` alone."""

    dataset: str
    out: Path
    source: Path | None = None
    labels: bool = False
    split: str = "all"
    workers: int = 2
    count: int = 512
    size: int = 64
    seed: int = 0


@dataclass(frozen=True)
class PrepareResult:
    """What came of it."""

    out: Path
    accepted: int
    rejected: int
    frames: int
    hours: float
    classes: int
    reasons: dict[str, int]


def run(options: PrepareOptions, console: Console) -> PrepareResult:
    """Find the videos, decode each once, write the manifest.

    What was checked is kept in a journal as it goes, so that an interrupted run goes on.

    Raises:
        ConfigError: on an unknown data set, or a missing source.
        DataError: if there are no videos, or none that decodes.
    """
    sources, classes = _find(options, console)
    done = _already_checked(options.out, sources)
    todo = [source for source in sources if stored_path(source.path, options.out) not in done]
    if len(todo) < len(sources):
        console.say(f"{len(sources) - len(todo)} of {len(sources)} videos were checked before")
    results: list[VideoRecord | Rejection] = list(done.values())
    with console.progress("checking", len(sources), "videos") as bar:
        bar.start(len(results))
        for _, result in _journaled(check_videos(todo, options.out, options.workers), options.out):
            results.append(result)
            bar.advance()
            if isinstance(result, Rejection):
                console.detail(f"rejected {result.path}: {result.reason}")

    accepted = sorted((r for r in results if isinstance(r, VideoRecord)), key=lambda r: r.path)
    rejected = sorted((r for r in results if isinstance(r, Rejection)), key=lambda r: r.path)
    write_dataset(options.out, accepted, rejected, classes)
    (options.out / _JOURNAL).unlink(missing_ok=True)
    if not accepted:
        raise DataError(
            f"none of {len(rejected)} files could be read as a video",
            hint=f"{options.out / REJECTED} says why, file by file",
        )
    return PrepareResult(
        out=options.out,
        accepted=len(accepted),
        rejected=len(rejected),
        frames=sum(video.frames for video in accepted),
        hours=sum(video.frames / video.fps for video in accepted if video.fps) / 3600,
        classes=len(classes),
        reasons=_count(rejection.reason for rejection in rejected),
    )


def _find(options: PrepareOptions, console: Console) -> tuple[list[SourceVideo], Sequence[str]]:
    """The videos of the asked split, by the data set's own layout, and the class names."""
    if options.dataset == "shapes":
        if options.size % 2:
            raise ConfigError(
                f"--size {options.size} is odd", hint="H.264 video needs an even number of pixels"
            )
        with console.progress("drawing", options.count, "videos") as bar:
            sources = []
            for source in shapes.write_videos(
                options.out / "videos", options.count, seed=options.seed, size=options.size
            ):
                sources.append(source)
                bar.advance()
        classes: Sequence[str] = shapes.CLASSES
    elif options.dataset not in DATASETS:
        raise ConfigError(
            f"no data set named `{options.dataset}`", hint=f"known: {', '.join(DATASETS)}"
        )
    elif options.source is None:
        raise ConfigError(
            f"`latte prepare {options.dataset}` needs --source", hint="--source names the folder"
        )
    elif options.dataset == "ucf101":
        sources, classes = ucf101.find(options.source)
    else:
        sources, classes = folder.find(options.source, labels=options.labels)
    chosen = [source for source in sources if options.split in ("all", source.split)]
    if not chosen:
        raise DataError(
            f"{options.source or options.out}: no videos of the split `{options.split}`",
            hint="--split all takes every video",
        )
    return chosen, classes


def _journaled(checked: Iterable[Checked], out: Path) -> Iterator[Checked]:
    """Pass results on, each first written down."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / _JOURNAL).open("a", encoding="utf-8") as journal:
        journal.write("\n")  # ends a line that a crash cut off
        for source, result in checked:
            journal.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")
            journal.flush()
            yield source, result


def _already_checked(out: Path, sources: Sequence[SourceVideo]) -> dict[str, VideoRecord]:
    """Videos that an earlier run accepted, unchanged since, under their present labels."""
    rows: dict[str, dict[str, object]] = {}
    for name in (MANIFEST, _JOURNAL):
        if (out / name).is_file():
            there = read_json_lines(out / name, skip_damaged=True)
            rows.update({str(row["path"]): row for row in there if row.keys() >= _KNOWN})
    found = {}
    for source in sources:
        row = rows.get(stored_path(source.path, out))
        if row is not None and row["sha256"] == sha256_of(source.path):
            now = {"label": source.label, "split": source.split, "caption": source.caption}
            found[str(row["path"])] = record_from({**row, **now})
    return found


def _count(reasons: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return counts
