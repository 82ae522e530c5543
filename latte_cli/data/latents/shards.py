"""What lies in the shards of a folder, by their own word: of which videos, and how it was made."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError, safe_open

from latte_cli.data.latents.plan import Content, Source
from latte_cli.data.latents.reading import SUFFIX, LatentMeta, LatentVideo

KIND, VIDEOS = "kind", "videos"
"""Keys of a shard's metadata: how its latents were made; its videos, in order. Both are JSON."""

_NAME = re.compile(r"shard-[0-9a-f]{16}" + re.escape(SUFFIX))


@dataclass(frozen=True)
class StoredVideo:
    """What a shard tells of a video; what may change without its latents is in the index alone.

    Attributes:
        content: what its latents are made of.
        latents: checksum of their bytes: each view's mean and deviation, in order.
    """

    content: Content
    latents: str


@dataclass(frozen=True)
class Place:
    """Where latents lie: the name of the shard, and which of its videos they are."""

    shard: str
    position: int


def index_line(source: Source, place: Place) -> LatentVideo:
    """What the index tells of a video."""
    video = source.video
    return LatentVideo(
        path=str(source.path),
        sha256=video.sha256,
        frames=video.frames,
        label=video.label,
        split=video.split,
        shard=place.shard,
        position=place.position,
    )


def shard_name(meta: LatentMeta, keys: Iterable[str]) -> str:
    """Name of the shard that holds these videos, encoded in this way."""
    digest = sha256(json.dumps([meta.kind, list(keys)]).encode())
    return f"shard-{digest.hexdigest()[:16]}{SUFFIX}"


def shard_files(folder: Path) -> list[Path]:
    """The shards that lie in a folder; unfinished ones have other names."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if _NAME.fullmatch(path.name))


def shard_metadata(meta: LatentMeta, videos: Iterable[StoredVideo]) -> dict[str, str]:
    """What a shard tells of itself."""
    kind = json.dumps({"vae": meta.vae, **meta.kind})
    rows = [{**asdict(video.content), "latents": video.latents} for video in videos]
    return {KIND: kind, VIDEOS: json.dumps(rows)}


class Shards:
    """The whole shards of a folder; one that cannot be read, or was made otherwise, holds nothing.

    Args:
        folder: where they lie.
        meta: how latents of this folder are made.

    Attributes:
        held: the videos of each shard, by its name.
        foreign: how those shards were made that were made otherwise, by their names.
    """

    def __init__(self, folder: Path, meta: LatentMeta) -> None:
        self.folder, self.meta = folder, meta
        self.held: dict[str, tuple[StoredVideo, ...]] = {}
        self.foreign: dict[str, dict[str, str | int]] = {}
        self._where: dict[str, Place] = {}

    def refresh(self) -> None:
        """Read the shards that have come since; those that were there and whole do not change."""
        paths = {path.name: path for path in shard_files(self.folder)}
        if not self.held.keys() <= paths.keys():
            self.held, self._where = {}, {}
        for name, path in paths.items():
            if not self.held.get(name):
                self.held[name] = self._read(path)
                for position, stored in enumerate(self.held[name]):
                    self._remember(stored.content.key, Place(name, position))

    def find(self, key: str) -> Place | None:
        """Where latents of this key lie; None: nowhere."""
        return self._where.get(key)

    def _remember(self, key: str, place: Place) -> None:
        """Of two shards that hold a video, always the same one counts."""
        there = self._where.get(key)
        if there is None or place.shard < there.shard:
            self._where[key] = place

    def _read(self, path: Path) -> tuple[StoredVideo, ...]:
        try:
            with safe_open(path, "pt") as shard:
                metadata = shard.metadata() or {}
            kind = json.loads(metadata[KIND])
            if any(kind[name] != value for name, value in self.meta.kind.items()):
                self.foreign[path.name] = kind
                return ()
            return _videos(metadata)
        except (SafetensorError, FileNotFoundError, KeyError, ValueError, TypeError):
            return ()


def _videos(metadata: Mapping[str, str]) -> tuple[StoredVideo, ...]:
    return tuple(
        StoredVideo(latents=row.pop("latents"), content=Content(**row))
        for row in json.loads(metadata[VIDEOS])
    )
