"""`latte sample`: clips from a trained network."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latte_cli.config import Config
from latte_cli.console import Console
from latte_cli.devices import pick_device, resolve_precision
from latte_cli.errors import DataError
from latte_cli.files import sha256_of, whole_file, write_text
from latte_cli.generation import ClipRequest, Generator, filmstrip, tile
from latte_cli.trained import label_names, label_number, load_trained
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
        CheckpointError: if the checkpoint is broken or holds another network than configured.
        ConfigError: on a text model, or a label that the network does not know.
        DataError: if the folder holds clips drawn with other settings.
    """
    started = time.monotonic()
    device = pick_device()
    model = load_trained(options.checkpoint, config).to(device)
    codec = load_codec(config, device)
    classes = label_names(options.checkpoint, codec)
    requests = _requests(options, config.sample.seed, model.shape.num_classes, classes)
    _refuse_other_settings(options.out, _settings(config, options, codec))
    todo = [request for request in requests if not _path(options.out, request).is_file()]
    if len(todo) < len(requests):
        console.say(f"{len(requests) - len(todo)} of {len(requests)} clips are there")

    dtype = resolve_precision(config.sample.precision, device)
    generator = Generator(model, codec, config, dtype)
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


def _requests(
    options: SampleOptions, seed: int, num_classes: int | None, classes: Sequence[str]
) -> list[ClipRequest]:
    """The labels asked for in turn; all that the network knows by default."""
    labels = [label_number(text, num_classes, classes) for text in options.labels]
    turns: Sequence[int | None] = labels or range(num_classes or 0) or [None]
    return [ClipRequest(i, seed, turns[i % len(turns)]) for i in range(options.count)]


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
        "eta": config.sample.eta,
        "guidance": config.sample.guidance,
        "guidance_interval": list(config.sample.guidance_interval),
        "guided_channels": config.sample.guided_channels,
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
