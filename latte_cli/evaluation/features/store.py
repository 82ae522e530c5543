"""Features on disk: computed once per clip and extractor, then reused by any run."""

# Axes: n rows, r rows of a clip, d width of a row.

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from latte_cli.evaluation.plan import ClipRef
from latte_cli.metrics.frechet import Moments, frechet_distance, frechet_from_moments
from latte_cli.runtime.files import write_tensors, write_text

Rows = NDArray[np.float32]

_META = "meta.json"
_ROWS_AT_A_TIME = 1024


@dataclass(frozen=True)
class _StoredClip:
    """Which rows of which file belong to a clip, and the time it took to generate the clip."""

    file: Path
    rows: slice
    seconds: float


class FeatureStore:
    """A folder of files, each with the rows of some clips; other processes may add to it.

    Args:
        root: folder of all stores.
        name: of the network.
        settings: everything that rows depend on besides the clip; the folder's name is its hash.
    """

    def __init__(self, root: Path, name: str, settings: Mapping[str, Any]) -> None:
        self._meta = {"network": name, **settings}
        text = json.dumps(self._meta, sort_keys=True)
        self.folder = root / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        self._clips: dict[str, _StoredClip] = {}
        self._files_read: set[Path] = set()
        self.refresh()

    def refresh(self) -> None:
        """Read which clips have been added, by any process; damaged files are deleted."""
        for file in sorted(set(self.folder.glob("part-*.safetensors")) - self._files_read):
            try:
                self._clips |= _read_index(file)
            except (SafetensorError, ValueError, KeyError, TypeError):
                file.unlink(missing_ok=True)
                continue
            except FileNotFoundError:  # another process has deleted it as damaged
                continue
            self._files_read.add(file)

    def __contains__(self, key: str) -> bool:
        return key in self._clips

    def row_count(self, key: str) -> int:
        """The number of rows of a clip."""
        rows = self._clips[key].rows
        return int(rows.stop - rows.start)

    def seconds(self, keys: Iterable[str]) -> list[float]:
        """The time it took to generate each of these clips."""
        return [self._clips[key].seconds for key in keys]

    def add(self, rows: Mapping[str, Rows], seconds: Mapping[str, float]) -> None:
        """Write the rows of some clips, each (r, d) float32, to a new file.

        Raises:
            OSError: if it cannot be written, for example because the disk is full.
        """
        if not rows:
            return
        meta = self.folder / _META
        if not meta.is_file():
            write_text(meta, json.dumps(self._meta, indent=2) + "\n")
        keys = list(rows)
        name = hashlib.sha256("\n".join(keys).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        tensors = {
            "rows": torch.from_numpy(np.concatenate([rows[key] for key in keys])),
            "counts": torch.tensor([len(rows[key]) for key in keys]),
            "seconds": torch.tensor([seconds.get(key, 0.0) for key in keys], dtype=torch.float64),
        }
        file = self.folder / f"part-{name}.safetensors"
        write_tensors(file, tensors, {"keys": json.dumps(keys)})
        self.refresh()

    def blocks(self, keys: Iterable[str]) -> Iterator[tuple[str, Rows]]:
        """Each clip's key and rows, file by file, with one file in memory at a time."""
        by_file: dict[Path, list[str]] = {}
        for key in keys:
            by_file.setdefault(self._clips[key].file, []).append(key)
        for file, inside in by_file.items():
            with safe_open(file, "np") as opened:
                rows = opened.get_tensor("rows")
            for key in inside:
                yield key, rows[self._clips[key].rows]

    def matrix(self, keys: Sequence[str]) -> Rows:
        """The rows of these clips, in their order: (sum of r, d)."""
        found = dict(self.blocks(keys))
        return np.concatenate([found[key] for key in keys])


def _read_index(file: Path) -> dict[str, _StoredClip]:
    """The clips of a file, by key."""
    with safe_open(file, "np") as opened:
        keys = json.loads(opened.metadata()["keys"])
        counts, seconds = opened.get_tensor("counts"), opened.get_tensor("seconds")
        if counts.sum() != opened.get_slice("rows").get_shape()[0]:
            raise ValueError("rows are missing")
    ends = np.cumsum(counts)
    return {
        key: _StoredClip(file, slice(int(end - count), int(end)), float(took))
        for key, end, count, took in zip(keys, ends, counts, seconds, strict=True)
    }


AnyFeatures = TypeVar("AnyFeatures", bound="ClipSetFeatures")


class ClipSetFeatures(Protocol):
    """The features of a set of clips, as Fréchet distances and the bootstrap need them."""

    def resampled(self: AnyFeatures, random: np.random.RandomState) -> AnyFeatures:
        """Features of as many clips, sampled from these with replacement."""

    def distance(self: AnyFeatures, other: AnyFeatures, ddof: int) -> float:
        """The Fréchet distance."""


class ClipFeatures:
    """One row per clip, (n, d) in memory."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    @classmethod
    def load(cls, store: FeatureStore, clips: Sequence[ClipRef]) -> ClipFeatures:
        """Read the rows of some clips."""
        return cls(store.matrix([clip.key for clip in clips]))

    def resampled(self, random: np.random.RandomState) -> ClipFeatures:
        """See `ClipSetFeatures`."""
        return ClipFeatures(self._rows[random.randint(len(self._rows), size=len(self._rows))])

    def distance(self, other: ClipFeatures, ddof: int) -> float:
        """See `ClipSetFeatures`."""
        return frechet_distance(self._rows, other._rows, ddof)


class FrameFeatures:
    """One row per frame; only mean and covariance are in memory, the rows are read from disk.

    Args:
        store: holds the rows.
        clips: may contain a clip several times.
    """

    def __init__(self, store: FeatureStore, clips: Sequence[ClipRef]) -> None:
        self._store, self._clips = store, clips

    def resampled(self, random: np.random.RandomState) -> FrameFeatures:
        """See `ClipSetFeatures`."""
        chosen = random.randint(len(self._clips), size=len(self._clips))
        return FrameFeatures(self._store, [self._clips[index] for index in chosen])

    def distance(self, other: FrameFeatures, ddof: int) -> float:
        """See `ClipSetFeatures`."""
        return frechet_from_moments(self._moments, other._moments, ddof)

    @cached_property
    def _moments(self) -> Moments:
        times = Counter(clip.key for clip in self._clips)
        total: Moments | None = None
        pending: list[Rows] = []
        for key, rows in self._store.blocks(times):
            pending += [rows] * times[key]
            if sum(map(len, pending)) >= _ROWS_AT_A_TIME:
                total, pending = _merged(total, pending), []
        return _merged(total, pending) if pending or total is None else total


def _merged(total: Moments | None, pending: list[Rows]) -> Moments:
    moments = Moments.of(np.concatenate(pending))
    if total is None:
        return moments
    total.merge(moments)
    return total
