"""Mistakes in a command that are found before torch is imported, which takes seconds.

The commands themselves check more, since they open what is named here.
"""

import math
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from latte_cli.cli.usage.next_steps import encode_words
from latte_cli.runtime.distributed import world_size
from latte_cli.runtime.errors import CheckpointError, ConfigError, DataError, ExistsError

if TYPE_CHECKING:
    from latte_cli.config import Config
    from latte_cli.config.cache_options import CacheOptions
    from latte_cli.config.locations import Locations
    from latte_cli.runtime.console import Console
    from latte_cli.text.prompts import Prompt

_LOCAL = (".", "/", "~")
_WEIGHTS = ("ema.safetensors", "adapter_model.safetensors")  # of our networks, of adapters
_PARTS = ("scheduler", "transformer", "text_encoder")  # of every pipeline


def check_choice(option: str, value: object, known: Sequence[object]) -> None:
    """Raise ConfigError if an option is given, and is none of the known values."""
    if value is not None and value not in known:
        names = ", ".join(str(name) for name in known if name is not None)
        raise ConfigError(f"{option} {value} is unknown", hint=f"known: {names}")


def check_finite(**numbers: float | None) -> None:
    """Raise ConfigError if an option, by its name without `--`, is infinite or not a number."""
    for name, number in numbers.items():
        if number is not None and not math.isfinite(number):
            raise ConfigError(f"--{name} {number} is not finite", hint="a number such as 7.5")


