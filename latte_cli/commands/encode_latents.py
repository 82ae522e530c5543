"""`latte encode-latents`: every frame of every video through the autoencoder, once."""

# Axes: f frames, h height, w width, c latent channels.

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latte_cli.config import Config
from latte_cli.console import Console
from latte_cli.data.frames import Crop, prepare_frame
from latte_cli.data.latent_writer import LatentWriter
from latte_cli.data.latents import LatentMeta, LatentSet, LatentVideo, read_index, read_meta
from latte_cli.data.manifest import Dataset, VideoRecord, read_dataset
from latte_cli.devices import pick_device
from latte_cli.errors import DataError, VideoError
from latte_cli.generation import tile
from latte_cli.locations import Locations
from latte_cli.prefetch import ahead
from latte_cli.signals import Stopped
from latte_cli.vae import LatentCodec, Moments, load_codec, psnr, to_pixels, to_signal
from latte_cli.video_io import iter_frames, write_video

_PREVIEW_FRAMES = 48
_FRAMES_AT_A_TIME = 64
_VIDEOS_AHEAD = 1
_MAY_DIFFER = ("vae", "classes", "videos")


@dataclass(frozen=True)
class EncodeResult:
    """What came of it."""

    out: Path
    videos: int
    encoded_now: int
    frames: int
    bytes: int
    unreadable: int
    preview_psnr_db: float | None


def run(
    config: Config, locations: Locations, console: Console, *, out: Path | None, preview: int
) -> EncodeResult:
    """Encode what is not encoded yet; a video that cannot be read any more is named and left out.

    Raises:
        CheckpointError: if there is no such autoencoder, or its latents are not as configured.
        DataError: if there is no data set, or the folder holds latents made in another way.
    """
    dataset = read_dataset(locations.data(config))
    codec = load_codec(config, pick_device())
    out = out or locations.latents(config)
    meta = _meta_of(config, codec, dataset)
    _refuse_other_latents(out, meta)
    kept = _still_valid(read_index(out), dataset)
    known = {video.key for video in kept}
    todo = [video for video in dataset.videos if _key(video, dataset) not in known]
    if len(todo) < len(dataset.videos):
        console.say(f"{len(dataset.videos) - len(todo)} of {len(dataset.videos)} videos are there")
    writer = LatentWriter(out, meta, kept)
    unreadable = 0
    with console.progress("encoding", len(dataset.videos), "videos") as bar:
        bar.start(len(dataset.videos) - len(todo))
        read = partial(
            _read_prepared, dataset=dataset, size=config.data.size, crop=config.data.crop
        )
        try:
            for video, frames in ahead(read, todo, _VIDEOS_AHEAD):
                if isinstance(frames, VideoError):
                    console.warn(f"left out: {frames}")
                    unreadable += 1
                else:
                    entry = {name: getattr(video, name) for name in ("sha256", "label", "split")}
                    path, _ = _key(video, dataset)
                    views = _encode(codec, frames, flip=meta.flip)
                    writer.add({**entry, "path": path, "frames": len(frames)}, views)
                bar.advance()
        except (KeyboardInterrupt, Stopped):
            writer.flush()  # what is encoded need not be encoded again
            raise
    index = writer.finish()
    if not index:
        raise DataError(f"{out}: no video could be encoded", hint="run `latte prepare` again")
    return EncodeResult(
        out=out,
        videos=len(index),
        encoded_now=len(todo) - unreadable,
        frames=sum(video.frames for video in index),
        bytes=sum((out / shard).stat().st_size for shard in {video.shard for video in index}),
        unreadable=unreadable,
        preview_psnr_db=_write_previews(out, dataset, codec, config, preview) if preview else None,
    )


def _meta_of(config: Config, codec: LatentCodec, dataset: Dataset) -> LatentMeta:
    return LatentMeta(
        vae=config.vae.path,
        vae_fingerprint=codec.fingerprint,
        scaling_factor=codec.scaling_factor,
        latent_channels=codec.latent_channels,
        size=config.data.size,
        crop=config.data.crop,
        flip=config.data.flip,
        classes=dataset.classes,
        videos=len(dataset.videos),
    )


def _refuse_other_latents(out: Path, meta: LatentMeta) -> None:
    """Never mix latents of two kinds in a folder."""
    there = read_meta(out)
    if there is None:
        return
    ours, theirs = asdict(meta), asdict(there)
    other = [
        f"{name} {theirs[name]!r} instead of {ours[name]!r}"
        for name in ours
        if name not in _MAY_DIFFER and ours[name] != theirs[name]
    ]
    if other:
        raise DataError(
            f"{out} holds latents made otherwise: {'; '.join(other)}",
            hint="give another --out, or delete that folder",
        )


def _still_valid(index: Sequence[LatentVideo], dataset: Dataset) -> list[LatentVideo]:
    """What the manifest still knows of the index, under its present labels and splits."""
    records = {_key(video, dataset): video for video in dataset.videos}
    return [
        replace(video, label=records[video.key].label, split=records[video.key].split)
        for video in index
        if video.key in records
    ]


def _key(video: VideoRecord, dataset: Dataset) -> tuple[str, str]:
    """How the index names a video: where it lies, and its content."""
    return str(dataset.path_of(video)), video.sha256


def _read_prepared(
    video: VideoRecord, dataset: Dataset, size: int, crop: Crop
) -> Tensor | VideoError:
    """All frames of a video, cropped and resized: (f, size, size, 3) uint8, or why that failed."""
    path = dataset.path_of(video)
    frames = np.empty((video.frames, size, size, 3), np.uint8)
    count = 0
    try:
        for frame in iter_frames(path):
            if count < video.frames:
                frames[count] = prepare_frame(frame, size, crop)
            count += 1
    except VideoError as error:
        return error
    if count != video.frames:
        return VideoError(f"{path}: has {count} frames, the manifest says {video.frames}")
    return torch.from_numpy(frames)


def _encode(codec: LatentCodec, frames: Tensor, *, flip: bool) -> dict[str, Moments]:
    """The posterior of each view of a video: (f, c, h, w)."""
    views = {"": frames, ".flip": frames.flip(2)} if flip else {"": frames}
    return {name: _encode_view(codec, view) for name, view in views.items()}


def _encode_view(codec: LatentCodec, frames: Tensor) -> Moments:
    parts = [codec.encode(to_signal(part)[None]) for part in frames.split(_FRAMES_AT_A_TIME)]
    return Moments(
        torch.cat([part.mean[0] for part in parts]), torch.cat([part.std[0] for part in parts])
    )


def _write_previews(
    out: Path, dataset: Dataset, codec: LatentCodec, config: Config, count: int
) -> float:
    """Original and reconstruction side by side for some videos; their mean PSNR in dB."""
    latents = LatentSet.open(out)
    records = {_key(video, dataset): video for video in dataset.videos}
    values = []
    for number, video in enumerate(latents.videos[:count]):
        record = records[video.key]
        frames = _read_prepared(record, dataset, config.data.size, config.data.crop)
        if isinstance(frames, VideoError):
            continue
        frames = frames[:_PREVIEW_FRAMES]
        mean = latents.moments(video, 0, len(frames)).mean
        decoded = to_pixels(codec.decode(mean[None])[0]).cpu()
        values.append(psnr(frames, decoded))
        name = f"{number:03d}-{Path(video.path).stem}.mp4"
        pair = tile([frames.numpy(), decoded.numpy()], columns=2)
        write_video(out / "previews" / name, pair, record.fps or config.sample.fps)
    return sum(values) / len(values) if values else float("nan")
