"""Features on disk: computed once for a clip and a way to describe it, found again by any run."""

# Axes: k clips, r rows of a clip, d width of a row.

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from latte_cli.runtime.files import write_tensors, write_text

Rows = NDArray[np.float32]

_META = "meta.json"


@dataclass(frozen=True)
class _Place:
    """Where a clip's rows lie: which rows of which file, and what drawing the clip took."""

    file: Path
    rows: slice
    seconds: float


class FeatureStore:
    """A folder of files, each with the rows of some clips; it may grow while it is open.

    Args:
        root: folder of all stores.
        name: of the network.
        made: all that rows depend on beside the clip; the folder is named after it.
    """

    def __init__(self, root: Path, name: str, made: Mapping[str, Any]) -> None:
        text = json.dumps({"network": name, **made}, sort_keys=True)
        self.folder = root / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        self._made = {"network": name, **made}
        self._places: dict[str, _Place] = {}
        self._known: set[Path] = set()
        self.refresh()

    def refresh(self) -> None:
        """Take note of what has been added since, by any process; what is damaged is deleted."""
        for file in sorted(set(self.folder.glob("part-*.safetensors")) - self._known):
            try:
                self._places |= _places(file)
            except (SafetensorError, ValueError, KeyError, TypeError):
                file.unlink(missing_ok=True)
                continue
            except FileNotFoundError:  # another process found it damaged
                continue
            self._known.add(file)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def rows_of(self, key: str) -> int:
        """How many rows a clip has."""
        rows = self._places[key].rows
        return int(rows.stop - rows.start)

    def seconds(self, keys: Iterable[str]) -> list[float]:
        """What drawing each of these clips took."""
        return [self._places[key].seconds for key in keys]

    def add(self, rows: Mapping[str, Rows], seconds: Mapping[str, float]) -> None:
        """Keep the rows of some clips, each (r, d) float32, in a file of their own.

        Raises:
            OSError: if it cannot be written, the disk being full in particular.
        """
        if not rows:
            return
        meta = self.folder / _META
        if not meta.is_file():
            write_text(meta, json.dumps(self._made, indent=2) + "\n")
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

    def blocks(self, keys: Sequence[str]) -> Iterator[tuple[str, Rows]]:
        """Each clip's key and rows, file by file: only one file is in memory at a time."""
        wanted: dict[Path, list[str]] = {}
        for key in keys:
            wanted.setdefault(self._places[key].file, []).append(key)
        for file, inside in wanted.items():
            with safe_open(file, "np") as opened:
                rows = opened.get_tensor("rows")
            for key in inside:
                yield key, rows[self._places[key].rows]

    def matrix(self, keys: Sequence[str]) -> Rows:
        """The rows of these clips, in their order: (sum of r, d)."""
        found = dict(self.blocks(keys))
        return np.concatenate([found[key] for key in keys])


def _places(file: Path) -> dict[str, _Place]:
    with safe_open(file, "np") as opened:
        keys = json.loads(opened.metadata()["keys"])
        counts, seconds = opened.get_tensor("counts"), opened.get_tensor("seconds")
        if counts.sum() != opened.get_slice("rows").get_shape()[0]:
            raise ValueError("rows are missing")
    ends = np.cumsum(counts)
    return {
        key: _Place(file, slice(int(end - count), int(end)), float(took))
        for key, end, count, took in zip(keys, ends, counts, seconds, strict=True)
    }
