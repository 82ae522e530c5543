"""Where weights are found: a folder of the user's, the cache, the official place; each checked."""

import hashlib
import os
import pickle
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from latte_cli.metrics.weight_files import WeightFile
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.files import sha256_of, whole_file, write_text

_PATIENCE_S = 30.0  # for an answer, not for the whole file
_ONLY_TO_MEASURE = "is fetched only to measure clips"
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # hub libraries' words for the same wish


@dataclass(frozen=True)
class Origin:
    """Which weights a network has.

    Attributes:
        kind: of file: `checkpoint`, `state dict`, `npz` or `torchscript`.
        files: that they were read from.
        sha256: of the numbers under their names, in hex: the same whatever file they were in; of a
            TorchScript archive, that of the file.
    """

    kind: str
    files: tuple[Path, ...]
    sha256: str


@dataclass(frozen=True)
class WeightFolders:
    """The places that are looked at, in their order.

    Attributes:
        given: the folder that the user named, if any.
        cache: where downloads are kept.
        download: whether what is missing may be fetched.
        say: is told of downloads.
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
        download: bool = True,
    ) -> "WeightFolders":
        """The user's folder, `~/.cache/latte/weights` (or below `XDG_CACHE_HOME`), and the network.

        Nothing is fetched where `HF_HUB_OFFLINE` is set, or without `download`.

        Raises:
            CheckpointError: if there is no such folder.
        """
        if given is not None and not given.is_dir():
            raise CheckpointError(
                f"{given}: no such folder of weights", hint="--weights takes a folder"
            )
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(base) / "latte" / "weights"
        return cls(given, cache, download and not _is_offline(), say or (lambda _: None))

    def find(self, file: WeightFile) -> Path | None:
        """Where a file lies, unchecked; None where it does not."""
        for folder in (self.given, self.cache):
            for name in file.names if folder else ():
                if folder and (folder / name).is_file():
                    return folder / name
        return None

    def fetch(self, file: WeightFile) -> Path:
        """Where a file lies, checked; downloaded if need be.

        Raises:
            CheckpointError: if it is nowhere, cannot be downloaded, or is another one.
        """
        path = self.find(file)
        if path is None:
            return self._download(file)
        check(path, file)
        if not file.pinned:
            self._check_first_use(path, file)
        return path

    def _download(self, file: WeightFile) -> Path:
        target = self.cache / file.name
        if not self.download:
            forbidden = "HF_HUB_OFFLINE forbids to fetch it"
            raise missing(file, f"and {forbidden if _is_offline() else _ONLY_TO_MEASURE}")
        self.say(f"fetching {file.url}, to be kept in {self.cache}")
        try:
            with whole_file(target) as part:
                with urlopen(file.url, timeout=_PATIENCE_S) as answer, part.open("wb") as copy:
                    shutil.copyfileobj(answer, copy)
                check(part, file)
        except (OSError, HTTPException) as error:
            raise missing(file, f"and cannot be fetched ({error})") from error
        if not file.pinned:
            self._check_first_use(target, file)
        return target

    def _check_first_use(self, path: Path, file: WeightFile) -> None:
        """Without a published checksum the first copy seen is what every later one must be."""
        note, found = self.cache / f"{file.name}.sha256", sha256_of(path)
        if not note.is_file():
            with suppress(OSError):  # a home that cannot be written to
                write_text(note, found + "\n")
        elif (first := note.read_text().strip()) != found:
            raise CheckpointError(
                f"{path}: not the file used before (sha256 {found}, then {first})",
                hint=f"numbers would not be comparable; if it is meant, remove {note}",
            )


def _is_offline() -> bool:
    return any(os.environ.get(name, "0").lower() in ("1", "true", "yes") for name in _OFFLINE)


def check(path: Path, file: WeightFile) -> None:
    """A file must be the published one, by size and checksum.

    Raises:
        CheckpointError: saying what differs.
    """
    size = path.stat().st_size
    if file.size is not None:
        _compare(path, file, "size in bytes", str(size), str(file.size))
    if file.sha256:
        _compare(path, file, "sha256", sha256_of(path), file.sha256)
    if file.git_blob:
        _compare(path, file, "git's SHA-1", git_blob(path.read_bytes()), file.git_blob)


def _compare(path: Path, file: WeightFile, what: str, found: str, published: str) -> None:
    if found != published:
        raise CheckpointError(
            f"{path}: not the published {file.name}, its {what} is {found} instead of {published}",
            hint=f"take {file.url}",
        )


def missing(file: WeightFile, why: str) -> CheckpointError:
    """The error that says where a file is to be had, and how to hand it in."""
    return CheckpointError(
        f"{file.name} is not on this machine, {why}",
        hint=f"put {file.url} into a folder and name that with --weights",
    )


def git_blob(content: bytes) -> str:
    """The SHA-1 by which git names a file's content, in hex."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a `.safetensors`, or of a pickle, of which nothing else is read.

    Raises:
        CheckpointError: if it is damaged or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds more than tensors, or is damaged",
            hint="no code is run from files of weights; take the published one",
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as weights", hint=str(error)) from error
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path}: holds no table of weights", hint="take the published one")
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def origin_of(kind: str, files: Iterable[Path], state: Mapping[str, Tensor]) -> Origin:
    """Which weights these are, from the numbers themselves."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {tuple(state[name].shape)}\n".encode())
        digest.update(state[name].contiguous().numpy().tobytes())
    return Origin(kind, tuple(files), digest.hexdigest())
