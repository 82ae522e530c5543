"""Small files of a folder elsewhere, fetched into its mirror when they have changed."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from latte_cli.runtime.files import atomic_file, write_text
from latte_cli.runtime.remote.access import RemoteFile, download, find_file
from latte_cli.runtime.remote.urls import url_of

_FETCHED = ".fetched.json"  # stamps of what was fetched, by name
_LOCK = ".fetch.lock"


def fetch_files(folder: Path, names: Sequence[str]) -> None:
    """Fetch files of a mirror's URL that are not here yet, or are others there by now.

    A file that was deleted there is deleted here. Other folders than mirrors stay as they are.

    Raises:
        RemoteError: if the place cannot be reached, or refuses.
    """
    url = url_of(folder)
    if url is None:
        return
    found = {name: find_file(f"{url}/{name}") for name in names}
    if not (folder.is_dir() or any(found.values())):
        return
    with alone(folder):
        stamps = _read_stamps(folder)
        for name, file in found.items():
            stamp = None if file is None else [file.bytes, file.stamp]
            if file is None:
                if name in stamps:
                    (folder / name).unlink(missing_ok=True)
            elif stamp != stamps.get(name) or not (folder / name).is_file():
                fetch_file(folder / name, file)
            stamps[name] = stamp
        kept = {name: stamp for name, stamp in stamps.items() if stamp is not None}
        write_text(folder / _FETCHED, json.dumps(kept) + "\n")


def fetch_file(path: Path, file: RemoteFile) -> None:
    """Download a file of a mirror, whole or not at all.

    Raises:
        RemoteError: if it cannot be read, after several attempts.
    """
    url = url_of(path)
    assert url is not None
    with atomic_file(path) as part:
        download(url, str(part))
        if part.stat().st_size != file.bytes:  # it has changed meanwhile
            download(url, str(part))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process of this machine fetch into a mirror at a time; others wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK):
        yield


def _read_stamps(folder: Path) -> dict[str, list[object] | None]:
    with suppress(OSError, ValueError):
        stamps = json.loads((folder / _FETCHED).read_text(encoding="utf-8"))
        if isinstance(stamps, dict):
            return stamps
    return {}
