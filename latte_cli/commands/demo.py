"""`latte demo`: the whole workflow on a small procedural data set, without network or GPU."""

# Axes: f frames, h height, w width.

import shlex
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
from latte_cli.config.locations import EMBEDDED, Locations, pipeline_path
from latte_cli.data.frames import prepare_frame
from latte_cli.data.manifest import read_dataset
from latte_cli.runtime.console import Console, format_duration
from latte_cli.runtime.devices import peak_memory, peak_memory_of_workers, pick_device
from latte_cli.runtime.files import atomic_file
from latte_cli.sampling.generation import filmstrip, tile
from latte_cli.vae import load_codec, psnr, to_pixels, to_signal
from latte_cli.video_io import read_video, write_video

PRESET = "shapes"
_FEW_STEPS = "shapes-map"  # the preset of the network that ships for 4 steps
SENTENCE = "a red circle moving up and left"
_VIDEOS = 160
_CLIPS = 8
_STRIPS = 2  # clips of each row in the picture
_MARGIN = 104  # pixels for the names of the rows
_EVAL_CLIPS = 32
_NETWORKS = {"fresh": "the new network", "shipped": "the shipped network", "real": "real clips"}
_EVAL_STEPS = 12
_STEPS = 25  # of the clips that are shown
_SHORT_TRAINING = {
    "train.batch_size": 16,
    "train.warmup_steps": 50,
    "train.log_every": 10,
    "train.ema_decay": 0.99,
    "train.save_every": 100,
}

Clips = list[NDArray[np.uint8]]


@dataclass(frozen=True)
class DemoResult:
    """What was measured, and where the files are.

    `moves_as_asked` is the share of clips that move as their label says, `distance_from_real` the
    Fréchet distance on a small random network, which is not FVD. `sentence_clip` is None where the
    embedded text-to-video pipeline is not installed.
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
    report: Path
    sentence_clip: Path | None = None

    def sentences(self) -> list[str]:
        """The same for people."""
        return [
            f"\nLatte prepared {self.videos} generated videos and encoded their "
            f"{self.frames_encoded} frames as latents. Decoded again, they have a PSNR of "
            f"{self.reconstruction_psnr_db:.1f} dB.",
            self._training(),
            "The share of clips that move as their label says, with its 95 % interval: "
            f"{_listed(self.moves_as_asked)}.",
            "Distance from real clips, where less is better (fd-random, which is not FVD): "
            f"{_listed(self.distance_from_real)}.",
            f"All of it took {format_duration(self.seconds)} "
            f"({_listed({k: format_duration(v) for k, v in self.seconds_by_part.items()})}) "
            f"and {self.peak_memory_gib} GiB of memory at most.",
            f"Look at {self.picture} and {self.video}, which show real clips, the same clips "
            "decoded, and samples of the new network and of those that ship. The clips themselves "
            f"are in {self.samples}, the run is in {self.run}, and {self.report} tells about the "
            "run in a browser.",
            *([] if self.sentence_clip is None else [self._sentence()]),
        ]

    def _sentence(self) -> str:
        return (
            f"The embedded text-to-video pipeline generated {self.sentence_clip} from the words "
            f"`{SENTENCE}`."
        )

    def _training(self) -> str:
        network = f"a network of {self.parameters / 1e6:.2f} M parameters for {self.steps} steps"
        first, last = self.loss_first_tenth, self.loss_last_tenth
        loss = "" if None in (first, last) else f"; its loss went from {first:.3f} to {last:.3f}"
        rate = self.training_clips_per_s
        speed = "" if rate is None else f" at {rate:.0f} clips a second"
        return f"It trained {network} from scratch{speed}{loss}."


def _listed(values: Mapping[str, str]) -> str:
    """`fresh 0.25, shipped 0.97`."""
    return ", ".join(f"{_NETWORKS.get(name, name)} {value}" for name, value in values.items())


class _Steps:
    """Runs commands one after the other, and records the seconds that each takes."""

    def __init__(self, run_command: Callable[..., Any], console: Console) -> None:
        self._run_command, self._console = run_command, console
        self.seconds: dict[str, float] = {}

    def run(self, part: str, *command: str) -> Any:
        """Show a command, run it, and return its result."""
        self._console.info(f"\n$ latte {shlex.join(command)}")
        started = time.monotonic()
        result = self._run_command(*command)
        self.seconds[part] = round(time.monotonic() - started, 1)
        return result


def run(out: Path, steps: int, run_command: Callable[..., Any], console: Console) -> DemoResult:
    """Prepare, encode, train from scratch; sample and evaluate both networks; report; a sentence.

    Args:
        out: folder for everything.
        steps: training steps of the new network.
        run_command: runs one command of `latte`, given as its arguments, and returns its result.
        console: where to print.
    """
    demo = _Steps(run_command, console)
    # Every command gets all roots that it takes, so that nothing beside the folder has a say.
    names = ("data", "latents", "runs", "features")
    data, latents, runs, features = (f"--{name}-root={out / name}" for name in names)
    preset = ("--preset", PRESET)

    prepared = demo.run("prepare", "prepare", PRESET, f"--count={_VIDEOS}", data)
    encoded = demo.run("encode", "encode-latents", *preset, data, latents)
    roots = (data, latents, runs, features)
    overrides = [arg for key, value in _SHORT_TRAINING.items() for arg in ("-o", f"{key}={value}")]
    trained = demo.run("train", "train", *preset, f"--steps={steps}", *overrides, *roots)

    clips: dict[str, Clips] = {}
    numbers: dict[str, Any] = {}
    for kind, checkpoint in (("fresh", str(trained.checkpoint)), ("shipped", EMBEDDED)):
        network = (*preset, "--checkpoint", checkpoint)
        folder = out / "samples" / (kind if kind == "shipped" else trained.checkpoint.name)
        count = ("-n", str(_CLIPS), "--steps", str(_STEPS))
        sampled = demo.run(
            f"sample {kind}", "sample", *network, *count, data, runs, f"--out={folder}"
        )
        clips[kind] = [read_video(path) for path in sampled.paths]
        options = [f"--clips={_EVAL_CLIPS}", "-o", f"sample.steps={_EVAL_STEPS}"]
        options += [data, runs, features, f"--out={out / 'results' / folder.name}.json"]
        evaluated = demo.run(f"eval {kind}", "eval", *network, *options)
        numbers[kind] = evaluated.result.numbers

    embedded = ("--preset", _FEW_STEPS, "--checkpoint", EMBEDDED, "-n", str(_CLIPS))
    folder = out / "samples" / "shipped-4-steps"
    sampled = demo.run("sample in 4 steps", "sample", *embedded, data, runs, f"--out={folder}")
    clips["4 steps"] = [read_video(path) for path in sampled.paths]

    reported = demo.run("report", "report", trained.run.name, runs)
    sentence_clip = None
    if pipeline_path(EMBEDDED).is_dir():
        sentence_clip = out / "sentence.mp4"
        demo.run("t2v", "t2v", SENTENCE, f"--model={EMBEDDED}", f"--out={sentence_clip}")

    real, decoded = _reconstruct(out)
    rows = {"real": real, "reconstructed": decoded}
    rows |= {f"{trained.step} steps": clips["fresh"], "shipped": clips["shipped"]}
    rows |= {"shipped, 4 steps": clips["4 steps"]}
    _write_picture(out / "demo.png", rows)
    fps = load_config(PRESET).sample.fps
    write_video(out / "demo.mp4", tile([c for row in rows.values() for c in row], _CLIPS), fps)
    return DemoResult(
        videos=prepared.accepted,
        frames_encoded=encoded.frames,
        reconstruction_psnr_db=psnr(*(torch.from_numpy(np.stack(c)) for c in (real, decoded))),
        parameters=trained.parameters,
        steps=trained.step,
        loss_first_tenth=trained.loss_first_tenth,
        loss_last_tenth=trained.loss_last_tenth,
        training_clips_per_s=trained.clips_per_s,
        seconds=sum(demo.seconds.values()),
        seconds_by_part=demo.seconds,
        peak_memory_gib=_peak_memory_gib(),
        moves_as_asked=_format_metric("direction", numbers),
        distance_from_real=_format_metric("fd-random", numbers),
        picture=out / "demo.png",
        video=out / "demo.mp4",
        run=trained.run,
        samples=out / "samples",
        report=reported.out,
        sentence_clip=sentence_clip,
    )


def _format_metric(metric: str, numbers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A metric of each network with its 95 % interval, and the real-vs-real value if there is one.

    Args:
        metric: its name.
        numbers: of each network, by metric.
    """
    shown = {}
    for kind, metrics in numbers.items():
        number = metrics[metric]
        low, high = number.interval
        shown[kind] = f"{number.value:.3g} ({low:.3g} to {high:.3g})"
    if number.real_vs_real is not None:
        shown["real"] = f"{number.real_vs_real.value:.3g}"
    return shown


