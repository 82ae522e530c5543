"""Writing latents: shards that appear whole, then the index that names them."""

# Axes: f frames, c latent channels, h w latent size.

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from latte_cli.data.latents import INDEX, META, SUFFIX, LatentMeta, LatentVideo
from latte_cli.files import write_json_lines, write_tensors, write_text
from latte_cli.vae import Moments

_SHARD_BYTES = 64 << 20


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
        write_text(self.folder / META, json.dumps(asdict(meta), indent=2) + "\n")

    def _write_index(self) -> None:
        write_json_lines(self.folder / INDEX, (asdict(video) for video in self._index))

    def _next_shard(self) -> str:
        """The name after the last in the index; a file of that name is a crash's remnant."""
        numbers = [int(video.shard.removesuffix(SUFFIX)[-5:]) for video in self._index]
        return f"shard-{max(numbers, default=-1) + 1:05d}{SUFFIX}"
