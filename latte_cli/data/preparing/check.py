"""Every video is decoded to its last frame once, in worker processes."""

import hashlib
import os
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from latte_cli.data.face_crop import face_box
from latte_cli.data.manifest import Rejection, SourceVideo, VideoRecord, as_text
from latte_cli.data.preparing.verdicts import Verdict, stamp_of
from latte_cli.runtime.errors import VideoError
from latte_cli.runtime.worker_pool import Alive, Died, Hung, run_jobs
from latte_cli.video_io import VideoFacts, inspect_video, iter_frames
from latte_cli.video_io.containers import check_file
from latte_cli.video_io.frame_folders import (
    bytes_of_frames,
    checksum_of_frames,
    inspect_frame_folder,
)

TIMEOUT_S = 120.0
"""How long a decoder may take from one frame to the next.

Long videos need not be finished in that time, so it does not grow with them. It is for a slow
network disk rather than for decoding, of which no frame takes a second.
"""

_BYTES_AT_A_TIME = 1 << 20


@dataclass(frozen=True)
class Job:
    """A video to check.

    Attributes:
        source: where it lies.
        folder: the data set's, which paths inside it are told relative to.
        known: an earlier verdict, which holds if the files' bytes are the same.
    """

    source: SourceVideo
    folder: Path
    known: Verdict | None = None

    @property
    def name(self) -> str:
        """How the manifest names the video."""
        return stored_path(self.source.path, self.folder)


def stored_path(path: Path, folder: Path) -> str:
    """How the manifest names a file: relative inside the data set's folder, else absolute.

    No file is found by a name that is no text.
    """
    path, folder = _plain(path.parent.absolute()) / path.name, _plain(folder.absolute())
    return as_text(str(path.relative_to(folder) if path.is_relative_to(folder) else path))


@lru_cache
def _plain(folder: Path) -> Path:
    """A folder by a name without `..`, so that it has one name however it is given."""
    parts = folder.parts
    end = max((number for number, part in enumerate(parts, 1) if part == ".."), default=0)
    return Path(os.path.realpath(Path(*parts[:end])), *parts[end:]) if end else folder


def check_video(job: Job, alive: Alive = lambda: None) -> Verdict:
    """Decode one video to its end and describe it, or say in words why that cannot be done.

    Args:
        job: the video.
        alive: called all along, so that others see that it goes on.
    """
    stamp, checksums = stamp_of(job.source), None
    try:
        _check_names(job.source)
        checksums = _checksums(job.source, alive)
        if job.known is not None and job.known.checksums == checksums:
            return replace(job.known, stamp=stamp)
        return Verdict(_describe(job, checksums[0], alive), stamp, checksums)
    except VideoError as error:
        return Verdict(_rejection(job, error), stamp, checksums)
    except (OSError, MemoryError) as error:  # of the machine, not of the video
        why = "not enough memory" if isinstance(error, MemoryError) else error.strerror or error
        return Verdict(_rejection(job, f"cannot be read ({str(why).lower()})"))
    except Exception as error:  # of a decoder: whatever it is, it is this file's, not the run's
        reason = f"the decoder failed ({type(error).__name__}: {error})"
        return Verdict(_rejection(job, reason), stamp, checksums)


def check_videos(
    jobs: Iterable[Job],
    workers: int,
    timeout_s: float = TIMEOUT_S,
    check: Callable[[Job, Alive], Verdict] = check_video,
) -> Generator[Verdict, None, None]:
    """Check many videos in worker processes, yielding a verdict on each as it is done.

    A video whose decoder hangs or dies costs its own worker only. Where one died, memory may have
    been short, so the video is checked once more at the end, alone.

    Args:
        jobs: taken one by one as workers are free.
        workers: processes, each with one video at a time.
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


def _check_names(source: SourceVideo) -> None:
    """Raise VideoError for a name that is no text, which no manifest can hold."""
    for what, path in (("its name", source.path), ("its mask's name", source.mask)):
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise VideoError(f"{what} is not valid UTF-8", hint="rename it") from error


def _checksums(source: SourceVideo, alive: Alive) -> tuple[str, ...]:
    """Of a video and its mask.

    Raises:
        VideoError: if one is missing or empty.
    """
    return tuple(_checksum(path, alive) for path in (source.path, source.mask) if path is not None)


def _checksum(path: Path, alive: Alive) -> str:
    if path.is_dir():
        return checksum_of_frames(path, alive)
    check_file(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_BYTES_AT_A_TIME):
            digest.update(part)
            alive()
    return digest.hexdigest()


def _describe(job: Job, checksum: str, alive: Alive) -> VideoRecord:
    """A video's line of the manifest.

    Raises:
        VideoError: if it, or its mask, does not decode, or the mask is that of another video, or
            shows no face.
    """
    source = job.source
    facts = _inspect(source.path, alive)
    if source.mask is not None:
        _check_mask(source, facts, alive)
    is_folder = source.path.is_dir()
    return VideoRecord(
        path=job.name,
        frames=facts.frames,
        fps=facts.fps,
        width=facts.width,
        height=facts.height,
        label=source.label,
        caption=source.caption,
        split=source.split,
        bytes=bytes_of_frames(source.path) if is_folder else source.path.stat().st_size,
        sha256=checksum,
        rotation=facts.rotation,
        variable_fps=facts.variable_fps,
        mask=None if source.mask is None else stored_path(source.mask, job.folder),
    )


def _inspect(path: Path, alive: Alive) -> VideoFacts:
    return inspect_frame_folder(path, alive) if path.is_dir() else inspect_video(path, alive)


def _check_mask(source: SourceVideo, facts: VideoFacts, alive: Alive) -> None:
    """Whether a mask goes with its video, frame by frame, and shows a face to crop it to.

    Raises:
        VideoError: if not, or if it does not decode.
    """
    assert source.mask is not None
    mask = _inspect(source.mask, alive)
    if mask.frames != facts.frames:
        what = f"another number of frames ({mask.frames}, the video {facts.frames})"
        raise VideoError(f"{source.path}: its mask has {what}")
    if (mask.width, mask.height) != (facts.width, facts.height):
        sizes = f"{mask.width} x {mask.height}, the video {facts.width} x {facts.height}"
        raise VideoError(f"{source.path}: its mask has another size ({sizes})")
    for frame in iter_frames(source.mask):  # decoding again, but only up to the first face
        alive()
        if face_box(frame) is not None:
            return
    raise VideoError(f"{source.path}: its mask shows no face in any frame")
