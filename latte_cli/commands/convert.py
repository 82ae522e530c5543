"""`latte convert`: weights from one format into another, with proof that nothing changed."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from latte_cli.checkpoints.folder import (
    CheckpointMeta,
    read_checkpoint_config,
    read_checkpoint_meta,
    save_for_sampling,
)
from latte_cli.config import Config
from latte_cli.models import Latte, LatteT2V, TextShape, build_model
from latte_cli.models.weights.exporting import (
    config_of,
    write_diffusers,
    write_published,
    write_safetensors,
)
from latte_cli.models.weights.importing import initialize
from latte_cli.models.weights.loading import network_from, new_network
from latte_cli.models.weights.reading import WeightsFile, is_ours, read_weights
from latte_cli.models.weights.recognizing import shape_of
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import CheckpointError, ConfigError

Format = Literal["latte", "pt", "safetensors", "diffusers"]
_PROOF_SIDE, _PROOF_TEXT = 8, 5  # tokens along a side, and of text, of the clip that is compared


@dataclass(frozen=True)
class ConvertOptions:
    """What `latte convert` was asked for beside the configuration.

    Attributes:
        source: anything that the project loads.
        target: file or folder to write; must not exist.
        format: of the target; None: by its ending.
        heads: of a network whose file does not tell them.
        check: load what was written, and compare outputs.
        preset: whether the configuration was asked for, and not only the schema's defaults.
    """

    source: Path
    target: Path
    format: Format | None = None
    heads: int | None = None
    check: bool = False
    preset: bool = False


@dataclass(frozen=True)
class ConvertResult:
    """What came of it."""

    out: Path
    kind: str
    format: str
    parameters: int
    largest_difference: float | None
    seconds: float


def run(config: Config, console: Console, options: ConvertOptions) -> ConvertResult:
    """Load, write, and compare.

    Raises:
        CheckpointError: if the source cannot be loaded.
        ConfigError: if the target exists, or its format cannot hold the network.
    """
    started = time.monotonic()
    form = _format(options)
    if options.target.exists():
        raise ConfigError(f"{options.target} exists already", hint="give another name")
    source = read_weights(options.source)
    model = _load(source, config, options, console)
    _write(model, form, config, source, options.target)
    difference = _largest_difference(model, form, options, source) if options.check else None
    return ConvertResult(
        out=options.target,
        kind=source.kind,
        format=form,
        parameters=sum(p.numel() for p in model.parameters()),
        largest_difference=difference,
        seconds=time.monotonic() - started,
    )


def format_named(name: str | None) -> Format | None:
    """A format by its name.

    Raises:
        ConfigError: if there is none of that name.
    """
    formats: dict[str, Format] = {form: form for form in get_args(Format)}
    if name is None or name in formats:
        return None if name is None else formats[name]
    raise ConfigError(f"no format `{name}`", hint=f"--to is one of {', '.join(formats)}")


def _format(options: ConvertOptions) -> Format:
    """As asked, or by the target's ending; a folder is one of ours."""
    endings: dict[str, Format] = {".pt": "pt", ".pth": "pt", ".safetensors": "safetensors"}
    by_ending = endings.get(options.target.suffix)
    if options.format is not None and by_ending not in (None, options.format):
        raise ConfigError(
            f"{options.target} ends as {by_ending} does, --to asks for {options.format}",
            hint="leave --to out, or name a folder",
        )
    if options.format in ("pt", "safetensors") and by_ending is None:
        raise ConfigError(
            f"{options.target} does not end in .{options.format}", hint="name the file so"
        )
    return options.format or by_ending or "latte"


def _load(
    source: WeightsFile, config: Config, options: ConvertOptions, console: Console
) -> Latte | LatteT2V:
    """The whole network; one begun from a picture model is of the configuration's clips."""
    if source.kind in ("latte", "latte-t2v"):
        return network_from(source, options.heads)
    torch.manual_seed(config.train.seed)
    if source.kind == "dit":
        if not options.preset:
            raise ConfigError(
                f"{source.path} is a network for pictures: it does not tell a clip's frames",
                hint="give --preset P, whose network begins from it",
            )
        model = build_model(config)
    else:
        model = new_network(shape_of(source, num_frames=config.data.frames))
    report = initialize(model, source, config.vae.downsample)
    console.say("\n".join(report.lines()))
    return model.eval()


