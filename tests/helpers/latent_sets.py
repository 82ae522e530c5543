"""Folders of latents with chosen values, written as the encoder writes them."""

# Axes: v views, f frames, c latent channels, h w latent size.

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from latte_cli.data.latents.folder import WORK
from latte_cli.data.latents.plan import Content
from latte_cli.data.latents.reading import (
    LatentMeta,
    LatentSet,
    LatentVideo,
    write_index,
    write_meta,
)
from latte_cli.data.latents.shards import ShardWriter
from latte_cli.vae import Moments

Video = tuple[Mapping[str, Any], Sequence[Moments]]
"""Its line of the index without the shard, and the posterior of each view: (f, c, h, w)."""


def write_latents(
    folder: Path, meta: LatentMeta, videos: Sequence[Video], a_shard: int = 1000
) -> LatentSet:
    """Write shards of a number of videos each, the index and the metadata."""
    lines = []
    for first in range(0, len(videos), a_shard):
        some = videos[first : first + a_shard]
        name = write_shard(folder, meta, some).name
        lines += [LatentVideo(**row, shard=name, position=n) for n, (row, _) in enumerate(some)]
    write_index(folder, lines)
    write_meta(folder, replace(meta, videos=len(lines)))
    return LatentSet.open(folder)


def write_shard(folder: Path, meta: LatentMeta, videos: Sequence[Video]) -> Path:
    contents = [Content(row["sha256"], row["frames"]) for row, _ in videos]
    latent_size = videos[0][1][0].mean.shape[-1]
    with ShardWriter(folder, folder / WORK, meta, latent_size, contents) as writer:
        for number, (_, views) in enumerate(videos):
            parts = ([getattr(view, part) for view in views] for part in ("mean", "std"))
            writer.put(number, 0, Moments(*map(torch.stack, parts)))
        shard = writer.finish(range(len(videos)))
    (folder / WORK).rmdir()
    assert shard is not None
    return shard
