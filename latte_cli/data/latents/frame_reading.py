"""Frames for the autoencoder, read ahead of it in worker processes, a batch at a time.

Each process has one video open. It is fed by a thread here, so that a decoder which hangs or dies
costs its own process and video, and a run that is asked for one batch has the next ones waiting.
"""

# Axes: n frames of a batch, h height, w width, 3 colour channels (RGB).

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from latte_cli.data.frames import Crop
from latte_cli.data.latents.plan import Source
from latte_cli.data.manifest import Dataset
from latte_cli.data.prepared import prepared_frames
from latte_cli.data.preparing.check import TIMEOUT_S
from latte_cli.runtime.errors import VideoError
from latte_cli.runtime.worker_pool import Alive, Died, Hung, run_jobs

_LOOK_UP_S = 0.1  # how long a thread that waits for room takes to notice that it is not needed
_END_S = 5.0  # what is left of a thread then ends with this process


@dataclass(frozen=True)
class Batch:
    """Frames of a video, (n, h, w, 3) uint8, from its frame `start` on."""

    start: int
    frames: NDArray[np.uint8]
    is_last: bool


@dataclass(frozen=True)
class Request:
    """What a worker process is asked for: the frames of a video from `start` on."""

    source: Source
    start: int


class BatchReader:
    """Reads videos in a worker process, one batch after the other.

    Args:
        dataset: whose videos they are.
        size: side of the frames, pixels.
        crop: how they are cut.
        batch: frames in a batch; the last one of a video may have fewer.
    """

    def __init__(self, dataset: Dataset, size: int, crop: Crop, batch: int) -> None:
        self._dataset = replace(dataset, videos=())  # it travels to every process
        self._size, self._crop, self.batch = size, crop, batch

    def __call__(self, request: Request, alive: Alive) -> Batch | VideoError:
        """The next batch of a video, which begins anew with a request from frame 0 on.

        The last is handed on once the video has ended where it should.
        """
        try:
            return self._next(request.source, request.start, alive)
        except VideoError as error:
            return error
        except MemoryError:
            return _broken(request.source, "not enough memory to decode it")
        except Exception as error:  # of a decoder: whatever it is, it is this video's
            reason = f"the decoder failed ({type(error).__name__}: {error})"
            return _broken(request.source, reason)

    def _next(self, source: Source, start: int, alive: Alive) -> Batch:
        video, size = source.video, self._size
        if start == 0:
            self._frames = prepared_frames(self._dataset, video, size, self._crop)
        frames = np.empty((min(self.batch, video.frames - start), size, size, 3), np.uint8)
        for number in range(len(frames)):
            frame = next(self._frames, None)
            if frame is None:
                raise _other_length(source, str(start + number))
            frames[number] = frame
            alive()
        is_last = start + len(frames) == video.frames
        if is_last and next(self._frames, None) is not None:
            raise _other_length(source, f"more than {video.frames}")
        return Batch(start, frames, is_last)


class FrameReaders:
    """Several worker processes that read videos, each with a thread that listens to it.

    Args:
        read: what a process does.
        workers: how many there are; as many batches may wait to be used.
        timeout_s: how long a decoder may take from one frame to the next.
    """

    def __init__(self, read: BatchReader, workers: int, timeout_s: float = TIMEOUT_S) -> None:
        self._read, self._timeout_s = read, timeout_s
        self._sources: queue.SimpleQueue[Source | None] = queue.SimpleQueue()
        self._batches: queue.Queue[tuple[Source, Batch | VideoError] | BaseException]
        self._batches = queue.Queue(workers)
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]

    def __enter__(self) -> "FrameReaders":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        for _ in self._threads:
            self._sources.put(None)
        deadline = time.monotonic() + _END_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def read(self, sources: Sequence[Source]) -> Iterator[tuple[Source, Batch | VideoError]]:
        """Read videos, each taken up, in order, by the first process that is free.

        Yields:
            Batches: in order for each video, as they come for all together. An error is the last
            that is heard of its video.
        """
        for source in sources:
            self._sources.put(source)
        left = len(sources)
        while left:
            result = self._batches.get()
            if isinstance(result, BaseException):
                raise result
            left -= isinstance(result[1], VideoError) or result[1].is_last
            yield result

    def _work(self) -> None:
        """What a thread does: feed one process, and hand on what comes of it."""
        ended = True

        def requests() -> Iterator[Request]:
            nonlocal ended
            for source in iter(self._sources.get, None):
                if self._is_over.is_set():
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
                    batch = _in_words(request.source, answer)
                    ended = isinstance(batch, VideoError) or batch.is_last
                    self._put((request.source, batch))
                    if self._is_over.is_set():
                        return
        except BaseException as error:  # the user's thread is the one to deal with it
            self._put(error)

    def _put(self, result: tuple[Source, Batch | VideoError] | BaseException) -> None:
        while not self._is_over.is_set():
            try:
                return self._batches.put(result, timeout=_LOOK_UP_S)
            except queue.Full:
                continue


def _in_words(source: Source, answer: Batch | VideoError | Hung | Died) -> Batch | VideoError:
    if isinstance(answer, Hung):
        return _broken(source, f"the decoder hung (no new frame for {answer.silent_s:g} s)")
    if isinstance(answer, Died):
        return _broken(source, f"the decoder crashed ({answer.how})")
    return answer


def _other_length(source: Source, frames: str) -> VideoError:
    return _broken(source, f"has {frames} frames, the manifest says {source.video.frames}")


def _broken(source: Source, reason: str) -> VideoError:
    return VideoError(f"{source.path}: {reason}", hint="run `latte prepare` again")
