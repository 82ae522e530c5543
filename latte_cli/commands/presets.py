"""`latte presets`: list the presets, show one, compare two, or count the cost of each design.

Also as YAML, the beginning of a preset of one's own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, get_args

from latte_cli.config import Config, config_sources, describe, load_config, preset_names, to_yaml
from latte_cli.config.preset_files import own_presets, read_layers
from latte_cli.config.sections import Size
from latte_cli.config.views.commented_yaml import commented_preset
from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.models.designs import Design

PAPER = "paper"
"""In place of a preset's name: the preset of the paper that the shown one builds on."""

_LABELS = ("name", "description", "data.names")
_VARIANTS = (1, 2, 3, 4, 5, 6)
_SIZE_KEYS = frozenset({"model.size", "model.width", "model.depth", "model.heads"})


@dataclass(frozen=True)
class Table:
    """A table to print: its header and its rows."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Listing:
    """Result of `latte presets`.

    Attributes:
        tables: to print one below the other.
        values: the same for JSON.
        note: explains the tables.
    """

    tables: list[Table]
    values: Any
    note: str = ""


@dataclass(frozen=True)
class PresetSummary:
    """One line of the list of presets."""

    name: str
    network: str
    clip: str
    description: str


def run(
    name: str | None, overrides: Sequence[str], *, models: bool = False, other: str | None = None
) -> Listing:
    """List the presets, show one of them, compare two, or count the cost of each design.

    Args:
        name: of a preset.
        overrides: `KEY=VALUE`, of that preset.
        models: whether to count costs.
        other: the preset to compare with, or `paper` for the one that `name` builds on.

    Raises:
        ConfigError: on an unknown preset, key or value, or options that do not go together.
    """
    if other is not None:
        if name is None or models:
            raise ConfigError(
                "--diff compares a preset, but --models is given as well"
                if models
                else "--diff compares a preset, but none is named",
                hint=f"`latte presets NAME --diff {other}`",
            )
        return _differences(name, overrides, other)
    if models:
        return _models(name, overrides)
    if name is None and overrides:
        raise ConfigError(
            "-o overrides a value of a preset, but no preset is named",
            hint="`latte presets NAME -o KEY=VALUE`, or --models",
        )
    return _presets() if name is None else _values(name, overrides)


def as_yaml(name: str, overrides: Sequence[str]) -> str:
    """A preset of one's own that builds on a preset: YAML with every key and its meaning.

    Raises:
        ConfigError: on an unknown preset, key or value.
    """
    header = (
        f"A preset that builds on {name}. Save it as NAME.yaml, which gives it its name, and use "
        "it from the same folder: latte train -p NAME\n"
        "Lines that are commented out show the values that hold."
    )
    return commented_preset(name, overrides, header=header)


def _presets() -> Listing:
    """Presets of data sets first and one's own, then those of studies, which share a network."""
    listed = [_summary(name) for name in [*preset_names(), *own_presets()]]
    listed.sort(key=lambda preset: "/" in preset.name)
    rows = [tuple(asdict(preset).values()) for preset in listed]
    tables = [
        Table(("preset", "network", "clip", "description"), [r for r in rows if "/" not in r[0]]),
        Table(
            ("preset of a recipe or study", "description"),
            [(r[0], r[-1]) for r in rows if "/" in r[0]],
        ),
    ]
    return Listing(tables, [asdict(preset) for preset in listed])


def _summary(name: str) -> PresetSummary:
    try:
        config = load_config(name)
    except ConfigError as error:
        return PresetSummary(name, "-", "-", f"cannot be used: {error}")
    model = config.model
    size = model.size or f"{model.width}x{model.depth}"
    classes = f", {model.num_classes} classes" if model.num_classes else ""
    data = config.data
    return PresetSummary(
        name=name,
        network=f"{size}/{model.patch}{classes}",
        clip=f"{data.frames}x{data.size}px every {data.interval}",
        description=config.description,
    )


def _values(name: str, overrides: Sequence[str]) -> Listing:
    """Every value of one preset, in the schema's order."""
    sources = config_sources(name, overrides)
    rows = [
        (source.key, to_yaml(source.value), source.origin, describe(source.key))
        for source in sources
    ]
    values = {
        key: {"value": source.value, "from": source.origin, "meaning": meaning}
        for source, (key, _, _, meaning) in zip(sources, rows, strict=True)
    }
    return Listing([Table(("key", "value", "from", "meaning"), rows)], values)


