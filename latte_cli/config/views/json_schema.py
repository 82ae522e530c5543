"""The JSON schema of preset files, by which editors check and complete them."""

from typing import Any

from latte_cli.config.preset_files import WITHOUT_IMAGES
from latte_cli.config.schema import Config
from latte_cli.config.stages import STAGES

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PRESET = {"type": "string", "minLength": 1}
_TITLE = "Preset of latte"

# YAML 1.1, which presets are read by, takes 1e-4 for a text and 100_000 for a number; YAML 1.2, as
# in editors, the other way round. Both are numbers to this project.
_NUMBER_AS_TEXT = {
    "number": r"^[-+]?[0-9][0-9_]*(\.[0-9]*)?([eE][-+]?[0-9]+)?$",
    "integer": r"^[-+]?[0-9][0-9_]*$",
}


def preset_schema() -> dict[str, Any]:
    """The schema of a preset file: all sections and keys with types, limits and descriptions."""
    schema: dict[str, Any] = _plain(Config.model_json_schema())
    sections = {name: value for name, value in schema["properties"].items() if "$ref" in value}
    schema |= {"$schema": _DIALECT, "title": _TITLE}
    schema["description"] = "One run of latte. A preset lists what differs from its base."
    schema["properties"] = {
        "base": {
            "anyOf": [_PRESET, {"type": "array", "items": _PRESET}],
            "description": "the preset that this one builds on: its name, or the path of a YAML "
            "file from this file's folder; of several, a later one overrides an earlier one",
        },
        **schema["properties"],
        WITHOUT_IMAGES: {
            "type": "object",
            "properties": sections,
            "patternProperties": _dotted(sections),
            "additionalProperties": False,
            "description": "values that are used when data.num_images is 0",
        },
        STAGES: {
            "type": ["array", "null"],
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string", "pattern": r"^[\w-]+$"}, **sections},
                "patternProperties": _dotted(sections),
                "required": ["name"],
                "additionalProperties": False,
            },
            "description": "trainings in turn, each of which begins with the network of the one "
            "before; a stage has a name, and values that replace those of the preset",
        },
    }
    schema["patternProperties"] = _dotted([*sections, WITHOUT_IMAGES])
    return schema


def _dotted(sections: Any) -> dict[str, Any]:
    """Keys written as `train.steps: 500`, whose values are checked when the preset is read."""
    return {rf"^({'|'.join(sections)})\.[a-z_.]+$": {}}


def _plain(value: Any) -> Any:
    """Pydantic's schema without titles, where sections may be empty and numbers texts."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {
        key: _plain(item)
        for key, item in value.items()
        if not (key == "title" and isinstance(item, str))
    }
    kind = plain.get("type")
    if kind in _NUMBER_AS_TEXT and "enum" not in plain:
        text = {"type": "string", "pattern": _NUMBER_AS_TEXT[kind]}
        about = {key: plain.pop(key) for key in ("description", "default") if key in plain}
        return {"anyOf": [plain, text], **about}
    if kind == "array" and "prefixItems" not in plain:  # also as `a, b`
        about = {key: plain.pop(key) for key in ("description", "default") if key in plain}
        return {"anyOf": [plain, {"type": "string"}], **about}
    if kind == "object":
        plain["type"] = ["object", "null"]
    return plain
