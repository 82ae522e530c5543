"""`latte t2v`: a sentence becomes a video."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from latte_cli.caching import Policy, sampling_with_cache
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.files import write_changed
from latte_cli.sampling.clip_folder import ClipFolder
from latte_cli.sampling.first_frame import first_frame_latents
from latte_cli.sampling.sample_plan import folder_of
from latte_cli.sampling.sharing import OnStep, sample_missing
from latte_cli.sampling.text_pipeline import OpenPipeline, open_pipeline, refuse_unknown
from latte_cli.sampling.text_plan import (
    AskedClip,
    T2VOptions,
    cache_policy,
    is_one_clip,
    list_clips,
    long_plan,
    settings_of,
)
from latte_cli.text.vbench import PROMPT_LIST, check_folder, read_suites, require_complete
from latte_cli.video_io import Frame, write_clip

__all__ = ["T2VOptions", "T2VResult", "run"]


@dataclass(frozen=True)
class T2VResult:
    """What came of it."""

    out: Path
    clips: int
    drawn_now: int
    seconds: float
    paths: tuple[Path, ...]


def run(options: T2VOptions, console: Console) -> T2VResult | None:
    """Encode the prompts, let go of the text encoder, draw what is missing.

    Any number of processes that see the same folder may do this at once; others give None.

    Raises:
        CheckpointError: if a part of the pipeline is missing, broken or does not fit the others.
        ConfigError: if a value cannot be used.
        DataError: if the folder holds other clips, or a picture or VBench's list cannot be read.
    """
    started = time.monotonic()
    refuse_unknown(options)
    clips = list_clips(options)
    policy = cache_policy(options, clips)
    folder = None
    if not is_one_clip(options, len(clips)):
        entries, about = [clip.entry for clip in clips], settings_of(options, policy)
        folder = folder_of(options.out, options.fmt, entries, about, options.fps)
    missing = {entry.name for entry in folder.missing()} if folder else None
    todo = [clip for clip in clips if missing is None or clip.entry.name in missing]
    if is_main() and len(todo) < len(clips):
        console.say(f"{len(clips) - len(todo)} of {len(clips)} clips are there")
    if todo and (folder is not None or is_main()):
        _draw(options, policy, clips, todo, folder, console)
    if not is_main():
        return None
    if folder is not None:
        folder.finish()
    if options.vbench is not None:
        # The list stays with its videos: `latte eval --vbench` finds it there.
        write_changed(options.out / PROMPT_LIST, options.vbench.read_bytes())
        require_complete(check_folder(options.out, read_suites(options.vbench)))
    return T2VResult(
        out=options.out,
        clips=len(clips),
        drawn_now=len(todo),
        seconds=time.monotonic() - started,
        paths=folder.paths if folder else (options.out,),
    )


def _draw(
    options: T2VOptions,
    policy: Policy | None,
    clips: Sequence[AskedClip],
    todo: Sequence[AskedClip],
    folder: ClipFolder | None,
    console: Console,
) -> None:
    """Draw what is to do, and write each clip as it is done."""
    pipeline = open_pipeline(options, todo, console)
    drawer = _BatchSampler(pipeline, options)
    with sampling_with_cache(pipeline.generator.model, policy, console):
        if folder is not None:
            batches = [[clip.entry] for clip in clips]
            sample_missing(
                folder, batches, lambda n, step: drawer.draw(clips[n], step), console, drawer.steps
            )
            return
        with console.progress("drawing", drawer.steps, "steps") as bar:
            for frames in drawer.draw(todo[0], bar.advance):
                about = {**settings_of(options, policy), **todo[0].entry.about}
                write_clip(options.out, frames, options.fps, about)


class _BatchSampler:
    """Draws clips as the options say.

    Attributes:
        steps: calls of the network for a clip.

    Raises:
        DataError: if the first frame cannot be read.
    """

    def __init__(self, pipeline: OpenPipeline, options: T2VOptions) -> None:
        self._pipeline = pipeline
        self._frames, self._plan = options.frames, long_plan(options)
        self.steps = self._plan.steps(options.steps) if self._plan else options.steps
        self._known = None
        if options.image is not None:
            codec = pipeline.generator.codec
            self._known = first_frame_latents(options.image, codec, *pipeline.size)

    def draw(self, clip: AskedClip, on_step: OnStep) -> Iterator[Iterable[Frame]]:
        """The frames of one clip."""
        asked, generator = self._pipeline.clip(clip), self._pipeline.generator
        noise = generator.noise(asked, self._frames, *self._pipeline.size)

        def one() -> None:
            on_step(1)

        if self._plan is not None:
            yield generator.draw_long(asked, noise, self._plan, one, self._known)
        else:
            yield generator.draw(asked, noise, one, self._known)
