"""Dataclasses from what a JSON file holds of them."""

import json
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

Record = TypeVar("Record")


def record_from(kind: type[Record], values: object) -> Record:
    """A record of a dataclass, whose values have the types that it declares.

    JSON itself guarantees none: a number may have become a text, a list, or a truth value.

    Args:
        kind: the dataclass.
        values: of its fields by name, as json.loads returned them.

    Raises:
        TypeError: if this is no mapping of its fields.
        ValueError: if a field is missing, or a value has another type.
    """
    dataclass: Any = kind
    if not isinstance(values, dict):
        raise TypeError(f"{values!r:.40} is not an object")
    if unknown := values.keys() - {field.name for field in fields(dataclass)}:
        raise TypeError(f"unknown key {min(unknown)!r}")
    # As JSON, where a list may stand for a tuple, and an object for a dataclass.
    record: Record = _adapter(dataclass).validate_json(json.dumps(values), strict=True)
    return record


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
