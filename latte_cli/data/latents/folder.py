"""A folder of latents while it is being encoded: what is there, what is missing, who does what.

What there is to do is cut into chunks (`latent_plan.chunks_of`), and what is missing of a chunk
becomes one shard. Processes agree through the folder alone: a shard counts from the moment that its
file is there, claims tell who works on which chunk, notes tell what could not be read. The index is
put together from the shards, in the manifest's order.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import torch

from latte_cli.data.latents.plan import Source, chunks_of, sources_of
from latte_cli.data.latents.reading import (
    INDEX,
    META,
    LatentMeta,
    LatentVideo,
    read_index,
    read_meta,
)
from latte_cli.data.latents.shards import Shards, index_line, shard_files
from latte_cli.data.latents.writer import ShardWriter, write_index, write_meta
from latte_cli.data.manifest import Dataset
from latte_cli.runtime.claims import claimed
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import PART

WORK = ".encoding"
"""Folder of claims and notes inside a folder of latents; gone once the encoding is whole."""

_NOTE, _CLAIM = ".left-out.json", ".claim"
_INDEX = f"index{_CLAIM}"
_LOOK_AGAIN_S = 0.2  # the index is soon written


class LatentFolder:
    """A folder that the latents of a data set are written to.

    Args:
        folder: where it lies; made when something is written.
        meta: how latents are made; `videos` is the number of the manifest's.
        dataset: the videos.
        latent_size: side of a frame's latents.

    Attributes:
        work: folder of what only those need who encode.
        sources: the videos of the manifest.
        chunks: the same, in pieces of about a shard each.
        left_out: keys of those that turned out to be unreadable in this run, here or elsewhere.

    Raises:
        DataError: if the folder holds latents made in another way.
    """

    def __init__(self, folder: Path, meta: LatentMeta, dataset: Dataset, latent_size: int) -> None:
        self.folder, self.meta = folder, meta
        self.work = folder / WORK
        self.sources = sources_of(dataset)
        self._latent_size = latent_size
        values = meta.latent_channels * latent_size**2 * 2 * len(meta.views)
        self.chunks = chunks_of(self.sources, values * torch.float16.itemsize)
        self.left_out: set[str] = set()
        self._shards = Shards(folder, meta)
        self._began = time.time()
        self.refresh()
        self._refuse_other_latents()

    def refresh(self) -> None:
        """See what other processes have done meanwhile."""
        self._shards.refresh()
        for path in self.work.glob(f"*{_NOTE}"):
            with suppress(FileNotFoundError, ValueError):  # the latter: half written yet
                # Of an earlier run it says nothing: a disk may be back.
                if path.stat().st_mtime >= self._began:
                    self.left_out.add(json.loads(path.read_text(encoding="utf-8"))["key"])

    def missing(self, number: int) -> list[Source]:
        """The videos of a chunk that are not encoded and may be readable."""
        return [
            source
            for source in self.chunks[number]
            if self._shards.find(source.key) is None and source.key not in self.left_out
        ]

    def claim(self, number: int) -> Path:
        """The claim on a chunk."""
        return self.work / f"{number:06d}{_CLAIM}"

    def writer(self, sources: Sequence[Source]) -> ShardWriter:
        """A writer of the shard that these videos become."""
        contents = [source.content for source in sources]
        return ShardWriter(self.folder, self.work, self.meta, self._latent_size, contents)

    def leave_out(self, source: Source, reason: str) -> None:
        """Note that a video is unreadable, so that no other process tries it, too."""
        self.left_out.add(source.key)
        name = sha256(source.key.encode()).hexdigest()[:16]
        note = json.dumps({"key": source.key, "reason": reason})
        (self.work / f"{name}{_NOTE}").write_text(note, encoding="utf-8")

    def index(self) -> list[LatentVideo]:
        """Every video of the manifest that is encoded, under its present path, label and split."""
        found = [(source, self._shards.find(source.key)) for source in self.sources]
        return [index_line(source, place) for source, place in found if place is not None]

    def begin(self) -> None:
        """Before anything is encoded: say how latents are made here, and forget what is gone.

        The index is written without what no longer holds, so that nobody learns from it meanwhile;
        then the metadata, which promise as many videos as the manifest has.
        """
        with self._index_is_ours():
            self._write(self.index(), self.meta.videos)

    def write_index(self) -> None:
        """Write the index of what is there by now, for those who look."""
        with self._index_is_ours():
            self.refresh()
            self._write(self.index(), self.meta.videos)

    def finish(self) -> list[LatentVideo]:
        """Write the index, say that this is all, and remove what only those need who encode.

        A folder that is whole is only read, since its disk may be read-only by now.
        """
        self.refresh()
        videos = self.index()
        if not (self._left_over() or self.work.exists() or self._unwritten(videos, len(videos))):
            return videos
        with self._index_is_ours():
            self.refresh()
            videos = self.index()
            self._write(videos, len(videos))
            for path in self._left_over():
                path.unlink(missing_ok=True)
        with suppress(OSError):  # another process is still there
            self.work.rmdir()
        return videos

    def _left_over(self) -> list[Path]:
        """What is of no use once all is encoded."""
        parts = (*self.folder.glob(f"{PART}*"), *self.work.glob(f"{PART}*"))
        return [*parts, *self.work.glob(f"*{_NOTE}")]

    def is_at_work(self) -> bool:
        """Whether any process holds a claim on a chunk; claims of the dead are removed."""
        for path in self.work.glob(f"*{_CLAIM}"):
            if path.name != _INDEX:
                with claimed(path) as is_ours:
                    if not is_ours:
                        return True
        return False

    def unused(self) -> list[Path]:
        """Shards that hold nothing of this data set; they are never deleted unasked."""
        wanted = {source.key for source in self.sources}
        return [
            path
            for path in shard_files(self.folder)
            if not any(
                stored.content.key in wanted for stored in self._shards.held.get(path.name, ())
            )
        ]

    def _refuse_other_latents(self) -> None:
        """Never mix latents of two kinds in a folder."""
        if not self._shards.foreign:
            return
        theirs, ours = next(iter(self._shards.foreign.values())), self.meta.kind
        other = [
            f"{name} {theirs[name]!r} instead of {value!r}"
            for name, value in ours.items()
            if theirs.get(name) != value
        ]
        raise DataError(
            f"{self.folder} holds latents made otherwise: {'; '.join(other)}",
            hint="give another --out, or delete that folder",
        )

    def _unwritten(self, videos: list[LatentVideo], promised: int) -> set[str]:
        """Which of index and metadata do not say so yet."""
        meta = replace(self.meta, videos=promised)
        same = {INDEX: videos == _index_there(self.folder), META: meta == _meta_there(self.folder)}
        return {name for name, is_same in same.items() if not is_same}

    def _write(self, videos: list[LatentVideo], promised: int) -> None:
        """Write index and metadata, where they do not say so already."""
        names = self._unwritten(videos, promised)
        if INDEX in names:
            write_index(self.folder, videos)
        if META in names:
            write_meta(self.folder, replace(self.meta, videos=promised))

    @contextmanager
    def _index_is_ours(self) -> Iterator[None]:
        """One process at a time: the same command may run on another machine."""
        while True:
            with claimed(self.work / _INDEX) as is_ours:
                if is_ours:
                    yield
                    return
            time.sleep(_LOOK_AGAIN_S)


def _index_there(folder: Path) -> list[LatentVideo] | None:
    """The index as it is; None where it is missing or damaged: the shards tell the same."""
    if not (folder / INDEX).is_file():
        return None
    with suppress(DataError):
        return read_index(folder)
    return None


def _meta_there(folder: Path) -> LatentMeta | None:
    """As `_index_there`."""
    with suppress(DataError):
        return read_meta(folder)
    return None