def _write(
    model: Latte | LatteT2V, form: Format, config: Config, source: WeightsFile, target: Path
) -> None:
    if form == "latte":
        config, meta = _facts(model, config, source)
        save_for_sampling(target, config, meta, model.state_dict())
    elif (form == "diffusers") != isinstance(model, LatteT2V):
        is_text = isinstance(model, LatteT2V)
        raise ConfigError(
            f"{form} has no {'text-to-video' if is_text else 'class-conditional'} Latte network",
            hint=f"--to latte, or --to {'diffusers' if is_text else 'pt'}",
        )
    elif isinstance(model, LatteT2V):
        write_diffusers(model, target)
    else:
        (write_published if form == "pt" else write_safetensors)(model, target)


def _facts(
    model: Latte | LatteT2V, config: Config, source: WeightsFile
) -> tuple[Config, CheckpointMeta]:
    """What a folder of ours says of itself: as the source does, where that is one of ours."""
    if is_ours(source.path):
        return read_checkpoint_config(source.path), read_checkpoint_meta(source.path)
    return config_of(model.shape, config), CheckpointMeta(0, "", 1.0)


@torch.no_grad()
def _largest_difference(
    model: Latte | LatteT2V, form: Format, options: ConvertOptions, source: WeightsFile
) -> float:
    """Between the outputs of the network and of what was written, loaded again.

    For text, diffusers' own class stands on the side of its format.
    """
    written = _reload(model, form, options)
    if not isinstance(model, LatteT2V):
        assert isinstance(written, Latte)
        return _difference(_outputs(model), _outputs(written))
    differences = [_difference(_outputs(model), _outputs(written))]
    folder = options.target if form == "diffusers" else source.path
    if form == "diffusers" or (source.kind == "latte-t2v" and source.config is not None):
        differences.append(_difference(_outputs(written), _diffusers_outputs(folder, model.shape)))
    return max(differences)


def _reload(model: Latte | LatteT2V, form: Format, options: ConvertOptions) -> Latte | LatteT2V:
    return network_from(
        read_weights(options.target), None if form == "latte" else model.shape.heads
    )


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _proof(shape: Any) -> dict[str, Tensor]:
    """A small clip of the trained length, always the same, and what the network is told."""
    generator = torch.Generator().manual_seed(0)
    side = _PROOF_SIDE * shape.patch
    size = (1, shape.num_frames, shape.in_channels, side, side)
    clip = {"x": torch.randn(size, generator=generator), "t": torch.tensor([500])}
    if isinstance(shape, TextShape):
        text = torch.randn(1, _PROOF_TEXT, shape.text_width, generator=generator)
        return {**clip, "text": text}
    return clip if shape.num_classes is None else {**clip, "y": torch.tensor([0])}


def _outputs(model: Latte | LatteT2V) -> Tensor:
    out: Tensor = model(**_proof(model.shape))
    return out


def _diffusers_outputs(folder: Path, shape: TextShape) -> Tensor:
    """What diffusers' own class makes of the same clip, (b, f, 2c, h, w)."""
    from diffusers import LatteTransformer3DModel
    from diffusers.utils import logging

    logging.set_verbosity_error()
    try:
        theirs = LatteTransformer3DModel.from_pretrained(folder, torch_dtype=torch.float32)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder}: diffusers does not load it", hint="`latte --debug …` shows its words"
        ) from error
    clip = _proof(shape)
    x, text = clip["x"].transpose(1, 2), clip["text"]
    (out,) = theirs.eval()(x, clip["t"], encoder_hidden_states=text, return_dict=False)
    return torch.as_tensor(out).transpose(1, 2)
