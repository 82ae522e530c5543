"""`latte convert`: weights from one format to another, with a check that nothing changed."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from latte_cli.checkpoints.averages import reconstruct
from latte_cli.checkpoints.folder import (
    CheckpointMeta,
    read_checkpoint_config,
    read_checkpoint_meta,
    save_for_sampling,
    step_of,
)
from latte_cli.checkpoints.formats import Format
from latte_cli.config import Config
from latte_cli.models import Latte, LatteShape, LatteT2V, TextShape, build_model
from latte_cli.models.exporting import (
    config_for_shape,
    write_diffusers,
    write_published,
    write_safetensors,
)
from latte_cli.models.initializing import initialize
from latte_cli.models.loading import load_network, new_network
from latte_cli.models.lora.adapters import merge_adapter, read_adapter
from latte_cli.models.lora.exporting import write_adapter_of
from latte_cli.models.reading import (
    DIFFUSERS_CONFIG,
    WeightsFile,
    infer_shape,
    is_latte_folder,
    read_weights,
)
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import CheckpointError, ConfigError, ExistsError, LatteError
from latte_cli.runtime.files import atomic_file, atomic_folder
from latte_cli.runtime.weight_files.pretrained import find_weight_set
from latte_cli.sampling.existing import require_replaceable
from latte_cli.sampling.pipelines.files import is_pipeline
from latte_cli.sampling.pipelines.writing import write_pipeline

_FOLDERS: tuple[Format, ...] = ("latte", "diffusers", "pipeline", "lora")
_CHECK_TOKENS, _CHECK_TEXT_TOKENS = 8, 5  # of the clip compared: along each side, and of its text


@dataclass(frozen=True)
class ConvertOptions:
    """The options of `latte convert` beside the configuration.

    Attributes:
        source: weights in any supported format.
        target: file or folder to write.
        format: of the target.
        heads: attention heads, where the file does not determine them.
        check: reload what was written, and compare outputs.
        has_preset: whether the configuration is a preset's, not only the schema's defaults.
        overwrite: whether other weights may be replaced.
        lora: adapters to merge into the network, and how strongly each.
        ema: relative width of the average to reconstruct from a run's snapshots, if any.
    """

    source: Path
    target: Path
    format: Format
    heads: int | None = None
    check: bool = False
    has_preset: bool = False
    overwrite: bool = False
    ema: float | None = None
    lora: tuple[tuple[Path, float], ...] = ()


@dataclass(frozen=True)
class ConvertResult:
    """Result; `largest_difference` is None without `--check`, `profile_error` without `--ema`."""

    out: Path
    kind: str
    format: str
    parameters: int
    largest_difference: float | None
    profile_error: float | None
    seconds: float


def run(config: Config, console: Console, options: ConvertOptions) -> ConvertResult:
    """Load the source, write the target, and compare them before it gets its name.

    Raises:
        CheckpointError: if the source cannot be loaded.
        ConfigError: if the target's format cannot hold the network.
        ExistsError: if the target holds other weights, which may not be replaced.
    """
    started = time.monotonic()
    form = options.format
    console.info(f"reading {options.source}")
    if form == "lora":
        return _write_lora(options, console, started)
    source, profile_error = _read(options, console)
    model = _load(source, config, options, console)
    for path, scale in options.lora:
        merge_adapter(model, read_adapter(path), scale)
    if options.target.exists() and _holds(options.target, model, form):
        console.info(f"{options.target} is already there")
        difference = _check(options.target, model, form, source, console) if options.check else None
    else:
        _check_is_replaceable(options.target, form, overwrite=options.overwrite)
        console.info(f"writing {options.target}")
        difference = None
        with (atomic_folder if form in _FOLDERS else atomic_file)(options.target) as written:
            _write(model, form, config, source, written)
            if options.check:
                difference = _check(written, model, form, source, console)
    return ConvertResult(
        out=options.target,
        kind=source.kind,
        format=form,
        parameters=sum(p.numel() for p in model.parameters()),
        largest_difference=difference,
        profile_error=profile_error,
        seconds=time.monotonic() - started,
    )


def _write_lora(options: ConvertOptions, console: Console, started: float) -> ConvertResult:
    """Write the adapters of a run alone."""
    _check_is_replaceable(options.target, "lora", overwrite=options.overwrite)
    console.info(f"writing {options.target}")
    return ConvertResult(
        out=options.target,
        kind="adapters",
        format="lora",
        parameters=write_adapter_of(options.source, options.target),
        largest_difference=None,
        profile_error=None,
        seconds=time.monotonic() - started,
    )


def _read(options: ConvertOptions, console: Console) -> tuple[WeightsFile, float | None]:
    """The source's weights, or those of an average, with the error of its profile."""
    if options.ema is None:
        return read_weights(options.source), None
    average = reconstruct(options.source, options.ema)
    console.info(f"an average of {average.snapshots} snapshots, to step {step_of(average.newest)}")
    return WeightsFile(average.newest, average.weights), average.error


def _load(
    source: WeightsFile, config: Config, options: ConvertOptions, console: Console
) -> Latte | LatteT2V:
    """The whole network; from an image model, a video network of the configuration's clips."""
    if source.kind in ("latte", "latte-t2v"):
        return load_network(source, options.heads)
    torch.manual_seed(config.train.seed)
    if source.kind == "dit":
        if not options.has_preset:
            raise ConfigError(
                f"{source.path} is an image network, which does not define the frames of a clip",
                hint="give --preset P, whose network is initialized from it",
            )
        model = build_model(config)
    else:
        model = new_network(infer_shape(source, num_frames=config.data.frames))
    report = initialize(model, source, config.vae.downsample)
    console.info("\n".join(report.lines()))
    return model.eval()


