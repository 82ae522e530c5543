"""Resolving a configuration: the schema's defaults, then a preset, then overrides."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from latte_cli.config.other_names import likely_keys
from latte_cli.config.preset_files import WITHOUT_IMAGES, Layer, read_layers
from latte_cli.config.schema import FLOW_MAP_SAMPLING, Config
from latte_cli.config.yaml_files import current_key, merge
from latte_cli.runtime.errors import ConfigError

_DOTTED = re.compile(r"[a-z_]+(?:\.[a-z_]+)+")
_SHOW_VALUES = "`latte presets NAME` shows every value"


@dataclass(frozen=True)
class Source:
    """A value of the configuration and its origin.

    Attributes:
        key: dotted, `section.key`.
        value: as the schema validated it.
        origin: `default`, `base NAME` (a preset that the preset builds on), `preset` or `override`.
    """

    key: str
    value: object
    origin: str


def load_config(
    preset: str | None = None,
    overrides: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Resolve a preset and overrides into a configuration.

    Args:
        preset: name of a preset or path of a YAML file; None: the schema's defaults.
        overrides: `section.key=value`, where the value is YAML.
        flags: values by dotted key, applied last; None: the flag was not given.

    Returns:
        The validated tree.

    Raises:
        ConfigError: if there is no such preset or key (names the nearest), or a value is invalid.
    """
    layers, overrides = _layers(preset), list(overrides)
    config = overlay(_merged(layers, with_images=True), overrides, flags, layers)
    if config.data.num_images or not any(layer.without_images for layer in layers):
        return config
    return overlay(_merged(layers, with_images=False), overrides, flags, layers)


def overlay(
    tree: dict[str, Any],
    overrides: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    layers: Sequence[Layer] = (),
) -> Config:
    """Apply overrides and flags to a nested mapping, and validate it; see `load_config`.

    Args:
        tree: values by section and key; changed in place.
        overrides: `section.key=value`.
        flags: values by dotted key.
        layers: the files that the tree is merged from, which errors name.
    """
    given = list(map(_parse, overrides))
    drop_other_sampling(tree, dict(given).get("diffusion.objective"))
    for key, value in given:
        _set(tree, key, value)
    for key, value in (flags or {}).items():
        if value is not None:
            _set(tree, key, str(value) if isinstance(value, Path) else value)
    set_here = {*dict(given), *(flags or {})}

    def place(*keys: str) -> str:
        """Where a file sets one of these keys, unless an override or a flag has the last word."""
        if set_here.intersection(keys):
            return ""
        found = (layer.place(key) for layer in reversed(layers) for key in keys)
        return next(filter(None, found), "")

    return config_from_tree(tree, place)


