"""Latents on disk: the posterior of every frame of every video, in memory-mapped shards.

A shard is one safetensors file that holds, for its n-th video, `n.mean` and `n.std`, each
(f, c, h, w) float16, and for the mirrored view `n.flip.mean` and `n.flip.std`. `index.jsonl` says
which video lies where; a shard counts from the moment that the index names it.
"""

# Axes: f frames, c latent channels, h w latent size.

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from latte_cli.errors import DataError
from latte_cli.files import read_json_lines, write_json_lines, write_tensors, write_text
from latte_cli.vae import Moments

_INDEX = "index.jsonl"
_META = "meta.json"
_SUFFIX = ".safetensors"
_SHARD_BYTES = 64 << 20


@dataclass(frozen=True)
class LatentMeta:
    """What all latents of a folder have in common; latents made otherwise are refused.

    `videos` is how many there are once the encoding is whole.
    """

    vae: str
    vae_fingerprint: str
    scaling_factor: float
    latent_channels: int
    size: int
    crop: str
    flip: bool
    classes: tuple[str, ...]
    videos: int


@dataclass(frozen=True)
class LatentVideo:
    """One line of the index: a source video, and where its latents lie."""

    path: str
    sha256: str
    frames: int
    label: int | None
    split: str
    shard: str
    position: int

    @property
    def key(self) -> tuple[str, str]:
        """What tells a video from all others, its content included."""
        return self.path, self.sha256


class LatentSet:
    """A folder of latents, open for reading."""

    def __init__(self, folder: Path, meta: LatentMeta, videos: Iterable[LatentVideo]) -> None:
        self.folder = folder
        self.meta = meta
        self.videos = tuple(videos)
        self._open: dict[str, Any] = {}

    @classmethod
    def open(cls, folder: Path) -> "LatentSet":
        """Read a folder's metadata and index.

        Raises:
            DataError: if there are no latents, or the index is damaged.
        """
        meta = read_meta(folder)
        if meta is None:
            raise DataError(
                f"{folder}: no latents here",
                hint="`latte encode-latents` makes them",
            )
        videos = read_index(folder)
        if len(videos) < meta.videos:
            raise DataError(
                f"{folder}: latents of {len(videos)} of {meta.videos} videos: the encoding was "
                "interrupted",
                hint="the same `latte encode-latents` goes on where it stopped",
            )
        return cls(folder, meta, videos)

    def moments(self, video: LatentVideo, start: int, stop: int, *, flip: bool = False) -> Moments:
        """The posterior of frames start to stop of a video, each part (f, c, h, w) float32.

        Raises:
            DataError: if the shard is missing or damaged.
        """
        view = f"{video.position}.flip" if flip else str(video.position)
        try:
            shard = self._shard(video.shard)
            mean, std = (shard.get_slice(f"{view}.{part}")[start:stop] for part in ("mean", "std"))
        except (SafetensorError, FileNotFoundError) as error:
            raise DataError(
                f"{self.folder / video.shard}: missing or damaged",
                hint=f"delete {self.folder} and run `latte encode-latents` again",
            ) from error
        return Moments(mean.float(), std.float())

    def _shard(self, name: str) -> Any:
        if name not in self._open:
            self._open[name] = safe_open(self.folder / name, "pt")
        return self._open[name]


class LatentWriter:
    """Collects the latents of videos and writes a shard whenever enough have come together.

    Args:
        folder: where they go.
        meta: what they have in common.
        keep: lines of the index there that still hold.
    """

    def __init__(self, folder: Path, meta: LatentMeta, keep: Iterable[LatentVideo] = ()) -> None:
        self.folder = folder
        self._meta = meta
        self._index = list(keep)
        self._waiting: list[tuple[LatentVideo, dict[str, torch.Tensor]]] = []
        self._waiting_bytes = 0
        self._shard = self._next_shard()
        self._write_meta(meta)
        if self._index:
            self._write_index()

    def add(self, video: Mapping[str, Any], views: Mapping[str, Moments]) -> None:
        """Take a video's latents.

        Args:
            video: path, sha256, frames, label and split, as in the index.
            views: posteriors by view, "" and, mirrored, ".flip"; each part (f, c, h, w).
        """
        position = len(self._waiting)
        tensors = {
            f"{position}{view}.{part}": value.half().cpu().contiguous()
            for view, moments in views.items()
            for part, value in (("mean", moments.mean), ("std", moments.std))
        }
        line = LatentVideo(**video, shard=self._shard, position=position)
        self._waiting.append((line, tensors))
        self._waiting_bytes += sum(value.nbytes for value in tensors.values())
        if self._waiting_bytes >= _SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what has come together: first the shard, then the index that names it."""
        if not self._waiting:
            return
        tensors = {name: value for _, part in self._waiting for name, value in part.items()}
        write_tensors(self.folder / self._shard, tensors)
        self._index += [video for video, _ in self._waiting]
        self._write_index()
        self._waiting, self._waiting_bytes = [], 0
        self._shard = self._next_shard()

    def finish(self) -> list[LatentVideo]:
        """Write the rest, and that this is all there is; the videos encoded."""
        self.flush()
        self._write_meta(replace(self._meta, videos=len(self._index)))
        return self._index

    def _write_meta(self, meta: LatentMeta) -> None:
        write_text(self.folder / _META, json.dumps(asdict(meta), indent=2) + "\n")

    def _write_index(self) -> None:
        write_json_lines(self.folder / _INDEX, (asdict(video) for video in self._index))

    def _next_shard(self) -> str:
        """The name after the last in the index; a file of that name is a crash's remnant."""
        numbers = [int(video.shard.removesuffix(_SUFFIX)[-5:]) for video in self._index]
        return f"shard-{max(numbers, default=-1) + 1:05d}{_SUFFIX}"


def read_meta(folder: Path) -> LatentMeta | None:
    """A folder's metadata; None where there is none."""
    path = folder / _META
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return LatentMeta(**{**values, "classes": tuple(values["classes"])})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path}: damaged, or of another version", hint=f"delete {folder} and encode again"
        ) from error


def read_index(folder: Path) -> list[LatentVideo]:
    """The videos whose latents are whole."""
    path = folder / _INDEX
    if not path.is_file():
        return []
    try:
        return [LatentVideo(**row) for row in read_json_lines(path)]
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path}: damaged, or of another version", hint=f"delete {folder} and encode again"
        ) from error
