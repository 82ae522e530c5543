"""Latents on disk: the VAE posterior of every frame of every video, in memory-mapped shards.

A shard is one safetensors file that holds, for its n-th video, `n.mean` and `n.std`, each
(f, c, h, w) float16, and for the mirrored view `n.flip.mean` and `n.flip.std`. Its metadata say
which videos these are and how they were encoded (`shards`). `meta.json` holds what all latents of
the folder have in common, `index.jsonl` one line per video: its shard and its position there.
"""

# Axes: f frames, c latent channels, h w latent size.

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from latte_cli.data.table import VideoTable
from latte_cli.data.texts.store import TextSet
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import read_json_lines, write_json_lines, write_text
from latte_cli.runtime.records import record_from
from latte_cli.runtime.remote.shards import RemoteShards, ShardItem
from latte_cli.runtime.remote.urls import url_of
from latte_cli.vae import Moments

INDEX = "index.jsonl"
META = "meta.json"
SUFFIX = ".safetensors"
KIND, VIDEOS = "kind", "videos"
"""Keys of a shard's metadata: how its latents were encoded; its videos, in order. Both are JSON."""

_MAX_OPEN_SHARDS = 256  # memory-mapped; each takes at most one file handle
_MAX_MAPPED_VIDEOS = 4096
_FLOAT16_BYTES = 2


@dataclass(frozen=True)
class LatentMeta:
    """What all latents of a folder have in common.

    Attributes:
        vae: path of the autoencoder, as it was given.
        vae_fingerprint: hash of its weights, scale and shift.
        scaling_factor: diffusion sees latents times this.
        latent_channels: channels of the latents.
        size: side of the encoded frames, pixels.
        crop: how the frames were cropped.
        flip: whether mirrored views are stored too.
        classes: names of the labels.
        videos: how many videos the finished folder holds.
        manifest: SHA-256 of the manifest the videos are from; empty if unknown.
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
        """The settings a video's latents depend on; the fingerprint includes the scale."""
        names = ("vae_fingerprint", "latent_channels", "size", "crop", "flip")
        return {name: getattr(self, name) for name in names}

    @property
    def tensor_suffixes(self) -> list[str]:
        """What follows a video's position in the names of its tensors, in the order of storage."""
        views = ("", ".flip") if self.flip else ("",)
        return [f"{view}.{part}" for view in views for part in ("mean", "std")]

    def bytes_per_frame(self, latent_size: int) -> int:
        """Size of one frame's latents: mean and deviation of every view, float16."""
        tensor = self.latent_channels * latent_size**2 * _FLOAT16_BYTES
        return tensor * len(self.tensor_suffixes)


@dataclass(frozen=True)
class LatentVideo:
    """One line of the index: a source video, and where its latents are stored."""

    path: str
    sha256: str
    frames: int
    label: int | None
    split: str
    shard: str
    position: int
    captions: tuple[str, ...] = ()


