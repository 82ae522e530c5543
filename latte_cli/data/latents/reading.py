"""Latents on disk: the posterior of every frame of every video, in memory-mapped shards.

A shard is one safetensors file that holds, for its n-th video, `n.mean` and `n.std`, each
(f, c, h, w) float16, and for the mirrored view `n.flip.mean` and `n.flip.std`. Its metadata tell
how they were made, and of which videos (`shards`). `index.jsonl` says which video lies where.
"""

# Axes: f frames, c latent channels, h w latent size.

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from latte_cli.data.table import VideoTable
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import read_json_lines
from latte_cli.vae import Moments

INDEX = "index.jsonl"
META = "meta.json"
SUFFIX = ".safetensors"
_MAKE_AGAIN = "run `latte encode-latents` again; what is whole is kept"
_OPEN_SHARDS = 256  # memory-mapped, each for one file handle at most
_KNOWN_VIDEOS = 4096  # whose place in mapped memory is kept at hand


@dataclass(frozen=True)
class LatentMeta:
    """What all latents of a folder have in common; latents made otherwise are refused.

    `videos` is how many there are once the encoding is whole; `manifest` is the checksum of the
    manifest that they are of, empty where that is not known.
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
    manifest: str = ""

    @property
    def kind(self) -> dict[str, str | int]:
        """What the latents of a video depend on beside the video; the fingerprint has the scale."""
        names = ("vae_fingerprint", "latent_channels", "size", "crop", "flip")
        return {name: getattr(self, name) for name in names}

    @property
    def views(self) -> tuple[str, ...]:
        """What the tensors of each view are called, after the video's number."""
        return ("", ".flip") if self.flip else ("",)


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
    """A folder of latents, open for reading by several threads.

    Attributes:
        folder: where they lie.
        meta: what they have in common.
        table: frames, label, split and place of each video.
    """

    def __init__(self, folder: Path, meta: LatentMeta, table: VideoTable) -> None:
        self.folder = folder
        self.meta = meta
        self.table = table
        self._shard = lru_cache(maxsize=_OPEN_SHARDS)(self._open)
        self._video = lru_cache(maxsize=_KNOWN_VIDEOS)(self._map)

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
        index = folder / INDEX
        if index.is_file():
            table = VideoTable.read(index, ("position",), ("split", "shard"), contents=True)
        if not index.is_file() or len(table) < meta.videos:
            there = len(table) if index.is_file() else 0
            raise DataError(
                f"{folder}: latents of {there} of {meta.videos} videos: the encoding was "
                "interrupted",
                hint="the same `latte encode-latents` goes on where it stopped",
            )
        return cls(folder, meta, table)

    @property
    def flips(self) -> bool:
        """Whether mirrored views are there."""
        return self.meta.flip

    @property
    def videos(self) -> list[LatentVideo]:
        """Every line of the index, in its order."""
        return read_index(self.folder)

    def clip(self, number: int, frames: range, *, flip: bool = False) -> Moments:
        """The posterior of some frames of the n-th video, not to be written to.

        Returns:
            Each part (f, c, h, w) float16, in mapped memory: read from the disk when looked at.

        Raises:
            DataError: if the shard is missing or damaged.
        """
        position = int(self.table.columns["position"][number])
        return self._read(self.table.word("shard", number), position, frames, flip)

    def moments(self, video: LatentVideo, start: int, stop: int, *, flip: bool = False) -> Moments:
        """The posterior of frames start to stop of a video, each part (f, c, h, w) float32.

        Raises:
            DataError: if the shard is missing or damaged.
        """
        drawn = self._read(video.shard, video.position, range(start, stop), flip)
        return Moments(drawn.mean.float(), drawn.std.float())

    def _read(self, shard: str, position: int, frames: range, flip: bool) -> Moments:
        view = f"{position}.flip" if flip else str(position)
        whole = self._video(shard, view)
        chosen = slice(frames.start, frames.stop, frames.step)
        return Moments(whole.mean[chosen], whole.std[chosen])

    def _map(self, shard: str, view: str) -> Moments:
        """A whole video, in mapped memory."""
        try:
            file = self._shard(shard)
            return Moments(file.get_tensor(f"{view}.mean"), file.get_tensor(f"{view}.std"))
        except (SafetensorError, FileNotFoundError) as error:
            raise DataError(
                f"{self.folder / shard}: missing or damaged",
                hint="`latte encode-latents --verify` tells what is; delete it and encode again",
            ) from error

    def _open(self, name: str) -> Any:
        return safe_open(self.folder / name, "pt")


def read_meta(folder: Path) -> LatentMeta | None:
    """A folder's metadata; None where there is none."""
    path = folder / META
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return LatentMeta(**{**values, "classes": tuple(values["classes"])})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: damaged, or of another version", hint=_MAKE_AGAIN) from error


def read_index(folder: Path) -> list[LatentVideo]:
    """The videos whose latents are whole."""
    path = folder / INDEX
    if not path.is_file():
        return []
    try:
        return [LatentVideo(**row) for row in read_json_lines(path)]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: damaged, or of another version", hint=_MAKE_AGAIN) from error
