"""`latte similarity`: similarity of a clip's frames at each block of a trained network."""

# Axes: b clips, f frames, c latent channels, h w latent size.

import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latte_cli.checkpoints.labels import label_number
from latte_cli.checkpoints.names import describe_checkpoint
from latte_cli.config import Config
from latte_cli.data.frames import prepare_frame
from latte_cli.diffusion import Diffusion
from latte_cli.evaluation.early_checks import choose_timesteps
from latte_cli.evaluation.results.plots import save_figure
from latte_cli.evaluation.similarity import (
    SimilarityAt,
    SimilarityCollector,
    as_values,
    plot_similarity,
)
from latte_cli.models import Latte
from latte_cli.models.trained import label_names, load_trained, weights_checksum
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import autocast, pick_device, resolve_precision
from latte_cli.runtime.errors import DataError, VideoError
from latte_cli.runtime.files import write_text
from latte_cli.runtime.randomness import seeded
from latte_cli.sampling.existing import is_there
from latte_cli.sources.folder_tree import find_videos_below
from latte_cli.vae import LatentCodec, load_codec, to_signal
from latte_cli.video_io import checksum_of_video, iter_frames

_ROW = re.compile(r"\[\n\s+([-\d.e,\s]+?)\n\s+\]")  # a list of numbers, one per line


@dataclass(frozen=True)
class SimilarityOptions:
    """Options of `latte similarity` that are not in the configuration.

    Attributes:
        checkpoint: a folder or a file of weights.
        clips: video files, and folders of them.
        timesteps: noise levels; the middle one if empty.
        label: number or name of the class label; None for the null label.
        limit: maximum number of clips; the first ones are taken.
        out: folder of the results.
        overwrite: whether the results of another request may be replaced.
    """

    checkpoint: Path
    clips: tuple[Path, ...]
    timesteps: tuple[int, ...] = ()
    label: str | None = None
    limit: int | None = None
    out: Path = Path("similarity")
    overwrite: bool = False


@dataclass(frozen=True)
class SimilarityResult:
    """Result of `latte similarity`."""

    out: Path
    checkpoint: Path
    clips: int
    timesteps: tuple[int, ...]
    numbers: Path
    picture: Path
    seconds: float


def run(config: Config, console: Console, options: SimilarityOptions) -> SimilarityResult:
    """Measure the similarities, then write them as JSON and as figures.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged or of another shape than configured.
        ConfigError: if the network is a text model, or a timestep or label is out of range.
        DataError: if there are no clips.
        ExistsError: if results of another request are there, which may not be replaced.
        VideoError: if a clip is too short or cannot be read.
    """
    started = time.monotonic()
    timesteps = choose_timesteps(config, options.timesteps)
    paths = find_clips(options.clips)[: options.limit]
    device = pick_device()
    model = load_trained(options.checkpoint, config).to(device)
    codec = load_codec(config, device)
    classes, label = label_names(options.checkpoint, codec), model.null_label
    if options.label is not None:
        label = label_number(options.label, model.shape.num_classes, classes)
    request = _request(config, options.checkpoint, codec, paths, timesteps, label)
    facts = {
        "checkpoint": str(options.checkpoint),
        "variant": model.shape.variant,
        "frames": model.shape.num_frames,
        "tube": model.shape.tube,
        "label": None if label == model.null_label else label,
        "seed": config.sample.seed,
        "clips": [str(path) for path in paths],
        "request": request,
    }
    numbers, picture = options.out / "similarity.json", options.out / "similarity.png"
    files = (numbers, picture, picture.with_suffix(".svg"))
    stored, overwrite = _read_request(numbers), options.overwrite
    if is_there(options.out, stored, request, overwrite=overwrite, files=files):
        console.info(f"{options.out} is already there")
    else:
        measured = _measure(model, codec, label, paths, timesteps, config, console)
        _write(numbers, picture, facts, measured)
    return SimilarityResult(
        out=options.out,
        checkpoint=options.checkpoint,
        clips=len(paths),
        timesteps=timesteps,
        numbers=numbers,
        picture=picture,
        seconds=time.monotonic() - started,
    )


