"""Weights of the feature networks: the published files, where they are found, how they are read."""

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

from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.files import atomic_file, sha256_of, write_text

_TIMEOUT_S = 30.0  # for a response, not for the whole file
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # as the Hugging Face libraries read them
_NOT_DOWNLOADED = "it is downloaded only to measure clips"


@dataclass(frozen=True)
class WeightFile:
    """A published file of weights.

    Attributes:
        names: possible paths in a folder of weights; the first is its name in the cache.
        url: the official URL.
        size: bytes; None if unknown.
        sha256: in hex; None if unknown.
        git_blob: SHA-1 of the file's content as a git blob, in hex; None if unknown.
    """

    names: tuple[str, ...]
    url: str
    size: int | None = None
    sha256: str | None = None
    git_blob: str | None = None

    @property
    def name(self) -> str:
        """Its name in the cache."""
        return self.names[0]


_GITHUB = "https://github.com"
_KINETICS = f"{_GITHUB}/google-deepmind/kinetics-i3d/raw/0667e889a5904b4dc122e0ded4c332f49f8df42c"
_TATS = f"{_GITHUB}/songweige/TATS/raw/main"
_TGAN2 = f"{_GITHUB}/rezoo/tgan2/releases/download/v1.0"
_FIDELITY = f"{_GITHUB}/toshas/torch-fidelity/releases/download/v0.2.0"
_LPIPS = f"{_GITHUB}/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1"

# Kinetics-400 from scratch; `rgb_imagenet` beside it has the same names, and gives other numbers.
I3D_CHECKPOINT = WeightFile(
    (
        "i3d_rgb_scratch.data-00000-of-00001",
        "model.ckpt.data-00000-of-00001",
        "rgb_scratch/model.ckpt.data-00000-of-00001",
        "data/checkpoints/rgb_scratch/model.ckpt.data-00000-of-00001",
    ),
    f"{_KINETICS}/data/checkpoints/rgb_scratch/model.ckpt.data-00000-of-00001",
    size=50_818_176,
    git_blob="fa7df95674dbf3579e7fccd954e51e706b4734c1",
)
# The same numbers, converted for VideoGPT and used by TATS and cd-fvd. Other conversions are
# accepted, too: their numbers are compared with DeepMind's.
I3D_STATE = WeightFile(
    ("i3d_pretrained_400.pt", "i3d_rgb_scratch.pt", "i3d_rgb_scratch.safetensors"),
    f"{_TATS}/tats/fvd/i3d_pretrained_400.pt",
    git_blob="a867b87ac3a9097d200598b1d48a1b890d8ec744",
)
# Contains code that runs when it is loaded.
I3D_TORCHSCRIPT = WeightFile(
    ("i3d_torchscript.pt",),
    "https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1",
    size=51_235_320,
    sha256="bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
)
INCEPTION = WeightFile(
    (
        "weights-inception-2015-12-05-6726825d.pth",
        "pt_inception-2015-12-05-6726825d.pth",
    ),
    f"{_FIDELITY}/weights-inception-2015-12-05-6726825d.pth",
    size=95_628_359,
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
C3D = WeightFile(("conv3d_deepnetA_ucf.npz",), f"{_TGAN2}/conv3d_deepnetA_ucf.npz")
C3D_MEAN = WeightFile(("mean2.npz",), f"{_TGAN2}/mean2.npz")
ALEXNET = WeightFile(
    ("alexnet-owt-7be5be79.pth",),
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    size=244_408_911,
    sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
)
LPIPS_LINEAR = WeightFile(
    ("lpips_alex.pth", "alex.pth", "v0.1/alex.pth"),
    f"{_LPIPS}/alex.pth",
    size=6_009,
    sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
)


@dataclass(frozen=True)
class WeightFolders:
    """Where weights are looked for, in this order.

    Attributes:
        given: the user's folder, if any.
        cache: folder of downloads.
        download: whether missing files may be downloaded.
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
        download: bool = True,
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
        return cls(given, cache, download and not _is_offline(), say or (lambda _: None))

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
            reason = "HF_HUB_OFFLINE forbids downloads" if _is_offline() else _NOT_DOWNLOADED
            raise _missing(file, reason)
        self.say(f"downloading {file.url} to {self.cache}")
        try:
            with atomic_file(target) as part:
                with urlopen(file.url, timeout=_TIMEOUT_S) as response, part.open("wb") as copy:
                    shutil.copyfileobj(response, copy)
                check_published(part, file)
        except (OSError, HTTPException) as error:
            raise _missing(file, f"it cannot be downloaded ({error})") from error
        return target

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


def _is_offline() -> bool:
    return any(os.environ.get(name, "0").lower() in ("1", "true", "yes") for name in _OFFLINE)


def _missing(file: WeightFile, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{file.name} is not on this machine, and {reason}",
        hint=f"put {file.url} into a folder and name that with --weights",
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


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or a pickle; code in a pickle is not run.

    Raises:
        CheckpointError: if it is damaged or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds more than tensors, or is damaged",
            hint="code in files of weights is not run; take the published file",
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as weights", hint=str(error)) from error
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path}: holds no table of weights", hint="take the published file")
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def check_shapes(
    state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Check that weights are exactly those of a network.

    Args:
        state: the weights.
        shapes: of the network's weights.
        source: their file, for the message.

    Raises:
        CheckpointError: that names the first one that is missing, unknown or of another shape.
    """
    for name in sorted(state.keys() | shapes.keys()):
        found = tuple(state[name].shape) if name in state else None
        if found != shapes.get(name):
            raise CheckpointError(
                f"{source}: {name} is {found or 'missing'}, the network has "
                f"{shapes.get(name) or 'no such weight'}",
                hint="take the published file",
            )


@dataclass(frozen=True)
class Origin:
    """Which weights a network has.

    Attributes:
        kind: of file: `checkpoint`, `state dict`, `npz` or `torchscript`.
        files: that they were read from.
        sha256: of names and numbers, in hex, and so the same for every file format; of a
            TorchScript archive, that of the file.
    """

    kind: str
    files: tuple[Path, ...]
    sha256: str


def origin_of(kind: str, files: Iterable[Path], state: Mapping[str, Tensor]) -> Origin:
    """The origin of weights, with a checksum of their numbers."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {tuple(state[name].shape)}\n".encode())
        digest.update(state[name].contiguous().numpy().tobytes())
    return Origin(kind, tuple(files), digest.hexdigest())
