"""Which weights lie in a folder that diffusers or transformers has saved."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.runtime.errors import CheckpointError

_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_FORMATS = ("safetensors", "bin")
_VARIANTS = ("", "fp32", "bf16", "fp16")  # by how much of the numbers they keep; others follow
_FILE_NAME = re.compile(r"[\w.-]+\.(?:safetensors|bin)")  # an index may only name files beside it


@dataclass(frozen=True)
class WeightSet:
    """Files that together hold the weights of a part.

    Attributes:
        files: one, or several that an index lists.
        variant: the libraries' `variant`, as fp16; empty for the plain files.
        in_safetensors: rather than pickles of torch.save.
    """

    files: tuple[Path, ...]
    variant: str
    in_safetensors: bool

    @property
    def missing(self) -> list[Path]:
        """Files that are listed and not there."""
        return [path for path in self.files if not path.is_file()]

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `from_pretrained` that choose these files."""
        options: dict[str, Any] = {"variant": self.variant} if self.variant else {}
        return options | {"use_safetensors": self.in_safetensors}


def find_weight_set(folder: Path) -> WeightSet | None:
    """The best set of weights in a folder: whole before incomplete, plain before half precision.

    Raises:
        CheckpointError: if an index is damaged.
    """
    sets = [found for path in sorted(folder.iterdir()) if (found := _weight_set(path))]
    return min(sets, key=_order, default=None)


def _order(found: WeightSet) -> tuple[bool, int, bool, bool]:
    known = found.variant in _VARIANTS
    rank = _VARIANTS.index(found.variant) if known else len(_VARIANTS)
    return bool(found.missing), rank, not found.in_safetensors, len(found.files) == 1


def _weight_set(path: Path) -> WeightSet | None:
    """The set that a file is, or is the index of; None for other files and for shards."""
    stem, *words = path.name.split(".")
    if stem not in _STEMS or not path.is_file():
        return None
    variants = [word for word in words if word not in (*_FORMATS, "index", "json")]
    formats = [word for word in words if word in _FORMATS]
    if len(formats) != 1 or len(variants) > 1 or any("-of-" in word for word in variants):
        return None
    is_index = words[-1] == "json" and "index" in words
    if not is_index and words[-1] not in _FORMATS:
        return None
    files = _indexed(path) if is_index else (path,)
    return WeightSet(files, "".join(variants), formats == ["safetensors"])


def _indexed(index: Path) -> tuple[Path, ...]:
    """The files that an index lists."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if not names or not all(_FILE_NAME.fullmatch(name) for name in names):
            raise ValueError(names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{index}: not a file of weights' index, or damaged", hint="copy or download it again"
        ) from error
    return tuple(index.parent / name for name in sorted(names))
