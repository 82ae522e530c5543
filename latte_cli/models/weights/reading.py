"""Reading files of weights, whoever wrote them, as plain tensors."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from latte_cli.runtime.errors import CheckpointError

Kind = Literal["latte", "latte-t2v", "dit", "pixart"]

OURS = "ema.safetensors"
"""The averaged weights in a checkpoint folder of ours."""

DIFFUSERS_CONFIG = "config.json"
DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"
_INDEX = ".safetensors.index.json"


@dataclass(frozen=True)
class WeightsFile:
    """Weights by name, with what lay beside them.

    Attributes:
        path: the file or folder that was asked for.
        weights: as they are in the file, in its types.
        config: diffusers' `config.json`; None where there is none.
    """

    path: Path
    weights: Mapping[str, Tensor]
    config: Mapping[str, Any] | None = None

    @cached_property
    def kind(self) -> Kind:
        """Whose network this is, by the names of its parameters.

        Raises:
            CheckpointError: if it is none that the project knows.
        """
        names = self.weights
        if any(name.startswith("temporal_transformer_blocks.") for name in names):
            return "latte-t2v"
        if any(name.startswith("transformer_blocks.") for name in names):
            return "pixart"
        if "x_embedder.proj.weight" in names and any(name.startswith("blocks.") for name in names):
            # DiT has no position for frames; a folder of ours is one in any case.
            own = "temp_embed" in names or is_ours(self.path)
            return "latte" if own else "dit"
        raise CheckpointError(
            f"{self.path}: not a Latte network, nor one of DiT or PixArt-alpha",
            hint="its parameters have other names than any of these",
        )


def read_weights(path: str | Path) -> WeightsFile:
    """Read weights; pickles only as plain tensors, EMA first.

    Args:
        path: a checkpoint folder of ours, a folder in diffusers' layout (of a transformer, or of a
            pipeline that has one; one file or several), a `.safetensors`, or a `.pt` that holds
            {"ema": …}, {"model": …} or the tensors themselves.

    Raises:
        CheckpointError: if there is no such file, or it is damaged or holds something else.
    """
    path = Path(path)
    if not path.is_dir():
        return WeightsFile(path, _read_file(path))
    if (path / "transformer" / DIFFUSERS_CONFIG).is_file():
        path = path / "transformer"
    if (path / OURS).is_file():
        return WeightsFile(path, _read_file(path / OURS))
    if (path / DIFFUSERS_CONFIG).is_file():
        return WeightsFile(path, _read_diffusers(path), _read_config(path))
    raise CheckpointError(
        f"{path}: holds neither {OURS} nor {DIFFUSERS_CONFIG}",
        hint="give a checkpoint folder, a folder in diffusers' layout, a .safetensors or a .pt",
    )


def is_ours(path: Path) -> bool:
    """Whether a path is a checkpoint folder of ours."""
    return (path / OURS).is_file() and (path / "config.yaml").is_file()


def _read_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file", hint="give a checkpoint folder, a .safetensors or a .pt file"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise nearly anything
        raise _not_weights(path) from error
    for key in ("ema", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise _not_weights(path)
    return {name.removeprefix("module."): value for name, value in found.items()}


def _read_diffusers(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder in diffusers' layout, whose index names the files if several."""
    for index in sorted(folder.glob(f"*{_INDEX}")):
        names = set(_read_json(index).get("weight_map", {}).values())
        if not all(re.fullmatch(r"[\w.-]+\.safetensors", str(name)) for name in names):
            raise _not_weights(index)  # an index names files beside it, nothing else
        parts = [_read_file(folder / name) for name in sorted(names)]
        return {name: value for part in parts for name, value in part.items()}
    named = [folder / DIFFUSERS_WEIGHTS, *sorted(folder.glob("diffusion_pytorch_model.*"))]
    files = [path for path in named if path.is_file() and path.suffix in (".safetensors", ".bin")]
    return _read_file(files[0] if files else named[0])


def _read_config(folder: Path) -> dict[str, Any]:
    return _read_json(folder / DIFFUSERS_CONFIG)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged", hint="copy the folder again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: damaged", hint="copy the folder again")
    return values


def _not_weights(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path}: this is not a file of weights, or it is damaged",
        hint="weights are .safetensors, or a .pt that holds plain tensors",
    )
