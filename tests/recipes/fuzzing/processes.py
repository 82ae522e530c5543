"""Cases in processes of their own, which are killed if one hangs and started anew if they die."""

import multiprocessing
import os
import random
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fuzzing.cases import Case, Find
from fuzzing.kinds import KINDS

LIMIT_S = 60.0  # of a case; the slowest takes one or two seconds
_START_S = 120.0
_MEMORY_BYTES = 12 << 30


def try_case(out: Path, kinds: list[str], seed: int, index: int, *, alone: bool) -> dict[str, Any]:
    """Try one case; it depends on its arguments only. A line of results.jsonl."""
    chance = random.Random(f"{seed}-{index}")
    kind = chance.choices(kinds, [KINDS[name].weight for name in kinds])[0]
    folder = out / "work" / f"{index}-{os.getpid()}"
    folder.mkdir(parents=True)
    row: dict[str, Any] = {"index": index, "kind": kind, "what": "", "outcome": "find"}
    case = Case(out / "whole", folder, chance, alone)
    began = time.monotonic()
    try:
        before = Path.cwd()
        os.chdir(folder)
        row["outcome"] = KINDS[kind].attempt(case)
    except Find as find:
        row["find"] = str(find)
    except Exception as error:
        row["find"] = f"the fuzz failed: {type(error).__name__}: {error}"
        row["where"] = traceback.format_exc()[-1500:]
    finally:
        os.chdir(before)
    row["what"] = case.what
    row["seconds"] = round(time.monotonic() - began, 3)
    if "find" in row:
        keep(out, folder, index)
    shutil.rmtree(folder, ignore_errors=True)
    return row


def keep(out: Path, folder: Path, index: int) -> None:
    """Keep the files of a find."""
    target = out / "finds" / str(index)
    shutil.rmtree(target, ignore_errors=True)
    with suppress(OSError, shutil.Error):
        shutil.copytree(folder, target, symlinks=True)


def _check_here(jobs: Any, *_: Any, **__: Any) -> Iterator[Any]:
    """In place of `check_videos`: no process for each case."""
    from latte_cli.data.checking import check_video

    for job in jobs:
        yield check_video(job)


def _serve(pipe: Connection, out: Path, kinds: list[str], seed: int, alone: bool) -> None:
    """Try the cases whose numbers come through a pipe."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # where decoders of pictures complain
    from latte_cli.data import checking

    if not alone:
        checking.check_videos = _check_here
    with suppress(EOFError, KeyboardInterrupt):
        pipe.send(None)
        while True:
            pipe.send(try_case(out, kinds, seed, pipe.recv(), alone=alone))


class Worker:
    """A process that tries one case after the other."""

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments
        self.index: int | None = None
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        target = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(theirs, *self._arguments)
        )
        target.start()
        theirs.close()
        self._process = target
        self._ready, self._since = False, time.monotonic()

    def assign(self, index: int) -> None:
        """Give it a case."""
        self.index, self._since = index, time.monotonic()
        self.pipe.send(index)

    @property
    def is_ready(self) -> bool:
        """Whether it waits for a case."""
        return self._ready and self.index is None

    def receive(self) -> dict[str, Any] | None:
        """Its answer, if there is one by now; that it hangs or has died is one, too."""
        if self.pipe.poll():
            try:
                answer = self.pipe.recv()
            except (EOFError, OSError):
                return self._replace("crash: the process died")
            if answer is None:
                self._ready = True
            else:
                self.index = None
            return answer
        limit = LIMIT_S if self._ready else _START_S
        if (self.index is not None or not self._ready) and time.monotonic() - self._since > limit:
            return self._replace(f"hang: no answer within {limit:.0f} s")
        return None

    def _replace(self, find: str) -> dict[str, Any] | None:
        index = self.index
        self.stop()
        if index is None:
            sys.exit(f"a process cannot start: {find}")
        self.index = None
        self._start()
        return {"index": index, "kind": "?", "what": "", "outcome": "find", "find": find}

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def try_all(
    workers: list[Worker], numbers: Iterator[int], end_s: float
) -> Iterator[dict[str, Any]]:
    """Try cases until a time, or until there are no more; their results in any order."""
    while True:
        for worker in workers:
            if worker.is_ready and time.monotonic() < end_s:
                index = next(numbers, None)
                if index is None:
                    end_s = 0.0
                else:
                    worker.assign(index)
        if time.monotonic() >= end_s and all(worker.index is None for worker in workers):
            return
        wait([worker.pipe for worker in workers], 0.5)
        yield from (answer for worker in workers if (answer := worker.receive()) is not None)
