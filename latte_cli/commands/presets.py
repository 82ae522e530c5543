"""`latte presets`: what there is, where each value comes from, and what the designs cost."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, get_args

from latte_cli.config import Config, config_sources, load_config, preset_names
from latte_cli.config.sections import Size
from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.models.designs import Design

_VARIANTS = (1, 2, 3, 4)
_COLUMNS = (
    *("size", "variant", "depth", "width", "heads"),
    *("parameters", "tokens", "attends", "GFLOPs", "GMACs"),
)
_OWN_SIZE = frozenset({"model.size", "model.width", "model.depth", "model.heads"})


@dataclass(frozen=True)
class Table:
    """Rows for people, under their header."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Listing:
    """What `latte presets` was asked for.

    Attributes:
        tables: for people, one below the other.
        values: the same for JSON.
        note: what a reader of the tables has to know.
    """

    tables: list[Table]
    values: Any
    note: str = ""


@dataclass(frozen=True)
class PresetSummary:
    """A preset in a line."""

    name: str
    network: str
    clip: str
    description: str


def run(name: str | None, overrides: Sequence[str], *, models: bool = False) -> Listing:
    """List the presets, show one of them, or count what its designs cost.

    Raises:
        ConfigError: on an unknown preset, key or value, or overrides of no preset.
    """
    if models:
        return _models(name, overrides)
    if name is None and overrides:
        raise ConfigError(
            "-o sets a value of a preset, and none is named",
            hint="`latte presets NAME -o KEY=VALUE`, or --models",
        )
    return _presets() if name is None else _values(name, overrides)


def _presets() -> Listing:
    """Data sets first; of studies, which share network and clip, what each is about."""
    listed = [_summary(name, load_config(name)) for name in preset_names()]
    listed.sort(key=lambda preset: "/" in preset.name)
    rows = [tuple(asdict(preset).values()) for preset in listed]
    tables = [
        Table(("preset", "network", "clip", "what it is"), [r for r in rows if "/" not in r[0]]),
        Table(("preset of a study", "what it is"), [(r[0], r[-1]) for r in rows if "/" in r[0]]),
    ]
    return Listing(tables, [asdict(preset) for preset in listed])


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


def _values(name: str, overrides: Sequence[str]) -> Listing:
    """Every value of one preset, resolved, in the schema's order."""
    sources = config_sources(name, overrides)
    rows = [(source.key, _in_yaml(source.value), source.origin) for source in sources]
    values = {source.key: {"value": source.value, "from": source.origin} for source in sources}
    return Listing([Table(("key", "value", "from"), rows)], values)


def _in_yaml(value: object) -> str:
    """A scalar as YAML writes it."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _models(name: str | None, overrides: Sequence[str]) -> Listing:
    """Every size and variant, or those that the overrides leave open."""
    from latte_cli.models.designs import count_design

    configs = (load_config(name, words) for words in _designs(overrides))
    counted = [(config, count_design(config)) for config in configs]
    rows = [
        tuple(f"{cell:>{len(title)}}" for title, cell in zip(_COLUMNS, row, strict=True))
        for row in (_design_row(config, design) for config, design in counted)
    ]
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
        "Attends s/t: half of the blocks to s tokens in space, the others to t in time;\n"
        "s+t: every block to both."
    )
    return Listing([Table(_COLUMNS, rows)], values, note)


def _designs(overrides: Sequence[str]) -> Iterator[list[str]]:
    """Overrides for each design; a size or variant that they name already stays as it is."""
    named = {override.partition("=")[0].strip() for override in overrides}
    unset = ["model.width=null", "model.depth=null", "model.heads=null"]
    sizes = [[f"model.size={size}", *unset] for size in get_args(Size)]
    variants = [[f"model.variant={variant}"] for variant in _VARIANTS]
    if named & _OWN_SIZE:
        sizes = [[]]
    if "model.variant" in named:
        variants = [[]]
    for size, variant in product(sizes, variants):
        yield [*overrides, *size, *variant]


def _design_row(config: Config, design: "Design") -> tuple[str, ...]:
    """Cells for people, as the header of `_models` has them."""
    kinds = dict.fromkeys(tuple(block.items()) for block in design.attention)
    attends = "/".join("+".join(str(length) for _, length in kind) for kind in kinds)
    return (
        config.model.size or "-",
        str(design.variant),
        str(design.depth),
        str(design.width),
        str(design.heads),
        f"{design.parameters / 1e6:.2f} M",
        str(design.tokens),
        attends,
        f"{design.flops / 1e9:.1f}",
        f"{design.multiply_adds / 1e9:.1f}",
    )
