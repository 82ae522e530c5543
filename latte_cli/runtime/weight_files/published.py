"""Published files of weights: where they are found, how they are downloaded and checked."""

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.request import urlopen

from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.files import atomic_file, sha256_of, write_text

_TIMEOUT_S = 30.0  # for a response, not for the whole file
_PART_BYTES = 1 << 20
_SAY_EVERY_S = 10.0
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # as the Hugging Face libraries read them
_UNASKED = "nothing is downloaded unasked"


@dataclass(frozen=True)
class WeightFile:
    """A published file of weights.

    Attributes:
        names: possible paths in a folder of weights; the first is its name in the cache.
        url: the official URL.
        size: bytes; None if unknown.
        sha256: in hex; None if unknown.
        git_blob: SHA-1 of the file's content as a git blob, in hex; None if unknown.
        about: bytes, roughly, to tell users where the size is not known.
    """

    names: tuple[str, ...]
    url: str
    size: int | None = None
    sha256: str | None = None
    git_blob: str | None = None
    about: int | None = None

    @property
    def name(self) -> str:
        """Its name in the cache."""
        return self.names[0]

    def __str__(self) -> str:
        """Its name, and how large it is."""
        size = self.size or self.about
        if size is None:
            return self.name
        number = f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
        return f"{self.name} ({'' if self.size else 'about '}{number})"


@dataclass(frozen=True)
class WeightFolders:
    """Where weights are looked for, in this order.

    Attributes:
        given: the user's folder, if any.
        cache: folder of downloads.
        download: whether the user lets missing files be downloaded.
        say: receives a message about each download.
    """

    given: Path | None
    cache: Path
    download: bool
    say: Callable[[str], None] = lambda _: None

    @classmethod
    def standard(
        cls,
        given: Path | None,
        say: Callable[[str], None] | None = None,
        *,
        download: bool = False,
    ) -> "WeightFolders":
        """The user's folder, then `~/.cache/latte/weights` or that below `XDG_CACHE_HOME`.

        Nothing is downloaded if `HF_HUB_OFFLINE` is set, or without `download`.

        Raises:
            CheckpointError: if the user's folder does not exist.
        """
        if given is not None and not given.is_dir():
            raise CheckpointError(
                f"{given}: no such folder of weights", hint="--weights takes a folder"
            )
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(base) / "latte" / "weights"
        return cls(given, cache, download and not is_offline(), say or (lambda _: None))

    def find(self, file: WeightFile) -> Path | None:
        """The path of a file, unchecked; None if it is in none of the folders."""
        folders = [folder for folder in (self.given, self.cache) if folder is not None]
        paths = (folder / name for folder in folders for name in file.names)
        return next((path for path in paths if path.is_file()), None)

    def fetch(self, file: WeightFile) -> Path:
        """The path of a file, downloaded if necessary, and checked.

        Raises:
            CheckpointError: if it is missing, cannot be downloaded, or is not the published file.
        """
        path = self.find(file)
        if path is None:
            path = self._download(file)
        else:
            check_published(path, file)
        if not (file.sha256 or file.git_blob):
            self._check_first_use(path, file)
        return path

    def _download(self, file: WeightFile) -> Path:
        target = self.cache / file.name
        if not self.download:
            raise missing(file)
        self.say(f"downloading {file} from {file.url} to {self.cache}")
        try:
            with atomic_file(target) as part:
                with urlopen(file.url, timeout=_TIMEOUT_S) as response, part.open("wb") as copy:
                    self._copy(response, copy, file)
                check_published(part, file)
        except (OSError, HTTPException) as error:
            raise CheckpointError(
                f"{file} cannot be downloaded ({error})",
                hint=f"put {file.url} into a folder and name that with --weights",
            ) from error
        return target

    def _copy(self, response: BinaryIO, copy: BinaryIO, file: WeightFile) -> None:
        """Copy a download, and say now and then how far it is."""
        last = time.monotonic()
        while part := response.read(_PART_BYTES):
            copy.write(part)
            if time.monotonic() - last >= _SAY_EVERY_S:
                last = time.monotonic()
                self.say(f"downloaded {copy.tell() / 1e6:.0f} MB of {file}")

    def _check_first_use(self, path: Path, file: WeightFile) -> None:
        """Without a published checksum, later copies must equal the first one that was used."""
        note, found = self.cache / f"{file.name}.sha256", sha256_of(path)
        if not note.is_file():
            with suppress(OSError):  # a home that cannot be written to
                write_text(note, found + "\n")
        elif (first := note.read_text(encoding="utf-8").strip()) != found:
            raise CheckpointError(
                f"{path}: not the file used before (sha256 {found}, then {first})",
                hint=f"numbers would not be comparable; to use it all the same, remove {note}",
            )


def is_offline() -> bool:
    """Whether the environment forbids downloads."""
    return any(os.environ.get(name, "0").lower() in ("1", "true", "yes") for name in _OFFLINE)


def missing(file: WeightFile, whose: str = "") -> CheckpointError:
    """The error that a file is not here, and may not be downloaded.

    Args:
        file: that is missing.
        whose: what it belongs to, for the message.
    """
    reason = "HF_HUB_OFFLINE forbids downloads" if is_offline() else _UNASKED
    fetch = "" if is_offline() else "--download fetches it, or "
    return CheckpointError(
        f"{whose and whose + ': '}{file} is not on this machine, and {reason}",
        hint=f"{fetch}put {file.url} into a folder and name that with --weights",
    )


def check_published(path: Path, file: WeightFile) -> None:
    """Check size and checksum of a file against the published ones.

    Raises:
        CheckpointError: that names what differs.
    """
    checks = (
        ("size in bytes", file.size, lambda: path.stat().st_size),
        ("sha256", file.sha256, lambda: sha256_of(path)),
        ("git's SHA-1", file.git_blob, lambda: git_blob(path.read_bytes())),
    )
    for what, published, measure in checks:
        if published is not None and (found := measure()) != published:
            raise CheckpointError(
                f"{path}: not the published {file.name}, its {what} is {found} instead of "
                f"{published}",
                hint=f"take {file.url}",
            )


def git_blob(content: bytes) -> str:
    """The SHA-1 that git gives a file of this content, in hex."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
