"""Writing latents: shards that appear whole, the index of all, and how they were made.

Latents go to the disk as they come, so that an hour of video takes no more memory than a second.
"""

# Axes: v views, n frames of a batch, c latent channels, h w latent size.

import json
import math
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import torch
from torch import Tensor

from latte_cli.data.latents.plan import Content
from latte_cli.data.latents.reading import INDEX, META, LatentMeta, LatentVideo
from latte_cli.data.latents.shards import StoredVideo, shard_metadata, shard_name
from latte_cli.runtime.files import PART, write_json_lines, write_text
from latte_cli.vae import Moments

_BYTES_AT_A_TIME = 1 << 20
_ALIGN = 8  # the header of a safetensors file is padded to a multiple of this


class ShardWriter:
    """Collects the latents of some videos in a nameless file, and writes the shard of them.

    A shard is a safetensors file: the length of a header (8 bytes, little-endian), the header as
    JSON, and the tensors without gaps (huggingface.co/docs/safetensors, "Format"). The library
    itself writes only what is in memory as a whole.

    Args:
        folder: where the shard goes.
        work: a folder on the same disk for what is unfinished.
        meta: how the latents are made.
        latent_size: side of a frame's latents.
        videos: what is going to be encoded, in the shard's order.
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
        self._frame_bytes = math.prod(self._shape) * torch.float16.itemsize
        self._parts = [f"{v}.{part}" for v in meta.views for part in ("mean", "std")]
        self._begins = [0]
        for video in videos:
            self._begins.append(self._begins[-1] + self._bytes_of(video))
        with self._disk():
            work.mkdir(parents=True, exist_ok=True)
            # Nothing is left of a file without a name, however this process ends.
            self._file: BinaryIO = TemporaryFile(dir=work)  # noqa: SIM115

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # what a full disk left in the buffer
            self._file.close()

    def put(self, number: int, start: int, moments: Moments) -> None:
        """Take the latents of some frames of a video.

        Args:
            number: which of the videos.
            start: their first frame.
            moments: each part (v, n, c, h, w), for every view of `LatentMeta.views`.
        """
        length = self._videos[number].frames * self._frame_bytes
        begin = self._begins[number] + start * self._frame_bytes
        pairs = zip(moments.mean, moments.std, strict=True)
        with self._disk():
            for at, value in enumerate(value for pair in pairs for value in pair):
                self._file.seek(begin + at * length)
                self._file.write(_bytes(value))

    def finish(self, whole: Sequence[int]) -> Path | None:
        """Write the shard, named after what it holds.

        Args:
            whole: which videos all latents were put in of, in order; the others are left out.

        Returns:
            The shard; None where no video is whole.
        """
        if not whole:
            return None
        part = self._work / f"{PART}{uuid.uuid4().hex}"  # two machines may write the same shard
        with self._disk():
            try:
                self._work.mkdir(parents=True, exist_ok=True)  # a user may have tidied up
                stored = [StoredVideo(self._videos[n], self._checksum(n)) for n in whole]
                with part.open("xb") as file:
                    file.write(self._header(stored))
                    for number in whole:
                        file.writelines(self._latents(number))
                    file.flush()
                    os.fsync(file.fileno())
                name = shard_name(self._meta, (each.content.key for each in stored))
                os.replace(part, self._folder / name)
            finally:
                part.unlink(missing_ok=True)
        return self._folder / name

    def _header(self, stored: Sequence[StoredVideo]) -> bytes:
        header: dict[str, object] = {"__metadata__": shard_metadata(self._meta, stored)}
        end = 0
        for position, video in enumerate(stored):
            for part in self._parts:
                begin, end = end, end + video.content.frames * self._frame_bytes
                header[f"{position}{part}"] = {
                    "dtype": "F16",
                    "shape": [video.content.frames, *self._shape],
                    "data_offsets": [begin, end],
                }
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGN)
        return len(text).to_bytes(8, "little") + text

    def _checksum(self, number: int) -> str:
        digest = sha256()
        for piece in self._latents(number):
            digest.update(piece)
        return digest.hexdigest()

    def _latents(self, number: int) -> Iterator[bytes]:
        """A video's bytes, a piece at a time."""
        left = self._bytes_of(self._videos[number])
        self._file.seek(self._begins[number])
        while left:
            piece = self._file.read(min(_BYTES_AT_A_TIME, left))
            assert piece, "every latent was put in"
            left -= len(piece)
            yield piece

    def _bytes_of(self, video: Content) -> int:
        return video.frames * self._frame_bytes * len(self._parts)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Errors of a file without a name tell no place; this one is the user's."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._folder)) from error


def _bytes(value: Tensor) -> bytes:
    return value.to("cpu", torch.float16).contiguous().numpy().tobytes()


def write_meta(folder: Path, meta: LatentMeta) -> None:
    """Write what all latents of a folder have in common."""
    write_text(folder / META, json.dumps(asdict(meta), indent=2) + "\n")


def write_index(folder: Path, videos: Iterable[LatentVideo]) -> None:
    """Write where the latents of each video lie."""
    write_json_lines(folder / INDEX, (asdict(video) for video in videos))
