"""Whether latents are what they should be: every file, every number, and the videos behind them."""

# Axes: f frames, c latent channels, h w latent size.

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from latte_cli.config import Config
from latte_cli.data.latents.folder import WORK
from latte_cli.data.latents.plan import Source, sources_of
from latte_cli.data.latents.reading import (
    INDEX,
    META,
    LatentMeta,
    LatentVideo,
    read_index,
    read_meta,
)
from latte_cli.data.latents.shards import Shards, StoredVideo, index_line, shard_files, shard_name
from latte_cli.data.manifest import Dataset
from latte_cli.runtime.errors import DataError, VideoError
from latte_cli.runtime.prefetch import ahead

Problem = tuple[str, str]
"""What something is called, and what is wrong with it."""

_HASHING = 4  # threads; checksums are taken outside of Python's lock
_FRAMES_AT_A_TIME = 256


def check_latents(
    folder: Path,
    dataset: Dataset,
    config: Config,
    fingerprint: str | None,
    on_done: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Look at everything: settings, index, shards to the last number, and the source videos.

    Args:
        folder: of the latents.
        dataset: the prepared data set that they were made of.
        config: `data` and `vae` say how they are meant to be made.
        fingerprint: of the autoencoder that they are meant to be of; None where it is not at hand.
        on_done: called after each shard and each source video.

    Returns:
        The first thing that is wrong with each file, causes before what follows from them; empty
        where nothing is wrong.

    Raises:
        DataError: if there are no latents, or meta.json cannot be read.
    """
    meta = read_meta(folder)
    if meta is None:
        raise DataError(f"{folder}: no latents here", hint="`latte encode-latents` makes them")
    check = _Check(folder, meta, dataset, config, sources_of(dataset), Shards(folder, meta))
    found: dict[str, str] = {}
    for name, problem in check.problems(fingerprint, on_done):
        found.setdefault(name, problem)
    return found


def count_checks(folder: Path, dataset: Dataset) -> int:
    """How often `check_latents` will call back."""
    return len(shard_files(folder)) + len(dataset.videos)


@dataclass(frozen=True)
class _Check:
    """What is looked at."""

    folder: Path
    meta: LatentMeta
    dataset: Dataset
    config: Config
    sources: list[Source]
    shards: Shards

    def problems(self, fingerprint: str | None, on_done: Callable[[], None]) -> Iterator[Problem]:
        """All that is wrong, causes before what follows from them."""
        self.shards.refresh()
        yield from self._in_meta(fingerprint)
        if (self.folder / WORK).is_dir():
            yield WORK, "the encoding is under way, or was killed"
        for path in shard_files(self.folder):
            yield from ((path.name, problem) for problem in self._in_shard(path))
            on_done()
        try:
            yield from self._in_index(read_index(self.folder))
        except DataError as error:
            yield INDEX, str(error).removeprefix(f"{self.folder / INDEX}: ")
        for source, problem in ahead(_in_source, self.sources, _HASHING):
            if problem:
                yield str(source.path), problem
            on_done()

    def _in_meta(self, fingerprint: str | None) -> Iterator[Problem]:
        """Against the configuration, the autoencoder and the data set."""
        data, vae = self.config.data, self.config.vae
        stated = {"size": data.size, "crop": data.crop, "flip": data.flip}
        stated["latent_channels"] = vae.latent_channels
        for name, value in stated.items():
            if getattr(self.meta, name) != value:
                said = f"{name} is {getattr(self.meta, name)}, the configuration says {value}"
                yield META, said
        if fingerprint not in (None, self.meta.vae_fingerprint):
            yield META, f"made by another autoencoder than {vae.path} is now"
        if self.meta.classes != self.dataset.classes:
            yield META, "its classes are not those of the data set"

    def _in_index(self, index: list[LatentVideo]) -> Iterator[Problem]:
        """Lines against the manifest, and against what the shards say of themselves."""
        if len(index) != self.meta.videos:
            yield INDEX, f"has {len(index)} lines, {META} says {self.meta.videos}"
        said = Counter(replace(line, path="") for line in index)  # data sets may move
        known = {line.sha256 for line in index}
        for source in self.sources:
            place = self.shards.find(source.key)
            line = None if place is None else replace(index_line(source, place), path="")
            if line is not None and said[line]:
                said[line] -= 1
            elif line is None:
                yield str(source.path), "no shard has its latents"
            elif line.sha256 in known:
                yield str(source.path), "the index has another label, split or place for it"
            else:
                yield str(source.path), "not in the index"
        wanted = {source.video.sha256 for source in self.sources}
        for line in index:
            if line.sha256 not in wanted:
                yield line.path, "in the index, but not in the manifest"

    def _in_shard(self, path: Path) -> Iterator[str]:
        """Its name, and every number that it holds."""
        if path.name in self.shards.foreign:
            yield "made otherwise than the others"
            return
        held = self.shards.held[path.name]
        if not held:
            yield "damaged"
            return
        if path.name != shard_name(self.meta, (stored.content.key for stored in held)):
            yield "its name does not fit what it holds"
        try:
            with safe_open(path, "pt") as shard:
                names = set(shard.keys())
                for position, stored in enumerate(held):
                    problem = self._in_latents(shard, names, position, stored)
                    if problem:
                        yield problem
        except (SafetensorError, OSError) as error:
            yield f"damaged ({error})"

    def _in_latents(self, shard: Any, names: set[str], position: int, stored: StoredVideo) -> str:
        """What is wrong with the latents of a video; empty where nothing is."""
        frames, side = stored.content.frames, self.meta.size // self.config.vae.downsample
        shape, digest = [frames, self.meta.latent_channels, side, side], sha256()
        for name in [f"{position}{v}.{part}" for v in self.meta.views for part in ("mean", "std")]:
            if name not in names:
                return f"{name} is missing"
            tensor = shard.get_slice(name)
            if (tensor.get_dtype(), list(tensor.get_shape())) != ("F16", shape):
                return f"{name} is {tensor.get_dtype()} {tensor.get_shape()}, not F16 {shape}"
            for start in range(0, frames, _FRAMES_AT_A_TIME):
                value: Tensor = tensor[start : start + _FRAMES_AT_A_TIME]
                digest.update(value.numpy().tobytes())
                if not value.isfinite().all():
                    return f"{name} holds numbers that are not finite"
        return "" if digest.hexdigest() == stored.latents else f"video {position} is damaged"


def _in_source(source: Source) -> str:
    """What is wrong with the file of a video; empty where nothing is."""
    try:
        source.check()
    except VideoError as error:
        return str(error).removeprefix(f"{source.path}: ")
    return ""
