"""Finding a network's weights in what a training program saved, and its parameters' plain names."""

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from latte_cli.runtime.errors import CheckpointError, LatteWarning
from latte_cli.runtime.weight_files.pickles import Foreign

_MAX_DEPTH = 4
# What torch.compile, DDP, FSDP and checkpointing of activations add to the names of parameters.
_WRAPPERS = r"(?:(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)"
_WRAPPER = re.compile(rf"(?:^|(?<=\.)){_WRAPPERS}")
# A parameter that every known network has, after what programs put before all names.
_ANCHOR = re.compile(rf"((?:.*\.)?)(?:x_embedder|pos_embed)\.{_WRAPPERS}*proj\.weight")
_EMA = re.compile(r"(?:^|[._])ema(?:[._]|$)")
_OTHER_CONTENT = re.compile(r"opt$|optim|sched|discriminator|teacher")


def find_weights(found: Any, path: Path) -> dict[str, Tensor]:
    """The weights in what a file holds, by plain names; EMA weights if there are several.

    They may lie in dicts of any names, and in networks that were saved as whole objects.

    Args:
        found: of `read_tensor_file`.
        path: the file, for messages.

    Raises:
        CheckpointError: if it holds no weights, or some are not stored as tensors.
    """
    groups = dict(_groups(found, "", _MAX_DEPTH, set()))
    if not groups:
        raise CheckpointError(
            f"{path}: not a file of weights: it holds {_summary(found)}, and no tensors with names",
            hint="save the state_dict() of the network",
        )
    networks = {
        f"{key}.{prefix}".strip("."): (group, prefix)
        for key, group in groups.items()
        for prefix in dict.fromkeys(match[1] for match in map(_ANCHOR.fullmatch, group) if match)
    }
    if not networks:  # of another kind
        return _plain(max(groups.values(), key=len), "", path)
    averaged = [key for key in networks if _EMA.search(key)]
    chosen = (averaged or list(networks))[0]
    if not averaged and (empty := _ema_key(found)) is not None:
        _warn(path, f"its `{empty}` holds no weights of a network: those in `{chosen}` are read")
    elif len(averaged or networks) > 1:
        others = ", ".join(averaged or networks)
        _warn(path, f"it holds several networks, {others}: `{chosen}` is read")
    return _plain(*networks[chosen], path)


def _groups(
    value: Any, key: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """All dicts of tensors in a value, by the dotted keys that lead to them."""
    entries = _entries(value)
    if not entries or id(value) in seen:
        return
    seen.add(id(value))
    if any(isinstance(each, Tensor) for each in entries.values()):
        yield key, entries
    if depth:
        for name, each in entries.items():
            if not _OTHER_CONTENT.search(name):
                yield from _groups(each, f"{key}.{name}".strip("."), depth - 1, seen)


def _entries(value: Any) -> dict[str, Any]:
    """What a dict holds by names, or the state dict of a network saved as an object."""
    if isinstance(value, Foreign):
        if "_modules" in value.state:
            return dict(_module_entries(value, "", set()))
        value = value.entries or value.state
    if not isinstance(value, Mapping):
        return {}
    return {name: each for name, each in value.items() if isinstance(name, str)}


def _module_entries(module: Foreign, prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Parameters and buffers of a pickled torch.nn.Module, by their names in its state dict."""
    if id(module) in seen:
        return
    seen.add(id(module))
    for kind in ("_parameters", "_buffers"):
        for name, value in _entries(module.state.get(kind)).items():
            if value is not None:
                yield f"{prefix}{name}", value
    for name, child in _entries(module.state.get("_modules")).items():
        if isinstance(child, Foreign):
            yield from _module_entries(child, f"{prefix}{name}.", seen)


def _plain(group: Mapping[str, Any], prefix: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a group whose names begin with a prefix, without it and without wrappers."""
    weights: dict[str, Tensor] = {}
    for name, value in group.items():
        if not name.startswith(prefix):
            continue
        if isinstance(value, Foreign):
            raise CheckpointError(
                f"{path}: {name} is a {value.name}, not a plain tensor",
                hint="save full, plain tensors: of sharded weights the gathered ones",
            )
        plain = _WRAPPER.sub("", name.removeprefix(prefix))
        if isinstance(value, Tensor):
            if plain in weights:
                raise CheckpointError(
                    f"{path}: it holds {plain} twice, once as {name}",
                    hint="save the weights of one network",
                )
            weights[plain] = value
    return weights


def _ema_key(found: Any) -> str | None:
    """The key under which a file should have EMA weights."""
    return next((name for name in _entries(found) if _EMA.search(name)), None)


def _summary(found: Any) -> str:
    if isinstance(found, Foreign):
        return f"a {found.name}"
    if isinstance(found, Mapping):
        return f"a dict of {', '.join(map(str, list(found)[:4])) or 'nothing'}"
    return f"a {type(found).__name__}"


def _warn(path: Path, message: str) -> None:
    warnings.warn(f"{path}: {message}", LatteWarning, stacklevel=3)
