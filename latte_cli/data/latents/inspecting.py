"""What a folder of latents holds, in numbers, and whether all of it is intact."""

# Axes: f frames, c latent channels, h w latent size.

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from latte_cli.config import Config
from latte_cli.config.sections import DataConfig
from latte_cli.data.latents.folder import WORK, index_line
from latte_cli.data.latents.plan import Source, sources_of
from latte_cli.data.latents.reading import INDEX, META, LatentVideo, read_index, require_meta
from latte_cli.data.latents.shards import Shards, StoredVideo, shard_files, shard_name
from latte_cli.data.manifest import MANIFEST, Dataset, read_dataset
from latte_cli.runtime.errors import DataError, VideoError
from latte_cli.runtime.workers import prefetch

Problem = tuple[str, str]
"""The name of a file, and what is wrong with it."""

_CHECKSUM_THREADS = 4  # hashing releases Python's lock
_FRAMES_AT_A_TIME = 256


@dataclass(frozen=True)
class LatentInfo:
    """What `--info` reports.

    Attributes:
        out: the folder.
        vae: path of the autoencoder, as it was given.
        vae_fingerprint: hash of its weights and scale.
        latent_channels: channels of the latents.
        size: side of the frames, pixels.
        crop: how the frames were cropped.
        flip: whether mirrored views are stored.
        videos: number of encoded videos.
        missing: number of videos that are not encoded yet, or whose shard is lost.
        lost_shards: number of shards of the index that are missing or damaged.
        frames: total number of frames.
        hours: total duration of the videos of known frame rate; None without the data set.
        bytes: total size of the shards.
        clip: frames of a clip, and the interval between them.
        clips: number of windows of a clip's length in all videos.
        too_short: number of videos shorter than such a window.
    """

    out: Path
    vae: str
    vae_fingerprint: str
    latent_channels: int
    size: int
    crop: str
    flip: bool
    videos: int
    missing: int
    lost_shards: int
    frames: int
    hours: float | None
    bytes: int
    clip: str
    clips: int
    too_short: int

    @property
    def told(self) -> str:
        """What is there, in a sentence."""
        missing = f", and {self.missing} are not encoded yet" if self.missing else ""
        return f"{self.out} holds the latents of {self.videos} videos{missing}."


def latent_info(folder: Path, data_folder: Path, data: DataConfig) -> LatentInfo:
    """Count what a folder of latents holds.

    Args:
        folder: the latents.
        data_folder: the data set, for frame rates; it need not exist.
        data: defines a clip's length.

    Raises:
        DataError: if there are no latents.
    """
    meta, index = require_meta(folder), read_index(folder)
    shards = Shards(folder, meta)
    shards.refresh()
    dataset = read_dataset(data_folder) if (data_folder / MANIFEST).is_file() else None
    if (folder / WORK).is_dir() and dataset is not None:  # not indexed yet
        found = [(source, shards.find(source.key)) for source in sources_of(dataset)]
        videos = [index_line(source, place) for source, place in found if place is not None]
    else:
        videos = [video for video in index if shards.holds(video)]
    windows = [max(0, video.frames - data.window + 1) for video in videos]
    hours = None
    if dataset is not None:
        fps = {video.sha256: video.fps for video in dataset.videos}
        hours = sum(v.frames / fps[v.sha256] for v in videos if fps.get(v.sha256)) / 3600
    return LatentInfo(
        out=folder,
        vae=meta.vae,
        vae_fingerprint=meta.vae_fingerprint,
        latent_channels=meta.latent_channels,
        size=meta.size,
        crop=meta.crop,
        flip=meta.flip,
        videos=len(videos),
        missing=max(0, meta.videos - len(videos)),
        lost_shards=len({v.shard for v in index if not shards.holds(v)}),
        frames=sum(video.frames for video in videos),
        hours=hours,
        bytes=shard_bytes(folder, videos),
        clip=f"{data.frames} frames, every {data.interval}",
        clips=sum(windows),
        too_short=windows.count(0),
    )


def shard_bytes(folder: Path, videos: Iterable[LatentVideo]) -> int:
    """Total size of the existing shards that hold these videos."""
    shards = [folder / name for name in {video.shard for video in videos}]
    return sum(shard.stat().st_size for shard in shards if shard.is_file())


def count_checks(folder: Path, dataset: Dataset) -> int:
    """How often `check_latents` calls back."""
    return len(shard_files(folder)) + len(dataset.videos)


