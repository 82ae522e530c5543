"""The values of a resolved configuration, and the file or override that each comes from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import yaml

from latte_cli.config.keys import flatten
from latte_cli.config.loading import (
    layer_of_stage,
    layers_of,
    load_config,
    load_stages,
    objective_of,
    parse_override,
    stages_of,
)
from latte_cli.config.preset_files import Layer
from latte_cli.config.schema import FLOW_MAP_SAMPLING
from latte_cli.config.stages import INIT, STAGES, is_of_stages, overrides_of


@dataclass(frozen=True)
class Source:
    """A value of the configuration and its origin.

    Attributes:
        key: dotted, `section.key`.
        value: as the schema validated it.
        origin: `default`, `base NAME` (a preset that the preset builds on), `preset`, `stage NAME`
            or `override`.
    """

    key: str
    value: object
    origin: str


def config_sources(preset: str | None, overrides: Iterable[str] = ()) -> list[Source]:
    """Every value of the resolved configuration with its origin, in the schema's order."""
    layers, overrides = layers_of(preset), list(overrides)
    resolved = flatten(load_config(preset, overrides).model_dump())
    origins = dict.fromkeys(resolved, "default")
    stages, names = stages_of(layers, overrides), [s.name for s in stages_of(layers, overrides)]
    last = [layer_of_stage(stages[-1], layers)] if stages else []
    objective = None
    for layer in [*layers, *last]:
        objective = _forget_sampling(origins, objective, objective_of(layer.tree))
        origins |= dict.fromkeys(flatten(layer.tree), layer.origin)
        if not resolved["data.num_images"]:
            origins |= dict.fromkeys(flatten(layer.without_images), layer.origin)
    given = [each for each in overrides if not is_of_stages(each)]
    given += overrides_of(names[-1], overrides, names) if names else []
    chosen = dict(map(parse_override, given))
    _forget_sampling(origins, objective, chosen.get("diffusion.objective"))
    origins |= dict.fromkeys(chosen, "override")
    if len(stages) > 1:
        origins[INIT] = last[0].origin
    values = [Source(key, value, origins.get(key, "default")) for key, value in resolved.items()]
    return [*values, *_stage_sources(preset, overrides, layers)]


def _forget_sampling(origins: dict[str, str], before: object, objective: object) -> object:
    """Forget where sampling was set, where `drop_other_sampling` drops it; the objective since."""
    if objective == "flow-map" != before:
        origins |= dict.fromkeys((f"sample.{key}" for key in FLOW_MAP_SAMPLING), "default")
    return objective or before


def _stage_sources(
    preset: str | None, overrides: Sequence[str], layers: Sequence[Layer]
) -> Iterator[Source]:
    """The values that stages set, by the keys that an override sets them by."""
    stages = stages_of(layers, overrides)
    names = [stage.name for stage in stages]
    given = [layer.origin for layer in layers if layer.stages is not None]
    for stage, resolved in zip(stages, load_stages(preset, overrides), strict=True):
        values = flatten(resolved.config.model_dump())
        own = {parse_override(each)[0] for each in overrides_of(stage.name, overrides, names)}
        for key in dict.fromkeys([*flatten(stage.tree), *own]):
            origin = "override" if key in own else given[-1]
            yield Source(f"{STAGES}.{stage.name}.{key}", values.get(key), origin)


def to_yaml(value: object) -> str:
    """A value as YAML writes it, on one line."""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(
        plain, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("...\n").strip()
