"""Work shared out between processes, on one machine or several, that see the same folder.

A claim is a small file that only one process can make: whoever makes it does the work that it is
named after. It tells who holds it, and is touched all along, so that the claims of the dead are
found and taken over. Should two processes ever hold one claim, as after an hour's sleep, work is
done twice; so files that come of it must appear whole, and be alike whoever writes them.
"""

import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from latte_cli.runtime.files import PART

STALE_S = 300.0
"""Seconds without a sign of life after which a claim may be taken over."""

_BEAT_S = 20.0  # from one sign of life to the next
_UNREADABLE_S = 10.0  # its holder died, or is about to write its name
_held: set[str] = set()


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold a claim for the time of a `with`; False where another process holds it.

    Args:
        path: the file to make, in a folder that all processes see; the folder is made, too.
    """
    token = uuid.uuid4().hex
    text = json.dumps({"host": _host(), "pid": os.getpid(), "token": token})
    _held.add(token)
    try:
        if not _make(path, text) and not (_clear(path) and _make(path, text)):
            yield False
            return
        try:
            with _signs_of_life(path):
                yield True
        finally:
            with suppress(FileNotFoundError):
                if path.read_text(encoding="utf-8") == text:  # else another has taken it over
                    path.unlink()
    finally:
        _held.discard(token)


def holder_of(path: Path) -> str:
    """Who holds a claim, in words; empty where nobody does, or it cannot be told."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {str(holder['host']).split()[0]}"
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return ""


@contextmanager
def _signs_of_life(path: Path) -> Iterator[None]:
    """Touch a file all along, from a thread: a piece of work may take any time."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(_BEAT_S):
            with suppress(OSError):
                os.utime(path)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _make(path: Path, text: str) -> bool:
    """Make the file, unless it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except (FileExistsError, FileNotFoundError):  # the latter: the folder was just tidied away
        return False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except BaseException:  # a full disk, or an interruption
        path.unlink(missing_ok=True)
        raise
    return True


def _clear(path: Path) -> bool:
    """Remove a claim whose holder is gone; whether it may be tried again."""
    aside = path.with_name(f"{PART}{uuid.uuid4().hex}")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        if not _is_stale(text, path):
            return False
        os.rename(path, aside)
    except FileNotFoundError:  # released, or taken over by a third
        return True
    with suppress(FileNotFoundError):
        if aside.read_text(encoding="utf-8", errors="replace") != text:
            with suppress(OSError):  # a third was quicker, and this is its claim: give it back
                os.link(aside, path)
        aside.unlink()
    return True


def _is_stale(text: str, path: Path) -> bool:
    """Whether the holder of a claim is gone, as far as can be told from here."""
    try:
        holder = json.loads(text)
        host, pid, token = holder["host"], int(holder["pid"]), holder["token"]
    except (ValueError, TypeError, KeyError):
        return _silent_s(path) > _UNREADABLE_S
    if host == _host():
        # In a container every run may have the same number: ours, but not known, is an old one.
        is_gone = token not in _held if pid == os.getpid() else not _is_running(pid)
        if is_gone:
            return True
    return _silent_s(path) > STALE_S


def _silent_s(path: Path) -> float:
    """How long ago a file was touched, by the clock of the disk: machines' own may differ."""
    now = path.with_name(f"{PART}{uuid.uuid4().hex}")
    now.touch()
    try:
        return now.stat().st_mtime - path.stat().st_mtime
    finally:
        now.unlink(missing_ok=True)


def _host() -> str:
    """Where process numbers mean what they mean here: this machine, or this container on it."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not on Linux
        return socket.gethostname()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True
