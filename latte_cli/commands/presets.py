"""`latte presets`: what there is, and where each value of one comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from latte_cli.config import Config, Source, config_sources, load_config, preset_names


@dataclass(frozen=True)
class PresetSummary:
    """A preset in a line."""

    name: str
    network: str
    clip: str
    description: str


def list_presets() -> list[PresetSummary]:
    """Every preset with its network and clip."""
    return [_summary(name, load_config(name)) for name in preset_names()]


def show_preset(name: str, overrides: Sequence[str]) -> list[Source]:
    """Every value of one preset, resolved, in the schema's order.

    Raises:
        ConfigError: on an unknown preset, key or value.
    """
    return config_sources(name, overrides)


def as_values(sources: Sequence[Source]) -> dict[str, dict[str, Any]]:
    """The same by key, for JSON."""
    return {source.key: {"value": source.value, "from": source.origin} for source in sources}


def _summary(name: str, config: Config) -> PresetSummary:
    model = config.model
    size = model.size or f"{model.width}x{model.depth}"
    told = f", {model.num_classes} classes" if model.num_classes else ""
    data = config.data
    return PresetSummary(
        name=name,
        network=f"{size}/{model.patch}{told}",
        clip=f"{data.frames}x{data.size}px every {data.interval}",
        description=config.description,
    )


def in_yaml(value: object) -> str:
    """A scalar as YAML writes it."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
