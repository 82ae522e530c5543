"""Extracts the features of all clips that have none yet; several processes share the work."""

# Axes: b clips, f frames, h height, w width, r rows of a clip, d width of a row.

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from latte_cli.evaluation.features.extractors import FeatureExtractor, Rows
from latte_cli.evaluation.features.store import FeatureStore
from latte_cli.evaluation.plan import ClipRef
from latte_cli.evaluation.sources.videos import Clip, ReadRequest, Source, Transform
from latte_cli.runtime.claims import HeldClaims
from latte_cli.runtime.console import Bar, Console
from latte_cli.runtime.distributed import is_main, own_shard_first
from latte_cli.runtime.engines.engine import LOCAL, Advance, Engine, Place
from latte_cli.runtime.errors import DataError

_CLIPS_PER_CHUNK = 64
_RETRY_S = 0.2  # while other processes are still at work

Task = tuple[str, ClipRef]
"""The name of an extractor, and a clip."""


@dataclass(frozen=True)
class Chunk:
    """What is missing of a chunk of tasks, and the name of its claim."""

    name: str
    tasks: Sequence[Task]


@dataclass
class Extracted:
    """What came of some tasks, by extractor and key of the clip, and the error that ended it."""

    rows: dict[str, dict[str, Rows]] = field(default_factory=dict)
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    error: BaseException | None = None


@dataclass(frozen=True)
class ClipExtraction:
    """Reads clips and extracts their features, as the work of an engine; progress: features.

    Attributes:
        source: of the videos.
        transform: applied to each clip first, for example compression.
        extractors: by name.
        batch: clips per batch; changes speed, not numbers.
    """

    source: Source
    transform: Transform
    extractors: Mapping[str, FeatureExtractor]
    batch: int

    def __call__(
        self, chunks: Iterable[Chunk], advance: Advance
    ) -> Iterator[tuple[Chunk, Extracted]]:
        """Extract the features of each chunk; what is finished is kept when an error ends it."""
        for chunk in chunks:
            found = Extracted()
            try:
                self._extract(chunk.tasks, found, advance)
            except BaseException as error:  # raised once what is there is stored
                found.error = error
            yield chunk, found

    def _extract(self, tasks: Sequence[Task], found: Extracted, advance: Advance) -> None:
        """Read each clip once and extract its features."""
        batches = {name: _Batch(self.extractors[name], self.batch) for name, _ in tasks}
        for name, batch in batches.items():
            found.rows[name], found.seconds[name] = batch.rows, batch.seconds
        requests, extractors_of = _by_video(tasks)
        for read in self.source.read(requests, self.transform):
            windows, count = read.request.windows, 0
            for window, clip in zip(windows, read.clips, strict=True):
                ref = ClipRef(read.request.video, window)
                for name in extractors_of[ref.key]:
                    count += batches[name].add(ref, clip, read.seconds / len(windows))
            if count:
                advance(count)
        for batch in batches.values():
            advance(batch.finish())


