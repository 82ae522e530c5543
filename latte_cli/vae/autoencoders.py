"""Load diffusers' autoencoders from a folder or the hub; their config.json names the class."""

import json
import warnings
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from latte_cli.config.locations import EMBEDDED, asset
from latte_cli.runtime.errors import CheckpointError, LatteError
from latte_cli.runtime.finite import not_finite
from latte_cli.runtime.weight_files.hub import AUTOENCODER_FILES, hub_autoencoder
from latte_cli.runtime.weight_files.pretrained import find_weight_set

CLASSES = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderKLTemporalDecoder")


def load_autoencoder(path: str) -> Any:
    """Load one of `CLASSES` in float32.

    Args:
        path: `embedded`, a local folder in diffusers' layout, a hub id, or a hub id with a folder
            inside it, like `maxin-cn/Latte-1/vae`.

    Raises:
        CheckpointError: if there is no such folder and the hub cannot be reached, or if the folder
            holds no autoencoder of these classes, or weights are missing.
    """
    from diffusers.utils import logging

    folder = asset("autoencoder") if path == EMBEDDED else Path(path)
    logging.set_verbosity_error()
    if folder.is_dir():
        return _load(path, folder)
    if path.startswith((".", "/", "~")) or path.count("/") not in (1, 2):
        raise CheckpointError(
            f"{path}: no such folder",
            hint="vae.path is `embedded`, a folder in diffusers' layout or a hub id",
        )
    return _load(path, hub_autoencoder(path).fetch())


def _load(path: str, source: Path) -> Any:
    """Load from a folder; messages name `path`, as the user gave it."""
    import diffusers

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the libraries warn about each other
            # The oldest configurations do not name their class.
            config = json.loads((source / "config.json").read_text(encoding="utf-8"))
            name = str(config.get("_class_name", "AutoencoderKL"))
            if name not in CLASSES:
                raise CheckpointError(
                    f"{path}: holds a {name}, which is not an autoencoder of single frames",
                    hint=f"known: {', '.join(CLASSES)}",
                )
            files = find_weight_set(source)
            vae, found = getattr(diffusers, name).from_pretrained(
                source,
                torch_dtype=torch.float32,
                output_loading_info=True,
                **(files.options if files else {}),
            )
    except (LatteError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise almost anything
        raise _cannot_load(path, source) from error
    if found["missing_keys"]:  # diffusers would use random weights instead
        raise CheckpointError(
            f"{path}: {len(found['missing_keys'])} weights of the {name} are missing, such as "
            f"{min(found['missing_keys'])}",
            hint="copy or download it again",
        )
    if found["unexpected_keys"]:
        raise CheckpointError(
            f"{path}: its config.json is of another {name}, which has no place for "
            f"{len(found['unexpected_keys'])} weights, such as {min(found['unexpected_keys'])}",
            hint="copy or download both files again",
        )
    if broken := not_finite(vae.state_dict()):
        raise CheckpointError(
            f"{path}: {len(broken)} weights of the {name} are not finite, such as {broken[0]}",
            hint="copy or download it again",
        )
    _check_scale(path, vae.config)
    return vae


def _check_scale(path: str, config: Any) -> None:
    """Raise CheckpointError unless the scale of the latents is a number, and their shift, too."""
    scale, shift = config.scaling_factor, config.get("shift_factor") or 0
    for name, value in (("scaling_factor", scale), ("shift_factor", shift)):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not isfinite(value) or (name == "scaling_factor" and value == 0):
            raise CheckpointError(
                f"{path}: its config.json has {name} {value!r}, which is not a number to scale by",
                hint="copy or download it again",
            )


def _cannot_load(path: str, source: Path) -> CheckpointError:
    hint = f"it needs {AUTOENCODER_FILES}"
    if (source / "vae" / "config.json").is_file():  # the folder of a pipeline
        hint = f"its autoencoder is in {path}/vae"
    return CheckpointError(f"{path}: this folder holds no autoencoder", hint=hint)
