"""`latte prepare`: from videos as they come to a manifest of those that decode to their end."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from latte_cli.data.checking import TIMEOUT_S, Job, VideoChecks, stored_path
from latte_cli.data.journal import JOURNAL, Journal
from latte_cli.data.manifest import (
    MANIFEST,
    REJECTED,
    Rejection,
    SourceVideo,
    VideoRecord,
    as_text,
    read_previous,
    without_duplicates,
    write_dataset,
    write_rejections,
)
from latte_cli.data.summary import DatasetSummary, summarize
from latte_cli.runtime.console import Bar, Console
from latte_cli.runtime.cpus import usable_cpus
from latte_cli.runtime.engines.engine import LOCAL, Engine, Place
from latte_cli.runtime.errors import ConfigError, DataError
from latte_cli.runtime.files import lock_folder, remove_unfinished
from latte_cli.runtime.remote.folders import fetch_files, fetch_tree, upload_folder
from latte_cli.runtime.remote.urls import url_of
from latte_cli.sources import (
    DATASETS,
    count_left_out,
    find_videos,
    shapes,
    unknown_dataset,
    unpack,
)
from latte_cli.sources.tables.columns import ColumnChoice
from latte_cli.sources.tables.reading import TABLE_SUFFIXES

SPLITS = ("train", "test", "all")


@dataclass(frozen=True)
class PrepareOptions:
    """Options of `latte prepare`; `count`, `size` and `seed` apply to `shapes` only.

    With `keep_pixels`, pixels that are not square are taken as if they were. `video_column` and
    `caption_columns` are for `captions`, where a table's columns have no usual names. `workers`
    processes decode, in each place where the engine works; None: as many as it decides.
    """

    dataset: str
    out: Path
    source: Path | None = None
    labels: bool = False
    split: str = "all"
    keep_pixels: bool = False
    workers: int | None = 2
    timeout_s: float | None = None
    video_column: str | None = None
    caption_columns: tuple[str, ...] = ()
    count: int = 512
    size: int = 64
    seed: int = 0
    engine: Engine = LOCAL


def run(options: PrepareOptions, console: Console) -> DatasetSummary:
    """Find the videos, decode each once, write the manifest.

    The verdict on each video is kept in a journal, so an interrupted run continues where it
    stopped, and a second run opens only videos that have changed.

    Raises:
        ConfigError: on an unknown data set or split, or a missing source.
        DataError: if there are no videos, or none that decodes.
        RemoteError: if the source or the data set lies elsewhere, and cannot be read or written.
    """
    out = options.out
    if options.source is not None:
        _fetch_source(options.dataset, options.source, console)
    fetch_files(out, (MANIFEST, REJECTED, "meta.json", JOURNAL))
    with lock_folder(out):
        sources, classes, left_out = _find(options, console)
        by_name: dict[str, SourceVideo] = {}
        for source in sources:
            by_name.setdefault(stored_path(source.path, out), source)
        videos = dict(sorted(by_name.items()))
        with Journal(out / JOURNAL) as journal:
            _check(videos, journal, options, console)
            journal.tidy()
            before = read_previous(out)
            result = replace(_write(videos, classes, journal, options), left_out=left_out)
        upload_folder(out, console)
        now = read_previous(out)
        if lost := len(before.names - now.names):
            moved = before.source and before.source != now.source
            origin = f"; it was made from {before.source}, now from {now.source}" if moved else ""
            earlier = "1 earlier video is" if lost == 1 else f"{lost} earlier videos are"
            console.warning(f"{out}: {earlier} no longer in the manifest{origin}")
    if not result.accepted:
        raise DataError(
            f"none of {result.rejected} files could be read as a video",
            hint=f"see {out / REJECTED} for the reason of each",
        )
    return result


def _fetch_source(dataset: str, source: Path, console: Console) -> None:
    """Fetch a source that lies elsewhere; beside a table lie its videos."""
    if url_of(source) is not None:
        is_table = dataset == "captions" and source.suffix.lower() in TABLE_SUFFIXES
        fetch_tree(source.parent if is_table else source, console)


def _find(
    options: PrepareOptions, console: Console
) -> tuple[list[SourceVideo], Sequence[str], dict[str, int]]:
    """The videos of the chosen split, found by the data set's layout, and the class names.

    And the number of files that are not among them, by suffix.
    """
    left_out: dict[str, int] = {}
    if options.dataset not in DATASETS:
        raise unknown_dataset(options.dataset)
    if options.split not in SPLITS:
        raise ConfigError(f"no split named `{options.split}`", hint=f"known: {', '.join(SPLITS)}")
    if options.dataset == "shapes":
        sources, classes = _generate_shapes(options, console), list(shapes.CLASSES)
    elif options.source is None:
        raise ConfigError(
            f"`latte prepare {options.dataset}` needs --source",
            hint="give the folder, or the archive as it was downloaded",
        )
    else:
        folder = _unpack(options.source, options.out, console)
        beside = None if folder == options.source else options.source.parent
        columns = ColumnChoice(options.video_column, options.caption_columns)
        sources, classes = find_videos(
            options.dataset, folder, labels=options.labels, beside=beside, columns=columns
        )
        left_out = count_left_out(options.dataset, folder, sources)
    chosen = [source for source in sources if options.split in ("all", source.split)]
    if not chosen:
        raise DataError(
            f"{options.source or options.out}: no videos of the split `{options.split}`",
            hint="--split all takes every video",
        )
    return chosen, classes, left_out


def _generate_shapes(options: PrepareOptions, console: Console) -> list[SourceVideo]:
    if options.size % 2:
        raise ConfigError(
            f"--size {options.size} is odd", hint="H.264 video needs an even number of pixels"
        )
    folder, count, size = options.out / "videos", options.count, options.size
    remove_unfinished(folder)
    videos = []
    with console.progress("generating", count, "videos") as bar:
        for video in shapes.write_videos(folder, count, seed=options.seed, size=size):
            videos.append(video)
            bar.advance()
    return videos


def _unpack(source: Path, out: Path, console: Console) -> Path:
    """The folder of an archive's contents; a source that is no archive, as it is."""
    with ExitStack() as stack:
        bar: Bar | None = None
        before = 0

        def show(done: int, total: int) -> None:
            nonlocal bar, before
            if bar is None or done == 0:  # archives within it have their own
                stack.close()
                bar, before = stack.enter_context(console.progress("unpacking", total, "files")), 0
            bar.advance(done - before)
            before = done

        return unpack(source, out, show)


