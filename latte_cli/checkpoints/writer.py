"""Writing checkpoints during training: copy the tensors, then write in the background.

Copying into memory that is already allocated takes a tenth of a second for each GB, and many times
that if the system has to allocate it first; so there is one set of copies, which is reused.
"""

import errno
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from latte_cli.runtime.distributed import full_tensor, is_main

RETRY_AFTER_S = (10.0, 30.0, 60.0)
"""Pauses between attempts to write to a full disk."""

_POLL_S = 0.2
_FULL = (errno.ENOSPC, errno.EDQUOT)


class HostCopies:
    """Copies of tensors in the computer's main memory, which is kept for the next time."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def allocate(self, tree: Mapping[str, Any], name: str = "") -> None:
        """Allocate the memory for what will be copied, as `copy` takes it."""
        for key, value in tree.items():
            if isinstance(value, Mapping):
                self.allocate(value, f"{name}{key}.")
            elif isinstance(value, Tensor):
                self._buffer(f"{name}{key}", value)

    def copy(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Copy a nested mapping with its tensors; the copies are overwritten by the next call.

        Sharded tensors are gathered one after another, so every process calls it at the same time;
        only the main one gets copies.
        """
        copied = self._copy(tree, "")
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return copied

    def _copy(self, tree: Mapping[str, Any], name: str) -> dict[str, Any]:
        copied: dict[Any, Any] = {}
        for key, value in tree.items():
            if isinstance(value, Mapping):
                value = self._copy(value, f"{name}{key}.")
            elif isinstance(value, Tensor):
                value = full_tensor(value)
                if is_main():
                    value = self._buffer(f"{name}{key}", value).copy_(value, non_blocking=True)
            copied[key] = value
        return copied

    def _buffer(self, name: str, value: Tensor) -> Tensor:
        """Memory for a tensor; pinned where that lets a GPU write to it."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != value.shape or buffer.dtype != value.dtype:
            buffer = torch.zeros(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
            buffer += 0  # write to it: the system may allocate zeros only when they are written
            self._buffers[name] = buffer
        return buffer


class CheckpointWriter:
    """Runs one job at a time in the background, and retries if the disk is full.

    As a context manager it waits for the last job at the end, except after Ctrl-C: what is written
    then still has a temporary name, and is not a checkpoint.

    Args:
        warn: called with a message when the disk is full.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(self, job: Callable[[], object]) -> None:
        """Start a job once the previous one is done, whose error is raised here."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=[job], daemon=True)
        self._thread.start()

    def poll(self) -> None:
        """Raise the error of a failed job."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def wait(self) -> None:
        """Wait for the job, and raise its error."""
        if self._thread is not None:
            self._join(self._thread)
            self._thread = None
        self.poll()

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.wait()
        elif self._thread is not None and kind is not KeyboardInterrupt:
            self._join(self._thread)  # finish the checkpoint; this error is enough

    @staticmethod
    def _join(thread: threading.Thread) -> None:
        """Wait in short turns: a wait without timeout may sleep through Ctrl-C."""
        while thread.is_alive():
            thread.join(_POLL_S)

    def _run(self, job: Callable[[], object]) -> None:
        try:
            for pause in RETRY_AFTER_S:
                try:
                    job()
                    return
                except OSError as error:
                    if error.errno not in _FULL:
                        raise
                    self._warn(
                        f"{error.filename or 'the checkpoint'}: the disk is full; trying again in "
                        f"{pause:g} s, what was saved before is safe"
                    )
                threading.Event().wait(pause)
            job()
        except BaseException as error:  # raised by `poll` in the training loop's thread
            self._error = error
