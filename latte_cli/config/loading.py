"""Resolving a configuration: presets and overrides over the schema's defaults."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from latte_cli.config.preset_files import (
    current_key,
    merge,
    preset_folder,
    preset_names,
    read_layers,
    read_tree,
)
from latte_cli.config.schema import Config
from latte_cli.runtime.errors import ConfigError

__all__ = [
    "Config",
    "Source",
    "config_from_tree",
    "config_sources",
    "flatten",
    "known_keys",
    "load_config",
    "overlay",
    "preset_folder",
    "preset_names",
    "read_tree",
]


@dataclass(frozen=True)
class Source:
    """A dotted key, its value, and where that value comes from.

    Attributes:
        key: with its section.
        value: as the schema has it.
        origin: `default`, `base NAME` (the preset builds on that), `preset` or `override`.
    """

    key: str
    value: object
    origin: str


def load_config(
    preset: str | None = None,
    overrides: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Resolve a preset and `key=value` overrides into a configuration.

    Args:
        preset: a preset's name or the path of a YAML file; None for the schema's defaults.
        overrides: `section.key=value`, values read as YAML.
        flags: values by dotted key, laid over all; None stands for a flag that was not given.

    Returns:
        The validated tree.

    Raises:
        ConfigError: on an unknown preset or key (naming the nearest), or a value that does not fit.
    """
    return overlay(_read_preset(preset) if preset else {}, overrides, flags)


def overlay(
    tree: dict[str, Any], overrides: Iterable[str] = (), flags: Mapping[str, Any] | None = None
) -> Config:
    """Lay overrides and flags over a nested mapping, and validate it; see `load_config`."""
    for override in overrides:
        _put(tree, *_parse(override))
    for key, value in (flags or {}).items():
        if value is not None:
            _put(tree, key, str(value) if isinstance(value, Path) else value)
    return config_from_tree(tree)


def config_from_tree(tree: Mapping[str, Any], origin: str = "") -> Config:
    """Validate a nested mapping, telling the first thing that is wrong in words."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise _in_words(error, origin) from error


def config_sources(preset: str | None, overrides: Iterable[str] = ()) -> list[Source]:
    """Every value of the resolved tree with where it comes from, in the schema's order."""
    overrides = list(overrides)
    resolved = flatten(load_config(preset, overrides).model_dump())
    origins = dict.fromkeys(resolved, "default")
    for layer in read_layers(preset) if preset else []:
        origins |= dict.fromkeys(flatten(layer.tree), layer.origin)
    origins |= dict.fromkeys((_parse(override)[0] for override in overrides), "override")
    return [Source(key, value, origins[key]) for key, value in resolved.items()]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"lr": 1}} -> {"train.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _read_preset(preset: str) -> dict[str, Any]:
    """A preset's values over those of its bases."""
    tree: dict[str, Any] = {}
    for layer in read_layers(preset):
        tree = merge(layer.tree, tree)
    return tree


def _parse(override: str) -> tuple[str, Any]:
    """`section.key=value` as a key and the value that YAML reads."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"`{override}` is not key=value", hint="write for example train.lr=2e-4")
    try:
        return current_key(key.strip()), yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"`{override}`: the value is not YAML", hint="quote it") from error


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set the value of a dotted key in a nested mapping."""
    if key not in known_keys():
        raise _unknown_key(key)
    *sections, last = key.split(".")
    for section in sections:
        if tree.get(section) is None:
            tree[section] = {}
        tree = tree[section]
        if not isinstance(tree, dict):
            raise ConfigError(
                f"`{section}` is {tree!r}, not a section", hint="it holds `key: value`"
            )
    tree[last] = value


def known_keys() -> list[str]:
    """Every dotted key that can be set, in the schema's order."""
    return list(flatten(Config().model_dump()))


def _unknown_key(key: str) -> ConfigError:
    known = known_keys()
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    section = key.split(".")[0] + "."
    siblings = [name for name in known if name.startswith(section)] or sorted(Config.model_fields)
    guess = f"did you mean `{near[0]}`? " if near else ""
    return ConfigError(f"unknown key `{key}`", hint=f"{guess}known: {', '.join(siblings)}")


def _in_words(error: ValidationError, origin: str) -> ConfigError:
    """The first problem pydantic found, as a message with the key, the value and a way on."""
    problem = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in problem["loc"] if part in _path_parts())
    where = f"{origin}: " if origin else ""
    if problem["type"] == "extra_forbidden":
        unknown = _unknown_key(".".join(str(part) for part in problem["loc"]))
        return ConfigError(where + str(unknown), hint=unknown.hint)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return ConfigError(where + message, hint="`latte presets NAME` shows every value")
    message = message[0].lower() + message[1:]
    hint = (
        f"this key: {_describe(key)}"
        if _describe(key)
        else "`latte presets NAME` shows every value"
    )
    return ConfigError(f"{where}`{key}` is {problem['input']!r}: {message}", hint=hint)


def _path_parts() -> set[str]:
    return {part for key in known_keys() for part in key.split(".")} | set(Config.model_fields)


def _describe(key: str) -> str:
    """The schema's one line about a key, or nothing."""
    fields: Mapping[str, Any] = Config.model_fields
    text = ""
    for part in key.split("."):
        field = fields.get(part)
        if field is None:
            return ""
        text = field.description or ""
        annotation = field.annotation
        if isinstance(annotation, UnionType):
            annotation = get_args(annotation)[0]
        fields = getattr(annotation, "model_fields", {})
    return text