def _check(
    videos: Mapping[str, SourceVideo], journal: Journal, options: PrepareOptions, console: Console
) -> None:
    """Decode every video without a current verdict in the journal."""
    timeout_s, rejected = options.timeout_s or TIMEOUT_S, 0
    todo = [
        name
        for name, source in videos.items()
        if (known := journal.get(name)) is None or not known.is_current(source, timeout_s)
    ]
    done = len(videos) - len(todo)
    if done:
        console.info(f"{done} of {len(videos)} videos were checked before")
    jobs = (Job(videos[name], options.out, journal.get(name)) for name in todo)
    workers = options.engine.processes(options.workers, usable_cpus())
    place = Place(workers, [path for path in (options.out, options.source) if path])
    work = VideoChecks(workers, timeout_s)
    with (
        console.progress("checking", len(videos), "videos") as bar,
        closing(options.engine.run(work, jobs, bar.advance, place)) as verdicts,
    ):
        bar.start(done)
        for _, verdict in verdicts:
            journal.add(verdict)
            if isinstance(verdict.outcome, Rejection):
                rejected += 1
                console.debug(f"rejected {verdict.outcome.path}: {verdict.outcome.reason}")
                bar.advance(0, f"{rejected} rejected")


def _write(
    videos: Mapping[str, SourceVideo],
    classes: Sequence[str],
    journal: Journal,
    options: PrepareOptions,
) -> DatasetSummary:
    """Write the data set's files; there may be too many records to hold in memory at once.

    Where no video is accepted, a manifest of before is kept.
    """
    out, source = options.out, options.source

    def outcomes() -> Iterator[VideoRecord | Rejection]:
        return without_duplicates(_outcomes(videos, journal, out, options.keep_pixels))

    accepted = (outcome for outcome in outcomes() if isinstance(outcome, VideoRecord))
    rejected = (outcome for outcome in outcomes() if isinstance(outcome, Rejection))
    name = as_text(url_of(source) or str(source.absolute())) if source else options.dataset
    summary = summarize(out, outcomes(), len(classes))
    if summary.accepted:
        write_dataset(out, accepted, rejected, classes, name)
    else:
        write_rejections(out, rejected)
    return summary


def _outcomes(
    videos: Mapping[str, SourceVideo], journal: Journal, out: Path, keep_pixels: bool
) -> Iterator[VideoRecord | Rejection]:
    """The verdict on each video, with its present label, split and caption."""
    for name, source in videos.items():
        verdict = journal.get(name)
        assert verdict is not None, f"{name} was not checked"
        outcome = verdict.outcome
        if isinstance(outcome, VideoRecord):
            outcome = replace(
                outcome,
                label=source.label,
                split=source.split,
                caption=source.caption,
                more_captions=source.more_captions,
                mask=None if source.mask is None else stored_path(source.mask, out),
            )
            if keep_pixels:
                outcome = outcome.with_stored_pixels()
        yield outcome
