"""`latte encode-latents`: every frame of every video through the autoencoder, once."""

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from latte_cli.config import Config, flatten, load_config
from latte_cli.config.locations import Locations
from latte_cli.data.latents.check import check_latents, count_checks
from latte_cli.data.latents.encoding import Encoder
from latte_cli.data.latents.encoding_run import encode_missing, finish_index
from latte_cli.data.latents.folder import LatentFolder
from latte_cli.data.latents.frame_reading import BatchReader, FrameReaders
from latte_cli.data.latents.info import LatentInfo, bytes_of, describe_latents
from latte_cli.data.latents.plan import Source
from latte_cli.data.latents.reading import LatentMeta, LatentSet, LatentVideo
from latte_cli.data.manifest import MANIFEST, Dataset, read_dataset
from latte_cli.data.prepared import prepared_frames
from latte_cli.runtime.console import Console, format_bytes
from latte_cli.runtime.devices import pick_device
from latte_cli.runtime.distributed import is_main, local_world_size
from latte_cli.runtime.errors import CheckpointError, ConfigError, DataError, VideoError
from latte_cli.runtime.files import sha256_of
from latte_cli.runtime.signals import Stopped
from latte_cli.sampling.generation import tile
from latte_cli.vae import LatentCodec, load_codec, psnr, to_pixels
from latte_cli.video_io import write_video

_PREVIEW_FRAMES = 48
_PREVIEW_NAME = 120  # bytes of a video's own name in a preview's: all have 255 at most, or 143
_MOST_WORKERS = 8


@dataclass(frozen=True)
class EncodeOptions:
    """What `latte encode-latents` was asked for beside its configuration.

    Attributes:
        out: the folder of latents; None: named after data, size and autoencoder.
        batch: frames encoded at once.
        workers: processes that decode; None: this process's share of the processors.
        preview: reconstructions to write as mp4.
        verify: only check what is there.
        info: only tell what is there.
        preset: what the configuration was made from; None: from options alone.
    """

    out: Path | None = None
    batch: int = 16
    workers: int | None = None
    preview: int = 0
    verify: bool = False
    info: bool = False
    preset: str | None = None


@dataclass(frozen=True)
class EncodeResult:
    """What came of it; `encoded_now` counts what all processes did since this one began."""

    out: Path
    videos: int
    encoded_now: int
    frames: int
    bytes: int
    unreadable: int
    preview_psnr_db: float | None


@dataclass(frozen=True)
class VerifyResult:
    """What `--verify` looked at, and what is wrong with each file that is not as it should be."""

    out: Path
    checked: int
    problems: dict[str, str]


def run(
    config: Config, locations: Locations, console: Console, options: EncodeOptions
) -> EncodeResult | VerifyResult | LatentInfo | None:
    """Encode what is not encoded yet, or look at what is.

    Returns:
        What came of it; None in every process of torchrun but the first.

    Raises:
        CheckpointError: if there is no such autoencoder, its latents are not as configured, or it
            gives numbers that are not finite.
        ConfigError: if the device's memory does not hold a batch, or options exclude each other.
        DataError: if there is no data set, there are no latents, the folder holds latents made in
            another way, or not one video can be read.
    """
    if options.verify + options.info + bool(options.preview) > 1:
        raise ConfigError(
            "--verify, --info and --preview exclude each other", hint="give one at a time"
        )
    out = options.out or locations.latents(config)
    if not (options.verify or options.info):
        result = _encode(config, locations, console, options, out)
        overrides = _training_overrides(options.preset, config, locations, out)
        if overrides and result is not None:
            command = shlex.join(["train", "--preset", options.preset or "PRESET", *overrides])
            console.say(f"to train on these latents:\n$ latte {command}")
        return result
    if not is_main():
        return None
    if options.info:
        return describe_latents(out, locations.data(config), config.data)
    return _verify(config, read_dataset(locations.data(config)), console, out)


def raise_if_wrong(result: object) -> None:
    """Raise DataError if the result is that of a check which found something."""
    if isinstance(result, VerifyResult) and result.problems:
        name, problem = next(iter(result.problems.items()))
        others = f", and {len(result.problems) - 1} more" if len(result.problems) > 1 else ""
        raise DataError(
            f"{result.out} is not as it should be: {name}: {problem}{others}",
            hint="delete the shards that are damaged, if any, and run the same without --verify",
        )


def _verify(config: Config, dataset: Dataset, console: Console, out: Path) -> VerifyResult:
    """Check everything; all but the autoencoder's identity can be checked without it."""
    fingerprint = None
    try:
        fingerprint = load_codec(config).fingerprint
    except CheckpointError as error:
        console.warn(f"not checked whether these are latents of {config.vae.path}: {error}")
    with console.progress("checking", count_checks(out, dataset), "files") as bar:
        problems = check_latents(out, dataset, config, fingerprint, bar.advance)
    return VerifyResult(out, count_checks(out, dataset), problems)