def check_latents(
    folder: Path,
    dataset: Dataset,
    config: Config,
    fingerprint: str | None,
    on_done: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Check settings, index, every number of every shard, and the source videos.

    Args:
        folder: the latents.
        dataset: the prepared data set they were encoded from.
        config: `data` and `vae` say how they should be encoded.
        fingerprint: of the autoencoder they should be from; None if it is not available.
        on_done: called after each shard and each source video.

    Returns:
        The first problem of each file, causes before their consequences; empty if there are none.

    Raises:
        DataError: if there are no latents, or meta.json is damaged.
    """
    found: dict[str, str] = {}
    for name, problem in _Check(folder, dataset, config).problems(fingerprint, on_done):
        found.setdefault(name, problem)
    return found


class _Check:
    """A check of one folder of latents."""

    def __init__(self, folder: Path, dataset: Dataset, config: Config) -> None:
        self.folder, self.dataset, self.config = folder, dataset, config
        self.meta = require_meta(folder)
        self.sources = sources_of(dataset)
        self.shards = Shards(folder, self.meta)
        self.shards.refresh()

    def problems(self, fingerprint: str | None, on_done: Callable[[], None]) -> Iterator[Problem]:
        """All problems, causes before their consequences."""
        yield from ((META, problem) for problem in self._of_meta(fingerprint))
        if (self.folder / WORK).is_dir():
            yield WORK, "the encoding is still running, or was killed"
        for path in shard_files(self.folder):
            yield from ((path.name, problem) for problem in self._of_shard(path))
            on_done()
        try:
            yield from self._of_index(read_index(self.folder))
        except DataError as error:
            yield INDEX, str(error).removeprefix(f"{self.folder / INDEX}: ")
        for source, problem in prefetch(_problem_of_source, self.sources, _CHECKSUM_THREADS):
            if problem:
                yield str(source.path), problem
            on_done()

    def _of_meta(self, fingerprint: str | None) -> Iterator[str]:
        """Compare the metadata with the configuration, the autoencoder and the data set."""
        data, vae, meta = self.config.data, self.config.vae, self.meta
        for name, stored, configured in (
            ("size", meta.size, data.size),
            ("crop", meta.crop, data.crop),
            ("flip", meta.flip, data.flip),
            ("latent_channels", meta.latent_channels, vae.latent_channels),
        ):
            if stored != configured:
                yield f"{name} is {stored}, the configuration says {configured}"
        if fingerprint not in (None, meta.vae_fingerprint):
            yield f"made by another autoencoder than {vae.path} is now"
        if meta.classes != self.dataset.classes:
            yield "its classes are not those of the data set"

    def _of_index(self, index: list[LatentVideo]) -> Iterator[Problem]:
        """Compare the index with the manifest and with the metadata of the shards."""
        if len(index) != self.meta.videos:
            yield INDEX, f"has {len(index)} lines, {META} says {self.meta.videos}"
        lines = Counter(replace(line, path="") for line in index)  # data sets may be moved
        indexed = {line.sha256 for line in index}
        for source in self.sources:
            place = self.shards.find(source.key)
            line = None if place is None else replace(index_line(source, place), path="")
            if line is None:
                yield str(source.path), "no shard has its latents"
            elif lines[line]:
                lines[line] -= 1
            elif line.sha256 in indexed:
                yield str(source.path), "the index has another label, split or place for it"
            else:
                yield str(source.path), "not in the index"
        checksums = {source.video.sha256 for source in self.sources}
        for line in index:
            if line.sha256 not in checksums:
                yield line.path, "in the index, but not in the manifest"

    def _of_shard(self, path: Path) -> Iterator[str]:
        """Check a shard's name and every number in it."""
        if path.name in self.shards.foreign:
            yield "encoded with other settings than the others"
            return
        held = self.shards.held[path.name]
        if not held:
            yield "damaged"
            return
        if path.name != shard_name(self.meta, (stored.content.key for stored in held)):
            yield "its name does not match its content"
        try:
            with safe_open(path, "pt") as shard:
                names = set(shard.keys())
                for position, stored in enumerate(held):
                    problem = self._problem_of_latents(shard, names, position, stored)
                    if problem:
                        yield problem
        except (SafetensorError, OSError) as error:
            yield f"damaged ({error})"

    def _problem_of_latents(
        self, shard: Any, names: set[str], position: int, stored: StoredVideo
    ) -> str:
        """What is wrong with the latents of a video; empty if nothing is."""
        frames, side = stored.content.frames, self.meta.size // self.config.vae.downsample
        shape, digest = [frames, self.meta.latent_channels, side, side], sha256()
        for name in (f"{position}{suffix}" for suffix in self.meta.tensor_suffixes):
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


def _problem_of_source(source: Source) -> str:
    """What is wrong with a source video; empty if nothing is."""
    try:
        source.check()
    except VideoError as error:
        return str(error).removeprefix(f"{source.path}: ")
    return ""
