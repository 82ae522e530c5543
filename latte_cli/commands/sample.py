"""`latte sample`: clips from a trained network."""

import difflib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latte_cli.checkpoint import (
    FOR_SAMPLING,
    read_checkpoint_config,
    read_checkpoint_meta,
    what_is_broken,
)
from latte_cli.config import Config
from latte_cli.console import Console
from latte_cli.devices import pick_device, resolve_precision
from latte_cli.errors import CheckpointError, ConfigError, DataError
from latte_cli.files import sha256_of, whole_file, write_text
from latte_cli.generation import ClipRequest, Generator, filmstrip, tile
from latte_cli.models import Latte, load_latte, shape_from_config
from latte_cli.vae import LatentCodec, load_codec
from latte_cli.video_io import read_video, write_video

_STRIP_FRAMES = 8
_GRID_CLIPS = 64
_SETTINGS = "settings.json"


@dataclass(frozen=True)
class SampleOptions:
    """What `latte sample` was asked for beside the configuration."""

    checkpoint: Path
    count: int = 8
    labels: tuple[str, ...] = ()
    frames: int | None = None
    out: Path = Path("samples")


@dataclass(frozen=True)
class SampleResult:
    """What came of it."""

    out: Path
    checkpoint: Path
    clips: int
    drawn_now: int
    grid: Path
    paths: tuple[Path, ...]
    seconds: float


def run(config: Config, console: Console, options: SampleOptions) -> SampleResult:
    """Draw the clips that are not there yet, then the grid of all.

    Raises:
        CheckpointError: if the checkpoint is broken or of another shape than the configuration's.
        ConfigError: on a label that the network does not know.
        DataError: if the folder holds clips drawn with other settings.
    """
    started = time.monotonic()
    device = pick_device()
    model = _load(options.checkpoint, config).to(device)
    codec = load_codec(config, device)
    classes = _classes(options.checkpoint, codec)
    requests = _requests(options, config, model, classes)
    _refuse_other_settings(options.out, _settings(config, options, codec))
    todo = [request for request in requests if not _path(options.out, request).is_file()]
    if len(todo) < len(requests):
        console.say(f"{len(requests) - len(todo)} of {len(requests)} clips are there")

    dtype = resolve_precision(config.sample.precision, device)
    generator = Generator(model.eval(), codec, config, dtype)
    with console.progress("sampling", len(requests) * config.sample.steps, "steps") as bar:
        bar.start((len(requests) - len(todo)) * config.sample.steps)
        for clip in generator.clips(todo, options.frames, bar.advance):
            write_video(_path(options.out, clip.request), clip.frames, config.sample.fps)
    paths = tuple(_path(options.out, request) for request in requests)
    return SampleResult(
        out=options.out,
        checkpoint=options.checkpoint,
        clips=len(paths),
        drawn_now=len(todo),
        grid=_write_grid(options.out, paths[:_GRID_CLIPS]),
        paths=paths,
        seconds=time.monotonic() - started,
    )


def _load(path: Path, config: Config) -> Latte:
    """The averaged network, if it is whole and of the configured shape."""
    if path.is_dir():
        broken = what_is_broken(path, FOR_SAMPLING)
        if broken:
            raise CheckpointError(broken, hint="sample from another checkpoint")
        theirs = read_checkpoint_config(path)
        _refuse_other_shape(path, theirs, config)
    model = load_latte(path, heads=shape_from_config(config).heads)
    ours = shape_from_config(config)
    if model.shape != ours:
        raise _other_shape(path, vars(model.shape), vars(ours))
    return model


def _refuse_other_shape(path: Path, theirs: Config, ours: Config) -> None:
    a, b = vars(shape_from_config(theirs)), vars(shape_from_config(ours))
    if a != b:
        raise _other_shape(path, a, b)


def _other_shape(path: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> CheckpointError:
    other = [f"{key} is {theirs[key]}, not {ours[key]}" for key in ours if theirs[key] != ours[key]]
    return CheckpointError(
        f"{path} holds another network than the preset's: {'; '.join(other)}",
        hint="leave --preset out to take the checkpoint's own, or set the values with -o",
    )


def _classes(path: Path, codec: LatentCodec) -> tuple[str, ...]:
    """Names of the labels; and that the network learned the latents of this autoencoder."""
    if not path.is_dir():
        return ()
    meta = read_checkpoint_meta(path)
    if meta.vae_fingerprint != codec.fingerprint:
        raise CheckpointError(
            f"{path} was trained on the latents of another autoencoder",
            hint="set vae.path to the one that its videos were encoded with",
        )
    return meta.classes


def _requests(
    options: SampleOptions, config: Config, model: Latte, classes: Sequence[str]
) -> list[ClipRequest]:
    seed, known = config.sample.seed, model.shape.num_classes
    if known is None:
        if options.labels:
            raise ConfigError(
                "this network is unconditional, it takes no --label", hint="leave --label out"
            )
        return [ClipRequest(index, seed) for index in range(options.count)]
    labels = [_label(text, known, classes) for text in options.labels] or list(range(known))
    return [ClipRequest(i, seed, labels[i % len(labels)]) for i in range(options.count)]


def _label(text: str, num_classes: int, classes: Sequence[str]) -> int:
    """A label's number from its number or name."""
    if text in classes:
        return classes.index(text)
    if text.isdecimal() and int(text) < num_classes:
        return int(text)
    near = difflib.get_close_matches(text, classes, n=1)
    guess = f"did you mean `{near[0]}`? " if near else ""
    named = f" ({', '.join(classes[:4])}, …)" if classes else ""
    raise ConfigError(f"no label `{text}`", hint=f"{guess}labels are 0 to {num_classes - 1}{named}")


def _path(out: Path, request: ClipRequest) -> Path:
    label = "" if request.label is None else f"-label{request.label}"
    return out / f"{request.index:05d}-seed{request.seed}{label}.mp4"


def _settings(config: Config, options: SampleOptions, codec: LatentCodec) -> dict[str, Any]:
    """All that a clip depends on beside its index and label, both of which its name tells."""
    weights = options.checkpoint
    weights = weights / "ema.safetensors" if weights.is_dir() else weights
    return {
        "weights_sha256": sha256_of(weights),
        "vae_fingerprint": codec.fingerprint,
        "diffusion": config.diffusion.model_dump(),
        "sampler": config.sample.sampler,
        "steps": config.sample.steps,
        "guidance": config.sample.guidance,
        "fps": config.sample.fps,
        "frames": options.frames or config.data.frames,
        "precision": config.sample.precision,
    }


def _refuse_other_settings(out: Path, settings: dict[str, Any]) -> None:
    """Never mix clips of two kinds in a folder."""
    path = out / _SETTINGS
    if path.is_file():
        there = _read_settings(path)
        other = [
            f"{key} was {there.get(key)}" for key in settings if there.get(key) != settings[key]
        ]
        if other:
            raise DataError(
                f"{out} holds clips drawn with other settings: {'; '.join(other)}",
                hint="give another --out, or delete that folder",
            )
    write_text(path, json.dumps(settings, indent=2) + "\n")


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        return dict(there)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: damaged", hint="give another --out") from error


def _write_grid(out: Path, paths: Sequence[Path]) -> Path:
    """A picture with a row of frames for each clip, in two columns where there are many."""
    strips = [filmstrip(read_video(path), _STRIP_FRAMES)[None] for path in paths]
    picture: NDArray[np.uint8] = tile(strips, columns=1 if len(strips) <= _STRIP_FRAMES else 2)[0]
    grid = out / "grid.png"
    with whole_file(grid) as part:
        Image.fromarray(picture).save(part)
    return grid
