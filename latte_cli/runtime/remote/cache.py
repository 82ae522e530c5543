"""A cache on disk of bounded size: what was used longest ago is deleted first."""

import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Lock

from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.files import atomic_file, cache_folder

VARIABLE = "LATTE_CACHE_GB"
"""The variable of the environment that says how large the cache may grow."""

_DEFAULT_GB = 50.0
_SHARE_BETWEEN_COUNTS = 0.02  # of the size: so much may several processes exceed it each
_SHARE_KEPT = 0.9  # when something is deleted, so that this is rare


class BlobCache:
    """Files by key, in a folder that several processes may use at once.

    Args:
        folder: made when something is stored.
        limit_bytes: of all files together.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._limit = folder, limit_bytes
        self._written, self._is_counted = 0, False
        self._lock = Lock()

    def find(self, key: str) -> Path | None:
        """The file of a key, which counts as used now; None if there is none."""
        path = self._path(key)
        try:
            os.utime(path)
        except OSError:
            return path if path.is_file() else None  # of another user
        return path

    def store(self, key: str, content: bytes) -> Path | None:
        """Write a file; return its path, or None if the disk does not take it."""
        path = self._path(key)
        try:
            with atomic_file(path) as part:
                part.write_bytes(content)
        except OSError:  # full: training goes on without a cache
            return None
        with self._lock:
            self._written += len(content)
            if not self._is_counted or self._written > self._limit * _SHARE_BETWEEN_COUNTS:
                self._written, self._is_counted = 0, True
                self._shrink(keep=path)
        return path

    def drop(self, key: str) -> None:
        """Delete the file of a key."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        name = sha256(key.encode()).hexdigest()
        return self._folder / name[:2] / name

    def _shrink(self, keep: Path) -> None:
        """Delete what was used longest ago, if the files exceed the limit."""
        files = sorted(self._files(), key=lambda each: each[0])
        total = sum(size for _, size, _ in files)
        if total <= self._limit:
            return
        for _, size, path in files:
            if total <= self._limit * _SHARE_KEPT:
                break
            if path != keep:
                with suppress(OSError):  # Windows deletes no file that is mapped
                    path.unlink()
                    total -= size

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time of use, size and path of each file."""
        for path in self._folder.glob("??/*"):
            with suppress(OSError):  # another process deletes, too
                stat = path.stat()
                yield stat.st_mtime, stat.st_size, path


def open_cache() -> BlobCache:
    """The user's cache of parts of files that lie elsewhere.

    Raises:
        ConfigError: if LATTE_CACHE_GB is not a number above 0.
    """
    return BlobCache(cache_folder() / "parts", cache_limit())


def cache_limit() -> int:
    """How large the cache may grow, in bytes.

    Raises:
        ConfigError: if LATTE_CACHE_GB is not a number above 0.
    """
    text = os.environ.get(VARIABLE) or str(_DEFAULT_GB)
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise ConfigError(f"{VARIABLE}={text} is not a size", hint=f"{VARIABLE}=50, in gigabytes")
    return int(size * 1e9)
