"""Preset files: where they lie, how one is read, and the bases that it builds on."""

import difflib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from latte_cli.runtime.errors import ConfigError, LatteWarning

RENAMED_KEYS = {"train.snr_ceiling": "train.min_snr_gamma"}
"""Keys of version 0.1 that have another name now; both keys of a pair are in one section."""

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Layer:
    """What one file says, of those that a preset is made of.

    Attributes:
        origin: `preset` for the preset's own file, `base NAME` for one that it builds on.
        tree: the file's own values, without `base`.
    """

    origin: str
    tree: dict[str, Any]


def preset_folder() -> Path:
    """Where presets lie: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parents[1]
    packaged = here / "presets"
    return packaged if packaged.is_dir() else here.parent / "presets"


def preset_names() -> list[str]:
    """All presets, sorted; those in sub-folders as `folder/name`."""
    root = preset_folder()
    files = (path.relative_to(root) for path in root.rglob("*.yaml"))
    return sorted(path.with_suffix("").as_posix() for path in files)


def read_layers(preset: str) -> list[Layer]:
    """A preset and, by the key `base`, what it builds on; the deepest base first.

    Args:
        preset: a preset's name or the path of a YAML file.

    Returns:
        Layers of which each is to be laid over those before it.

    Raises:
        ConfigError: on a file that is missing or no preset, and on bases that lead in a circle.
    """
    name, path = preset, _find(preset)
    names: list[str] = []
    layers: dict[Path, Layer] = {}
    while True:
        names.append(name)
        tree = read_tree(path, note=True)
        ends = "base" not in tree
        base = tree.pop("base", None)
        layers[path.resolve()] = Layer(f"base {name}" if len(names) > 1 else "preset", tree)
        if ends:
            return list(layers.values())[::-1]
        name, path = _base(base, path)
        if path.resolve() in layers:
            raise ConfigError(
                f"the bases of {preset} lead in a circle: {' -> '.join([*names, name])}",
                hint="take `base` out of one of these",
            )


def merge(over: Mapping[str, Any], under: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nested mapping over another, section by section; an empty section hides nothing."""
    merged = dict(under)
    for key, value in over.items():
        beneath = merged.get(key)
        if isinstance(beneath, Mapping) and (value is None or isinstance(value, Mapping)):
            merged[key] = merge(value or {}, beneath)
        else:
            merged[key] = value
    return merged


def read_tree(path: Path, *, note: bool = False) -> dict[str, Any]:
    """A YAML file as a nested mapping, its keys as they are called now.

    Args:
        path: the file.
        note: whether to warn of keys that have another name now.

    Raises:
        ConfigError: if it is not YAML, or not a mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise ConfigError(
            f"{path}{line}: this is not YAML", hint="check its indentation"
        ) from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected `section:` lines", hint="see `latte presets shapes`")
    for old in RENAMED_KEYS:
        section, _, key = old.partition(".")
        if isinstance(values := tree.get(section), dict) and key in values:
            new = current_key(old, where=f"{path}: " if note else None)
            values.setdefault(new.partition(".")[2], values.pop(key))
    return tree


def current_key(key: str, where: str | None = "") -> str:
    """A dotted key as it is called now, with a warning if the given name is an old one.

    Args:
        key: as it was given.
        where: what the warning begins with; None: no warning.
    """
    new = RENAMED_KEYS.get(key, key)
    if new != key and where is not None:
        text = f"{where}`{key}` is now called `{new}`; the old name still works"
        warnings.warn(LatteWarning(text), stacklevel=3)
    return new


def _base(base: object, asker: Path) -> tuple[str, Path]:
    """A base's name and file, as the file `asker` states it."""
    if not isinstance(base, str) or not base:
        raise ConfigError(
            f"{asker}: `base` is {base!r}, not a preset",
            hint="`base` is a preset's name, or the path of a YAML file from this file's folder",
        )
    path = _find(base, asker)
    return (str(path) if base.endswith(_SUFFIXES) else base), path


def _find(preset: str, asker: Path | None = None) -> Path:
    """The file of a preset's name or path; a base's path starts at the file that names it."""
    if preset.endswith(_SUFFIXES):
        path = asker.parent / preset if asker else Path(preset)
    else:
        path = preset_folder() / f"{preset}.yaml"
    if path.is_file():
        return path
    known = preset_names()
    near = difflib.get_close_matches(preset, known, n=1)
    guess = f"did you mean `{near[0]}`? " if near else ""
    told = ", ".join(name for name in known if "/" not in name)
    raise ConfigError(
        f"{asker}: its base `{preset}` is missing" if asker else f"no preset named `{preset}`",
        hint=f"{guess}presets: {told}, and those of studies (`latte presets`)",
    )
