"""Preset files: finding them, reading them, and following their bases."""

import difflib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from latte_cli.runtime.errors import ConfigError, LatteWarning

RENAMED_KEYS = {"train.snr_ceiling": "train.min_snr_gamma"}
"""Old and new names of keys renamed since version 0.1; both are in the same section."""

WITHOUT_IMAGES = "without_images"
"""A preset's values that hold if `data.num_images` is 0, by section and key."""

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Layer:
    """The values of one file; a preset is made of one or several layers.

    Attributes:
        origin: `preset` for the preset's own file, `base NAME` for one that it builds on.
        tree: the file's own values, without `base`.
        without_images: further values of the file, for `data.num_images` 0.
    """

    origin: str
    tree: dict[str, Any]
    without_images: dict[str, Any]


def preset_folder() -> Path:
    """The folder of presets: inside the installed package, or next to it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "presets"
    return installed if installed.is_dir() else package.parent / "presets"


def preset_names() -> list[str]:
    """All presets, sorted; those in sub-folders as `folder/name`."""
    root = preset_folder()
    files = (path.relative_to(root) for path in root.rglob("*.yaml"))
    return sorted(path.with_suffix("").as_posix() for path in files)


def read_layers(preset: str) -> list[Layer]:
    """Read a preset and its bases (key `base`), the deepest base first.

    Args:
        preset: name of a preset or path of a YAML file.

    Returns:
        The layers; each overrides those before it.

    Raises:
        ConfigError: if a file is missing or is not a preset, or bases form a cycle.
    """
    name, path = preset, _find(preset)
    names: list[str] = []
    layers: dict[Path, Layer] = {}
    while True:
        names.append(name)
        tree = read_tree(path, warn=True)
        has_base = "base" in tree
        base = tree.pop("base", None)
        without_images = _pop_without_images(tree, path)
        origin = f"base {name}" if len(names) > 1 else "preset"
        layers[path.resolve()] = Layer(origin, tree, without_images)
        if not has_base:
            return list(layers.values())[::-1]
        if not isinstance(base, str) or not base:
            raise ConfigError(
                f"{path}: `base` is {base!r}, not a preset",
                hint="`base` is a preset's name, or the path of a YAML file from this file's "
                "folder",
            )
        path = _find(base, path)
        name = str(path) if base.endswith(_SUFFIXES) else base
        if path.resolve() in layers:
            raise ConfigError(
                f"the bases of {preset} form a cycle: {' -> '.join([*names, name])}",
                hint="remove `base` from one of these files",
            )


def _pop_without_images(tree: dict[str, Any], path: Path) -> dict[str, Any]:
    """Take the values for training without joint images out of a preset's own values."""
    values = tree.pop(WITHOUT_IMAGES, None) or {}
    sections = values.values() if isinstance(values, dict) else [values]
    if not all(isinstance(section, dict) for section in sections):
        raise ConfigError(
            f"{path}: `{WITHOUT_IMAGES}` is {values!r}, not values by section and key",
            hint=f"write `{WITHOUT_IMAGES}:`, below it a section, and `key: value` below that",
        )
    return values


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


def read_tree(path: Path, *, warn: bool = False) -> dict[str, Any]:
    """Read a YAML file as a nested mapping, with old names of keys replaced by the new ones.

    Args:
        path: the file.
        warn: whether to warn about old names.

    Raises:
        ConfigError: if it is not YAML, or not a mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML", hint="check its indentation") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected `section:` lines", hint="see `latte presets shapes`")
    for old in RENAMED_KEYS:
        section, _, key = old.partition(".")
        if isinstance(values := tree.get(section), dict) and key in values:
            new = current_key(old, prefix=f"{path}: " if warn else None)
            values.setdefault(new.partition(".")[2], values.pop(key))
    return tree


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


def _find(preset: str, named_by: Path | None = None) -> Path:
    """The file of a preset.

    Args:
        preset: its name or path.
        named_by: the file that names it as its base: a path is relative to that file's folder.
    """
    if preset.endswith(_SUFFIXES):
        path = named_by.parent / preset if named_by else Path(preset)
    else:
        path = preset_folder() / f"{preset}.yaml"
    if path.is_file():
        return path
    known = preset_names()
    near = difflib.get_close_matches(preset, known, n=1)
    guess = f"did you mean `{near[0]}`? " if near else ""
    names = ", ".join(name for name in known if "/" not in name)
    raise ConfigError(
        f"{named_by}: its base `{preset}` is missing"
        if named_by
        else f"no preset named `{preset}`",
        hint=f"{guess}presets: {names}, and studies (`latte presets` lists all)",
    )