def check_range(option: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError if the value of an option is not in a range."""
    if not low <= value <= high:
        raise ConfigError(f"{option} {value} is out of range", hint=f"from {low} to {high}")


def check_paths(paths: Iterable[Path | None], hint: str) -> None:
    """Raise DataError if one of these paths does not exist; None: not given."""
    for path in paths:
        if path is not None and not path.exists():
            raise DataError(f"{path}: no such file or folder", hint=hint)


def check_weights(path: Path | str | None, hint: str = "check the path") -> None:
    """Raise CheckpointError if a file or folder of weights does not exist; None: not given."""
    if path is not None and not Path(path).exists():
        raise CheckpointError(f"{path}: no such file or folder", hint=hint)


def check_output(path: Path | None) -> None:
    """Raise DataError if a path to write to lies in a file, or is a URL; None: not given."""
    if path is None:
        return
    if path.parts and re.fullmatch("[a-z][a-z0-9+]+:", path.parts[0]):
        url = str(path).replace(":/", "://", 1)  # a path keeps one of the slashes
        raise DataError(
            f"{url}: a URL, where a path is needed",
            hint="--data-root, --latents-root and --runs-root (LATTE_DATA, LATTE_LATENTS, "
            "LATTE_RUNS) take URLs; `latte guide elsewhere`",
        )
    above = next((each for each in path.parents if each.exists()), None)
    if above is not None and not above.is_dir():
        raise DataError(
            f"{path}: cannot be written ({above} is a file, not a folder)",
            hint="name another place for the output",
        )


def check_target(target: Path) -> None:
    """Raise ExistsError if weights would be written over a folder of other files."""
    from latte_cli.checkpoints.choice import is_diffusers_folder

    check_output(target)
    ours = any((target / name).is_file() for name in _WEIGHTS)
    if not target.is_dir() or ours or is_diffusers_folder(target):
        return
    if any(target.iterdir()):
        raise ExistsError(
            f"{target} is a folder of other files than weights, which is never overwritten",
            target,
            replaceable=False,
        )


def check_model(option: str, model: str, slashes: Sequence[int] = (1,)) -> None:
    """Raise CheckpointError if a model is neither a folder nor can be a hub id.

    Args:
        option: that names the model.
        model: a path, or a hub id.
        slashes: how many a hub id may have.
    """
    if not Path(model).is_dir() and (
        Path(model).exists() or model.startswith(_LOCAL) or model.count("/") not in slashes
    ):
        raise CheckpointError(
            f"{model}: no such folder",
            hint=f"{option} is a folder in diffusers' layout, a hub id as maxin-cn/Latte-1, or "
            "embedded for what ships with the package",
        )


def check_pipeline(model: str, vae_decoder: str = "frame") -> None:
    """Raise CheckpointError if a model is no whole pipeline, on disk or on the hub within reach.

    Args:
        model: a folder, a hub id, or `embedded`.
        vae_decoder: which of the two decoders it needs to have.
    """
    from latte_cli.config.locations import EMBEDDED
    from latte_cli.runtime.weight_files.hub import hub_pipeline
    from latte_cli.sampling.pipelines.files import DECODERS
    from latte_cli.sampling.pipelines.trained import pipeline_files

    if model != EMBEDDED:
        check_model("--model", model)
    if model != EMBEDDED and not Path(model).is_dir():
        hub_pipeline(model, "scheduler").check()
        return
    files = pipeline_files(model)
    for part in (*_PARTS, DECODERS[vae_decoder]):
        files.part(part)


def check_autoencoder(config: "Config") -> None:
    """Raise CheckpointError if `vae.path` is no folder, and no model on the hub within reach."""
    from latte_cli.config.locations import EMBEDDED
    from latte_cli.runtime.weight_files.hub import hub_autoencoder

    path = config.vae.path
    if path != EMBEDDED:
        check_model("vae.path", path, slashes=(1, 2))
        if not Path(path).is_dir():
            hub_autoencoder(path).check()


def check_prepared(folder: Path) -> None:
    """Raise DataError if a folder holds no prepared data set; the hint makes the one it names.

    The tables of one that lies elsewhere are fetched.
    """
    from latte_cli.config.locations import OF_DATA
    from latte_cli.data.manifest import require_manifest
    from latte_cli.runtime.remote.folders import fetch_files
    from latte_cli.sources import DATASETS

    fetch_files(folder, OF_DATA)
    if folder.name == "shapes":  # which is generated
        require_manifest(folder, "shapes")
    known = folder.name if folder.name in DATASETS else "folder"
    require_manifest(folder, f"{known} --source {'TABLE' if known == 'captions' else 'VIDEOS'}")


def check_latents(folder: Path) -> None:
    """Raise DataError if a folder holds no latents; the hint is the command that makes them."""
    if not (folder / "meta.json").is_file():
        command = shlex.join(("latte", *encode_words()))
        raise DataError(f"{folder}: no latents here", hint="this makes them:", command=command)


def check_training(config: "Config", locations: "Locations", resume: str, run: str | None) -> None:
    """Raise an error if data, weights or a checkpoint to train from are missing."""
    if config.data.source == "pixels":
        check_prepared(locations.data(config))
    else:
        check_latents(locations.latents(config))
    check_start(config, locations, resume, run)


def _check_weights_of_losses(config: "Config") -> None:
    """Raise ConfigError if flow would not be trained where its sampling begins.

    A preset's weights may be for another objective, and sampling does not read them.
    """
    train = config.train
    if config.diffusion.objective == "flow" and train.min_snr_gamma and not train.snr_floor:
        raise ConfigError(
            f"train.min_snr_gamma is {train.min_snr_gamma:g}, with which flow is not trained on "
            "pure noise, where its sampling begins",
            hint="-o train.min_snr_gamma=null, or -o train.snr_floor=0.1",
        )


def check_start(config: "Config", locations: "Locations", resume: str, run: str | None) -> None:
    """Raise an error if weights or a checkpoint to train from are missing, whatever the data.

    A run that has checkpoints resumes without what it was started from.
    """
    from latte_cli.config.locations import weights_path

    _check_weights_of_losses(config)
    config.train.micro_batch_size(world_size())
    check_output(locations.run(config, run) / "config.yaml")
    check_autoencoder(config)
    if any((locations.run(config, run) / "checkpoints").glob("step-*")):
        return
    if config.train.init is not None:
        init = str(weights_path(config.train.init))
        check_weights(init, "--init takes a checkpoint folder or a file of weights")
    if config.train.teacher is not None:
        check_weights(weights_path(config.train.teacher), "train.teacher takes a checkpoint folder")
    if resume not in ("auto", "never") and not Path(resume).is_dir():
        raise CheckpointError(
            f"{resume}: not a checkpoint folder",
            hint="--resume is auto, never or one of the folders runs/NAME/checkpoints/step-…",
        )


def with_init(config: "Config", run: Path, console: "Console") -> "Config":
    """The configuration with the weights that a run begins with, or began with, and its teacher's.

    Raises:
        CheckpointError: if one of them names a run without a whole checkpoint.
    """
    from latte_cli.checkpoints.choice import choose_init

    init = config.train.init and choose_init(config.train.init, run, console)
    return with_teacher(_with_train(config, init=init), console)


def with_teacher(config: "Config", console: "Console") -> "Config":
    """The configuration with the weights of the teacher that it names.

    Raises:
        CheckpointError: if that is a run without a whole checkpoint.
    """
    from latte_cli.checkpoints.choice import choose_weights

    teacher = config.train.teacher
    return _with_train(config, teacher=teacher and choose_weights(teacher, console))


def _with_train(config: "Config", **values: object) -> "Config":
    return config.model_copy(update={"train": config.train.model_copy(update=values)})


def check_sampling(
    out: Path | None, fmt: str | None, image: Path | None, cache: "CacheOptions"
) -> None:
    """Check the options that `latte sample` and `latte t2v` share.

    Raises:
        ConfigError: if a format is unknown, or other than that of the output file.
        CheckpointError: if a schedule of `--cache` is missing, or is another file.
        DataError: if the picture is missing or cannot be read, or the output would lie in a file.
    """
    from latte_cli.sampling.output import is_file
    from latte_cli.sampling.pictures.first_frame import read_picture
    from latte_cli.video_io import FORMATS, format_of

    check_choice("--format", fmt, tuple(FORMATS))
    if out is not None and is_file(out) and fmt not in (None, written := format_of(out)):
        raise ConfigError(
            f"--format {fmt} has no effect on {out}, which is written as {written}",
            hint="leave --format out, or name a folder",
        )
    check_paths([image], "--image takes PNG, JPEG or WebP")
    if image is not None:
        read_picture(image)
    check_output(out)
    cache.check_file()


def check_clips(
    out: Path | None, count: int | None, frames: int, cache: "CacheOptions", long_method: str
) -> None:
    """Check what `latte sample` is to write, and how.

    Raises:
        ConfigError: if several clips would go to the file of one, or a cache is used with FIFO.
    """
    from latte_cli.config.cache_options import check_cache_with_fifo
    from latte_cli.sampling.output import is_one_clip

    if out is not None:
        is_one_clip(out, count or 1, frames)
    check_cache_with_fifo(cache, long_method)


def check_labels(labels: Sequence[str] | None, checkpoint: Path, config: "Config") -> None:
    """Raise ConfigError if the network of one of our checkpoints has no such label."""
    from latte_cli.checkpoints.folder import read_checkpoint_meta
    from latte_cli.checkpoints.labels import label_number

    if labels and (checkpoint / "meta.json").is_file():
        classes = read_checkpoint_meta(checkpoint).classes
        for label in labels:
            label_number(label, config.model.num_classes, classes)


def check_prompts(prompts: Sequence["Prompt"], negative: str, console: "Console") -> None:
    """Raise ConfigError if cleaning leaves nothing of a prompt; what else it takes is said later.

    Args:
        prompts: of the command line, or of a file.
        negative: where a prompt has no negative one of its own.
        console: of the command.
    """
    from latte_cli.text.prompts import NO_CLEAN, check_cleaning

    texts = [each.prompt for each in prompts]
    texts += [negative if each.negative is None else each.negative for each in prompts]
    check_cleaning(texts, replace(console, quiet=True), NO_CLEAN)


def check_text_options(
    precision: str | None,
    sampler: str | None,
    text_encoder: str | None,
    vae_decoder: str | None,
    text_encoder_bits: int | None,
) -> None:
    """Raise ConfigError if an option of text-to-video networks has an unknown value."""
    from latte_cli.config.sections import SampleConfig

    fields = SampleConfig.model_fields
    check_choice("--precision", precision, get_args(fields["precision"].annotation))
    check_choice("--sampler", sampler, get_args(fields["sampler"].annotation))
    check_choice("--text-encoder", text_encoder, ("auto", "cpu"))
    check_choice("--vae-decoder", vae_decoder, ("frame", "temporal"))
    check_choice("--text-encoder-bits", text_encoder_bits, (8, 4))
