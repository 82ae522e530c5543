"""Load diffusers' autoencoders from a folder or the hub; their config.json names the class."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from latte_cli.config.locations import EMBEDDED, asset
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.finite import not_finite
from latte_cli.runtime.weight_files.pretrained import find_weight_set

CLASSES = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderKLTemporalDecoder")

_FILES = "config.json and diffusion_pytorch_model.safetensors (or .bin, or .fp16.safetensors)"
_UNLOADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError)


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
        return _load(path, str(folder), {})
    if path.startswith((".", "/", "~")) or path.count("/") not in (1, 2):
        raise CheckpointError(
            f"{path}: no such folder",
            hint="vae.path is `embedded`, a folder in diffusers' layout or a hub id",
        )
    owner, name, *inside = path.split("/")
    return _load(path, f"{owner}/{name}", {"subfolder": inside[0]} if inside else {})


def _load(path: str, source: str, where: dict[str, str]) -> Any:
    """Load from `source`, a folder or a hub id; messages name `path`, as the user gave it."""
    import diffusers

    local = Path(source).is_dir()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the libraries warn about each other
            name = _class_name(source, where, local=local)
            if name not in CLASSES:
                raise CheckpointError(
                    f"{path}: holds a {name}, which is not an autoencoder of single frames",
                    hint=f"known: {', '.join(CLASSES)}",
                )
            files = find_weight_set(Path(source)) if local else None
            vae, found = getattr(diffusers, name).from_pretrained(
                source,
                torch_dtype=torch.float32,
                output_loading_info=True,
                **where,
                **(files.options if files else {}),
            )
    except _UNLOADABLE as error:
        raise _cannot_load(path, local=local) from error
    if found["missing_keys"]:  # diffusers would use random weights instead
        raise CheckpointError(
            f"{path}: {len(found['missing_keys'])} weights of the {name} are missing, such as "
            f"{min(found['missing_keys'])}",
            hint="copy or download it again",
        )
    if broken := not_finite(vae.state_dict()):
        raise CheckpointError(
            f"{path}: {len(broken)} weights of the {name} are not finite, such as {broken[0]}",
            hint="copy or download it again",
        )
    return vae


def _class_name(source: str, where: dict[str, str], *, local: bool) -> str:
    """The autoencoder's class; the oldest configurations do not name it: AutoencoderKL."""
    from diffusers import AutoencoderKL

    if local:
        config = json.loads((Path(source) / "config.json").read_text(encoding="utf-8"))
    else:
        config = AutoencoderKL.load_config(source, **where)
    return str(config.get("_class_name", "AutoencoderKL"))


def _cannot_load(path: str, *, local: bool) -> CheckpointError:
    if not local:
        return CheckpointError(
            f"{path}: not found on this machine, and the hub cannot be reached",
            hint=f"put {_FILES} of huggingface.co/{path} into a folder for -o vae.path=FOLDER; "
            "vae.path=embedded is the small built-in one",
        )
    hint = f"it needs {_FILES}"
    if (Path(path) / "vae" / "config.json").is_file():  # the folder of a pipeline
        hint = f"its autoencoder is in {Path(path) / 'vae'}"
    return CheckpointError(f"{path}: this folder holds no autoencoder", hint=hint)
