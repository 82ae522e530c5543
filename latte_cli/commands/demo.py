"""`latte demo`: the whole road on a small procedural data set, without network or GPU."""

# Axes: f frames, h height, w width.

import resource
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from latte_cli.config import load_config
from latte_cli.config.locations import EMBEDDED, Locations
from latte_cli.data.frames import prepare_frame
from latte_cli.data.manifest import read_dataset
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import pick_device
from latte_cli.runtime.files import whole_file
from latte_cli.sampling.generation import filmstrip, tile
from latte_cli.vae import load_codec, psnr, to_pixels, to_signal
from latte_cli.video_io import read_video, write_video

PRESET = "shapes"
_VIDEOS = 160
_CLIPS = 8
_STRIPS = 2  # clips of each kind in the picture
_MARGIN = 104  # pixels for the words beside the strips
_JUDGED = 32  # clips of each network that are measured
_JUDGED_STEPS = 20

Clips = list[NDArray[np.uint8]]


@dataclass(frozen=True)
class DemoResult:
    """What was measured, and where the files lie.

    The last measures are of an embedded judge: shares of clips that move as their label says, and
    Fréchet distances on a small random network, which are no FVD.
    """

    videos: int
    frames_encoded: int
    reconstruction_psnr_db: float
    parameters: int
    steps: int
    loss_first_tenth: float | None
    loss_last_tenth: float | None
    training_clips_per_s: float | None
    seconds: float
    seconds_by_part: Mapping[str, float]
    peak_memory_gib: float
    moves_as_asked: Mapping[str, str]
    distance_from_real: Mapping[str, str]
    picture: Path
    video: Path
    run: Path
    samples: Path


def run(out: Path, steps: int, latte: Callable[..., Any], console: Console) -> DemoResult:
    """Prepare, encode, train from scratch; sample and measure the fresh and the shipped network.

    Args:
        out: folder for everything.
        steps: training steps of the fresh network.
        latte: runs one command line, given as words, and returns its result: the demo is what a
            user would type, and no command imports another.
        console: where to speak.
    """
    parts: dict[str, float] = {}
    roots = {
        name: f"--{name}-root={out / name}" for name in ("data", "latents", "runs", "features")
    }
    brief = {"train.batch_size": 16, "train.warmup_steps": 50, "train.log_every": 10}
    brief |= {"train.ema_decay": 0.99, "train.save_every": 100}  # type: ignore[dict-item]

    def walk(part: str, *words: str) -> Any:
        console.say(f"\n$ latte {shlex.join(words)}")
        started = time.monotonic()
        result = latte(*words)
        parts[part] = round(time.monotonic() - started, 1)
        return result

    prepared = walk("prepare", "prepare", PRESET, f"--count={_VIDEOS}", roots["data"])
    encoded = walk("encode", "encode-latents", "--preset", PRESET, roots["data"], roots["latents"])
    values = [word for key, value in brief.items() for word in ("-o", f"{key}={value}")]
    where = (roots["latents"], roots["runs"])
    trained = walk("train", "train", "--preset", PRESET, f"--steps={steps}", *values, *where)

    drawn: dict[str, Clips] = {}
    judged: dict[str, Any] = {}
    for kind, checkpoint in (("fresh", str(trained.checkpoint)), ("shipped", EMBEDDED)):
        words = ["--preset", PRESET, "--checkpoint", checkpoint, "-n", str(_CLIPS)]
        folder = out / "samples" / (kind if kind == "shipped" else trained.checkpoint.name)
        clips = walk(f"sample {kind}", "sample", *words, f"--out={folder}")
        drawn[kind] = [read_video(path) for path in clips.paths]
        words = ["--preset", PRESET, "--checkpoint", checkpoint, f"--clips={_JUDGED}"]
        words += ["-o", f"sample.steps={_JUDGED_STEPS}", roots["data"], roots["features"]]
        found = walk(f"eval {kind}", "eval", *words, f"--out={out / 'results' / kind}.json")
        judged[kind] = found.result.numbers

    real, decoded = _reconstruct(out)
    rows = {
        "real": real,
        "reconstructed": decoded,
        f"{trained.step} steps": drawn["fresh"],
        "shipped": drawn["shipped"],
    }
    _write_picture(out / "demo.png", rows)
    fps = load_config(PRESET).sample.fps
    write_video(out / "demo.mp4", tile([c for clips in rows.values() for c in clips], _CLIPS), fps)
    return DemoResult(
        videos=prepared.accepted,
        frames_encoded=encoded.frames,
        reconstruction_psnr_db=psnr(*(torch.from_numpy(np.stack(c)) for c in (real, decoded))),
        parameters=trained.parameters,
        steps=trained.step,
        loss_first_tenth=trained.loss_first_tenth,
        loss_last_tenth=trained.loss_last_tenth,
        training_clips_per_s=trained.clips_per_s,
        seconds=sum(parts.values()),
        seconds_by_part=parts,
        peak_memory_gib=_peak_memory_gib(),
        moves_as_asked=_in_words("direction", judged),
        distance_from_real=_in_words("fd-random", judged),
        picture=out / "demo.png",
        video=out / "demo.mp4",
        run=trained.run,
        samples=out / "samples",
    )


def _in_words(metric: str, judged: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A metric of each network with its 95 %, and the floor of real clips against real ones."""
    told = {}
    for kind, numbers in judged.items():
        number = numbers[metric]
        low, high = number.interval
        told[kind] = f"{number.value:.3g} ({low:.3g} to {high:.3g})"
    real_vs_real = number.real_vs_real
    return told if real_vs_real is None else {**told, "real": f"{real_vs_real.value:.3g}"}


def _reconstruct(out: Path) -> tuple[Clips, Clips]:
    """A held-out clip of each class, and the same through the autoencoder and back."""
    config = load_config(PRESET)
    data, codec = config.data, load_codec(config, pick_device())
    dataset = read_dataset(Locations(data_root=out / "data").data(config))
    videos = dataset.of_split("test")[:_CLIPS]
    real, decoded = [], []
    for video in videos:
        frames = read_video(dataset.path_of(video), range(0, data.window, data.interval))
        clip = np.stack([prepare_frame(frame, data.size) for frame in frames])
        mean = codec.encode(to_signal(torch.from_numpy(clip))[None]).mean
        real.append(clip)
        decoded.append(to_pixels(codec.decode(mean))[0].cpu().numpy())
    return real, decoded


def _write_picture(path: Path, rows: Mapping[str, Clips]) -> None:
    """Some clips of each kind as rows of frames, with words beside them."""
    strips = [
        filmstrip(clip, len(clip))[None] for clips in rows.values() for clip in clips[:_STRIPS]
    ]
    picture = tile(strips, columns=1)[0]
    height, width, _ = picture.shape
    canvas = Image.new("RGB", (width + _MARGIN, height), "white")
    canvas.paste(Image.fromarray(picture), (_MARGIN, 0))
    draw = ImageDraw.Draw(canvas)
    for number, kind in enumerate(rows):
        draw.text((8, int((number + 0.5) * height / len(rows)) - 6), kind, fill="black")
    with whole_file(path) as part:
        canvas.save(part)


def _peak_memory_gib() -> float:
    """Peak resident size of this process, and of the largest of its workers, added up."""
    unit = 1 if sys.platform == "darwin" else 1024
    own, workers = (
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return round((own + workers) * unit / 2**30, 2)