def _encode(
    config: Config, locations: Locations, console: Console, options: EncodeOptions, out: Path
) -> EncodeResult | None:
    """Encode what is missing; a video that cannot be read any more is named and left out.

    Any number of processes that see the same folders may do this at once: each claims a shard's
    worth of videos at a time. One of torchrun's that finds no more to claim ends, but for the
    first: that waits for the others, takes over what the dead had claimed, and writes the index.
    """
    dataset = read_dataset(locations.data(config))
    codec = load_codec(config, pick_device())
    codec.frames_at_a_time = options.batch
    meta = _meta_of(config, codec, dataset)
    folder = LatentFolder(out, meta, dataset, config.latent_size)
    there = len(folder.index())
    reader = BatchReader(dataset, config.data.size, config.data.crop, options.batch)
    try:
        with FrameReaders(reader, options.workers or _workers()) as readers:
            encode_missing(folder, Encoder(readers, codec, meta), console)
    except (KeyboardInterrupt, Stopped):
        if is_main():
            folder.write_index()  # of what is whole, for those who look
        raise
    except torch.OutOfMemoryError as error:
        raise _too_large(options.batch, config) from error
    if not is_main():
        return None
    videos = finish_index(folder)
    _tell_unused(folder, console)
    shown = videos[: options.preview]
    return EncodeResult(
        out=out,
        videos=len(videos),
        encoded_now=len(videos) - there,
        frames=sum(video.frames for video in videos),
        bytes=bytes_of(out, videos),
        unreadable=sum(source.key in folder.left_out for source in folder.sources),
        preview_psnr_db=_write_previews(out, shown, dataset, codec, config, console),
    )


def _too_large(batch: int, config: Config) -> ConfigError:
    return ConfigError(
        f"the device's memory does not hold {batch} frames of {config.data.size} px",
        hint=f"--batch {max(1, batch // 2)}",
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
        manifest=sha256_of(dataset.folder / MANIFEST),
    )


def _workers() -> int:
    """Processes that decode: this process's share of the processors."""
    return max(1, min(_MOST_WORKERS, (os.cpu_count() or 1) // local_world_size()))


def _tell_unused(folder: LatentFolder, console: Console) -> None:
    """Shards of videos that changed or left the data set are the user's to delete."""
    if unused := folder.unused():
        size = format_bytes(sum(path.stat().st_size for path in unused))
        console.say(
            f"{len(unused)} shards ({size}) hold nothing of this data set as it is now; they may "
            "be deleted"
        )
        console.detail(" ".join(path.name for path in unused))


def _write_previews(
    out: Path,
    videos: Sequence[LatentVideo],
    dataset: Dataset,
    codec: LatentCodec,
    config: Config,
    console: Console,
) -> float | None:
    """Original and reconstruction side by side for some videos; their mean PSNR in dB."""
    if not videos:
        return None
    latents = LatentSet.open(out)
    records = {str(dataset.path_of(video)): video for video in dataset.videos}
    size, crop, values = config.data.size, config.data.crop, []
    for number, video in enumerate(videos):
        record, shown = records[video.path], range(min(video.frames, _PREVIEW_FRAMES))
        try:
            Source(record, Path(video.path), None).check()
            frames = np.stack(list(prepared_frames(dataset, record, size, crop, shown)))
        except VideoError as error:
            console.warn(f"no preview: {error}")
            continue
        mean = latents.moments(video, 0, len(shown)).mean
        decoded = to_pixels(codec.decode(mean[None])[0]).cpu()
        values.append(psnr(torch.from_numpy(frames), decoded))
        name = Path(video.path).stem.encode()[:_PREVIEW_NAME].decode(errors="ignore")
        path = out / "previews" / f"{number:03d}-{name}.mp4"
        pair = tile([frames, decoded.numpy()], columns=2)
        write_video(path, pair, record.fps or config.sample.fps)
        console.say(f"{path}: {values[-1]:.1f} dB")
    return sum(values) / len(values) if values else None


def _training_overrides(
    preset: str | None, config: Config, locations: Locations, latents: Path
) -> list[str]:
    """The `-o` arguments with which `latte train` finds these latents; empty if none are needed.

    Args:
        preset: the preset that was encoded for; None: the schema's defaults.
        config: how they were encoded: the preset, changed by options and overrides.
        locations: of the same command.
        latents: their folder.
    """
    base = load_config(preset)
    used, default = flatten(config.model_dump()), flatten(base.model_dump())
    changed = {
        key: value
        for key, value in used.items()
        if key.startswith(("data.", "vae.")) and value != default[key]
    }
    if locations.data(config) == locations.data(base):
        changed.pop("data.root", None)
    if latents != locations.latents(config):
        changed["data.latents"] = str(latents)
    values = {k: v if isinstance(v, str) else json.dumps(v) for k, v in changed.items()}
    return [argument for k, v in values.items() for argument in ("-o", f"{k}={v}")]
