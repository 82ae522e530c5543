"""Checking videos: each is decoded to its last frame once, in worker processes."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from latte_cli.data.frames import face_box
from latte_cli.data.journal import Verdict, stamp_of
from latte_cli.data.manifest import Rejection, SourceVideo, VideoRecord, as_text
from latte_cli.runtime.engines.engine import Advance
from latte_cli.runtime.errors import VideoError
from latte_cli.runtime.remote.urls import url_of
from latte_cli.runtime.workers import Alive, Died, Hung, run_jobs
from latte_cli.video_io import VideoFacts, checksum_of_video, inspect_video, iter_frames
from latte_cli.video_io.frame_folders import frame_files

_MASK = "give the mask that belongs to this video, or leave the video out"
TIMEOUT_S = 120.0
"""How long a decoder may take from one frame to the next.

It does not grow with the length of a video. It allows for slow network disks rather than for
decoding, where no frame takes a second.
"""


@dataclass(frozen=True)
class Job:
    """A video to check.

    Attributes:
        source: the video.
        folder: the data set's; paths inside it are stored relative to it.
        known: an earlier verdict, which is kept if the files' bytes are the same.
    """

    source: SourceVideo
    folder: Path
    known: Verdict | None = None

    @property
    def name(self) -> str:
        """The video's path in the manifest."""
        return stored_path(self.source.path, self.folder)


def stored_path(path: Path, folder: Path) -> str:
    """A file's path in the manifest: relative inside the data set's folder, else absolute.

    Of a file that lies elsewhere it is the URL. A name that is not valid text is escaped; no file
    is found by such a path.
    """
    path = _without_dots(path.parent.absolute()) / path.name
    folder = _without_dots(folder.absolute())
    if path.is_relative_to(folder):
        return as_text(path.relative_to(folder).as_posix())
    return as_text(url_of(path) or path.as_posix())


@lru_cache
def _without_dots(folder: Path) -> Path:
    """A folder's path without `..`, so that it is the same however the folder is given."""
    parts = folder.parts
    end = max((number for number, part in enumerate(parts, 1) if part == ".."), default=0)
    return Path(os.path.realpath(Path(*parts[:end])), *parts[end:]) if end else folder


def check_video(job: Job, alive: Alive = lambda: None) -> Verdict:
    """Decode one video to its end and make its manifest line, or say why that is not possible.

    Args:
        job: the video.
        alive: called all along, to show that the decoder has not hung.
    """
    source, checksums = job.source, None
    stamp = stamp_of(source)
    try:
        for what, path in (("its name", source.path), ("its mask's name", source.mask)):
            try:
                str(path).encode()
            except UnicodeEncodeError as error:  # no manifest can hold it
                raise VideoError(
                    f"{what} is not valid UTF-8", hint="rename the file or folder"
                ) from error
        files = [path for path in (source.path, source.mask) if path is not None]
        checksums = tuple(checksum_of_video(path, alive) for path in files)
        if job.known is not None and job.known.checksums == checksums:
            return replace(job.known, stamp=stamp)
        return Verdict(_record(job, checksums[0], alive), stamp, checksums)
    except VideoError as error:
        return Verdict(_rejection(job, error), stamp, checksums)
    except (OSError, MemoryError) as error:  # a problem of the machine, not of the video
        why = "not enough memory" if isinstance(error, MemoryError) else error.strerror or error
        return Verdict(_rejection(job, f"cannot be read ({str(why).lower()})"))
    except Exception as error:  # whatever a decoder raises concerns only this video
        reason = f"the decoder failed ({type(error).__name__}: {error})"
        return Verdict(_rejection(job, reason), stamp, checksums)


