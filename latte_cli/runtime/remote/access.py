"""Reading, writing and listing at a URL through fsspec: lost connections are retried and named."""

import errno
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from latte_cli.runtime.errors import LatteWarning, RemoteError

RETRY_AFTER_S = (1.0, 4.0, 15.0, 60.0)
"""Pauses between attempts, once a place has been reached before."""

FIRST_RETRY_AFTER_S = (0.5, 1.5)
"""Pauses between the first attempts: an address may be wrong."""

_LIBRARIES = {  # that fsspec needs, and what installs them
    **dict.fromkeys(("s3", "s3a"), ("s3fs", "latte-cli[remote]")),
    **dict.fromkeys(("gs", "gcs"), ("gcsfs", "gcsfs")),
    **dict.fromkeys(("az", "abfs", "adl"), ("adlfs", "adlfs")),
    **dict.fromkeys(("http", "https"), ("aiohttp", "aiohttp")),
}
_REFUSED = ("NoCredentialsError", "PartialCredentialsError", "GatedRepoError", "RefreshError")
_NO_BUCKET = "bucket does not exist"
_AGAIN = "run the same command again to go on; what is done is kept"

Result = TypeVar("Result")
_reached: set[str] = set()  # places that have answered this process


@dataclass(frozen=True)
class RemoteFile:
    """A file elsewhere.

    Attributes:
        path: below the URL that was listed; empty for the file at the URL itself.
        bytes: its size.
        stamp: changes when the file does.
    """

    path: str
    bytes: int
    stamp: str


def read_range(url: str, start: int, stop: int) -> bytes:
    """The bytes of a file from `start` to before `stop`, or to its end.

    Raises:
        RemoteError: if it cannot be read, after several attempts, or is not there.
    """
    read: bytes = _attempt(url, lambda fs, path: fs.cat_file(path, start=start, end=stop))
    return read


def find_file(url: str) -> RemoteFile | None:
    """The file at a URL; None if there is none.

    Raises:
        RemoteError: if the place cannot be reached, or refuses.
    """

    def find(fs: Any, path: str) -> RemoteFile | None:
        fs.invalidate_cache()
        try:
            found = fs.info(path)
        except FileNotFoundError as error:
            if _NO_BUCKET in str(error).lower():
                raise
            return None
        return _remote_file("", found) if found["type"] == "file" else None

    return _attempt(url, find)


def list_files(url: str) -> dict[str, RemoteFile]:
    """All files below a URL, by their paths below it; none if there are none.

    Raises:
        RemoteError: if the place cannot be reached, or refuses.
    """

    def find(fs: Any, path: str) -> dict[str, RemoteFile]:
        fs.invalidate_cache()
        start = path.rstrip("/") + "/"
        found: dict[str, Any] = fs.find(path, detail=True)
        names = {name[name.find(start) + len(start) :]: value for name, value in found.items()}
        return {name: _remote_file(name, value) for name, value in sorted(names.items()) if name}

    return _attempt(url, find)


def download(url: str, target: str) -> None:
    """Write the file at a URL to a local path.

    Raises:
        RemoteError: if it cannot be read, after several attempts, or is not there.
    """
    _attempt(url, lambda fs, path: fs.get_file(path, target))


def upload(source: str, url: str) -> None:
    """Write a local file to a URL, where it appears whole.

    Raises:
        RemoteError: if it cannot be written, after several attempts.
    """

    def put(fs: Any, path: str) -> None:
        if not getattr(fs, "async_impl", False):  # stores of objects have no folders to make
            fs.makedirs(fs._parent(path), exist_ok=True)
        fs.put_file(source, path)

    _attempt(url, put)


def remove(url: str) -> None:
    """Delete the file at a URL, if it is there.

    Raises:
        RemoteError: if the place cannot be reached, or refuses.
    """

    def delete(fs: Any, path: str) -> None:
        with suppress(FileNotFoundError):
            fs.rm_file(path)

    _attempt(url, delete)


def _attempt(url: str, action: Callable[[Any, str], Result]) -> Result:
    """Do something with fsspec's file system of a URL and the path in it, several times if need be.

    Raises:
        RemoteError: in words.
    """
    place = "/".join(url.split("/")[:3])
    attempts = 0
    while True:
        try:
            result = action(*_open(url))
            _reached.add(place)
            return result
        except Exception as error:
            if isinstance(error, OSError) and _is_local(error, url):
                raise
            if (refusal := _refusal(url, error)) is not None:
                raise refusal from error
            pauses = RETRY_AFTER_S if place in _reached else FIRST_RETRY_AFTER_S
            reason = " ".join(str(error).split()) or type(error).__name__
            if attempts >= len(pauses):
                raise RemoteError(
                    f"{url}: cannot be reached ({reason})",
                    hint=f"is the address right, and the network up? Then {_AGAIN}",
                ) from error
            warnings.warn(
                f"{url}: {reason}; trying again in {pauses[attempts]:g} s",
                LatteWarning,
                stacklevel=2,
            )
            threading.Event().wait(pauses[attempts])
            attempts += 1


def _open(url: str) -> tuple[Any, str]:
    """Fsspec's file system of a URL, and the path in it."""
    from fsspec.config import conf
    from fsspec.core import url_to_fs

    options: dict[str, Any] = {}
    if url.startswith(("s3:", "s3a:")):  # a lost connection is retried here, and named
        settings = {"retries": {"max_attempts": 1}, "connect_timeout": 10, "read_timeout": 60}
        options["config_kwargs"] = {**settings, **conf.get("s3", {}).get("config_kwargs", {})}
    fs, path = url_to_fs(url, **options)
    return fs, str(path)


def _is_local(error: OSError, url: str) -> bool:
    """Whether an error is of the local disk: those of the place name its own path, or none."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if error.filename in (None, "") or isinstance(error, FileNotFoundError | PermissionError):
        return False
    return str(error.filename) not in url


def _refusal(url: str, error: Exception) -> RemoteError | None:
    """What cannot be mended by trying again, in words; None for a lost connection."""
    scheme = url.partition(":")[0]
    if isinstance(error, RemoteError):
        return error
    if isinstance(error, ImportError):
        library, install = _LIBRARIES.get(scheme, (f"a library for {scheme}://", ""))
        hint = f"pip install '{install}'" if install else str(error)
        return RemoteError(f"{url}: needs {library}, which cannot be imported ({error})", hint)
    if isinstance(error, ValueError) and "rotocol" in str(error):
        known = "s3://, gs://, hf:// and all other kinds of URL that fsspec knows"
        return RemoteError(f"{url}: {scheme}:// is unknown here", f"known: {known}")
    if isinstance(error, FileNotFoundError):
        lost = "no such bucket" if _NO_BUCKET in str(error).lower() else "no such file"
        return RemoteError(f"{url}: {lost}", f"check the address; if it was deleted, {_AGAIN}")
    if isinstance(error, PermissionError) or type(error).__name__ in _REFUSED:
        return RemoteError(
            f"{url}: access is refused ({' '.join(str(error).split())})",
            "credentials are taken from where the place's own tools keep them (AWS_PROFILE or "
            f"AWS_ACCESS_KEY_ID; `gcloud auth`; `hf auth login`). Then {_AGAIN}",
        )
    return None


def _remote_file(path: str, found: dict[str, Any]) -> RemoteFile:
    keys = ("ETag", "etag", "md5Hash", "generation", "oid", "LastModified", "mtime", "created")
    stamp = next((str(found[key]) for key in keys if found.get(key)), "")
    return RemoteFile(path, int(found.get("size") or 0), stamp)
