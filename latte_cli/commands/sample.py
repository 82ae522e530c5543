"""`latte sample`: clips from a trained network."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latte_cli.caching import Policy, sampling_with_cache
from latte_cli.config import Config
from latte_cli.config.locations import Locations
from latte_cli.reporting.run_report import add_to_report
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.engines.engine import LOCAL
from latte_cli.runtime.errors import ConfigError
from latte_cli.sampling.clip_folder import ClipFolder
from latte_cli.sampling.existing.files import clip_is_there
from latte_cli.sampling.generation import Generator, load_generator
from latte_cli.sampling.long_plan import LongClipPlan
from latte_cli.sampling.output import is_file, is_one_clip, open_clip_folder
from latte_cli.sampling.parallel_sampling import Generate, OnStep, sample_missing
from latte_cli.sampling.pictures.first_frame import first_frame_latents
from latte_cli.sampling.pictures.grid import write_grid
from latte_cli.sampling.sample_requests import (
    ClipRequest,
    SampleOptions,
    cache_policy,
    clip_entry,
    clip_requests,
    long_plan,
)
from latte_cli.sampling.settings import sample_settings
from latte_cli.sampling.sharing import sharing_clips
from latte_cli.video_io import Frame, write_clip

__all__ = ["SampleOptions", "SampleResult", "run"]

_STRIP_FRAMES = 8
_GRID_CLIPS = 64


@dataclass(frozen=True)
class SampleResult:
    """The sampled clips; there is no grid of a single file."""

    out: Path
    checkpoint: Path
    clips: int
    sampled_now: int
    grid: Path | None
    paths: tuple[Path, ...]
    seconds: float
    report: Path | None = None  # of the run that the checkpoint is from, if it is from one


def run(
    config: Config, locations: Locations, console: Console, options: SampleOptions
) -> SampleResult | None:
    """Sample the clips that are missing, then write the list and the grid of all.

    Any number of processes that see the same folders may run this at once; all but the main one
    return None.

    Raises:
        CheckpointError: if the checkpoint is broken or holds another network than configured.
        ConfigError: on a text model, an unknown label, or options that exclude each other.
        DataError: if a picture or data set cannot be read.
        ExistsError: if clips of another request are there, which may not be replaced.
    """
    started = time.monotonic()
    plan = long_plan(config, options)
    total_frames = plan.frames if plan else options.frames or config.data.frames
    one_clip = is_one_clip(options.out, options.clips, total_frames)
    if one_clip and options.engine is not LOCAL:
        raise ConfigError(
            "one clip is not shared out among the workers of an engine",
            hint="leave --engine out, or write a folder of clips",
        )
    sampling = _Sampling.open(config, options)
    generator, names = sampling.generator, sampling.names
    requests = clip_requests(config, locations, options, generator.model.shape.num_classes, names)
    settings = sample_settings(config, options, sampling.policy, generator.codec, generator.dtype)
    grid: Path | None = None
    paths: tuple[Path, ...] = (options.out,)
    if one_clip:
        metadata = {**settings, **clip_entry(requests[0]).metadata}
        sampled = _sample_file(sampling, requests[0], metadata, options, console)
    else:
        entries = [clip_entry(request, names) for request in requests]
        folder = open_clip_folder(
            options.out,
            options.fmt,
            entries,
            settings,
            config.sample.fps,
            overwrite=options.overwrite,
        )
        sampled = _sample_folder(sampling, requests, folder, options, console)
        if is_main():
            folder.finish()
            grid = None if is_file(options.out) else write_grid(folder, total_frames)
        paths = folder.paths
    if not is_main():
        return None
    report = add_to_report("samples", options.out, options.checkpoint, console)
    seconds = time.monotonic() - started
    return SampleResult(
        options.out, options.checkpoint, len(requests), sampled, grid, paths, seconds, report
    )


@dataclass(frozen=True)
class _Sampling:
    """How clips are sampled: short or long, in batches or alone."""

    generator: Generator
    names: tuple[str, ...]
    plan: LongClipPlan | None
    num_frames: int
    first_frames: Tensor | None
    policy: Policy | None

    @classmethod
    def open(cls, config: Config, options: SampleOptions) -> "_Sampling":
        """Load what the options name, onto this machine's device."""
        generator, names = load_generator(options.checkpoint, config)
        first_frames = None
        if options.image is not None:
            size = [config.data.size] * 2
            first_frames = first_frame_latents(options.image, generator.codec, *size)
        plan, num_frames = long_plan(config, options), options.frames or config.data.frames
        policy = cache_policy(config, options)
        return cls(generator, names, plan, num_frames, first_frames, policy)

    @property
    def batch_size(self) -> int:
        """Clips sampled at once."""
        alone = self.policy is not None and self.policy.needs_batch_of_one
        return 1 if alone or self.plan is not None else self.generator.config.sample.batch

    @property
    def steps(self) -> int:
        """Calls of the network per clip."""
        steps = self.generator.config.sample.steps
        return self.plan.steps(steps) if self.plan else steps

    @contextmanager
    def ready(self, console: Console) -> Iterator["Generate[ClipRequest] | None"]:
        """What to sample with, as `sharing_clips`, and with what is reused between steps."""
        model, processes = self.generator.model, self.generator.config.sample.sequence_parallel
        with (
            sampling_with_cache(model, self.policy, console),
            sharing_clips(model, processes, self.generate) as generate,
        ):
            yield generate

    def generate(
        self, requests: Sequence[ClipRequest], on_step: OnStep
    ) -> Iterator[Iterable[Frame]]:
        """The clips of a batch, each as its frames."""
        if self.plan is not None:
            for request in requests:
                yield self.generator.long_clip(request, self.plan, on_step, self.first_frames)
            return
        yield from self.generator.clips(requests, self.num_frames, on_step, self.first_frames)


