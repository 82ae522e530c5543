"""What clips depend on beside their own entries, and whether those that exist have the same.

A part of it is known before a network is loaded, which takes seconds: clips of another request are
looked for by that part first.
"""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latte_cli.checkpoints.folder import FOR_SAMPLING, read_checkpoint_meta
from latte_cli.checkpoints.names import describe_checkpoint
from latte_cli.config import Config
from latte_cli.config.cache_options import CacheOptions
from latte_cli.config.locations import Locations
from latte_cli.sampling.long_plan import LongClipPlan
from latte_cli.sampling.output import refuse_other_request
from latte_cli.sampling.pictures.first_frame import picture_checksum
from latte_cli.sampling.pipelines.files import DECODERS
from latte_cli.sampling.pipelines.trained import pipeline_files
from latte_cli.sampling.sample_requests import (
    SampleOptions,
    clip_entry,
    clip_requests,
    routed_blocks,
)
from latte_cli.sampling.sample_requests import long_plan as sample_plan
from latte_cli.sampling.text_requests import T2VOptions, text_clip_requests, writes_one_clip
from latte_cli.sampling.text_requests import long_plan as text_plan

# torch is imported where it is needed: an error before that is shown at once.
if TYPE_CHECKING:
    import torch

    from latte_cli.caching import Policy
    from latte_cli.vae import LatentCodec

_DTYPES = {"bf16": "bfloat16"}  # precisions of another name than torch's
_IF_GIVEN = ("long", "image_sha256", "lora")
# Options of text to video that are not settings of the clips, or are recorded in another form.
_NOT_SETTINGS = {
    *("prompts", "out", "count", "negative", "guidance", "seed", "fmt", "text_device"),
    *("long", "long_method", "overlap", "image", "vbench", "cache", "overwrite"),
    "sequence_parallel",
}


def sample_settings(
    config: Config,
    options: SampleOptions,
    policy: "Policy | None",
    codec: "LatentCodec",
    dtype: "torch.dtype",
) -> dict[str, Any]:
    """All that clips depend on beside index, seed and label; `checkpoint` is but a name of it.

    Raises:
        DataError: if the picture cannot be read.
    """
    from latte_cli.caching import policy_name
    from latte_cli.models.trained import weights_checksum

    return {
        **_known_of_sample(config, options),
        "weights_sha256": weights_checksum(options.checkpoint),
        **routed_blocks(config),
        "vae_fingerprint": codec.fingerprint,
        "precision": str(dtype).removeprefix("torch."),
        "cache": policy_name(policy),
    }


def text_settings(options: T2VOptions, policy: "Policy | None") -> dict[str, Any]:
    """All that clips depend on beside their prompt and seed; `model` is but a name of it.

    Raises:
        CheckpointError: if a part of the pipeline is missing.
        DataError: if the picture cannot be read.
    """
    from latte_cli.caching import policy_name
    from latte_cli.runtime.devices import pick_device, resolve_precision

    settings = _known_of_text(options)
    dtype = resolve_precision(options.precision, pick_device())
    settings["precision"] = str(dtype).removeprefix("torch.")
    settings["cache"] = policy_name(policy)
    # Last, since it may download the parts from the hub.
    files = pipeline_files(options.model)
    scheduler = files.scheduler_config()
    scheduler.pop("_diffusers_version", None)  # has no effect on clips
    return settings | {
        "weights_sha256": files.checksum("transformer"),
        "vae_sha256": files.checksum(DECODERS[options.vae_decoder]),
        "scheduler_sha256": hashlib.sha256(repr(sorted(scheduler.items())).encode()).hexdigest(),
        "text_encoder_fingerprint": files.fingerprint("text_encoder"),
    }


def check_existing_samples(config: Config, locations: Locations, options: SampleOptions) -> None:
    """Look for clips of another request before the network is loaded.

    The classes and checksums of a network are known by then if it is a checkpoint of our own.

    Raises:
        ConfigError: on an unknown label, or options that exclude each other.
        DataError: if a picture or data set cannot be read.
        ExistsError: if such clips are there, which may not be replaced.
    """
    settings = dict.fromkeys(_IF_GIVEN) | _known_of_sample(config, options)
    if config.sample.precision == "auto":  # depends on the device
        del settings["precision"]
    entries = []
    if (options.checkpoint / "meta.json").is_file():
        meta = read_checkpoint_meta(options.checkpoint)
        sums = {"weights_sha256": meta.files.get(FOR_SAMPLING[0], "")}
        sums["vae_fingerprint"] = meta.vae_fingerprint
        settings |= {key: value for key, value in sums.items() if value}  # empty: unknown
        requests = clip_requests(config, locations, options, config.model.num_classes, meta.classes)
        entries = [clip_entry(request, meta.classes) for request in requests]
    refuse_other_request(options.out, options.fmt, entries, settings, overwrite=options.overwrite)


def check_existing_text_clips(options: T2VOptions) -> None:
    """Look for clips of another request before the pipeline is loaded.

    Raises:
        ConfigError: as `writes_one_clip`.
        DataError: if a picture or VBench's list cannot be read.
        ExistsError: if such clips are there, which may not be replaced.
    """
    settings = dict.fromkeys(_IF_GIVEN) | _known_of_text(options)
    if options.precision == "auto":  # depends on the device
        del settings["precision"]
    requests = text_clip_requests(options)
    writes_one_clip(options, len(requests))
    entries = [request.entry for request in requests]
    refuse_other_request(options.out, options.fmt, entries, settings, overwrite=options.overwrite)


def _known_of_sample(config: Config, options: SampleOptions) -> dict[str, Any]:
    """The settings that need no network to be known."""
    return {
        "checkpoint": describe_checkpoint(options.checkpoint),
        "diffusion": config.diffusion.model_dump(),
        **config.sample.model_dump(exclude={"seed", "batch", "sequence_parallel"}),
        "precision": _DTYPES.get(config.sample.precision, config.sample.precision),
        "frames": options.frames or config.data.frames,
        **_known(sample_plan(config, options), options.image, options.cache),
    }


def _known_of_text(options: T2VOptions) -> dict[str, Any]:
    """The settings that need no network to be known."""
    settings = {key: value for key, value in asdict(options).items() if key not in _NOT_SETTINGS}
    settings["precision"] = _DTYPES.get(options.precision, options.precision)
    del settings["lora"]
    if options.lora:
        from latte_cli.models.lora.adapters import checksum_of_adapter

        settings["lora"] = [[checksum_of_adapter(path), scale] for path, scale in options.lora]
    return settings | _known(text_plan(options), options.image, options.cache)


def _known(plan: LongClipPlan | None, image: Path | None, cache: CacheOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {} if cache.is_on else {"cache": "off"}
    if plan is not None:
        settings["long"] = vars(plan)
    if image is not None:
        settings["image_sha256"] = picture_checksum(image)
    return settings
