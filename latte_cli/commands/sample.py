"""`latte sample`: clips from a trained network."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from latte_cli.caching import Policy, sampling_with_cache
from latte_cli.config import Config
from latte_cli.config.locations import Locations
from latte_cli.models.weights.trained import load_trained
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import pick_device, resolve_precision
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.files import write_changed
from latte_cli.sampling.clip_folder import ClipFolder
from latte_cli.sampling.first_frame import first_frame_latents
from latte_cli.sampling.generation import ClipRequest, Generator, filmstrip, tile
from latte_cli.sampling.long_video import LongClip
from latte_cli.sampling.sample_plan import (
    SampleOptions,
    cache_policy,
    entry_of,
    folder_of,
    is_file,
    is_one_clip,
    long_plan,
    requests,
    settings,
)
from latte_cli.sampling.sharing import OnStep, batches_of, sample_missing
from latte_cli.vae import load_codec
from latte_cli.video_io import Frame, write_clip

__all__ = ["SampleOptions", "SampleResult", "run"]

_STRIP_FRAMES = 8
_GRID_CLIPS = 64


@dataclass(frozen=True)
class SampleResult:
    """What came of it; no grid is drawn for a file."""

    out: Path
    checkpoint: Path
    clips: int
    drawn_now: int
    grid: Path | None
    paths: tuple[Path, ...]
    seconds: float


def run(
    config: Config, locations: Locations, console: Console, options: SampleOptions
) -> SampleResult | None:
    """Draw the clips that are not there yet, then the list and the grid of all.

    Any number of processes that see the same folders may do this at once; others give None.

    Raises:
        CheckpointError: if the checkpoint is broken or holds another network than configured.
        ConfigError: on a text model, an unknown label, or options that exclude each other.
        DataError: if the folder holds other clips, or a picture or data set cannot be read.
    """
    started = time.monotonic()
    plan = long_plan(config, options)
    frames = plan.frames if plan else options.frames or config.data.frames
    one_file = is_one_clip(options, frames)
    device = pick_device()
    model = load_trained(options.checkpoint, config).to(device)
    codec = load_codec(config, device)
    dtype = resolve_precision(config.sample.precision, device)
    asked = requests(config, locations, options, model.shape.num_classes, codec)
    policy = cache_policy(config, options, plan)
    about = settings(config, options, plan, policy, codec, dtype)
    drawer = _BatchSampler(Generator(model, codec, config, dtype), options, plan, policy)
    grid: Path | None = None
    paths: tuple[Path, ...] = (options.out,)
    if one_file:
        drawn = _draw_file(drawer, asked[0], about, console)
    else:
        entries = [entry_of(request) for request in asked]
        clips = folder_of(options.out, options.fmt, entries, about, config.sample.fps)
        drawn = _draw_folder(drawer, asked, clips, console)
        if is_main():
            clips.finish()
            grid = _write_grid(options.out, clips, frames)
        paths = clips.paths
    if not is_main():
        return None
    spent = time.monotonic() - started
    return SampleResult(options.out, options.checkpoint, len(asked), drawn, grid, paths, spent)


class _BatchSampler:
    """Draws clips as the options say.

    Attributes:
        together: clips drawn at a time.
        steps: calls of the network for a clip.
    """

    def __init__(
        self,
        generator: Generator,
        options: SampleOptions,
        plan: LongClip | None,
        policy: Policy | None,
    ) -> None:
        self._generator, self._plan, self._policy = generator, plan, policy
        config = generator.config
        self._at_once = options.frames or config.data.frames
        self.out, self.fps = options.out, config.sample.fps
        alone = plan is not None or (policy is not None and policy.needs_batch_of_one)
        self.together = 1 if alone else config.sample.batch
        self.steps = plan.steps(config.sample.steps) if plan else config.sample.steps
        self._known: Tensor | None = None
        if options.image is not None:
            size = config.data.size
            self._known = first_frame_latents(options.image, generator.codec, size, size)

    def caching(self, console: Console) -> AbstractContextManager[None]:
        """For the time of it, use again what the options say."""
        return sampling_with_cache(self._generator.model, self._policy, console)

    def clips(self, requests: Sequence[ClipRequest], on_step: OnStep) -> Iterator[Iterable[Frame]]:
        """The clips of a batch, each as its frames."""
        generator, known = self._generator, self._known
        if self._plan is not None:
            for request in requests:
                yield generator.long_clip(request, self._plan, on_step, known)
            return
        for clip in generator.clips(requests, self._at_once, on_step, known):
            yield clip.frames


def _draw_folder(
    drawer: _BatchSampler, asked: Sequence[ClipRequest], clips: ClipFolder, console: Console
) -> int:
    """Draw what is missing; how many clips that were."""
    missing = len(clips.missing())
    if is_main() and missing < len(asked):
        console.say(f"{len(asked) - missing} of {len(asked)} clips are there")
    batches = list(batches_of(asked, drawer.together))
    entries = list(batches_of(clips.entries, drawer.together))

    def draw(number: int, on_step: OnStep) -> Iterator[Iterable[Frame]]:
        return drawer.clips(batches[number], on_step)

    with drawer.caching(console):
        sample_missing(clips, entries, draw, console, drawer.steps)
    return missing


def _draw_file(
    drawer: _BatchSampler, request: ClipRequest, about: dict[str, Any], console: Console
) -> int:
    """Draw the one clip of a file, anew, on the main process."""
    if is_main():
        progress = console.progress("drawing", drawer.steps, "steps")
        with drawer.caching(console), progress as bar:
            for frames in drawer.clips([request], bar.advance):
                told = {**about, **entry_of(request).about}
                write_clip(drawer.out, frames, drawer.fps, told)
    return 1


def _write_grid(out: Path, clips: ClipFolder, frames: int) -> Path | None:
    """A picture with a row of frames for each clip, in two columns where there are many."""
    if is_file(out):
        return None
    numbers = np.linspace(0, frames - 1, _STRIP_FRAMES).round().astype(int).tolist()
    strips = [filmstrip(clip, len(clip))[None] for clip in clips.frames(_GRID_CLIPS, numbers)]
    picture: NDArray[np.uint8] = tile(strips, columns=1 if len(strips) <= _STRIP_FRAMES else 2)[0]
    grid = out / "grid.png"
    content = BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    write_changed(grid, content.getvalue())
    return grid
