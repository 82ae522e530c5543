"""The pass over a source that describes every clip still missing, shared out between processes."""

# Axes: b clips, f frames, h height, w width, r rows of a clip, d width of a row.

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from latte_cli.evaluation.features.extractors import FeatureExtractor
from latte_cli.evaluation.features.store import FeatureStore, Rows
from latte_cli.evaluation.plan import ClipRef
from latte_cli.evaluation.sources.videos import Clip, Finish, Source, Wanted
from latte_cli.runtime.claims import claimed
from latte_cli.runtime.console import Bar, Console
from latte_cli.runtime.distributed import is_main, own_shard_first
from latte_cli.runtime.errors import DataError

_CLIPS_A_CHUNK = 64
_LOOK_AGAIN_S = 0.2  # while other processes are still at work

Clips = Mapping[str, Sequence[ClipRef]]
"""The clips that each network is to describe."""


@dataclass(frozen=True)
class Pass:
    """Everything that describes one source.

    Attributes:
        source: its videos.
        finish: done to each clip before it is described.
        extractors: by name.
        stores: where their rows go, by name.
        claims: folder in which processes tell which clips they are at.
        batch: clips described at once; changes speed, not numbers.
        what: `real` or `fake`, for the progress bar.
        between: called whenever some clips were described; what it raises ends the pass.
    """

    source: Source
    finish: Finish
    extractors: Mapping[str, FeatureExtractor]
    stores: Mapping[str, FeatureStore]
    claims: Path
    batch: int
    what: str
    between: Callable[[], None] = lambda: None

    def run(self, clips: Clips, console: Console) -> None:
        """Describe what is missing, or what of it no other process is at.

        The main process comes back when nothing is missing; others may come back before. What was
        described is kept whatever happens.

        Raises:
            DataError: if a network's answer to a clip is not finite.
            VideoError: if a video cannot be read any more.
        """
        waiting = list(_chunks(clips))
        total = sum(map(len, waiting))  # a clip of several draws is described once
        speaker = console if is_main() else replace(console, quiet=True)
        with speaker.progress(f"describing {self.what} clips", total, "features") as bar:
            bar.start(total - sum(len(self._missing(chunk)) for chunk in waiting))
            while waiting := [chunk for chunk in waiting if self._missing(chunk)]:
                done = [self._chunk(chunk, bar) for chunk in own_shard_first(waiting)]
                if any(done):
                    continue
                if not is_main():
                    return
                time.sleep(_LOOK_AGAIN_S)
                for store in self.stores.values():
                    store.refresh()

    def _missing(self, chunk: "_Chunk") -> list[tuple[str, ClipRef]]:
        return [(name, clip) for name, clip in chunk if clip.key not in self.stores[name]]

    def _chunk(self, chunk: "_Chunk", bar: Bar) -> bool:
        """Describe what is missing of a chunk; False if another process is at it."""
        text = "\n".join(f"{name} {clip.key}" for name, clip in chunk)
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        with claimed(self.claims / digest[:16]) as is_ours:
            if not is_ours:
                return False
            for store in self.stores.values():
                store.refresh()  # it may have been done between the look and the claim
            self._describe(self._missing(chunk), bar)
        return True

    def _describe(self, missing: Sequence[tuple[str, ClipRef]], bar: Bar) -> None:
        """Read the clips, each once, and describe them; whatever was described is kept."""
        describing = {name: _Extraction(self.extractors[name], self.batch) for name, _ in missing}
        wanted, asked = _by_video(missing)
        try:
            for read in self.source.read(wanted, self.finish):
                windows, count = read.wanted.windows, 0
                for window, clip in zip(windows, read.clips, strict=True):
                    ref = ClipRef(read.wanted.video, window)
                    for name in asked[ref.key]:
                        described = describing[name].add(ref, clip, read.seconds / len(windows))
                        bar.advance(described)
                        count += described
                if count:
                    self.between()
            for each in describing.values():
                bar.advance(each.finish())
        finally:
            for name, each in describing.items():
                self.stores[name].add(each.rows, each.seconds)


_Chunk = Sequence[tuple[str, ClipRef]]


def _chunks(clips: Clips) -> Iterator[_Chunk]:
    """Pieces of work, cut by what is wanted alone, so that every process and run finds the same.

    A video is in one piece only, so that none is decoded twice.
    """
    by_video: dict[str, list[tuple[str, ClipRef]]] = {}
    for name, refs in clips.items():
        for ref in {ref.key: ref for ref in refs}.values():
            by_video.setdefault(ref.video.name, []).append((name, ref))
    chunk: list[tuple[str, ClipRef]] = []
    for video in sorted(by_video):
        chunk += by_video[video]
        if len(chunk) >= _CLIPS_A_CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _by_video(missing: Iterable[tuple[str, ClipRef]]) -> tuple[list[Wanted], dict[str, list[str]]]:
    """What to read of each video, and the networks that ask for each clip."""
    windows: dict[str, dict[str, ClipRef]] = {}
    asked: dict[str, list[str]] = {}
    for name, ref in missing:
        windows.setdefault(ref.video.name, {})[ref.key] = ref
        asked.setdefault(ref.key, []).append(name)
    wanted = [
        Wanted(next(iter(refs.values())).video, tuple(ref.window for ref in refs.values()))
        for refs in windows.values()
    ]
    return wanted, asked


@dataclass
class _Extraction:
    """Clips on their way through one network, some at a time."""

    extractor: FeatureExtractor
    batch: int
    rows: dict[str, Rows] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _waiting: list[tuple[ClipRef, Clip]] = field(default_factory=list)

    def add(self, ref: ClipRef, clip: Clip, seconds: float) -> int:
        """Take in a clip; how many were described because of it."""
        done = 0
        if self._waiting and self._waiting[0][1].shape != clip.shape:
            done = self.finish()
        self._waiting.append((ref, clip))
        self.seconds[ref.key] = seconds
        return done + (self.finish() if len(self._waiting) >= self.batch else 0)

    def finish(self) -> int:
        """Describe all that wait; how many those were.

        Raises:
            DataError: if the network's answer to one is not finite; those before it are kept.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return 0
        clips = torch.from_numpy(np.stack([clip for _, clip in waiting]))
        for (ref, _), rows in zip(waiting, self.extractor.rows(clips), strict=True):
            if not np.isfinite(rows).all():
                raise DataError(
                    f"{ref.video.name}: the features of {self.extractor.name} are not finite",
                    hint="look at that video, and at the weights; the others' features are kept",
                )
            self.rows[ref.key] = rows
        return len(waiting)