def _reconstruct(out: Path) -> tuple[Clips, Clips]:
    """A test clip of each class, before and after the autoencoder."""
    config = load_config(PRESET)
    data, codec = config.data, load_codec(config, pick_device())
    dataset = read_dataset(Locations(data_root=out / "data").data(config))
    real, decoded = [], []
    for video in dataset.of_split("test")[:_CLIPS]:
        frames = read_video(dataset.path_of(video), range(0, data.window, data.interval))
        clip = np.stack([prepare_frame(frame, data.size) for frame in frames])
        mean = codec.encode(to_signal(torch.from_numpy(clip))[None]).mean
        real.append(clip)
        decoded.append(to_pixels(codec.decode(mean))[0].cpu().numpy())
    return real, decoded


def _write_picture(path: Path, rows: Mapping[str, Clips]) -> None:
    """Write a picture of filmstrips: a few clips of each row, with the row's name beside them."""
    strips = [
        filmstrip(clip, len(clip))[None] for clips in rows.values() for clip in clips[:_STRIPS]
    ]
    picture = tile(strips, columns=1)[0]
    height, width, _ = picture.shape
    canvas = Image.new("RGB", (width + _MARGIN, height), "white")
    canvas.paste(Image.fromarray(picture), (_MARGIN, 0))
    draw = ImageDraw.Draw(canvas)
    for number, name in enumerate(rows):
        draw.text((8, int((number + 0.5) * height / len(rows)) - 6), name, fill="black")
    with atomic_file(path) as part:
        canvas.save(part)


def _peak_memory_gib() -> float:
    """Peak resident size of this process plus that of its largest worker."""
    own = peak_memory(torch.device("cpu"))
    return round((own + peak_memory_of_workers()) / 2**30, 2)