def find_clips(paths: Sequence[Path]) -> list[Path]:
    """Video files and folders of frames, as given or found in folders, sorted in each folder.

    Raises:
        DataError: if a path does not exist, or there is no video at all.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder", hint="give videos or folders")
        found += find_videos_below(path) if path.is_dir() else [path]
    if not found:
        where = ", ".join(map(str, paths)) or "nothing"
        raise DataError(f"no videos in {where}", hint="give videos, or folders with videos")
    return found


def read_clip(path: Path, config: Config) -> Tensor:
    """The first clip of a video, cropped and resized: (f, size, size, 3) uint8.

    Raises:
        VideoError: if the video is shorter than a clip, or cannot be read.
    """
    data = config.data
    frames = list(islice(iter_frames(path), data.window))
    if len(frames) < data.window:
        spacing = f", every {data.interval}" if data.interval > 1 else ""
        lower = "lower data.interval with -o, or " if data.interval > 1 else ""
        raise VideoError(
            f"{path}: too short, it has {len(frames)} frames and a clip spans {data.window} "
            f"({data.frames} frames{spacing})",
            hint=f"{lower}omit it",
        )
    chosen = [prepare_frame(frame, data.size) for frame in frames[:: data.interval]]
    return torch.from_numpy(np.stack(chosen))


def _measure(
    model: Latte,
    codec: LatentCodec,
    label: int | None,
    paths: Sequence[Path],
    timesteps: Sequence[int],
    config: Config,
    console: Console,
) -> list[SimilarityAt]:
    """Similarities at each timestep, averaged over all clips, a batch at a time."""
    device, own = codec.device, config.diffusion  # a converted network is asked as it was trained
    trained = own.model_copy(update={"objective": own.output or own.objective, "output": None})
    diffusion = Diffusion(**trained.model_dump())
    dtype, size = resolve_precision(config.sample.precision, device), config.sample.batch
    collectors = {timestep: SimilarityCollector(model) for timestep in timesteps}
    with console.progress("comparing", len(paths), "clips") as bar:
        for first in range(0, len(paths), size):
            clips = torch.stack([read_clip(path, config) for path in paths[first : first + size]])
            x_start = codec.encode(to_signal(clips)).mean * codec.scaling_factor
            noise = _noise(x_start, config.sample.seed, first)
            y = [] if label is None else [torch.full((len(clips),), label, device=device)]
            for timestep, collector in collectors.items():
                t = torch.full((len(clips),), timestep, device=device)
                with autocast(device, dtype):
                    collector.add(diffusion.add_noise(x_start, t, noise), t, *y)
            bar.advance(len(clips))
    return [SimilarityAt(t, collector.result()) for t, collector in collectors.items()]


def _noise(x_start: Tensor, seed: int, first: int) -> Tensor:
    """Noise seeded by the index of each clip, whatever the batch or timestep: (b, f, c, h, w)."""
    generators = [seeded(seed, first + index) for index in range(len(x_start))]
    noise = [torch.randn(x_start.shape[1:], generator=generator) for generator in generators]
    return torch.stack(noise).to(x_start.device)


def _request(
    config: Config,
    checkpoint: Path,
    codec: LatentCodec,
    paths: Sequence[Path],
    timesteps: Sequence[int],
    label: int | None,
) -> dict[str, Any]:
    """All that the similarities depend on."""
    checksums = "".join(map(checksum_of_video, paths))
    return {
        "checkpoint": describe_checkpoint(checkpoint),
        "weights_sha256": weights_checksum(checkpoint),
        "vae_fingerprint": codec.fingerprint,
        "clips_sha256": hashlib.sha256(checksums.encode()).hexdigest(),
        "clips": len(paths),
        "timesteps": list(timesteps),
        "label": None if label == config.model.num_classes else label,
        "seed": config.sample.seed,
        "precision": config.sample.precision,
        **config.data.model_dump(include={"frames", "interval", "size"}),
        "diffusion": config.diffusion.model_dump(mode="json"),
    }


def _read_request(numbers: Path) -> dict[str, Any] | None:
    """The request that similarities were measured by; None if it is unknown."""
    try:
        values = json.loads(numbers.read_text(encoding="utf-8"))
        return dict(values["request"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(
    numbers: Path, picture: Path, facts: dict[str, Any], measured: Sequence[SimilarityAt]
) -> None:
    """Write the numbers as JSON, with each row of a matrix on one line, and the figures."""
    values = {**facts, "timesteps": [as_values(at) for at in measured]}
    text = json.dumps(values, indent=2, ensure_ascii=False)
    write_text(numbers, _ROW.sub(lambda row: f"[{' '.join(row[1].split())}]", text) + "\n")
    tubes = f" in tubes of {facts['tube']}" if facts["tube"] else ""
    clips = f"{len(facts['clips'])} x {facts['frames']} frames{tubes}"
    heading = f"Variant {facts['variant']}, {clips}, {facts['checkpoint']}"
    save_figure(plot_similarity(heading, measured), picture)
