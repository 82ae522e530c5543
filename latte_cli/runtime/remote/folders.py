"""Folders elsewhere and their mirrors: what is fetched when it has changed, and uploaded."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import RemoteError
from latte_cli.runtime.files import atomic_file, atomic_folder, write_text
from latte_cli.runtime.remote.access import RemoteFile, download, find_file, list_files, upload
from latte_cli.runtime.remote.cache import VARIABLE, cache_limit
from latte_cli.runtime.remote.urls import url_of
from latte_cli.runtime.workers import prefetch

_FETCHED = ".fetched.json"  # stamps of what was fetched, by name
_LOCK = ".fetch.lock"
_TABLES = (".json", ".jsonl")  # which say what there is
_THREADS = 8


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


def fetch_tree(path: Path, console: Console) -> None:
    """Fetch a file, or all files of a folder, that are not here yet or others there by now.

    Args:
        path: in a mirror.
        console: shows the progress.

    Raises:
        ConfigError: if LATTE_CACHE_GB is not a number above 0.
        RemoteError: if there is nothing, it is larger than that, or cannot be read.
    """
    url = url_of(path)
    assert url is not None
    files = {path / name: file for name, file in list_files(url).items()}
    if not files and (file := find_file(url)) is not None:
        files = {path: file}
    if not files:
        raise RemoteError(f"{url}: nothing is there", hint="check the address")
    folder = path if path not in files else path.parent
    total, limit_bytes = sum(file.bytes for file in files.values()), cache_limit()
    if total > limit_bytes:
        raise RemoteError(
            f"{url}: {total / 1e9:.1f} GB, more than the cache may hold ({limit_bytes / 1e9:g} GB)",
            hint=f"{VARIABLE}={math.ceil(total / 1e9)} allows it; or prepare its folders one by "
            "one, each with an --out of its own",
        )
    with alone(folder):
        stamps = _read_stamps(folder)
        missing = [each for each in files if not _is_here(each, files[each], stamps, folder)]
        with console.progress("fetching", len(missing), "files") as bar:
            for _ in prefetch(lambda each: fetch_file(each, files[each]), missing, _THREADS):
                bar.advance()
        stamps |= {_name(p, folder): [file.bytes, file.stamp] for p, file in files.items()}
        write_text(folder / _FETCHED, json.dumps(stamps) + "\n")


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _is_here(
    path: Path, file: RemoteFile, stamps: dict[str, list[object] | None], folder: Path
) -> bool:
    """Whether a file was fetched: one without a stamp is of a run that was interrupted."""
    known = stamps.get(_name(path, folder))
    is_same = known is None or known == [file.bytes, file.stamp]
    return is_same and path.is_file() and path.stat().st_size == file.bytes


def fetch_if_missing(path: Path) -> None:
    """Fetch a video that lies elsewhere, a file or a folder of frames, if it is not here.

    Raises:
        RemoteError: if it cannot be read.
    """
    url = url_of(path)
    if url is None or path.exists():
        return
    if (file := find_file(url)) is not None:
        fetch_file(path, file)
        return
    files = list_files(url)
    if files:
        with atomic_folder(path) as part:
            for name in files:
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                download(f"{url}/{name}", str(part / name))


def upload_folder(folder: Path, console: Console) -> None:
    """Upload what a command has written to a mirror, tables and metadata last.

    Args:
        folder: one that is no mirror stays where it is.
        console: shows the progress.

    Raises:
        RemoteError: if it cannot be written; what was written here is kept.
    """
    url = url_of(folder)
    if url is None:
        return
    there = list_files(url)
    here = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(p[0] == "." for p in path.relative_to(folder).parts)
    ]
    todo = [
        path
        for path in here
        if path.suffix in _TABLES
        or (name := _name(path, folder)) not in there
        or there[name].bytes != path.stat().st_size
    ]
    todo.sort(key=lambda path: path.suffix in _TABLES)
    with console.progress("uploading", len(todo), "files") as bar:
        for path in todo:
            upload(str(path), f"{url}/{_name(path, folder)}")
            bar.advance()


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
