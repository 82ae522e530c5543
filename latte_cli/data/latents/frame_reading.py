"""Batches of frames for the autoencoder, decoded ahead of it in worker processes.

Each process decodes one video at a time, and a thread here feeds it. So a decoder that hangs or
dies costs only its own process and video, and the next batches are ready when they are needed.
"""

# Axes: n frames of a batch, h height, w width, 3 color channels (RGB).

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from latte_cli.data.checking import TIMEOUT_S
from latte_cli.data.frames import Crop, prepared_frames
from latte_cli.data.latents.plan import Source
from latte_cli.data.manifest import Dataset
from latte_cli.runtime.errors import VideoError
from latte_cli.runtime.workers import Alive, Died, Hung, run_jobs

_POLL_S = 0.1  # how soon a thread that waits for room in the queue notices the end
_JOIN_S = 5.0  # threads still running after this end with this process


@dataclass(frozen=True)
class FrameBatch:
    """Frames of a video, (n, h, w, 3) uint8, starting at its frame `start`."""

    start: int
    frames: NDArray[np.uint8]
    is_last: bool


@dataclass(frozen=True)
class Request:
    """What a worker process is asked to read: the next batch of a video, starting at `start`."""

    source: Source
    start: int


class BatchReader:
    """Reads videos in a worker process, one batch after the other.

    Args:
        dataset: the data set of the videos.
        size: side of the frames, pixels.
        crop: how frames are cropped.
        batch: frames in a batch; the last one of a video may have fewer.
    """

    def __init__(self, dataset: Dataset, size: int, crop: Crop, batch: int) -> None:
        self._dataset = replace(dataset, videos=())  # it is sent to every process
        self._size, self._crop, self.batch = size, crop, batch

    def __call__(self, request: Request, alive: Alive) -> FrameBatch | VideoError:
        """The next batch of a video; a request for frame 0 starts the video again.

        The last batch is returned only if the video ends there.
        """
        try:
            return self._next(request.source, request.start, alive)
        except VideoError as error:
            return error
        except MemoryError:
            return _unusable(request.source, "not enough memory to decode it")
        except Exception as error:  # whatever a decoder raises concerns only this video
            reason = f"the decoder failed ({type(error).__name__}: {error})"
            return _unusable(request.source, reason)

    def _next(self, source: Source, start: int, alive: Alive) -> FrameBatch:
        video, size = source.video, self._size
        if start == 0:
            self._frames = prepared_frames(self._dataset, video, size, self._crop)
        frames = np.empty((min(self.batch, video.frames - start), size, size, 3), np.uint8)
        for number in range(len(frames)):
            frame = next(self._frames, None)
            if frame is None:
                raise _wrong_length(source, str(start + number))
            frames[number] = frame
            alive()
        is_last = start + len(frames) == video.frames
        if is_last and next(self._frames, None) is not None:
            raise _wrong_length(source, f"more than {video.frames}")
        return FrameBatch(start, frames, is_last)


class FrameReaders:
    """Several worker processes that read videos, each with a thread that feeds it.

    Args:
        read: what a process does.
        workers: number of processes, and of batches that may wait to be used.
        timeout_s: how long a decoder may take from one frame to the next.
    """

    def __init__(self, read: BatchReader, workers: int, timeout_s: float = TIMEOUT_S) -> None:
        self._read, self._timeout_s = read, timeout_s
        self._sources: queue.SimpleQueue[Source | None] = queue.SimpleQueue()
        self._batches: queue.Queue[tuple[Source, FrameBatch | VideoError] | BaseException]
        self._batches = queue.Queue(workers)
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(workers)]

    def __enter__(self) -> "FrameReaders":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        for _ in self._threads:
            self._sources.put(None)
        deadline = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def read(self, sources: Sequence[Source]) -> Iterator[tuple[Source, FrameBatch | VideoError]]:
        """Read videos; each free process takes the next one.

        Yields:
            Batches: those of one video in order, those of different videos as they are ready. An
            error is the last item of its video.
        """
        for source in sources:
            self._sources.put(source)
        remaining = len(sources)
        while remaining:
            result = self._batches.get()
            if isinstance(result, BaseException):
                raise result
            remaining -= isinstance(result[1], VideoError) or result[1].is_last
            yield result

    def _run(self) -> None:
        """A thread's work: feed one process, and queue its batches."""
        ended = True

        def requests() -> Iterator[Request]:
            nonlocal ended
            for source in iter(self._sources.get, None):
                if self._closed.is_set():
                    return
                try:
                    source.check()
                except VideoError as error:
                    self._put((source, error))
                    continue
                start, ended = 0, False
                while not ended:
                    yield Request(source, start)
                    start += self._read.batch

        try:
            with closing(run_jobs(self._read, requests(), 1, self._timeout_s)) as answers:
                for request, answer in answers:
                    source, batch = request.source, answer
                    if isinstance(batch, Hung):
                        reason = f"the decoder hung (no new frame for {batch.silent_s:g} s)"
                        batch = _unusable(source, reason)
                    elif isinstance(batch, Died):
                        batch = _unusable(source, f"the decoder crashed ({batch.how})")
                    ended = isinstance(batch, VideoError) or batch.is_last
                    self._put((source, batch))
                    if self._closed.is_set():
                        return
        except BaseException as error:  # raised again by `read`
            self._put(error)

    def _put(self, result: tuple[Source, FrameBatch | VideoError] | BaseException) -> None:
        while not self._closed.is_set():
            try:
                return self._batches.put(result, timeout=_POLL_S)
            except queue.Full:
                continue


def _wrong_length(source: Source, frames: str) -> VideoError:
    return _unusable(source, f"has {frames} frames, the manifest says {source.video.frames}")


def _unusable(source: Source, reason: str) -> VideoError:
    return VideoError(f"{source.path}: {reason}", hint="run `latte prepare` again")
