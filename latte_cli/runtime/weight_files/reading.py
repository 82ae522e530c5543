"""Reading files of tensors: safetensors, and pickles of torch.save, of which no code is run.

The format is recognized by the content, so the suffix of a file does not matter.
"""

import warnings
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from safetensors.torch import load_file

from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.weight_files.pickles import DangerousPickleError, load_without_code

_AGAIN = "copy or download it again"
_CHUNK_BYTES = 1 << 24
_KINDS = "weights are a .safetensors, or a file of torch.save: .pt, .pth, .bin or .ckpt"
_OTHER_CONTENTS = (  # beginning, what it is, hint
    (b"version https://git-lfs", "a pointer of Git LFS, without the weights", "run `git lfs pull`"),
    (b"<", "a web page or XML", "download the file itself, not its page"),
    (b"GGUF", "a GGUF file", _KINDS),
    (b"\x89HDF", "an HDF5 file", _KINDS),
    (b"\x1f\x8b", "a gzip archive", "unpack it and give the file inside"),
    (b"Rar!", "a rar archive", "unpack it and give the file inside"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it and give the file inside"),
)


def read_tensor_file(path: Path) -> Any:
    """What a file of tensors holds, on the CPU.

    Args:
        path: a safetensors file, or one of torch.save, whatever its suffix.

    Returns:
        A dict of tensors by name; of a pickle, plain data, with `Foreign` for other objects.

    Raises:
        CheckpointError: if the file is missing, damaged, of another format, or dangerous.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file", hint="give a checkpoint folder, a .safetensors or a .pt file"
        )
    with path.open("rb") as file:
        head = file.read(64)
    _check_beginning(path, head)
    if head.startswith(b"PK"):
        _check_checksums(path)
    if head[8:9] == b"{":
        try:
            return load_file(path)
        except Exception as error:
            raise _not_weights(path, head, error) from error
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # torch's own, of pickles' protocols and changed source code
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # a damaged file may raise almost anything
            return _read_pickle(path, head)


def _read_pickle(path: Path, head: bytes) -> Any:
    """A pickle of more than plain tensors."""
    try:
        return load_without_code(path)
    except DangerousPickleError as error:
        raise CheckpointError(
            f"{path}: not a file of weights that is safe: it calls {error}, which was not run",
            hint="do not load it with other tools: get the weights from a source that you trust",
        ) from error
    except Exception as error:
        raise _not_weights(path, head, error) from error


def _check_beginning(path: Path, head: bytes) -> None:
    """Raise CheckpointError for a file that is recognized as another format."""
    if not head:
        raise CheckpointError(f"{path}: not a file of weights: it is empty", hint=_AGAIN)
    for beginning, what, hint in _OTHER_CONTENTS:
        if head.startswith(beginning):
            raise CheckpointError(f"{path}: not a file of weights, but {what}", hint=hint)


def _check_checksums(path: Path) -> None:
    """Compare the members of an archive with their checksums, which torch does not look at.

    An archive none of whose members match was written without, by `set_crc32_options(False)`.

    Raises:
        CheckpointError: if some match, and others do not.
    """
    right, wrong = 0, ""
    try:
        with ZipFile(path) as archive:
            for member in archive.infolist():
                try:
                    with archive.open(member) as file:
                        while file.read(_CHUNK_BYTES):
                            pass
                    right += 1
                except (BadZipFile, zlib.error, EOFError):
                    wrong = wrong or member.filename
    except Exception:  # the reader of pickles says what is wrong with it
        return
    if right and wrong:
        raise CheckpointError(
            f"{path}: damaged (its member {wrong} does not match its checksum)", hint=_AGAIN
        )


def _member_names(path: Path) -> list[str]:
    """The names of an archive's members; empty if its list of them is missing or damaged."""
    try:
        with ZipFile(path) as archive:
            return archive.namelist()
    except Exception:  # a damaged list may raise almost anything
        return []


def _not_weights(path: Path, head: bytes, error: Exception) -> CheckpointError:
    """An error for a file that is cut off, damaged or of an unknown format."""
    why, hint = str(error).strip().partition("\n")[0], f"{_AGAIN}; {_KINDS}"
    if head.startswith(b"PK"):
        names = _member_names(path)
        if not names:
            why = "its end is missing"
        elif not any(name.endswith("data.pkl") for name in names):
            why, hint = "a zip archive of other files", "unpack it and give the file inside"
    elif "not fully covered" in why or "invalid header length" in why.lower():
        why = "its end is missing"
    return CheckpointError(
        f"{path}: not a file of weights, or damaged{f' ({why})' if why else ''}", hint=hint
    )
