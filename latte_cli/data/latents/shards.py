"""Shards: what those of a folder hold, and writing new ones that appear whole or not at all.

Latents go to the disk as they are encoded, so an hour of video needs no more memory than a second.
"""

# Axes: v views, n frames of a batch, c latent channels, h w latent size.

import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open

from latte_cli.data.latents.plan import Content
from latte_cli.data.latents.reading import KIND, SUFFIX, VIDEOS, LatentMeta, LatentVideo
from latte_cli.runtime.files import PART
from latte_cli.runtime.records import record_from
from latte_cli.vae import Moments

_NAME = re.compile(r"shard-[0-9a-f]{16}" + re.escape(SUFFIX))
_CHUNK_BYTES = 1 << 20
_ALIGN = 8  # the header of a safetensors file is padded to a multiple of this


@dataclass(frozen=True)
class StoredVideo:
    """What a shard records of a video; path, label and split are in the index only.

    Attributes:
        content: what its latents depend on.
        latents: checksum of their bytes: each view's mean and deviation, in order.
    """

    content: Content
    latents: str


@dataclass(frozen=True)
class Place:
    """Where latents are stored: the name of the shard, and the video's position in it."""

    shard: str
    position: int


def shard_name(meta: LatentMeta, keys: Iterable[str]) -> str:
    """Name of the shard that holds the videos of these keys, encoded as `meta` says."""
    digest = sha256(json.dumps([meta.kind, list(keys)]).encode())
    return f"shard-{digest.hexdigest()[:16]}{SUFFIX}"


