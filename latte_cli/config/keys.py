"""Dotted keys of the configuration: which there are, what they mean, which are near a wrong one."""

import difflib
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, get_args

from pydantic.fields import FieldInfo

from latte_cli.config.other_names import likely_keys
from latte_cli.config.schema import Config
from latte_cli.config.stages import without_stage
from latte_cli.runtime.errors import ConfigError


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"lr": 1}} -> {"train.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


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
    field = field_of(without_stage(key))
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


def unknown_key(key: str) -> ConfigError:
    """The error about a key that there is not; its hint names the nearest ones."""
    known = known_keys()
    near = likely_keys(key, known) or difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    section = key.split(".")[0] + "."
    siblings = [name for name in known if name.startswith(section)] or sorted(Config.model_fields)
    guess = f"did you mean {' or '.join(f'`{name}`' for name in near)}? " if near else ""
    return ConfigError(f"unknown key `{key}`", hint=f"{guess}known: {', '.join(siblings)}")
