"""`latte t2v`: clips from prompts."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latte_cli.caching import Policy, sampling_with_cache
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.files import write_if_changed
from latte_cli.sampling.clip_folder import ClipFolder
from latte_cli.sampling.existing.files import clip_is_there
from latte_cli.sampling.long_plan import LongClipPlan
from latte_cli.sampling.output import is_file, open_clip_folder
from latte_cli.sampling.parallel_sampling import OnStep, sample_missing
from latte_cli.sampling.pictures.first_frame import first_frame_latents
from latte_cli.sampling.pictures.grid import write_grid
from latte_cli.sampling.settings import text_settings
from latte_cli.sampling.sharing import sharing_clips
from latte_cli.sampling.text_requests import (
    T2VOptions,
    TextClipRequest,
    cache_policy,
    long_plan,
    text_clip_requests,
    writes_one_clip,
)
from latte_cli.sampling.text_to_video import load_generator
from latte_cli.text.prompts import NO_CLEAN, check_cleaning
from latte_cli.text.vbench import PROMPT_LIST, check_folder, read_suites, require_complete
from latte_cli.video_io import Frame, write_clip

__all__ = ["T2VOptions", "T2VResult", "run"]


_GRID_SIDE = 128  # pixels of a frame in the picture of all clips


@dataclass(frozen=True)
class T2VResult:
    """The sampled clips; there is no grid of a single file."""

    out: Path
    clips: int
    sampled_now: int
    grid: Path | None
    seconds: float
    paths: tuple[Path, ...]


def run(options: T2VOptions, console: Console) -> T2VResult | None:
    """Encode the prompts, free the text encoder, sample the clips that are missing.

    Any number of processes that see the same folder may run this at once; all but the main one
    return None.

    Raises:
        CheckpointError: if a part of the pipeline is missing, broken or does not fit the others.
        ConfigError: if a value cannot be used, or cleaning leaves nothing of a prompt.
        DataError: if a picture or VBench's list cannot be read.
        ExistsError: if clips of another request are there, which may not be replaced.
    """
    started = time.monotonic()
    requests = missing = text_clip_requests(options)
    plan = long_plan(options)
    policy = cache_policy(options, requests)
    one_clip = writes_one_clip(options, len(requests))
    settings = text_settings(options, policy)
    quiet = console if is_main() else replace(console, quiet=True)
    shared = options.sequence_parallel > 1
    folder = None
    if not one_clip:
        entries = [request.entry for request in requests]
        folder = open_clip_folder(
            options.out, options.fmt, entries, settings, options.fps, overwrite=options.overwrite
        )
        names = {entry.name for entry in folder.missing()}
        missing = [request for request in requests if request.entry.name in names]
        there = len(requests) - len(missing)
        if is_main() and there:
            console.info(f"{there} of {len(requests)} clips are already there")
    elif is_main() or shared:
        metadata = {**settings, **requests[0].entry.metadata}
        if clip_is_there(options.out, metadata, quiet, overwrite=options.overwrite):
            missing = []
    if options.clean:
        texts = [text for each in missing for text in (each.prompt, each.negative)]
        check_cleaning(texts, quiet, NO_CLEAN)
    if missing and (folder is not None or is_main() or shared):
        _sample(options, plan, policy, requests, missing, settings, folder, console)
    if not is_main():
        return None
    grid = None
    if folder is not None:
        folder.finish()
        if options.vbench is None and not is_file(options.out):
            grid = write_grid(folder, options.long or options.frames, _GRID_SIDE)
    if options.vbench is not None:
        # The list stays with its videos: `latte eval --vbench` finds it there.
        write_if_changed(options.out / PROMPT_LIST, options.vbench.read_bytes())
        require_complete(check_folder(options.out, read_suites(options.vbench)))
    return T2VResult(
        out=options.out,
        clips=len(requests),
        sampled_now=len(missing),
        grid=grid,
        seconds=time.monotonic() - started,
        paths=folder.paths if folder else (options.out,),
    )


def _sample(
    options: T2VOptions,
    plan: LongClipPlan | None,
    policy: Policy | None,
    requests: Sequence[TextClipRequest],
    missing: Sequence[TextClipRequest],
    settings: Mapping[str, Any],
    folder: ClipFolder | None,
    console: Console,
) -> None:
    """Sample the missing clips into the folder, or the one clip into its file."""
    generator = load_generator(options, missing, console)
    steps = len(generator.sampler.timesteps)  # some schedulers take several calls per step
    steps = plan.steps(steps) if plan else steps
    first_frames = None
    if options.image is not None:
        first_frames = first_frame_latents(options.image, generator.codec, *generator.size)

    def generate(batch: Sequence[TextClipRequest], on_step: OnStep) -> Iterator[Iterable[Frame]]:
        for request in batch:
            if plan is not None:
                yield generator.long_clip(request, plan, on_step, first_frames)
            else:
                yield generator.clip(request, options.frames, on_step, first_frames)

    processes = options.sequence_parallel
    with (
        sampling_with_cache(generator.model, policy, console),
        sharing_clips(generator.model, processes, generate) as shared_generate,
    ):
        if shared_generate is None:
            return
        if folder is not None:
            sample_missing(
                folder, requests, 1, lambda: nullcontext(shared_generate), console, steps
            )
            return
        with console.progress("sampling", steps, "steps") as bar:
            for frames in shared_generate(requests, bar.advance):
                metadata = {**settings, **requests[0].entry.metadata}
                write_clip(options.out, frames, options.fps, metadata)
