"""Every video is decoded to its last frame once, in worker processes."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from latte_cli.data.manifest import Rejection, SourceVideo, VideoRecord
from latte_cli.errors import VideoError
from latte_cli.files import sha256_of
from latte_cli.video_io import inspect_video

Checked = tuple[SourceVideo, VideoRecord | Rejection]


def check_video(source: SourceVideo, folder: Path) -> VideoRecord | Rejection:
    """Decode one file to its end and describe it, or say in words why that cannot be done."""
    name = stored_path(source.path, folder)
    try:
        facts = inspect_video(source.path)
        size, checksum = source.path.stat().st_size, sha256_of(source.path)
    except VideoError as error:
        return Rejection(name, str(error).removeprefix(f"{source.path}: "))
    except OSError as error:
        return Rejection(name, f"cannot be read ({error.strerror})")
    except Exception as error:  # of a decoder: whatever it is, it is this file's, not the run's
        return Rejection(name, f"the decoder failed ({type(error).__name__}: {error})")
    return VideoRecord(
        path=name,
        frames=facts.frames,
        fps=facts.fps,
        width=facts.width,
        height=facts.height,
        label=source.label,
        caption=source.caption,
        split=source.split,
        bytes=size,
        sha256=checksum,
    )


def check_videos(sources: Sequence[SourceVideo], folder: Path, workers: int) -> Iterator[Checked]:
    """Check many files, yielding each as it is done.

    A decoder that dies takes its pool down; the files it had not answered for are then checked one
    to a process, so that the culprit alone is rejected.
    """
    pending = dict(enumerate(sources))
    try:
        for number, result in _in_pool(pending, folder, workers):
            source = pending.pop(number)
            yield source, result
    except BrokenProcessPool:
        for number, source in list(pending.items()):
            try:
                (_, result), *_ = _in_pool({number: source}, folder, workers=1)
            except BrokenProcessPool:
                result = Rejection(stored_path(source.path, folder), "the decoder crashed on it")
            yield source, result


def stored_path(path: Path, folder: Path) -> str:
    """How the manifest names a file: relative inside the data set's folder, else absolute."""
    path, folder = path.absolute(), folder.absolute()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _in_pool(
    sources: dict[int, SourceVideo], folder: Path, workers: int
) -> Iterator[tuple[int, VideoRecord | Rejection]]:
    context = multiprocessing.get_context("spawn")  # a fork copies threads half-way
    size = min(workers, len(sources)) or 1
    with ProcessPoolExecutor(size, mp_context=context, initializer=_leave_interrupts) as pool:
        numbers = {pool.submit(check_video, s, folder): number for number, s in sources.items()}
        try:
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _leave_interrupts() -> None:
    """Ctrl-C is the main process's to handle; a worker would only print where it was."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