@dataclass(frozen=True)
class FeatureExtraction:
    """The extraction of features from one source.

    Attributes:
        work: how.
        stores: where their rows are kept, by name of the extractor.
        claims: folder in which processes claim the clips they work on.
        what: `real` or `fake`, for the progress bar.
        engine: where clips are read.
        on_progress: called after each video from which features were extracted; an exception that
            it raises ends the extraction.
    """

    work: ClipExtraction
    stores: Mapping[str, FeatureStore]
    claims: Path
    what: str
    engine: Engine = LOCAL
    on_progress: Callable[[], None] = lambda: None

    def run(self, clips: Mapping[str, Sequence[ClipRef]], console: Console) -> None:
        """Extract the missing features, except those that another process is working on.

        The main process returns when nothing is missing, the others possibly earlier. Features
        extracted before an error or an interruption are kept.

        Args:
            clips: of each extractor, by its name.
            console: shows progress.

        Raises:
            DataError: if a feature is not finite.
            VideoError: if a video can no longer be read.
        """
        chunks = list(_chunks(clips))
        total = sum(map(len, chunks))  # a clip of several draws counts once
        progress_console = console if is_main() else replace(console, quiet=True)
        with progress_console.progress(
            f"extracting features of {self.what} clips", total, "features"
        ) as bar:
            bar.start(total - sum(len(self._missing(chunk)) for chunk in chunks))
            while chunks := [chunk for chunk in chunks if self._missing(chunk)]:
                if self._extract_some(own_shard_first(chunks), bar):
                    continue
                if not is_main():
                    return
                time.sleep(_RETRY_S)
                self._refresh()

    def _extract_some(self, chunks: Sequence[Sequence[Task]], bar: Bar) -> bool:
        """Extract what no other process has claimed; False if there is nothing."""
        count = self.engine.processes(None, 1)

        def advance(count: int) -> None:
            bar.advance(count)
            if count > 0:
                self.on_progress()

        claimed_any = False
        with HeldClaims() as claims:
            items = self._claimed(chunks, claims)
            with closing(self.engine.run(self.work, items, advance, Place(count))) as answers:
                for chunk, found in answers:
                    claimed_any = True
                    for name, rows in found.rows.items():
                        self.stores[name].add(rows, found.seconds[name])
                    if found.error is not None:
                        raise found.error
                    claims.release(chunk.name)
        return claimed_any

    def _claimed(self, chunks: Sequence[Sequence[Task]], claims: HeldClaims) -> Iterator[Chunk]:
        """What is missing of each chunk, once it is claimed."""
        for chunk in chunks:
            name = _digest(chunk)
            if not claims.take(name, self.claims / name):
                continue
            self._refresh()  # another process may have finished it just before the claim
            if missing := self._missing(chunk):
                yield Chunk(name, missing)
            else:
                claims.release(name)

    def _missing(self, chunk: Sequence[Task]) -> list[Task]:
        return [(name, clip) for name, clip in chunk if clip.key not in self.stores[name]]

    def _refresh(self) -> None:
        for store in self.stores.values():
            store.refresh()


def _digest(chunk: Sequence[Task]) -> str:
    """A name for a chunk's claim."""
    text = "\n".join(f"{name} {clip.key}" for name, clip in chunk)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _chunks(clips: Mapping[str, Sequence[ClipRef]]) -> Iterator[list[Task]]:
    """Divide the work in a way that depends on `clips` only, so all processes divide it alike.

    All clips of a video are in one chunk, so that no video is decoded twice.
    """
    by_video: dict[str, list[Task]] = {}
    for name, refs in clips.items():
        for ref in {ref.key: ref for ref in refs}.values():
            by_video.setdefault(ref.video.name, []).append((name, ref))
    chunk: list[Task] = []
    for video in sorted(by_video):
        chunk += by_video[video]
        if len(chunk) >= _CLIPS_PER_CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _by_video(missing: Sequence[Task]) -> tuple[list[ReadRequest], dict[str, list[str]]]:
    """A request for each video, and the names of the extractors that need each clip, by its key."""
    clips: dict[str, dict[str, ClipRef]] = {}
    extractors_of: dict[str, list[str]] = {}
    for name, ref in missing:
        clips.setdefault(ref.video.name, {})[ref.key] = ref
        extractors_of.setdefault(ref.key, []).append(name)
    requests = [
        ReadRequest(next(iter(refs.values())).video, tuple(ref.window for ref in refs.values()))
        for refs in clips.values()
    ]
    return requests, extractors_of


@dataclass
class _Batch:
    """Collects clips for one extractor and runs it on each full batch."""

    extractor: FeatureExtractor
    size: int
    rows: dict[str, Rows] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _pending: list[tuple[ClipRef, Clip]] = field(default_factory=list)

    def add(self, ref: ClipRef, clip: Clip, seconds: float) -> int:
        """Add a clip; returns for how many clips features were extracted."""
        done = 0
        if self._pending and self._pending[0][1].shape != clip.shape:
            done = self.finish()
        self._pending.append((ref, clip))
        self.seconds[ref.key] = seconds
        return done + (self.finish() if len(self._pending) >= self.size else 0)

    def finish(self) -> int:
        """Extract the features of all pending clips; returns how many there were.

        Raises:
            DataError: if a feature is not finite; those of earlier clips are kept.
        """
        pending, self._pending = self._pending, []
        if not pending:
            return 0
        clips = torch.from_numpy(np.stack([clip for _, clip in pending]))
        for (ref, _), rows in zip(pending, self.extractor.rows(clips), strict=True):
            if not np.isfinite(rows).all():
                raise DataError(
                    f"{ref.video.name}: the features of {self.extractor.name} are not finite",
                    hint="check that video and the weights; features of other videos are kept",
                )
            self.rows[ref.key] = rows
        return len(pending)