class LatentSet:
    """A finished folder of latents, open for reading by several threads.

    Attributes:
        folder: the folder.
        meta: what its latents have in common.
        table: frames, label, split, shard and position of each video.
        texts: its encoded captions, where they are needed.
    """

    texts: TextSet | None = None

    def __init__(self, folder: Path, meta: LatentMeta, table: VideoTable) -> None:
        self.folder = folder
        self.meta = meta
        self.table = table
        self._shard = lru_cache(maxsize=_MAX_OPEN_SHARDS)(self._open)
        self._video = lru_cache(maxsize=_MAX_MAPPED_VIDEOS)(self._map)
        url = url_of(folder)
        self._elsewhere = None if url is None else RemoteShards(url, self._items)

    @classmethod
    def open(cls, folder: Path) -> "LatentSet":
        """Read a folder's metadata and index.

        Raises:
            DataError: if there are no latents, the encoding is unfinished or the index is damaged.
        """
        meta, index = require_meta(folder), folder / INDEX
        if index.is_file():
            table = VideoTable.read(index, ("position",), ("split", "shard"), contents=True)
        if not index.is_file() or len(table) < meta.videos:
            encoded = len(table) if index.is_file() else 0
            raise DataError(
                f"{folder}: latents of {encoded} of {meta.videos} videos: the encoding was "
                "interrupted",
                hint="run the same `latte encode-latents` command again to finish it",
            )
        return cls(folder, meta, table)

    @property
    def flips(self) -> bool:
        """Whether mirrored views are stored."""
        return self.meta.flip

    @property
    def videos(self) -> list[LatentVideo]:
        """The lines of the index, in order."""
        return read_index(self.folder)

    def clip(self, number: int, frames: range, *, flip: bool = False) -> Moments:
        """The posterior of some frames of the n-th video, read-only.

        Returns:
            Each part (f, c, h, w) float16 in mapped memory: read from the disk on first access.

        Raises:
            DataError: if the shard is missing or damaged.
        """
        position = int(self.table.columns["position"][number])
        return self._read(self.table.word("shard", number), position, frames, flip)

    def fetch_ahead(self, numbers: Iterable[int]) -> None:
        """Begin to fetch videos that clips will soon be cut from, if they lie elsewhere."""
        if self._elsewhere is not None:
            positions = self.table.columns["position"]
            videos = ((self.table.word("shard", n), int(positions[n])) for n in numbers)
            self._elsewhere.fetch_ahead(videos)

    def close(self) -> None:
        """Fetch nothing more ahead."""
        if self._elsewhere is not None:
            self._elsewhere.close()

    @property
    def is_elsewhere(self) -> bool:
        """Whether latents are fetched through the network."""
        return self._elsewhere is not None

    def moments(self, video: LatentVideo, start: int, stop: int, *, flip: bool = False) -> Moments:
        """The posterior of frames start to stop of a video, each part (f, c, h, w) float32.

        Raises:
            DataError: if the shard is missing or damaged.
        """
        stored = self._read(video.shard, video.position, range(start, stop), flip)
        return Moments(stored.mean.float(), stored.std.float())

    def _read(self, shard: str, position: int, frames: range, flip: bool) -> Moments:
        view = f"{position}.flip" if flip else str(position)
        if self._elsewhere is not None:
            parts = self._elsewhere.read(shard, position)
            whole = Moments(parts[f"{view}.mean"], parts[f"{view}.std"])
        else:
            whole = self._video(shard, view)
        window = slice(frames.start, frames.stop, frames.step)
        return Moments(whole.mean[window], whole.std[window])

    def _map(self, shard: str, view: str) -> Moments:
        """All frames of a video, in mapped memory."""
        try:
            file = self._shard(shard)
            return Moments(file.get_tensor(f"{view}.mean"), file.get_tensor(f"{view}.std"))
        except (SafetensorError, FileNotFoundError) as error:
            raise DataError(
                f"{self.folder / shard}: missing or damaged",
                hint="`latte encode-latents --verify` lists the damaged shards; delete them and "
                "encode again",
            ) from error

    def _open(self, name: str) -> Any:
        return safe_open(self.folder / name, "pt")

    def _items(self, metadata: Mapping[str, str]) -> list[ShardItem]:
        """The tensors and the checksum of each video of a shard."""
        return [
            ShardItem(tuple(f"{n}{suffix}" for suffix in self.meta.tensor_suffixes), row["latents"])
            for n, row in enumerate(json.loads(metadata[VIDEOS]))
        ]


def read_meta(folder: Path) -> LatentMeta | None:
    """Read a folder's metadata; None if there are none.

    Raises:
        DataError: if they are damaged.
    """
    path = folder / META
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return record_from(LatentMeta, values)
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path) from error


def require_meta(folder: Path) -> LatentMeta:
    """Read the metadata of a folder that must hold latents.

    Raises:
        DataError: if there are none, or they are damaged.
    """
    meta = read_meta(folder)
    if meta is None:
        raise DataError(
            f"{folder}: no latents here",
            hint="`latte encode-latents` with the same preset makes them",
        )
    return meta


def read_index(folder: Path) -> list[LatentVideo]:
    """Read the index of the encoded videos; empty if there is none.

    Raises:
        DataError: if it is damaged.
    """
    path = folder / INDEX
    if not path.is_file():
        return []
    try:
        return [record_from(LatentVideo, row) for row in read_json_lines(path)]
    except (ValueError, TypeError) as error:
        raise _damaged(path) from error


def write_meta(folder: Path, meta: LatentMeta) -> None:
    """Write what all latents of a folder have in common."""
    write_text(folder / META, json.dumps(asdict(meta), indent=2) + "\n")


def write_index(folder: Path, videos: Iterable[LatentVideo]) -> None:
    """Write where the latents of each video are stored."""
    write_json_lines(folder / INDEX, (asdict(video) for video in videos))


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path}: damaged, or written by another version",
        hint="run `latte encode-latents` again; finished shards are kept",
    )
