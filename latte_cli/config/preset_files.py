"""Preset files: finding them, reading them, and following their bases."""

import difflib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.config.section import split_words
from latte_cli.config.stages import STAGES, Stage, read_stages
from latte_cli.config.yaml_files import read_settings
from latte_cli.runtime.errors import ConfigError, LatteNote

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
        path: the file.
        lines: of the file's keys.
        stages: of the file; None if it does not say.
    """

    origin: str
    tree: dict[str, Any]
    without_images: dict[str, Any]
    path: Path
    lines: Mapping[str, int]
    stages: list[Stage] | None = None

    @property
    def data(self) -> Mapping[str, Any]:
        """The file's own values of `data`."""
        data = self.tree.get("data")
        return data if isinstance(data, dict) else {}

    def place(self, key: str) -> str:
        """File and line of a dotted key; empty if it is not in the file."""
        line = self.lines.get(key) or self.lines.get(f"{WITHOUT_IMAGES}.{key}")
        return f"{self.path}, line {line}" if line else ""


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


def own_presets() -> list[str]:
    """Presets of the current folder, by name: its YAML files that build on another preset."""
    shipped = preset_names()
    found = sorted(path for end in _SUFFIXES for path in Path().glob(f"*{end}"))
    return [path.stem for path in found if path.stem not in shipped and _has_base(path)]


def _has_base(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return any(line.startswith("base:") for line in lines)
    except OSError:
        return False


def read_layers(preset: str) -> list[Layer]:
    """Read a preset and its bases (key `base`, of one or several), the deepest base first.

    A preset that does not say its name has that of its file. It looks for a prepared data set of
    this name, then for those of its bases.

    Args:
        preset: name of a preset or path of a YAML file.

    Returns:
        The layers; each overrides those before it.

    Raises:
        ConfigError: if a file is missing or is not a preset, or bases form a cycle.
    """
    return _with_names(_read_with_bases(preset, None, {}))


def _read_with_bases(preset: str, named_by: Path | None, above: Mapping[Path, str]) -> list[Layer]:
    """The layers of a preset.

    Args:
        preset: its name or path.
        named_by: the file whose base it is.
        above: names by resolved path of the files that lead to it as a base, the preset first.
    """
    path = find_preset(preset, named_by)
    name = str(path) if named_by and preset.endswith(_SUFFIXES) else preset
    if path.resolve() in above:
        first, *_ = above.values()
        raise ConfigError(
            f"the bases of {first} form a cycle: {' -> '.join([*above.values(), name])}",
            hint="remove `base` from one of these files",
        )
    layer, bases = _read_layer(path, f"base {name}" if above else "preset")
    above = {**above, path.resolve(): name}
    return [*(each for base in bases for each in _read_with_bases(base, path, above)), layer]


def _read_layer(path: Path, origin: str) -> tuple[Layer, list[str]]:
    """A file's values, and the bases that it names, of which a later one overrides an earlier."""
    settings = read_settings(path, warn=True)
    tree = settings.tree
    named = tree.pop("base", [])
    bases = named if isinstance(named, list) else [named]
    if not all(isinstance(base, str) and base for base in bases):
        raise ConfigError(
            f"{path}: `base` is {named!r}, not a preset",
            hint="`base` is a preset's name, or the path of a YAML file from this file's folder, "
            "or a list of these",
        )
    without_images = _pop_without_images(tree, path)
    stages = None
    if STAGES in tree:
        stages = read_stages(tree.pop(STAGES), str(path), settings.lines)
    tree = {key: value for key, value in tree.items() if value is not None}  # empty sections
    return Layer(origin, tree, without_images, path, settings.lines, stages), bases


def _with_names(layers: list[Layer]) -> list[Layer]:
    """The layers, where only the preset itself has a name, and knows those of its bases.

    A preset of the user's own looks for its own data set first, then for that of a base; presets
    that ship share theirs.
    """
    names = [layer.tree.pop("name", None) or _name_of_file(layer.path) for layer in layers]
    *bases, preset = layers
    preset.tree["name"] = names[-1]
    data = preset.tree.get("data")
    has_place = {"root", "names"} & preset.data.keys() or any("root" in each.data for each in bases)
    if bases and not has_place and (data is None or isinstance(data, dict)):
        given = [each.data["names"] for each in bases if "names" in each.data]
        inherited = split_words(given[-1]) if given else names[-2::-1]
        if not given or not preset.path.is_relative_to(preset_folder()):
            found = list(dict.fromkeys([names[-1], *inherited]))
            preset.tree["data"] = {**(data or {}), "names": found}
    return layers


def _name_of_file(path: Path) -> str:
    """The name of a file without its suffix, of characters that a preset's name may have."""
    return re.sub(r"[^\w.-]+", "-", path.stem)


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


def find_preset(preset: str, named_by: Path | None = None) -> Path:
    """The file of a preset.

    Args:
        preset: its path, or its name: of a preset that ships with the package, else of a file
            `NAME.yaml` in the current folder, or in that of the file that names it.
        named_by: the file that names it as its base: a path is relative to that file's folder.

    Raises:
        ConfigError: if there is none.
    """
    folder = named_by.parent if named_by else Path()
    is_path = preset.endswith(_SUFFIXES)
    own = [folder / preset] if is_path else [folder / f"{preset}{end}" for end in _SUFFIXES]
    own = [path for path in own if path.is_file()]
    shipped = preset_folder() / f"{preset}.yaml"
    if not is_path and shipped.is_file():
        if own and named_by is None:
            note = f"`{preset}` is the preset that ships with latte; your file is `{own[0].name}`"
            warnings.warn(LatteNote(note), stacklevel=2)
        return shipped
    if own:
        return own[0]
    known = preset_names()
    near = difflib.get_close_matches(preset, [*known, *own_presets()], n=1)
    guess = f"did you mean `{near[0]}`? " if near else ""
    names = ", ".join(name for name in known if "/" not in name)
    if named_by:
        message = f"{named_by}: its base `{preset}` is missing"
    else:
        message = f"no preset named `{preset}`" + (
            "" if is_path else f", and no file {preset}.yaml"
        )
    raise ConfigError(
        message,
        hint=f"{guess}presets: {names}, recipes and studies (`latte presets` lists all)",
    )
