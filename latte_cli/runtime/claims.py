"""Work divided among processes, on one node or several, that share a folder.

A claim is a small file that only one process can create: the process that creates it does the work
that the file is named after. The file names its holder, which touches it regularly, so that claims
of dead processes are found and taken over. If two processes ever hold one claim, for example after
an hour's sleep, work is done twice; so its output files must be written atomically, and must not
depend on the process that writes them.
"""

import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from latte_cli.runtime import windows
from latte_cli.runtime.files import PART

STALE_S = 300.0
"""Seconds without a heartbeat after which a claim may be taken over."""

_HEARTBEAT_S = 20.0
_RETRY_S = 0.1
_UNREADABLE_S = 10.0  # an empty claim: its holder died, or is about to write its name
_held: set[str] = set()


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold a claim inside a `with`; yields False if another process holds it.

    Args:
        path: the file to create, in a folder that all processes share; it is created, too.
    """
    token = uuid.uuid4().hex
    text = json.dumps({"host": _host(), "pid": os.getpid(), "token": token})
    _held.add(token)
    try:
        if not _create(path, text) and not (_remove_stale(path) and _create(path, text)):
            yield False
            return
        try:
            with _heartbeat(path):
                yield True
        finally:
            with suppress(FileNotFoundError):
                if path.read_text(encoding="utf-8") == text:  # else another has taken it over
                    path.unlink()
    finally:
        _held.discard(token)


class HeldClaims:
    """Claims held from when work is handed out until its answer is there; released at the end."""

    def __init__(self) -> None:
        self._held: dict[object, ExitStack] = {}

    def __enter__(self) -> "HeldClaims":
        return self

    def __exit__(self, *error: object) -> None:
        for key in [*self._held]:
            self.release(key)

    def take(self, key: object, path: Path) -> bool:
        """Hold a claim until `release` of this key; False if another process holds it."""
        with ExitStack() as stack:
            if not stack.enter_context(claimed(path)):
                return False
            self._held[key] = stack.pop_all()
        return True

    def release(self, key: object) -> None:
        """Release the claim that is held under a key."""
        self._held.pop(key).close()


@contextmanager
def claimed_in_turn(path: Path) -> Iterator[None]:
    """Hold a claim inside a `with`, once all other processes have released it."""
    while True:
        with claimed(path) as is_ours:
            if is_ours:
                yield
                return
        time.sleep(_RETRY_S)


def wait_until_free(paths: Iterable[Path], seconds: float) -> None:
    """Wait until no other process holds any of these claims, at most for some seconds.

    Claims of dead processes are removed.
    """
    deadline = time.monotonic() + seconds
    for path in paths:
        while time.monotonic() < deadline:
            with claimed(path) as is_ours:
                if is_ours:
                    break
            time.sleep(_RETRY_S)


def waiting_for(paths: Iterable[Path]) -> str:
    """Who holds some claims, and what to do about it, in words; empty if nobody is known to."""
    known = {path: holder for path in paths if (holder := holder_of(path))}
    if not known:
        return ""
    pattern = next(iter(known)).with_stem("*")
    holders = "; ".join(sorted(set(known.values())))
    return f"waiting for {holders}; if it is no longer running, delete {pattern}"


def holder_of(path: Path) -> str:
    """The process and host that hold a claim, for messages; empty if unknown."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {str(holder['host']).split()[0]}"
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return ""


@contextmanager
def _heartbeat(path: Path) -> Iterator[None]:
    """Touch a file regularly from a thread, since the work may take any time."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(_HEARTBEAT_S):
            with suppress(OSError):
                os.utime(path)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _create(path: Path, text: str) -> bool:
    """Create the file; False if it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except (FileExistsError, FileNotFoundError):  # the folder was just removed
        return False
    except PermissionError:  # on Windows also of a file that is just being removed
        if sys.platform != "win32":
            raise
        return False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except BaseException:  # a full disk, or an interruption
        path.unlink(missing_ok=True)
        raise
    return True


def _remove_stale(path: Path) -> bool:
    """Remove a claim whose holder is dead; return whether to try again."""
    aside = path.with_name(f"{PART}{uuid.uuid4().hex}")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        if not _is_stale(text, path):
            return False
        os.rename(path, aside)
    except FileNotFoundError:  # released, or taken over by a third process
        return True
    with suppress(FileNotFoundError):
        if aside.read_text(encoding="utf-8", errors="replace") != text:
            with suppress(OSError):  # a third process was faster: give its claim back
                os.link(aside, path)
        aside.unlink()
    return True


def _is_stale(text: str, path: Path) -> bool:
    """Whether the holder of a claim is dead, as far as this process can know."""
    try:
        holder = json.loads(text)
        host, pid, token = holder["host"], int(holder["pid"]), holder["token"]
    except (ValueError, TypeError, KeyError):
        return _seconds_silent(path) > _UNREADABLE_S
    if host == _host():
        # In a container every run may have the same pid; a token that is not ours is an old one.
        is_dead = token not in _held if pid == os.getpid() else not _is_running(pid)
        if is_dead:
            return True
    return _seconds_silent(path) > STALE_S


def _seconds_silent(path: Path) -> float:
    """Seconds since a file was touched, by the clock of the disk, since those of nodes differ."""
    now = path.with_name(f"{PART}{uuid.uuid4().hex}")
    now.touch()
    try:
        return now.stat().st_mtime - path.stat().st_mtime
    finally:
        now.unlink(missing_ok=True)


def _host() -> str:
    """Where a pid means the same process: this host, or this container on it."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not on Linux
        return socket.gethostname()


def _is_running(pid: int) -> bool:
    """Whether a process of this host is alive."""
    if sys.platform == "win32":
        return windows.is_running(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True
