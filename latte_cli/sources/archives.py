"""Data sets as archives: unpacked once, whole or not at all, and nowhere else than asked."""

import errno
import json
import lzma
import platform
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import PART, whole_folder, write_text
from latte_cli.sources.archive_formats import Tar, Zip, is_tar
from latte_cli.sources.archive_members import AGAIN, CannotRead, check_members
from latte_cli.sources.rar import MAGIC, Rar
from latte_cli.sources.walking import unwrapped

UNPACKED = "unpacked"

_TAR_ENDINGS = (".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz", ".tbz2", ".txz", ".tar")
_ENDINGS = (*_TAR_ENDINGS, ".zip", ".rar")
_TEXT_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_OF_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OverflowError,
    ValueError,
)
"""What Python's readers raise, depending on where the damage lies."""

Reader = Zip | Tar | Rar


def unpack(source: Path, into: Path, on_member: Callable[[int, int], None] | None = None) -> Path:
    """Unpack an archive, unless that was done before; anything else is given back as it is.

    Args:
        source: a zip, tar or rar archive; or a folder, or a table of captions.
        into: a data set's folder; the archive goes to `unpacked/<its name>` there.
        on_member: called with how many members are done, and of how many.

    Returns:
        The folder with the contents; where that is a single folder of folders, that one.

    Raises:
        DataError: if there is no such file, if it is damaged, or if anything in it is not safe: it
            is then refused before anything is written.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder", hint="--source names the videos")
    folder = into / UNPACKED / _stem(source)
    note = folder.with_name(f".{folder.name}.json")
    stamp = _stamp(source)
    if not folder.is_dir() or not note.is_file() or note.read_text(encoding="utf-8") != stamp:
        readers = _readers(source)
        if not readers:
            return source
        _clear(folder)
        _unpack_by_any(source, readers, folder, on_member or (lambda done, total: None))
        write_text(note, stamp)
    return unwrapped(folder)


def _readers(source: Path) -> Sequence[Reader]:
    """Who can read an archive, the ablest first; none if it is no archive.

    Raises:
        DataError: if it is one by its name only, or none can read it.
    """
    if source.is_dir() or source.suffix.lower() in _TEXT_ENDINGS:
        return []
    with source.open("rb") as file:
        begin = file.read(len(MAGIC))
    if begin == MAGIC:
        return Rar.readers(source)
    if zipfile.is_zipfile(source):
        return [Zip(source)]
    with _in_words(source):
        if is_tar(source):
            return [Tar(source)]
    if begin.startswith(_ZSTANDARD):
        raise DataError(
            f"{source}: this Python ({platform.python_version()}) reads no Zstandard, 3.14 does",
            hint="unpack it with `zstd -d`, and give the .tar, or the folder",
        )
    if source.name.lower().endswith(_ENDINGS):
        raise DataError(f"{source}: is no archive, or not a whole one", hint=AGAIN)
    return []


def _unpack_by_any(
    source: Path, readers: Sequence[Reader], folder: Path, on_member: Callable[[int, int], None]
) -> None:
    """Unpack by the first who can."""
    faults: list[CannotRead] = []
    for reader in readers:
        try:
            return _unpack(source, reader, folder, on_member)
        except CannotRead as error:
            faults.append(error)
    reasons = dict.fromkeys(str(error).removeprefix(f"{source}: ") for error in faults)
    raise DataError(f"{source}: {'; '.join(reasons)}", hint=faults[-1].hint) from faults[-1]


def _unpack(
    source: Path, reader: Reader, folder: Path, on_member: Callable[[int, int], None]
) -> None:
    with _in_words(source):
        total = check_members(source, reader.members(), folder)
        if not total:
            raise CannotRead(f"{source}: nothing is in it", hint=AGAIN)
        on_member(0, total)
        with whole_folder(folder) as part:
            for done, _ in enumerate(reader.unpack(part), 1):
                on_member(min(done, total), total)
        on_member(total, total)


@contextmanager
def _in_words(source: Path) -> Iterator[None]:
    """Turn the errors of damaged archives into one in words."""
    try:
        yield
    except _OF_DAMAGE as error:
        raise CannotRead(f"{source}: is damaged ({error})", hint=AGAIN) from error
    except NotImplementedError as error:
        raise CannotRead(f"{source}: cannot be unpacked ({error})", hint=AGAIN) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # which a seek to nowhere ends in
            raise
        raise CannotRead(f"{source}: is damaged ({error})", hint=AGAIN) from error


def _stem(source: Path) -> str:
    """An archive's name without what tells its kind."""
    ending = next((end for end in _ENDINGS if source.name.lower().endswith(end)), source.suffix)
    return source.name[: len(source.name) - len(ending)].lstrip(".") or "archive"


def _stamp(source: Path) -> str:
    """What tells whether an archive has changed."""
    facts = source.stat()
    return json.dumps(
        {
            "archive": str(source.absolute()),
            "bytes": facts.st_size,
            "modified_ns": facts.st_mtime_ns,
        }
    )


def _clear(folder: Path) -> None:
    """Remove what a run that was killed has left of this archive."""
    for part in folder.parent.glob(f"{PART}*"):
        if part.name.removeprefix(PART).partition("-")[2] == folder.name:
            shutil.rmtree(part, ignore_errors=True)
