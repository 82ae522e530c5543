"""Writing checkpoints while training goes on: tensors are copied, the disk is waited for elsewhere.

A copy into memory that was used before takes a tenth of a second for each GB, and many times that
if the system has to find the memory first; so there is one set of copies, used again and again.
"""

import errno
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from latte_cli.runtime.distributed import is_main, whole

RETRY_AFTER_S = (10.0, 30.0, 60.0)
"""How long a full disk is given before each further attempt."""

_LOOK_EVERY_S = 0.2
_FULL = (errno.ENOSPC, errno.EDQUOT)


class HostCopies:
    """Copies of tensors in the computer's own memory, each in a place of its own that is kept."""

    def __init__(self) -> None:
        self._places: dict[str, Tensor] = {}

    def prepare(self, tree: Mapping[str, Any], name: str = "") -> None:
        """Find the memory for what will be copied, as `copy` takes it."""
        for key, value in tree.items():
            if isinstance(value, Mapping):
                self.prepare(value, f"{name}{key}.")
            elif isinstance(value, Tensor):
                self._place(f"{name}{key}", value)

    def copy(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """A nested mapping with its tensors copied; the copies last until the next time.

        Sharded tensors are gathered one after another, so every process calls it at the same time;
        all but the main one get nothing copied.
        """
        copied = self._copied(tree, "")
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return copied

    def _copied(self, tree: Mapping[str, Any], name: str) -> dict[str, Any]:
        copied: dict[Any, Any] = {}
        for key, value in tree.items():
            if isinstance(value, Mapping):
                value = self._copied(value, f"{name}{key}.")
            elif isinstance(value, Tensor):
                value = whole(value)
                if is_main():
                    place = self._place(f"{name}{key}", value)
                    value = place.copy_(value, non_blocking=True)
            copied[key] = value
        return copied

    def _place(self, name: str, value: Tensor) -> Tensor:
        """Memory for a tensor; pinned where that lets a GPU write to it."""
        place = self._places.get(name)
        if place is None or place.shape != value.shape or place.dtype != value.dtype:
            place = torch.zeros(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
            place += 0  # zeros may be a promise of the system's, to be kept when written to
            self._places[name] = place
        return place


class CheckpointWriter:
    """Does one job at a time in the background; a disk that is full is given time.

    As a context it waits for the last job at its end, but not where Ctrl-C stops everything: what
    is written then lies beside its place and does not count.

    Args:
        warn: told in words when the disk is full.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(self, job: Callable[[], object]) -> None:
        """Begin a job once the one before is done; its error is raised here."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=[job], daemon=True)
        self._thread.start()

    def poll(self) -> None:
        """Raise the error of a job that has failed."""
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
            self._join(self._thread)  # a checkpoint on its way is worth it; one error is enough

    @staticmethod
    def _join(thread: threading.Thread) -> None:
        """Wait with a look around: a wait without end may sleep through Ctrl-C."""
        while thread.is_alive():
            thread.join(_LOOK_EVERY_S)

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
        except BaseException as error:  # the loop's thread is the one to deal with it
            self._error = error
