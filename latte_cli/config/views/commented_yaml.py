"""A preset as YAML for people: every key with its meaning, unset ones commented out."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from latte_cli.config.keys import describe
from latte_cli.config.loading import load_config, load_stages
from latte_cli.config.preset_files import read_layers
from latte_cli.config.schema import Config
from latte_cli.config.views.sources import config_sources, to_yaml

_WIDTH = 96
_OF_FILE = ("name", "data.names")  # which follow from a file's name


def commented_preset(
    preset: str,
    overrides: Iterable[str] = (),
    *,
    named: str = "",
    header: str = "",
    notes: Mapping[str, str] | None = None,
) -> str:
    """A preset that builds on another one, to be changed by hand.

    Values that the other preset sets are set here, too, so that they can be changed in place. All
    others are commented out, and have the value that is shown.

    Args:
        preset: to build on: its name, or the path of a YAML file.
        overrides: `section.key=value`, values in place of its own.
        named: how the file names it as its base; by default as it is given.
        header: text at the top, without `#`.
        notes: further words on a key, beside its description.

    Returns:
        The text of a YAML file without a name of its own.

    Raises:
        ConfigError: on an unknown preset or key, or values that do not go together.
    """
    overrides = list(overrides)
    config, notes = load_config(preset, overrides), notes or {}
    chosen = _chosen(preset, overrides)
    lines = list(_comment(header)) if header else []
    lines += [
        "",
        f"base: {to_yaml(named or preset)}  # what is not set here has the values of this preset",
    ]
    if stages := load_stages(preset, overrides):
        names = ", ".join(stage.name for stage in stages)
        lines += [f"# stages: []  # trains as one, without the stages of that preset: {names}"]
    for name, value in config.model_dump().items():
        if not isinstance(value, dict):
            if name not in _OF_FILE:
                lines += _lines(name, value, describe(name), is_set=name in chosen)
            continue
        lines += ["", f"{name}:  # {_summary(name)}"]
        for key, item in value.items():
            dotted = f"{name}.{key}"
            if dotted not in _OF_FILE or dotted in chosen:
                about = "; ".join(filter(None, (describe(dotted), notes.get(dotted))))
                lines += _lines(key, item, about, is_set=dotted in chosen, indent="  ")
    return "\n".join(lines).lstrip("\n") + "\n"


def _chosen(preset: str, overrides: Iterable[str]) -> set[str]:
    """The keys that the preset or an override sets, without the section `train.route`'s own.

    Those are left out that depend on `data.num_images`, to set them would end that, and those of
    stages.
    """
    layers = read_layers(preset)
    dependent = {
        f"{section}.{key}"
        for layer in layers
        for section, values in layer.without_images.items()
        for key in values
    }
    keys = {
        ".".join(source.key.split(".")[:2]): source.origin
        for source in config_sources(preset, overrides)
        if source.origin != "default" and not source.origin.startswith("stage ")
    }
    return {key for key, origin in keys.items() if key not in dependent or origin == "override"}


def _lines(key: str, value: Any, about: str, *, is_set: bool, indent: str = "") -> Iterator[str]:
    """A key with its value and meaning: on one line, or the meaning above where it is long."""
    mark = "" if is_set else "# "
    setting = f"{indent}{mark}{key}: {to_yaml(value)}"
    if len(line := f"{setting}  # {about}") <= _WIDTH:
        yield line if about else setting
        return
    yield from _comment(about, indent)
    yield setting


def _comment(text: str, indent: str = "") -> Iterator[str]:
    """Text as lines of comments; empty lines part its paragraphs."""
    for paragraph in text.split("\n"):
        for line in textwrap.wrap(paragraph, _WIDTH - len(indent) - 2) or [""]:
            yield f"{indent}# {line}".rstrip()


def _summary(section: str) -> str:
    """The first sentence on a section."""
    text = (Config.model_fields[section].annotation.__doc__ or "").strip()
    first, _, _ = text.partition("\n")
    first = first.rstrip(".")
    return first[0].lower() + first[1:]