def check_videos(
    jobs: Iterable[Job],
    workers: int,
    timeout_s: float = TIMEOUT_S,
    check: Callable[[Job, Alive], Verdict] = check_video,
) -> Generator[Verdict, None, None]:
    """Check many videos in worker processes, yielding each verdict as it is ready.

    A decoder that hangs or dies costs only its own process. A process may have died for lack of
    memory, so its video is checked once more at the end, alone.

    Args:
        jobs: consumed as workers become free.
        workers: number of processes; each checks one video at a time.
        timeout_s: how long a decoder may take from one frame to the next.
        check: does one job.
    """
    died: list[Job] = []
    with closing(run_jobs(check, jobs, workers, timeout_s)) as answers:
        for job, answer in answers:
            if isinstance(answer, Died):
                died.append(job)
            else:
                yield _verdict(job, answer)
    with closing(run_jobs(check, died, 1, timeout_s)) as answers:
        for job, answer in answers:
            yield _verdict(job, answer)


@dataclass(frozen=True)
class VideoChecks:
    """`check_videos` as the work of an engine; its progress is counted in videos.

    Attributes:
        workers: processes, each of which checks one video at a time.
        timeout_s: how long a decoder may take from one frame to the next.
    """

    workers: int
    timeout_s: float

    def __call__(self, jobs: Iterable[Job], advance: Advance) -> Iterator[tuple[Job, Verdict]]:
        """Check videos, yielding each job with its verdict."""
        taken: dict[str, Job] = {}

        def remembered() -> Iterator[Job]:
            for job in jobs:
                taken[job.name] = job
                yield job

        with closing(check_videos(remembered(), self.workers, self.timeout_s)) as verdicts:
            for verdict in verdicts:
                advance(1)
                yield taken.pop(verdict.outcome.path), verdict


def _verdict(job: Job, answer: Verdict | Hung | Died) -> Verdict:
    if isinstance(answer, Died):
        return Verdict(_rejection(job, f"the decoder crashed ({answer.how})"))
    if isinstance(answer, Hung):
        reason = f"the decoder hung (no new frame for {answer.silent_s:g} s)"
        return Verdict(_rejection(job, reason), stamp_of(job.source), given_up_s=answer.silent_s)
    return answer


def _rejection(job: Job, why: object) -> Rejection:
    reason = str(why).removeprefix(f"{job.source.path}: ")
    if job.source.mask is not None:
        reason = reason.replace(f"{job.source.mask}: ", "its mask: ")
    return Rejection(job.name, as_text(reason))


def _record(job: Job, checksum: str, alive: Alive) -> VideoRecord:
    """A video's line of the manifest.

    Raises:
        VideoError: if the video or its mask does not decode, or the mask does not fit the video or
            shows no face.
    """
    source = job.source
    facts = inspect_video(source.path, alive)
    if source.mask is not None:
        _check_mask(source.path, source.mask, facts, alive)
    files = frame_files(source.path) if source.path.is_dir() else [source.path]
    return VideoRecord(
        path=job.name,
        frames=facts.frames,
        fps=facts.fps,
        width=facts.width,
        height=facts.height,
        label=source.label,
        caption=source.caption,
        more_captions=source.more_captions,
        split=source.split,
        bytes=sum(file.stat().st_size for file in files),
        sha256=checksum,
        rotation=facts.rotation,
        variable_fps=facts.variable_fps,
        mask=None if source.mask is None else stored_path(source.mask, job.folder),
        mirrored=facts.mirrored,
        pixel_aspect=facts.pixel_aspect,
        end=facts.end,
    )


def _check_mask(path: Path, mask: Path, video: VideoFacts, alive: Alive) -> None:
    """Check that a mask fits its video frame by frame, and shows a face to crop to.

    Raises:
        VideoError: if not, or if it does not decode.
    """
    facts = inspect_video(mask, alive, video.pixel_aspect)
    if facts.frames != video.frames:
        counts = f"{facts.frames}, the video {video.frames}"
        raise VideoError(f"{path}: its mask has another number of frames ({counts})", hint=_MASK)
    if (facts.width, facts.height) != (video.width, video.height):
        sizes = f"{facts.width} x {facts.height}, the video {video.width} x {video.height}"
        raise VideoError(f"{path}: its mask has another size ({sizes})", hint=_MASK)
    for frame in iter_frames(mask):  # decoding again, but only up to the first face
        alive()
        if face_box(frame) is not None:
            return
    raise VideoError(f"{path}: its mask shows no face in any frame", hint=_MASK)