def _check(
    written: Path,
    model: Latte | LatteT2V,
    form: Format,
    source: WeightsFile,
    console: Console,
) -> float:
    console.info("checking what was written")
    return _largest_difference(model, form, written, source)


def _check_is_replaceable(target: Path, form: Format, *, overwrite: bool) -> None:
    """Raise ExistsError if a target exists and may not be replaced."""
    if not target.exists():
        return
    if target.is_file() == (form in _FOLDERS):
        kinds = ("a folder", "a file") if target.is_dir() else ("a file", "a folder")
        problem = f"is {kinds[0]}, where {form} is {kinds[1]}"
        raise ExistsError(f"{target} {problem}", target, replaceable=False)
    require_replaceable(target, "holds other weights, or another format", overwrite=overwrite)


def _holds(target: Path, model: Latte | LatteT2V, form: Format) -> bool:
    """Whether a file or folder holds this network in this format."""
    is_form = {
        "latte": is_latte_folder(target),
        "diffusers": (target / DIFFUSERS_CONFIG).is_file() and not is_latte_folder(target),
        "pipeline": is_pipeline(target),
    }
    if not is_form.get(form, target.is_file()):
        return False
    try:
        heads = None if form == "latte" else model.shape.heads
        existing = load_network(read_weights(target), heads)
    except (LatteError, OSError):
        return False
    ours, theirs = model.state_dict(), existing.state_dict()
    return existing.shape == model.shape and all(
        torch.equal(value, theirs[name]) for name, value in ours.items()
    )


def _write(
    model: Latte | LatteT2V, form: Format, config: Config, source: WeightsFile, target: Path
) -> None:
    if form == "latte":
        if is_latte_folder(source.path):
            config, meta = read_checkpoint_config(source.path), read_checkpoint_meta(source.path)
        else:
            config, meta = config_for_shape(model.shape, config), CheckpointMeta(0, "", 1.0)
        save_for_sampling(target, config, meta, model.state_dict())
    elif (form in ("diffusers", "pipeline")) != isinstance(model, LatteT2V):
        is_text = isinstance(model, LatteT2V)
        raise ConfigError(
            f"{form} has no {'text-to-video' if is_text else 'class-conditional'} Latte network",
            hint=f"--to latte, or --to {'diffusers' if is_text else 'pt'}",
        )
    elif isinstance(model, LatteT2V) and form == "pipeline":
        write_pipeline(model, _config_of_pipeline(source), target)
    elif isinstance(model, LatteT2V):
        write_diffusers(model, target)
    else:
        (write_published if form == "pt" else write_safetensors)(model, target)


def _config_of_pipeline(source: WeightsFile) -> Config:
    """The configuration that names the other parts of a network's pipeline."""
    if is_latte_folder(source.path):
        return read_checkpoint_config(source.path)
    raise ConfigError(
        f"{source.path}: does not say with which text encoder and autoencoder it was trained",
        hint="--to pipeline takes a checkpoint of `latte train`; --to diffusers, its network alone",
    )


@torch.no_grad()
def _largest_difference(
    model: Latte | LatteT2V, form: Format, written: Path, source: WeightsFile
) -> float:
    """Between the outputs of the network and of what was written, loaded again.

    If either side is in the diffusers layout, its output is also compared to that of diffusers'
    own class.
    """
    heads = None if form == "latte" else model.shape.heads
    reloaded = load_network(read_weights(written), heads)
    inputs = _check_inputs(model.shape)
    output = reloaded(**inputs)
    differences = [(model(**inputs) - output).abs().max()]
    if isinstance(model, LatteT2V):
        folder = {"diffusers": written, "pipeline": written / "transformer"}.get(form, source.path)
        if form in ("diffusers", "pipeline") or (
            source.kind == "latte-t2v" and source.config is not None
        ):
            differences.append((output - _diffusers_output(folder, inputs)).abs().max())
    return max(float(difference) for difference in differences)


def _check_inputs(shape: LatteShape | TextShape) -> dict[str, Tensor]:
    """Arguments of a forward pass: one small clip of the trained length, always the same."""
    generator = torch.Generator().manual_seed(0)
    side = _CHECK_TOKENS * shape.patch
    size = (1, shape.num_frames, shape.in_channels, side, side)
    clip = {"x": torch.randn(size, generator=generator), "t": torch.tensor([500])}
    if isinstance(shape, TextShape):
        text = torch.randn(1, _CHECK_TEXT_TOKENS, shape.text_width, generator=generator)
        return {**clip, "text": text}
    return clip if shape.num_classes is None else {**clip, "y": torch.tensor([0])}


def _diffusers_output(folder: Path, inputs: dict[str, Tensor]) -> Tensor:
    """Output of diffusers' own class for the same inputs, (b, f, 2c, h, w)."""
    from diffusers import LatteTransformer3DModel
    from diffusers.utils import logging

    logging.set_verbosity_error()
    try:
        files = find_weight_set(folder)
        theirs = LatteTransformer3DModel.from_pretrained(
            folder, torch_dtype=torch.float32, **(files.options if files else {})
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder}: diffusers does not load it", hint="`latte --debug …` shows its error"
        ) from error
    x, text = inputs["x"].transpose(1, 2), inputs["text"]
    (out,) = theirs.eval()(x, inputs["t"], encoder_hidden_states=text, return_dict=False)
    return torch.as_tensor(out).transpose(1, 2)
