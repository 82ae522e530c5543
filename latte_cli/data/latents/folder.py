"""A folder of latents while it is being encoded: what is done, what is missing, who does what.

Each chunk of the plan becomes one shard. Processes coordinate through the folder alone: a shard
counts once its file is there, claims say who works on which chunk, notes say which videos could not
be read. The index is put together from the shards, in the manifest's order.
"""

import json
import time
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from latte_cli.data.latents.plan import Source, chunks_of
from latte_cli.data.latents.reading import (
    INDEX,
    LatentMeta,
    LatentVideo,
    read_index,
    read_meta,
    write_index,
    write_meta,
)
from latte_cli.data.latents.shards import Place, Shards, shard_files
from latte_cli.runtime.claims import claimed_in_turn, wait_until_free
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import PART
from latte_cli.runtime.signals import hold_signals

WORK = ".encoding"
"""Folder of claims and notes inside a folder of latents; removed once the encoding is finished."""

_NOTE, _CLAIM = ".left-out.json", ".claim"
_INDEX_CLAIM = f"index{_CLAIM}"
_CLAIMS_GONE_S = 10.0  # after a shard is there, its claim is removed within this time


class LatentFolder:
    """A folder that the latents of a data set are written to.

    Args:
        folder: its path; made when something is written.
        meta: how latents are encoded, for all videos of the manifest.
        sources: the videos of the manifest.
        latent_size: side of a frame's latents.

    Attributes:
        work: folder of claims, notes and unfinished files.
        chunks: the videos, in chunks of about one shard each.
        left_out: keys of the videos that this run found unreadable, in any process.

    Raises:
        DataError: if the folder holds latents that were encoded differently.
    """

    def __init__(
        self, folder: Path, meta: LatentMeta, sources: list[Source], latent_size: int
    ) -> None:
        self.folder, self.meta, self.sources = folder, meta, sources
        self.latent_size = latent_size
        self.work = folder / WORK
        self.chunks = chunks_of(sources, meta.bytes_per_frame(latent_size))
        self.left_out: set[str] = set()
        self._shards = Shards(folder, meta)
        self._started = time.time()
        self.refresh()
        if self._shards.foreign:
            theirs = next(iter(self._shards.foreign.values()))
            differences = [
                f"{name} {theirs[name]!r} instead of {value!r}"
                for name, value in meta.kind.items()
                if theirs.get(name) != value
            ]
            raise DataError(
                f"{folder} holds latents with other settings: {'; '.join(differences)}",
                hint="give another --out, or delete that folder",
            )

    def refresh(self) -> None:
        """Find what other processes have done meanwhile."""
        self._shards.refresh()
        for path in self.work.glob(f"*{_NOTE}"):
            with suppress(FileNotFoundError, ValueError):  # ValueError: half written
                # Notes of an earlier run do not count: the video may be readable again.
                if path.stat().st_mtime >= self._started:
                    self.left_out.add(json.loads(path.read_text(encoding="utf-8"))["key"])

    def missing(self, number: int) -> list[Source]:
        """The videos of a chunk that are not encoded yet and may be readable."""
        return [
            source
            for source in self.chunks[number]
            if self._shards.find(source.key) is None and source.key not in self.left_out
        ]

    def claim(self, number: int) -> Path:
        """The file that claims a chunk."""
        return self.work / f"{number:06d}{_CLAIM}"

    def leave_out(self, source: Source, reason: str) -> None:
        """Note that a video is unreadable, so that no other process tries it."""
        self.left_out.add(source.key)
        name = sha256(source.key.encode()).hexdigest()[:16]
        note = json.dumps({"key": source.key, "reason": reason})
        (self.work / f"{name}{_NOTE}").write_text(note, encoding="utf-8")

    def index(self) -> list[LatentVideo]:
        """Every encoded video of the manifest, with its present path, label and split."""
        found = [(source, self._shards.find(source.key)) for source in self.sources]
        return [index_line(source, place) for source, place in found if place is not None]

    def write_index(self) -> None:
        """Write the index of what is encoded by now, without what no longer holds.

        The metadata promise all videos of the manifest, so the latents are not taken for complete.
        """
        with claimed_in_turn(self.work / _INDEX_CLAIM), hold_signals():
            self.refresh()
            self._write(self.index(), self.meta.videos)

    def finish(self) -> list[LatentVideo]:
        """Write the final index and remove claims, notes and unfinished files.

        A finished folder is only read: its disk may be read-only by now.

        Returns:
            The videos of the index.

        Raises:
            DataError: if no video was encoded.
        """
        claims = (path for path in self.work.glob(f"*{_CLAIM}") if path.name != _INDEX_CLAIM)
        wait_until_free(claims, _CLAIMS_GONE_S)
        self.refresh()
        videos = self.index()
        if self._leftovers() or self.work.exists() or not self._is_final(videos):
            with claimed_in_turn(self.work / _INDEX_CLAIM):
                self.refresh()
                videos = self.index()
                self._write(videos, len(videos))
                for path in self._leftovers():
                    path.unlink(missing_ok=True)
            with suppress(OSError):  # another process still uses it
                self.work.rmdir()
        if not videos:
            raise DataError(
                f"{self.folder}: no video could be encoded", hint="run `latte prepare` again"
            )
        return videos

    def unused(self) -> list[Path]:
        """Shards that hold no video of this data set; only the user deletes them."""
        keys = {source.key for source in self.sources}
        return [
            path
            for path in shard_files(self.folder)
            if not any(video.content.key in keys for video in self._shards.held.get(path.name, ()))
        ]

    def _leftovers(self) -> list[Path]:
        """Unfinished files and notes, of no use once everything is encoded."""
        parts = (*self.folder.glob(f"{PART}*"), *self.work.glob(f"{PART}*"))
        return [*parts, *self.work.glob(f"*{_NOTE}")]

    def _is_final(self, videos: list[LatentVideo]) -> bool:
        """Whether index and metadata list exactly these videos; damaged files do not."""
        with suppress(DataError):
            same_index = (self.folder / INDEX).is_file() and read_index(self.folder) == videos
            return same_index and read_meta(self.folder) == replace(self.meta, videos=len(videos))
        return False

    def _write(self, videos: list[LatentVideo], promised: int) -> None:
        write_index(self.folder, videos)
        write_meta(self.folder, replace(self.meta, videos=promised))


def index_line(source: Source, place: Place) -> LatentVideo:
    """A video's line of the index."""
    video = source.video
    return LatentVideo(
        path=str(source.path),
        sha256=video.sha256,
        frames=video.frames,
        label=video.label,
        split=video.split,
        shard=place.shard,
        position=place.position,
        captions=video.captions,
    )
