"""`latte prepare`: from videos as they come to a manifest of those that decode to their end."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from latte_cli.data.manifest import (
    REJECTED,
    Before,
    Rejection,
    SourceVideo,
    VideoRecord,
    as_text,
    look_back,
    without_duplicates,
    write_dataset,
)
from latte_cli.data.preparing.check import TIMEOUT_S, Job, check_videos, stored_path
from latte_cli.data.preparing.summary import DatasetSummary, summarize
from latte_cli.data.preparing.verdicts import JOURNAL, Journal
from latte_cli.runtime.console import Bar, Console
from latte_cli.runtime.errors import ConfigError, DataError
from latte_cli.runtime.files import alone_in, remove_unfinished
from latte_cli.sources import DATASETS, find_videos, shapes, unpack

SPLITS = ("train", "test", "all")


@dataclass(frozen=True)
class PrepareOptions:
    """What `latte prepare` was asked for; `count`, `size` and `seed` are of `shapes` alone."""

    dataset: str
    out: Path
    source: Path | None = None
    labels: bool = False
    split: str = "all"
    workers: int = 2
    timeout_s: float | None = None
    count: int = 512
    size: int = 64
    seed: int = 0


def run(options: PrepareOptions, console: Console) -> DatasetSummary:
    """Find the videos, decode each once, write the manifest.

    What was found of each video is kept in a journal, so that a run that was interrupted in any way
    goes on, and a second one opens only what has changed.

    Raises:
        ConfigError: on an unknown data set or split, or a missing source.
        DataError: if there are no videos, or none that decodes.
    """
    with alone_in(options.out):
        sources, classes = _find(options, console)
        sources = sorted(sources, key=lambda source: stored_path(source.path, options.out))
        with Journal(options.out / JOURNAL) as journal:
            _check(options, sources, journal, console)
            journal.tidy()
            before = look_back(options.out)
            result = _write(options, sources, classes, journal)
        _tell_lost(options.out, before, console)
    if not result.accepted:
        raise DataError(
            f"none of {result.rejected} files could be read as a video",
            hint=f"{options.out / REJECTED} says why, file by file",
        )
    return result


def _find(options: PrepareOptions, console: Console) -> tuple[list[SourceVideo], Sequence[str]]:
    """The videos of the asked split, by the data set's own layout, and the class names."""
    if options.dataset not in DATASETS:
        raise ConfigError(
            f"no data set named `{options.dataset}`", hint=f"known: {', '.join(DATASETS)}"
        )
    if options.split not in SPLITS:
        raise ConfigError(f"no split named `{options.split}`", hint=f"known: {', '.join(SPLITS)}")
    if options.dataset == "shapes":
        sources, classes = _draw(options, console), list(shapes.CLASSES)
    elif options.source is None:
        raise ConfigError(
            f"`latte prepare {options.dataset}` needs --source",
            hint="--source names the folder, or the archive as it was downloaded",
        )
    else:
        place = _unpacked(options.source, options.out, console)
        beside = None if place == options.source else options.source.parent
        sources, classes = find_videos(options.dataset, place, labels=options.labels, beside=beside)
    chosen = [source for source in sources if options.split in ("all", source.split)]
    if not chosen:
        raise DataError(
            f"{options.source or options.out}: no videos of the split `{options.split}`",
            hint="--split all takes every video",
        )
    return chosen, classes


def _draw(options: PrepareOptions, console: Console) -> list[SourceVideo]:
    """Make the videos of `shapes`."""
    if options.size % 2:
        raise ConfigError(
            f"--size {options.size} is odd", hint="H.264 video needs an even number of pixels"
        )
    folder = options.out / "videos"
    remove_unfinished(folder)
    drawn = []
    with console.progress("drawing", options.count, "videos") as bar:
        for video in shapes.write_videos(
            folder, options.count, seed=options.seed, size=options.size
        ):
            drawn.append(video)
            bar.advance()
    return drawn


def _unpacked(source: Path, out: Path, console: Console) -> Path:
    """The folder of an archive's contents; a source that is no archive, as it is."""
    with ExitStack() as stack:
        bar: Bar | None = None
        before = 0

        def show(done: int, total: int) -> None:
            nonlocal bar, before
            bar = bar or stack.enter_context(console.progress("unpacking", total, "files"))
            bar.advance(done - before)
            before = done

        return unpack(source, out, show)


def _check(
    options: PrepareOptions, sources: Sequence[SourceVideo], journal: Journal, console: Console
) -> None:
    """Decode every video of which the journal does not say how it is now."""
    out, timeout_s = options.out, options.timeout_s or TIMEOUT_S
    todo: list[SourceVideo] = []
    names: set[str] = set()
    for source in sources:
        name = stored_path(source.path, out)
        known = journal.get(name)
        if name not in names and (known is None or not known.stands(source, timeout_s)):
            todo.append(source)
        names.add(name)
    done, rejected = len(names) - len(todo), 0
    if done:
        console.say(f"{done} of {len(names)} videos were checked before")
    jobs = (Job(s, out, journal.get(stored_path(s.path, out))) for s in todo)
    with (
        closing(check_videos(jobs, options.workers, timeout_s)) as verdicts,
        console.progress("checking", len(names), "videos") as bar,
    ):
        bar.start(done)
        for verdict in verdicts:
            journal.add(verdict)
            if isinstance(verdict.outcome, Rejection):
                rejected += 1
                console.detail(f"rejected {verdict.outcome.path}: {verdict.outcome.reason}")
            bar.advance(note=f"{rejected} rejected" if rejected else None)


def _write(
    options: PrepareOptions,
    sources: Sequence[SourceVideo],
    classes: Sequence[str],
    journal: Journal,
) -> DatasetSummary:
    """Write the data set's files; there may be too many videos to hold in memory at once."""
    out, source = options.out, options.source

    def outcomes() -> Iterator[VideoRecord | Rejection]:
        return without_duplicates(_outcomes(out, sources, journal))

    accepted = (outcome for outcome in outcomes() if isinstance(outcome, VideoRecord))
    rejected = (outcome for outcome in outcomes() if isinstance(outcome, Rejection))
    name = as_text(str(source.absolute())) if source else options.dataset
    write_dataset(out, accepted, rejected, classes, name)
    return summarize(out, outcomes(), len(classes))


def _tell_lost(out: Path, before: Before, console: Console) -> None:
    """Videos that leave the manifest may mean that it was another data set's."""
    now = look_back(out)
    lost = len(before.names - now.names)
    if lost:
        moved = before.source and before.source != now.source
        sources = f", it was made of {before.source}, now of {now.source}" if moved else ""
        console.warn(f"{out}: {lost} videos of before are no longer in it{sources}")


def _outcomes(
    out: Path, sources: Sequence[SourceVideo], journal: Journal
) -> Iterator[VideoRecord | Rejection]:
    """What came of each video, once, with what its layout tells of it now."""
    last = ""
    for source in sources:
        name = stored_path(source.path, out)
        if name == last:
            continue
        verdict = journal.get(name)
        assert verdict is not None, f"{name} was not checked"
        last, outcome = name, verdict.outcome
        if isinstance(outcome, Rejection):
            yield outcome
        else:
            mask = None if source.mask is None else stored_path(source.mask, out)
            yield replace(
                outcome,
                label=source.label,
                split=source.split,
                caption=source.caption,
                mask=mask,
            )
