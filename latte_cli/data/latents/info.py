"""What a folder of latents holds, in numbers."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from latte_cli.config.sections import DataConfig
from latte_cli.data.latents.reading import LatentVideo, read_index, read_meta
from latte_cli.data.manifest import MANIFEST, read_dataset
from latte_cli.runtime.errors import DataError


@dataclass(frozen=True)
class LatentInfo:
    """What `--info` tells.

    Attributes:
        out: the folder.
        vae: path of the autoencoder, as it was given.
        vae_fingerprint: hash of its weights and scale.
        latent_channels: of the latents.
        size: side of the frames, pixels.
        crop: how they were cut.
        flip: whether mirrored views are there.
        videos: how many are encoded.
        missing: how many the folder still lacks, as its own metadata has it.
        frames: of all videos.
        hours: how long the videos whose frame rate is known last; None without the data set.
        bytes: of all shards.
        clip: frames of a clip, and the interval between them.
        clips: how many windows of that length there are in all videos.
        too_short: videos that hold no such window.
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
    frames: int
    hours: float | None
    bytes: int
    clip: str
    clips: int
    too_short: int


def describe_latents(folder: Path, data_folder: Path, data: DataConfig) -> LatentInfo:
    """Read what there is.

    Args:
        folder: of the latents.
        data_folder: of the data set, for frame rates; it need not exist.
        data: says what a clip is.

    Raises:
        DataError: if there are no latents.
    """
    meta = read_meta(folder)
    if meta is None:
        raise DataError(f"{folder}: no latents here", hint="`latte encode-latents` makes them")
    videos = read_index(folder)
    windows = [max(0, video.frames - data.window + 1) for video in videos]
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
        frames=sum(video.frames for video in videos),
        hours=_hours_of(videos, data_folder),
        bytes=bytes_of(folder, videos),
        clip=f"{data.frames} frames, every {data.interval}",
        clips=sum(windows),
        too_short=windows.count(0),
    )


def bytes_of(folder: Path, videos: Iterable[LatentVideo]) -> int:
    """Size of all shards that hold these videos and are there."""
    shards = [folder / name for name in {video.shard for video in videos}]
    return sum(shard.stat().st_size for shard in shards if shard.is_file())


def _hours_of(videos: Iterable[LatentVideo], data_folder: Path) -> float | None:
    if not (data_folder / MANIFEST).is_file():
        return None
    rates = {video.sha256: video.fps for video in read_dataset(data_folder).videos}
    seconds = [v.frames / rates[v.sha256] for v in videos if rates.get(v.sha256)]
    return sum(seconds) / 3600