class _OpenSampling:
    """Opens sampling wherever an engine works; it is already open in the process of the command.

    Args:
        options: of the command.
        config: with the same settings.
        dtype: of matmuls, which is among the settings of the clips.
        here: what samples in this process; None: another process.
    """

    def __init__(
        self,
        config: Config,
        options: SampleOptions,
        dtype: torch.dtype,
        here: "Generate[ClipRequest] | None",
    ) -> None:
        self._config, self._options, self._dtype, self._here = config, options, dtype, here

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._config, self._options, self._dtype, None)

    @contextmanager
    def __call__(self) -> Iterator["Generate[ClipRequest]"]:
        """Open it.

        Raises:
            ConfigError: if another precision is fast here than where the command was started.
        """
        if self._here is not None:
            yield self._here
            return
        sampling = _Sampling.open(self._config, self._options)
        if sampling.generator.dtype != self._dtype:
            raise ConfigError(
                f"a node of the cluster computes in {sampling.generator.dtype}, the machine of the "
                f"command in {self._dtype}",
                hint="--precision bf16 or --precision float32 decides for all",
            )
        with sampling.ready(Console(quiet=True)) as generate:
            assert generate is not None, "clips are not shared between workers"
            yield generate


def _sample_folder(
    sampling: _Sampling,
    requests: Sequence[ClipRequest],
    folder: ClipFolder,
    options: SampleOptions,
    console: Console,
) -> int:
    """Sample the missing clips of a folder; returns how many they were."""
    missing = len(folder.missing())
    if is_main() and missing < len(requests):
        console.info(f"{len(requests) - missing} of {len(requests)} clips are already there")
    config, dtype = sampling.generator.config, sampling.generator.dtype
    with sampling.ready(console) as generate:
        if generate is not None:
            opened = _OpenSampling(config, options, dtype, generate)
            size, steps = sampling.batch_size, sampling.steps
            sample_missing(folder, requests, size, opened, console, steps, options.engine)
    return missing


def _sample_file(
    sampling: _Sampling,
    request: ClipRequest,
    metadata: Mapping[str, Any],
    options: SampleOptions,
    console: Console,
) -> int:
    """Sample the one clip of a file, on the main process; returns 0 if it is there already."""
    out, config = options.out, sampling.generator.config
    alone = config.sample.sequence_parallel == 1
    quiet = console if is_main() else replace(console, quiet=True)
    if (alone and not is_main()) or clip_is_there(
        out, metadata, quiet, overwrite=options.overwrite
    ):
        return 0
    with sampling.ready(console) as generate:
        if generate is not None:
            with console.progress("sampling", sampling.steps, "steps") as bar:
                for frames in generate([request], bar.advance):
                    write_clip(out, frames, config.sample.fps, metadata)
    return 1
