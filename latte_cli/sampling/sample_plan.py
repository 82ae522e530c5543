"""What `latte sample` is to draw: which clips, from what, and where they go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from latte_cli.caching import (
    NO_CACHE,
    CacheOptions,
    Policy,
    checkpoint_setup,
    choose_policy,
    policy_name,
)
from latte_cli.config import Config
from latte_cli.config.locations import Locations
from latte_cli.models.weights.trained import label_names, place_of, weights_checksum
from latte_cli.runtime.errors import ConfigError
from latte_cli.sampling.clip_folder import ClipEntry, ClipFolder
from latte_cli.sampling.first_frame import picture_checksum
from latte_cli.sampling.generation import ClipRequest
from latte_cli.sampling.label_order import label_order
from latte_cli.sampling.long_video import LongClip, long_clip
from latte_cli.vae import LatentCodec
from latte_cli.video_io import VIDEO_SUFFIXES, format_of


@dataclass(frozen=True)
class SampleOptions:
    """What `latte sample` was asked for beside the configuration.

    Attributes:
        checkpoint: a folder, or a file of weights.
        count: clips; None: 8, or the one of a file.
        labels: by number or name, taken in turn.
        labels_of: `all` or `data`, see `label_order`.
        frames: of a clip, or of a window of a long one; None: as trained.
        out: folder of the clips, or the file of one clip, or of all where it is an npz.
        fmt: format of the clips of a folder.
        long: frames of a clip that is longer than what is drawn at once.
        long_method: how, see `LongClip`.
        overlap: see `LongClip`; None: half a window.
        image: picture that each clip begins with.
        cache: what is used again from step to step.
    """

    checkpoint: Path
    count: int | None = None
    labels: tuple[str, ...] = ()
    labels_of: str | None = None
    frames: int | None = None
    out: Path = Path("samples")
    fmt: str = "mp4"
    long: int | None = None
    long_method: str = "window"
    overlap: int | None = None
    image: Path | None = None
    cache: CacheOptions = NO_CACHE

    @property
    def clips(self) -> int:
        """How many clips are asked for."""
        return self.count or (1 if is_file(self.out) and not is_stack(self.out) else 8)


def long_plan(config: Config, options: SampleOptions) -> LongClip | None:
    """How clips are put together that are longer than what is drawn at once; None for others.

    Raises:
        ConfigError: if they cannot be.
    """
    window = options.frames or config.data.frames
    return long_clip(options.long, window, options.overlap, options.long_method)


def cache_policy(config: Config, options: SampleOptions, plan: LongClip | None) -> Policy | None:
    """What is used again from step to step; None: nothing.

    Raises:
        CheckpointError: if a calibrated cache is missing, or for something else.
        ConfigError: if it cannot be, or not together with the other options.
    """
    check_cache_with_fifo(options.cache, plan)
    checkpoint = options.checkpoint
    return choose_policy(
        options.cache,
        place_of(checkpoint),
        lambda: checkpoint_setup(checkpoint, config, options.frames),
    )


def check_cache_with_fifo(cache: CacheOptions, plan: LongClip | None) -> None:
    """Raise ConfigError where steps do not follow each other, so that nothing can be kept."""
    if cache.is_on and plan is not None and plan.method == "fifo":
        raise ConfigError(
            "--long-method fifo cannot use a cache: each of its steps sees other frames",
            hint="--long-method window, or --cache off",
        )


def requests(
    config: Config,
    locations: Locations,
    options: SampleOptions,
    num_classes: int | None,
    codec: LatentCodec,
) -> list[ClipRequest]:
    """The clips, a label each.

    Raises:
        ConfigError: if the network does not know a label.
        DataError: if labels are to be those of a data set which cannot be read, or has others.
    """
    labels = label_order(
        options.labels,
        options.labels_of,
        num_classes,
        label_names(options.checkpoint, codec),
        locations.data(config),
        config.data.split,
    )
    turns = enumerate(islice(labels, options.clips))
    return [ClipRequest(index, config.sample.seed, label) for index, label in turns]


def entry_of(request: ClipRequest) -> ClipEntry:
    """A clip as its folder knows it."""
    label = "" if request.label is None else f"-label{request.label}"
    name = f"{request.index:05d}-seed{request.seed}{label}"
    return ClipEntry(name, {"index": request.index, "seed": request.seed, "label": request.label})


def settings(
    config: Config,
    options: SampleOptions,
    plan: LongClip | None,
    policy: Policy | None,
    codec: LatentCodec,
    dtype: torch.dtype,
) -> dict[str, Any]:
    """All that a clip depends on beside its index and label, both of which its name tells."""
    sample = config.sample.model_dump(exclude={"seed", "batch"})
    settings = {
        "weights_sha256": weights_checksum(options.checkpoint),
        "vae_fingerprint": codec.fingerprint,
        "diffusion": config.diffusion.model_dump(),
        **sample,
        "precision": str(dtype).removeprefix("torch."),
        "frames": options.frames or config.data.frames,
        "cache": policy_name(policy),
    }
    if plan is not None:
        settings["long"] = vars(plan)
    if options.image is not None:
        settings["image_sha256"] = picture_checksum(options.image)
    return settings


def is_file(out: Path) -> bool:
    """Whether a name stands for a file rather than a folder.

    Raises:
        ConfigError: if it is that of a video in a format that is not written.
    """
    if out.is_dir() or out.suffix.lower() not in {*VIDEO_SUFFIXES, ".png", ".npz"}:
        return False
    return bool(format_of(out))


def is_stack(out: Path) -> bool:
    """Whether a name stands for an npz file of all clips."""
    return out.suffix.lower() == ".npz" and not out.is_dir()


def is_one_clip(options: SampleOptions, frames: int) -> bool:
    """Whether `out` is the file of one clip.

    Raises:
        ConfigError: if it is such a file, but several clips or frames do not fit it.
    """
    if not is_file(options.out) or is_stack(options.out):
        return False
    if options.clips > 1:
        raise ConfigError(
            f"{options.out} is one file, but there are {options.clips} clips",
            hint="give a folder, NAME.npz, or -n 1",
        )
    if options.out.suffix.lower() == ".png" and frames > 1:
        raise ConfigError(
            f"{options.out} is one picture, but a clip has {frames} frames",
            hint="--frames 1, or a name without an ending for a folder of pictures",
        )
    return True


def folder_of(
    out: Path, fmt: str, entries: Sequence[ClipEntry], settings: Mapping[str, Any], fps: float
) -> ClipFolder:
    """Where several clips go; the parts of an npz file beside it, until it is whole.

    Raises:
        ConfigError: if there is no such format.
        DataError: if there are other clips.
    """
    if is_stack(out):
        parts = out.with_name(f".{out.name}-parts")
        return ClipFolder(parts, entries, settings, "npz", fps, stack=out)
    return ClipFolder(out, entries, settings, fmt, fps)