def shard_files(folder: Path) -> list[Path]:
    """The finished shards of a folder; unfinished ones have other names."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if _NAME.fullmatch(path.name))


class Shards:
    """The shards of a folder; a damaged one, or one of other settings, counts as empty.

    Args:
        folder: the folder.
        meta: how latents of this folder are encoded.

    Attributes:
        held: the videos of each shard, by the shard's name.
        foreign: the settings of shards that were encoded differently, by name.
    """

    def __init__(self, folder: Path, meta: LatentMeta) -> None:
        self.folder, self.meta = folder, meta
        self.held: dict[str, tuple[StoredVideo, ...]] = {}
        self.foreign: dict[str, dict[str, str | int]] = {}
        self._places: dict[str, Place] = {}

    def refresh(self) -> None:
        """Read shards that are new; a finished shard never changes."""
        paths = {path.name: path for path in shard_files(self.folder)}
        if not self.held.keys() <= paths.keys():
            self.held, self._places = {}, {}
        for name, path in paths.items():
            if self.held.get(name):
                continue
            self.held[name] = self._read(path)
            for position, stored in enumerate(self.held[name]):
                # Of two shards that hold a video, the one first by name always counts.
                other = self._places.get(stored.content.key)
                if other is None or name < other.shard:
                    self._places[stored.content.key] = Place(name, position)

    def find(self, key: str) -> Place | None:
        """Where the latents of this key are stored; None if they are not."""
        return self._places.get(key)

    def holds(self, video: LatentVideo) -> bool:
        """Whether a video of the index is where the index says."""
        held = self.held.get(video.shard, ())
        if video.position >= len(held):
            return False
        content = held[video.position].content
        return (content.sha256, content.frames) == (video.sha256, video.frames)

    def _read(self, path: Path) -> tuple[StoredVideo, ...]:
        try:
            with safe_open(path, "pt") as shard:
                metadata = shard.metadata() or {}
            kind = json.loads(metadata[KIND])
            if any(kind[name] != value for name, value in self.meta.kind.items()):
                self.foreign[path.name] = kind
                return ()
            return tuple(
                StoredVideo(latents=row.pop("latents"), content=record_from(Content, row))
                for row in json.loads(metadata[VIDEOS])
            )
        except (SafetensorError, FileNotFoundError, KeyError, ValueError, TypeError):
            return ()


class ShardWriter:
    """Collects the latents of some videos in an unnamed file, then writes them as shards.

    A shard is a safetensors file: the length of the header (8 bytes, little-endian), the header as
    JSON, and the tensors without gaps (huggingface.co/docs/safetensors, "Format"). The library
    itself can only write tensors that are all in memory.

    Args:
        folder: where the shard goes.
        work: a folder on the same disk for unfinished files.
        meta: how the latents are encoded.
        latent_size: side of a frame's latents.
        videos: the videos to be encoded, in the shard's order.
    """

    def __init__(
        self,
        folder: Path,
        work: Path,
        meta: LatentMeta,
        latent_size: int,
        videos: Sequence[Content],
    ) -> None:
        self._folder, self._work, self._meta, self._videos = folder, work, meta, videos
        self._shape = (meta.latent_channels, latent_size, latent_size)
        self._video_frame_bytes = meta.bytes_per_frame(latent_size)
        self._frame_bytes = self._video_frame_bytes // len(meta.tensor_suffixes)  # of one tensor
        self._offsets = [0]
        for video in videos:
            self._offsets.append(self._offsets[-1] + video.frames * self._video_frame_bytes)
        with self._errors_name_the_folder():
            work.mkdir(parents=True, exist_ok=True)
            # An unnamed file disappears with this process, however it ends.
            self._file: BinaryIO = TemporaryFile(dir=work)  # noqa: SIM115

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # flushing the buffer fails on a full disk
            self._file.close()

    def put(self, number: int, start: int, moments: Moments) -> None:
        """Store the latents of some frames of a video.

        Args:
            number: which of the videos.
            start: number of the first frame.
            moments: each part (v, n, c, h, w), the plain view first.
        """
        tensor_bytes = self._videos[number].frames * self._frame_bytes
        offset = self._offsets[number] + start * self._frame_bytes
        with self._errors_name_the_folder():
            for mean, std in zip(moments.mean, moments.std, strict=True):
                for value in (mean, std):
                    self._file.seek(offset)
                    stored = value.to("cpu", torch.float16).contiguous()
                    self._file.write(stored.numpy().tobytes())
                    offset += tensor_bytes

    def finish(self, complete: Sequence[int]) -> Path | None:
        """Write a shard; its name follows from what it holds. The others may follow in another one.

        Args:
            complete: the videos of which every frame was stored, in order; others are left out.

        Returns:
            The shard; None if no video is complete.
        """
        if not complete:
            return None
        part = self._work / f"{PART}{uuid.uuid4().hex}"  # two nodes may write the same shard
        with self._errors_name_the_folder():
            try:
                self._work.mkdir(parents=True, exist_ok=True)  # a user may have deleted it
                stored = [StoredVideo(self._videos[n], self._checksum(n)) for n in complete]
                with part.open("xb") as file:
                    file.write(self._header(stored))
                    for number in complete:
                        file.writelines(self._bytes(number))
                    file.flush()
                    os.fsync(file.fileno())
                name = shard_name(self._meta, (each.content.key for each in stored))
                os.replace(part, self._folder / name)
            finally:
                part.unlink(missing_ok=True)
        return self._folder / name

    def _header(self, stored: Sequence[StoredVideo]) -> bytes:
        rows = [{**video.content.as_row(), "latents": video.latents} for video in stored]
        kind = {"vae": self._meta.vae, **self._meta.kind}
        metadata = {KIND: json.dumps(kind), VIDEOS: json.dumps(rows)}
        header: dict[str, object] = {"__metadata__": metadata}
        end = 0
        for position, video in enumerate(stored):
            for suffix in self._meta.tensor_suffixes:
                begin, end = end, end + video.content.frames * self._frame_bytes
                header[f"{position}{suffix}"] = {
                    "dtype": "F16",
                    "shape": [video.content.frames, *self._shape],
                    "data_offsets": [begin, end],
                }
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGN)
        return len(text).to_bytes(8, "little") + text

    def _checksum(self, number: int) -> str:
        digest = sha256()
        for chunk in self._bytes(number):
            digest.update(chunk)
        return digest.hexdigest()

    def _bytes(self, number: int) -> Iterator[bytes]:
        """All latents of a video, a chunk at a time."""
        remaining = self._offsets[number + 1] - self._offsets[number]
        self._file.seek(self._offsets[number])
        while remaining:
            chunk = self._file.read(min(_CHUNK_BYTES, remaining))
            assert chunk, "not every latent was stored"
            remaining -= len(chunk)
            yield chunk

    @contextmanager
    def _errors_name_the_folder(self) -> Iterator[None]:
        """Errors of an unnamed file name no path: name the folder of latents instead."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._folder)) from error
