"""`latte encode-latents`: every frame of every video through the autoencoder, once."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from latte_cli.config import Config
from latte_cli.config.locations import Locations
from latte_cli.data.latents.encoding import ChunkEncoding, Encoder
from latte_cli.data.latents.folder import LatentFolder
from latte_cli.data.latents.frame_reading import BatchReader
from latte_cli.data.latents.inspecting import (
    LatentInfo,
    check_latents,
    count_checks,
    latent_info,
    shard_bytes,
)
from latte_cli.data.latents.plan import sources_of
from latte_cli.data.latents.reading import SUFFIX, LatentMeta
from latte_cli.data.manifest import MANIFEST, Dataset, read_dataset
from latte_cli.data.texts.inspecting import TextInfo
from latte_cli.runtime.console import Console, format_bytes
from latte_cli.runtime.devices import pick_device
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.engines.engine import LOCAL, Engine, Place
from latte_cli.runtime.errors import CheckpointError, ConfigError, DataError
from latte_cli.runtime.files import sha256_of
from latte_cli.runtime.remote.access import list_files
from latte_cli.runtime.remote.folders import upload_folder
from latte_cli.runtime.remote.urls import url_of
from latte_cli.runtime.signals import Stopped
from latte_cli.sampling.pictures.reconstructions import write_reconstructions
from latte_cli.sampling.pipelines.captions import (
    captions_info,
    check_captions,
    check_encoding,
    count_caption_checks,
    encode_captions,
)
from latte_cli.vae import load_codec

_MAX_WORKERS = 8


@dataclass(frozen=True)
class EncodeOptions:
    """Options of `latte encode-latents` that are not part of its configuration.

    Attributes:
        out: the folder of latents; None: named after data, size and autoencoder.
        batch: frames encoded at once.
        workers: processes that decode, in each place where the engine works; None: as many as it
            decides.
        preview: number of reconstructions to write as mp4.
        verify: only check what is there.
        info: only report what is there.
        engine: where the videos are encoded.
    """

    out: Path | None = None
    batch: int = 16
    workers: int | None = None
    preview: int = 0
    verify: bool = False
    info: bool = False
    engine: Engine = LOCAL


@dataclass(frozen=True)
class EncodeResult:
    """Result of encoding; `encoded_now` counts the work of all processes since this one began."""

    out: Path
    videos: int
    encoded_now: int
    frames: int
    bytes: int
    unreadable: int
    preview_psnr_db: float | None
    captions: int | None = None
    captions_encoded_now: int | None = None

    @property
    def told(self) -> str:
        """What was made, in a sentence."""
        return f"{self.out} holds the latents of {self.videos} videos."


@dataclass(frozen=True)
class VerifyResult:
    """Result of `--verify`: how many files were checked, and the problem of each bad one."""

    out: Path
    checked: int
    problems: dict[str, str]

    @property
    def told(self) -> str:
        """What was found, in a sentence; only said if there are no problems."""
        return f"{self.out} is whole."


@dataclass(frozen=True)
class EncodedInfo(TextInfo, LatentInfo):
    """What `--info` reports of a data set whose captions are encoded, too."""

    @property
    def told(self) -> str:
        """What is there, in a sentence."""
        missing = f", and {self.missing_texts} are not encoded yet" if self.missing_texts else ""
        return f"{super().told} {self.texts} holds {self.encoded_texts} texts{missing}."


def run(
    config: Config, locations: Locations, console: Console, options: EncodeOptions
) -> EncodeResult | VerifyResult | LatentInfo | None:
    """Encode what is not encoded yet, or inspect what is.

    Returns:
        The result; None in every process of torchrun but the first.

    Raises:
        CheckpointError: if the autoencoder cannot be loaded, its latents are not as configured, or
            not finite.
        ConfigError: if a batch does not fit into the device's memory, or options exclude each
            other.
        DataError: if there is no data set, there are no latents, the folder holds latents with
            other settings, or no video can be read.
    """
    out, data = options.out or locations.latents(config), locations.data(config)
    if options.verify or options.info:
        if not is_main():
            return None
        _check_is_here(out)
        if options.info:
            return _info(config, locations, console, out)
        return _verify(config, locations, console, out)
    dataset = read_dataset(data)
    if config.model.condition != "text":
        return _encode(config, dataset, console, options, out)
    check_encoding(config, dataset)
    result = _encode(config, dataset, console, options, out)
    texts = encode_captions(config, locations, dataset, console)
    if result is None:
        return None
    upload_folder(locations.texts(config), console)
    return replace(result, captions=texts.texts, captions_encoded_now=texts.encoded_now)


def raise_if_wrong(result: object) -> None:
    """Raise DataError if the result is that of a check that found problems."""
    if isinstance(result, VerifyResult) and result.problems:
        name, problem = next(iter(result.problems.items()))
        others = f", and {len(result.problems) - 1} more" if len(result.problems) > 1 else ""
        raise DataError(
            f"{result.out} has problems: {name}: {problem}{others}",
            hint="delete the damaged shards, if any, and run the same command without --verify",
        )


def _info(config: Config, locations: Locations, console: Console, out: Path) -> LatentInfo:
    """Count latents and, if the network takes text, captions; what is lost is told."""
    data = locations.data(config)
    info, lost = latent_info(out, data, config.data), []
    if info.lost_shards:
        lost.append(f"{info.lost_shards} shards are missing or damaged")
    if config.model.condition == "text":
        dataset = read_dataset(data) if (data / MANIFEST).is_file() else None
        texts = captions_info(config, locations, dataset)
        info = EncodedInfo(**vars(info), **vars(texts))
        if texts.lost_text_shards:
            lost.append(f"{texts.lost_text_shards} shards of captions are missing or damaged")
    if lost:
        console.warning(
            f"{' and '.join(lost)}; the same command without --info encodes what they held again"
        )
    return info


def _verify(config: Config, locations: Locations, console: Console, out: Path) -> VerifyResult:
    """Check everything; the autoencoder is needed only to check that the latents are its own.

    So is the text encoder, if the network takes text, for the captions.
    """
    dataset, has_text = read_dataset(locations.data(config)), config.model.condition == "text"
    fingerprint, total = None, count_checks(out, dataset)
    if has_text:
        total += count_caption_checks(config, locations)
    try:
        fingerprint = load_codec(config).fingerprint
    except CheckpointError as error:
        console.warning(f"not checked whether these are latents of {config.vae.path}: {error}")
    with console.progress("checking", total, "files") as bar:
        problems = check_latents(out, dataset, config, fingerprint, bar.advance)
        if has_text:
            problems |= check_captions(config, locations, dataset, console, bar.advance)
    return VerifyResult(out, total, problems)


def _encode(
    config: Config, dataset: Dataset, console: Console, options: EncodeOptions, out: Path
) -> EncodeResult | None:
    """Encode what is missing; a video that can no longer be read is reported and left out.

    Any number of processes that see the same folders can do this at once: each claims a shard's
    worth of videos at a time. A torchrun process that finds no more to claim ends, except the
    first: it waits for the others, takes over the claims of dead ones, and writes the index.
    """
    _check_is_here(out)
    codec = load_codec(config, pick_device())
    meta = LatentMeta(
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
    folder = LatentFolder(out, meta, sources_of(dataset), config.latent_size)
    before = len(folder.index())
    reader = BatchReader(dataset, config.data.size, config.data.crop, options.batch)
    workers = options.engine.processes(options.workers, _MAX_WORKERS)
    work = ChunkEncoding(config, reader, workers, out, folder.work, meta, config.latent_size, codec)
    place = Place(workers, [dataset.folder, out])
    try:
        Encoder(folder, work, options.engine, place, console).encode_missing()
    except (KeyboardInterrupt, Stopped):
        folder.write_index()  # so that --info shows what is finished
        if is_main():
            done, count = len(folder.index()), len(dataset.videos)
            console.info(f"the latents of {done} of {count} videos are kept")
        raise
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"{options.batch} frames of {config.data.size} px do not fit into the device's memory",
            hint=f"--batch {max(1, options.batch // 2)}",
        ) from error
    if not is_main():
        return None
    videos = folder.finish()
    _report_unused(folder.unused(), console)
    upload_folder(out, console)
    previewed = videos[: options.preview]
    psnr = write_reconstructions(out, previewed, dataset, work.codec, config, console)
    if previewed:
        upload_folder(out, console)
    return EncodeResult(
        out=out,
        videos=len(videos),
        encoded_now=len(videos) - before,
        frames=sum(video.frames for video in videos),
        bytes=shard_bytes(out, videos),
        unreadable=sum(source.key in folder.left_out for source in folder.sources),
        preview_psnr_db=psnr,
    )


def _check_is_here(out: Path) -> None:
    """Raise DataError if latents that lie elsewhere were encoded on another machine."""
    url = url_of(out)
    if url is None:
        return
    lost = [n for n in list_files(url) if n.endswith(SUFFIX) and not (out / n).is_file()]
    if lost:
        raise DataError(
            f"{url}: holds {len(lost)} shards that this machine has not encoded",
            hint="train on them as they are; to encode more, go on where they were made, copy "
            "the folder here and give --out, or delete it there",
        )


def _report_unused(shards: list[Path], console: Console) -> None:
    """Shards of videos that changed or left the data set are for the user to delete."""
    if shards:
        size = format_bytes(sum(path.stat().st_size for path in shards))
        console.info(
            f"{len(shards)} shards ({size}) hold no video of the present data set; you may "
            "delete them"
        )
        console.debug(" ".join(path.name for path in shards))
