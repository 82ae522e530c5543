"""Reading YAML files of settings: dotted keys, old names of keys, and the line of each key."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from latte_cli.runtime.errors import ConfigError, LatteWarning

RENAMED_KEYS = {
    "train.snr_ceiling": "train.min_snr_gamma",
    "train.class_dropout": "train.condition_dropout",
    "train.tensorboard": "train.tracker",
}
"""Old and new names of keys renamed since version 0.1; both are in the same section."""


@dataclass(frozen=True)
class SettingsFile:
    """What a YAML file of settings holds.

    Attributes:
        path: the file.
        tree: its values, nested, with old names of keys replaced by the new ones.
        lines: of each dotted key, and of each section, its line in the file, from 1.
    """

    path: Path
    tree: dict[str, Any]
    lines: Mapping[str, int]


def read_settings(path: Path, *, warn: bool = False) -> SettingsFile:
    """Read a YAML file of `section:` and `key: value`, or of `section.key: value`.

    Args:
        path: the file.
        warn: whether to warn about old names.

    Raises:
        ConfigError: if it is not YAML, not a mapping, or sets a key twice.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        lines = _lines_of(node, path)
        values = None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{path}{line}: not valid YAML",
            hint="check the indentation there, and quotes around values with `:` or `#`",
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected `section:` lines", hint="see `latte presets shapes`")
    tree = _nested(values, path, lines)
    prefix = f"{path}: " if warn else None
    _rename(tree, lines, prefix)
    stages = tree.get("stages")
    for number, stage in enumerate(stages if isinstance(stages, list) else []):
        if isinstance(stage, dict):
            _rename(stage, lines, prefix, f"stages.{number}.")
    return SettingsFile(path, tree, lines)


def _rename(
    tree: dict[str, Any], lines: dict[str, int], prefix: str | None, above: str = ""
) -> None:
    """Replace old names of keys by the new ones, in place.

    Args:
        tree: values by section and key.
        lines: of the file's keys.
        prefix: what warnings begin with; None: no warnings.
        above: what the tree's keys begin with in the file.
    """
    for old in RENAMED_KEYS:
        section, _, key = old.partition(".")
        if isinstance(settings := tree.get(section), dict) and key in settings:
            new = current_key(old, prefix)
            lines.setdefault(f"{above}{new}", lines[f"{above}{old}"])
            settings.setdefault(new.partition(".")[2], settings.pop(key))


def read_tree(path: Path) -> dict[str, Any]:
    """The values of a YAML file of settings, nested; see `read_settings`."""
    return read_settings(path).tree


def current_key(key: str, prefix: str | None = "") -> str:
    """The current name of a dotted key, with a warning if the given name is an old one.

    Args:
        key: the given name.
        prefix: what the warning begins with; None: no warning.
    """
    new = RENAMED_KEYS.get(key, key)
    if new != key and prefix is not None:
        text = f"{prefix}`{key}` is now called `{new}`; the old name still works"
        warnings.warn(LatteWarning(text), stacklevel=3)
    return new


def merge(over: Mapping[str, Any], under: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two nested mappings, section by section; an empty section overrides nothing.

    Args:
        over: its values win.
        under: gives the values that `over` does not have.
    """
    merged = dict(under)
    for key, value in over.items():
        beneath = merged.get(key)
        if isinstance(beneath, Mapping) and (value is None or isinstance(value, Mapping)):
            merged[key] = merge(value or {}, beneath)
        else:
            merged[key] = value
    return merged


def _lines_of(node: yaml.Node | None, path: Path) -> dict[str, int]:
    """The line of every key, by its dotted name.

    Raises:
        ConfigError: if a key is there twice, of which YAML would keep the last without a word.
    """
    lines: dict[str, int] = {}
    sections: set[str] = set()
    for key, line, is_section, is_repeated in _keys_of(node):
        if key in lines and (is_repeated or not (is_section and key in sections)):
            raise ConfigError(
                f"{path}, line {line}: `{key}` is set again, after line {lines[key]}",
                hint="keep one of them; a section has all of its keys below one line",
            )
        if is_section:
            sections.add(key)
        lines.setdefault(key, line)
    return lines


def _keys_of(node: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, int, bool, bool]]:
    """Each key of a mapping: its dotted name and line, whether it is a section, and repeated."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        name, line = f"{prefix}{key.value}", key.start_mark.line + 1
        yield name, line, isinstance(value, yaml.MappingNode), key.value in seen
        seen.add(key.value)
        yield from _keys_of(value, f"{name}.")
        for number, item in enumerate(value.value if isinstance(value, yaml.SequenceNode) else ()):
            yield from _keys_of(item, f"{name}.{number}.")


def _nested_value(value: Any, path: Path) -> Any:
    """A value with the dotted keys inside it taken apart."""
    if isinstance(value, list):
        return [_nested_value(each, path) for each in value]
    return _nested(value, path, {}) if isinstance(value, dict) else value


def _nested(values: Mapping[Any, Any], path: Path, lines: Mapping[str, int]) -> dict[Any, Any]:
    """The same mapping with dotted keys taken apart: {"train.lr": 1} -> {"train": {"lr": 1}}."""
    tree: dict[Any, Any] = {}
    for key, value in values.items():
        nested = _nested_value(value, path)
        first, dot, rest = key.partition(".") if isinstance(key, str) else (key, "", "")
        if dot:
            nested = _nested({rest: nested}, path, {})
        before = tree.get(first)
        if first in tree and isinstance(before, dict) and isinstance(nested, dict):
            nested = merge(nested, before)
        elif first in tree and (before is not None and nested is not None):
            where = f"{path}, line {lines[key]}" if key in lines else f"{path}"
            raise ConfigError(
                f"{where}: `{first}` is {before!r} and has keys of its own",
                hint=f"write `{first}:`, and `key: value` below it",
            )
        elif nested is None and before is not None:
            continue
        tree[first] = nested
    return tree