def _differences(name: str, overrides: Sequence[str], other: str) -> Listing:
    """The values in which a preset differs from another one, in the schema's order."""
    other = _paper_preset(name) if other == PAPER else other
    ours, theirs = (
        {source.key: source.value for source in sources}
        for sources in (config_sources(name, overrides), config_sources(other))
    )
    pairs = [  # a section that is null in one of them has its keys only in the other
        (key, ours.get(key), theirs.get(key))
        for key in dict.fromkeys((*ours, *theirs))
        if ours.get(key) != theirs.get(key) and key not in _LABELS
    ]
    rows = [(key, to_yaml(value), to_yaml(before)) for key, value, before in pairs]
    values = {
        "preset": name,
        "other": other,
        "differs": {key: {"value": value, "other": before} for key, value, before in pairs},
    }
    note = "" if pairs else f"{name} and {other} have the same values"
    return Listing([Table(("key", name, other), rows)], values, note)


def _paper_preset(name: str) -> str:
    """The preset that a preset builds on in the end."""
    deepest = read_layers(name)[0].origin
    if deepest == "preset":
        raise ConfigError(
            f"{name} builds on no other preset, of the paper or not",
            hint=f"name the one to compare with: `latte presets {name} --diff OTHER`",
        )
    return deepest.removeprefix("base ")


def _models(name: str | None, overrides: Sequence[str]) -> Listing:
    """The cost of every size and variant, except those that the overrides fix."""
    from latte_cli.models.designs import count_design

    configs = (load_config(name, design) for design in _design_overrides(overrides))
    counted = [(config, count_design(config)) for config in configs]
    columns = [_design_columns(config, design) for config, design in counted]
    header = tuple(columns[0])
    rows = [tuple(f"{cell:>{len(title)}}" for title, cell in row.items()) for row in columns]
    data = counted[0][0].data
    clip = f"{data.frames}x{data.size}x{data.size}"
    values = [
        {"size": config.model.size, "clip": clip}
        | asdict(design)
        | {"multiply_adds": design.multiply_adds}
        for config, design in counted
    ]
    note = (
        f"For one forward pass of one clip of {clip}. GMACs: 10^9 multiply-adds.\n"
        "Attends s/t: half of the blocks attend to s tokens in space, the others to\n"
        "t in time; s+t: every block attends to both. In time, Variant 5 attends to t\n"
        "whole frames instead of tokens, Variant 6 to both."
    )
    return Listing([Table(header, rows)], values, note)


def _design_overrides(overrides: Sequence[str]) -> Iterator[list[str]]:
    """Overrides for each design; a size or variant among the given ones is kept."""
    keys = {override.partition("=")[0].strip() for override in overrides}
    unset = ["model.width=null", "model.depth=null", "model.heads=null"]
    sizes = [[f"model.size={size}", *unset] for size in get_args(Size)]
    variants = [[f"model.variant={variant}"] for variant in _VARIANTS]
    if keys & _SIZE_KEYS:
        sizes = [[]]
    if "model.variant" in keys:
        variants = [[]]
    for size, variant in product(sizes, variants):
        yield [*overrides, *size, *variant]


def _design_columns(config: Config, design: "Design") -> dict[str, str]:
    """The cells of a design's row, by the titles of their columns."""
    lengths = [
        # Variant 6 attends over time twice, to as many tokens as frames.
        {"time" if axis == "frames" else axis: length for axis, length in block.items()}
        for block in design.attention
    ]
    kinds = dict.fromkeys(tuple(block.values()) for block in lengths)
    return {
        "size": config.model.size or "-",
        "variant": str(design.variant),
        "depth": str(design.depth),
        "width": str(design.width),
        "heads": str(design.heads),
        "parameters": f"{design.parameters / 1e6:.2f} M",
        "tokens": str(design.tokens),
        "attends": "/".join("+".join(map(str, kind)) for kind in kinds),
        "GFLOPs": f"{design.flops / 1e9:.1f}",
        "GMACs": f"{design.multiply_adds / 1e9:.1f}",
    }