def config_from_tree(tree: Mapping[str, Any], origin: str | Callable[..., str] = "") -> Config:
    """Validate a nested mapping.

    Args:
        tree: values by section and key.
        origin: what the error message begins with, such as a path; or where some keys are set,
            given these.

    Raises:
        ConfigError: if a key is unknown or a value is invalid; names the first problem.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        place = origin if callable(origin) else lambda *_: origin
        raise _to_config_error(error, place) from error


def config_sources(preset: str | None, overrides: Iterable[str] = ()) -> list[Source]:
    """Every value of the resolved configuration with its origin, in the schema's order."""
    overrides = list(overrides)
    resolved = flatten(load_config(preset, overrides).model_dump())
    origins = dict.fromkeys(resolved, "default")
    for layer in _layers(preset):
        origins |= dict.fromkeys(flatten(layer.tree), layer.origin)
        if not resolved["data.num_images"]:
            origins |= dict.fromkeys(flatten(layer.without_images), layer.origin)
    origins |= dict.fromkeys(flatten(dict(map(_parse, overrides))), "override")
    return [Source(key, value, origins.get(key, "default")) for key, value in resolved.items()]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"lr": 1}} -> {"train.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def to_yaml(value: object) -> str:
    """A value as YAML writes it, on one line."""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(
        plain, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("...\n").strip()


@cache
def known_keys() -> tuple[str, ...]:
    """Every dotted key that can be set, in the schema's order."""
    # Keys of what is null; adapters need a network.
    filled: dict[str, Any] = {"train": {"route": {}, "lora": {}, "init": "-"}}
    keys = list(flatten(Config.model_validate(filled).model_dump()))
    keys.insert(keys.index("train.route.from"), "train.route")
    keys.insert(keys.index("train.lora.rank"), "train.lora")
    return tuple(keys)


def describe(key: str) -> str:
    """The schema's description of a dotted key; empty if it has none."""
    field = field_of(key)
    return (field.description or "") if field else ""


def field_of(key: str) -> FieldInfo | None:
    """The schema's field of a dotted key, or of a section; None if there is none."""
    fields: Mapping[str, FieldInfo] = Config.model_fields
    field = None
    for part in key.split("."):
        field = next((f for name, f in fields.items() if part in (name, f.alias)), None)
        if field is None:
            return None
        annotation = field.annotation
        if isinstance(annotation, UnionType):
            annotation = get_args(annotation)[0]
        fields = getattr(annotation, "model_fields", {})
    return field


def _layers(preset: str | None) -> list[Layer]:
    """The layers of a preset; none without one."""
    layers = read_layers(preset) if preset else []
    dependent = [(layer, key) for layer in layers for key in flatten(layer.without_images)]
    for file, key in dependent:
        place = file.place(f"{WITHOUT_IMAGES}.{key}") or file.path
        if key not in known_keys():
            unknown = _unknown_key(key)
            raise ConfigError(f"{place}: {unknown}", hint=unknown.hint)
        if key == "data.num_images":
            raise ConfigError(
                f"{place}: `{WITHOUT_IMAGES}` sets data.num_images, on which it depends",
                hint=f"set data.num_images outside of `{WITHOUT_IMAGES}`",
            )
    return layers


def _merged(layers: Iterable[Layer], *, with_images: bool) -> dict[str, Any]:
    """The values of all layers, with or without those for training without joint images."""
    tree: dict[str, Any] = {}
    for layer in layers:
        drop_other_sampling(tree, objective_of(layer.tree))
        tree = merge(layer.tree, tree)
        if not with_images:
            tree = merge(layer.without_images, tree)
    return tree


def _parse(override: str) -> tuple[str, Any]:
    """Split `section.key=value` into the key and the value, parsed as YAML."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"`{override}` is not key=value", hint="write for example train.lr=2e-4")
    try:
        return current_key(key.strip()), yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(
            f"`{override}`: the value is not YAML",
            hint="put the value in quotes, as YAML takes them",
        ) from error


def objective_of(tree: Mapping[str, Any]) -> Any:
    """`diffusion.objective` of a nested mapping, not validated; None if it has none."""
    section = tree.get("diffusion")
    return section.get("objective") if isinstance(section, dict) else None


def drop_other_sampling(tree: dict[str, Any], objective: object) -> None:
    """Drop sampler, steps and guidance of another objective where flow-map takes its place.

    Args:
        tree: changed in place.
        objective: that takes the place of the tree's own; None if none does.
    """
    sample = tree.get("sample")
    if objective == "flow-map" != objective_of(tree) and isinstance(sample, dict):
        tree["sample"] = {k: v for k, v in sample.items() if k not in FLOW_MAP_SAMPLING}


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
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
                f"`{section}` is {tree!r}, not a section", hint="write `key: value` below it"
            )
    tree[last] = value


def _unknown_key(key: str) -> ConfigError:
    known = known_keys()
    near = likely_keys(key, known) or difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    section = key.split(".")[0] + "."
    siblings = [name for name in known if name.startswith(section)] or sorted(Config.model_fields)
    guess = f"did you mean {' or '.join(f'`{name}`' for name in near)}? " if near else ""
    return ConfigError(f"unknown key `{key}`", hint=f"{guess}known: {', '.join(siblings)}")


def _to_config_error(error: ValidationError, place: Callable[..., str]) -> ConfigError:
    """The first problem that pydantic found: where it is, the key, the value and what is allowed.

    Args:
        error: of pydantic.
        place: where the first of some keys is set, given these; empty if that is not known.
    """
    problem = error.errors(include_url=False)[0]
    if problem["type"] == "extra_forbidden":
        key = ".".join(str(part) for part in problem["loc"])
        unknown = _unknown_key(key)
        return ConfigError(_after(place(key), str(unknown)), hint=unknown.hint)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        hint = getattr(problem["ctx"]["error"], "hint", _SHOW_VALUES)
        named = [key for key in _DOTTED.findall(f"{message} {hint}") if key in known_keys()]
        return ConfigError(_after(place(*named), message), hint=hint)
    # The location of a value may go on inside it, such as an index: only keys are named.
    parts = {part for key in known_keys() for part in key.split(".")} | set(Config.model_fields)
    key = ".".join(str(part) for part in problem["loc"] if part in parts)
    description = describe(key)
    hint = f"this key: {description}" if description else _SHOW_VALUES
    message = message[0].lower() + message[1:]
    return ConfigError(_after(place(key), f"`{key}` is {problem['input']!r}: {message}"), hint=hint)


def _after(place: str, message: str) -> str:
    """A message after the place that it is about, if that is known."""
    return f"{place}: {message}" if place else message
