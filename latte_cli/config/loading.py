"""Resolving a configuration: the schema's defaults, then a preset, then overrides."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from latte_cli.config.keys import describe, flatten, known_keys, unknown_key
from latte_cli.config.preset_files import WITHOUT_IMAGES, Layer, read_layers
from latte_cli.config.schema import FLOW_MAP_SAMPLING, Config
from latte_cli.config.stages import (
    INIT,
    STAGES,
    Stage,
    StageConfig,
    check_same_network,
    is_of_stages,
    naming,
    overrides_of,
    stage_folder,
)
from latte_cli.config.yaml_files import current_key, merge
from latte_cli.runtime.errors import ConfigError

_DOTTED = re.compile(r"[a-z_]+(?:\.[a-z_]+)+")
_SHOW_VALUES = "`latte presets NAME` shows every value"


def load_config(
    preset: str | None = None,
    overrides: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Resolve a preset and overrides into a configuration.

    Args:
        preset: name of a preset or path of a YAML file; None: the schema's defaults.
        overrides: `section.key=value`, where the value is YAML.
        flags: values by dotted key, applied last; None: the flag was not given.

    Returns:
        The validated tree.

    Raises:
        ConfigError: if there is no such preset or key (names the nearest), or a value is invalid.
    """
    layers, overrides = layers_of(preset), list(overrides)
    if stages := stages_of(layers, overrides):
        return _stage_config(layers, stages, len(stages) - 1, overrides, flags or {})
    overrides_of("", overrides, ())  # raises: there are no stages
    return _load(layers, overrides, flags)


def load_stages(
    preset: str | None, overrides: Iterable[str] = (), flags: Mapping[str, Any] | None = None
) -> list[StageConfig]:
    """Resolve the stages of a preset; none if it has none.

    Overrides and flags are of all stages, those written `stages.NAME.KEY=VALUE` of one. The weights
    to begin from, `train.init`, are of the first stage.

    Args:
        preset: as of `load_config`.
        overrides: likewise.
        flags: likewise.

    Raises:
        ConfigError: as `load_config`; or if a stage cannot begin with the network of the one before
            it.
    """
    layers, overrides = layers_of(preset), list(overrides)
    stages = stages_of(layers, overrides)
    resolved: list[StageConfig] = []
    for number, stage in enumerate(stages):
        config = _stage_config(layers, stages, number, overrides, flags or {})
        resolved.append(StageConfig(stage.name, stage_folder(number, stage.name), config))
        if number:
            check_same_network(*resolved[-2:])
    return resolved


def stages_of(layers: Sequence[Layer], overrides: Sequence[str]) -> list[Stage]:
    """The stages of a preset: those of the last file that has any; none after `-o stages=[]`."""
    given = [parse_override(each) for each in overrides if each.partition("=")[0].strip() == STAGES]
    for _, value in given:
        if value:
            raise ConfigError(
                f"`{STAGES}` is {value!r}, but only a preset's file has stages",
                hint="-o stages.NAME.KEY=VALUE sets a value of one, -o stages=[] trains without",
            )
    found = [layer.stages for layer in layers if layer.stages is not None]
    return found[-1] if found and not given else []


def _stage_config(
    layers: Sequence[Layer],
    stages: Sequence[Stage],
    number: int,
    overrides: Sequence[str],
    flags: Mapping[str, Any],
) -> Config:
    """The configuration of a stage's training."""
    stage = stages[number]
    own = overrides_of(stage.name, overrides, [each.name for each in stages])
    general = [each for each in overrides if not is_of_stages(each)]
    with naming(stage.name):
        if number:
            before = stage_folder(number - 1, stages[number - 1].name)
            if INIT in {*flatten(stage.tree), *(parse_override(each)[0] for each in own)}:
                raise ConfigError(
                    f"{INIT} is set, but it begins with the network of the stage before it",
                    hint=f"set {INIT} in the first stage, or for the whole preset",
                )
            own.append(f"{INIT}={before}")
        keys = {parse_override(each)[0] for each in own}
        general = [each for each in general if parse_override(each)[0] not in keys]
        flags = {key: value for key, value in flags.items() if key not in keys}
        return _load([*layers, layer_of_stage(stage, layers)], [*general, *own], flags)


def layer_of_stage(stage: Stage, layers: Sequence[Layer]) -> Layer:
    """A stage's values as those of a file on top of the others."""
    path = next(layer.path for layer in reversed(layers) if layer.stages is not None)
    return Layer(f"stage {stage.name}", stage.tree, {}, path, stage.lines)


def _load(
    layers: Sequence[Layer], overrides: Sequence[str], flags: Mapping[str, Any] | None
) -> Config:
    """Merge files, and apply overrides and flags."""
    config = overlay(_merged(layers, with_images=True), overrides, flags, layers)
    if config.data.num_images or not any(layer.without_images for layer in layers):
        return config
    return overlay(_merged(layers, with_images=False), overrides, flags, layers)


def overlay(
    tree: dict[str, Any],
    overrides: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    layers: Sequence[Layer] = (),
) -> Config:
    """Apply overrides and flags to a nested mapping, and validate it; see `load_config`.

    Overrides of stages are passed over: they are of presets.

    Args:
        tree: values by section and key; changed in place.
        overrides: `section.key=value`.
        flags: values by dotted key.
        layers: the files that the tree is merged from, which errors name.
    """
    given = [parse_override(each) for each in overrides if not is_of_stages(each)]
    drop_other_sampling(tree, dict(given).get("diffusion.objective"))
    for key, value in given:
        _set(tree, key, value)
    for key, value in (flags or {}).items():
        if value is not None:
            _set(tree, key, str(value) if isinstance(value, Path) else value)
    set_here = {*dict(given), *(flags or {})}

    def place(*keys: str) -> str:
        """Where a file sets one of these keys, unless an override or a flag has the last word."""
        if set_here.intersection(keys):
            return ""
        found = (layer.place(key) for layer in reversed(layers) for key in keys)
        return next(filter(None, found), "")

    return config_from_tree(tree, place)


def config_from_tree(tree: Mapping[str, Any], origin: str | Callable[..., str] = "") -> Config:
    """Validate a nested mapping.

    Args:
        tree: values by section and key.
        origin: what the error message begins with, such as a path; or where some keys are set,
            given these.

    Raises:
        ConfigError: if a key is unknown or a value is invalid; names the first problem.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        place = origin if callable(origin) else lambda *_: origin
        raise _to_config_error(error, place) from error


def layers_of(preset: str | None) -> list[Layer]:
    """The layers of a preset; none without one."""
    layers = read_layers(preset) if preset else []
    dependent = [(layer, key) for layer in layers for key in flatten(layer.without_images)]
    for file, key in dependent:
        place = file.place(f"{WITHOUT_IMAGES}.{key}") or file.path
        if key not in known_keys():
            unknown = unknown_key(key)
            raise ConfigError(f"{place}: {unknown}", hint=unknown.hint)
        if key == "data.num_images":
            raise ConfigError(
                f"{place}: `{WITHOUT_IMAGES}` sets data.num_images, on which it depends",
                hint=f"set data.num_images outside of `{WITHOUT_IMAGES}`",
            )
    return layers


def _merged(layers: Iterable[Layer], *, with_images: bool) -> dict[str, Any]:
    """The values of all layers, with or without those for training without joint images."""
    tree: dict[str, Any] = {}
    for layer in layers:
        drop_other_sampling(tree, objective_of(layer.tree))
        tree = merge(layer.tree, tree)
        if not with_images:
            tree = merge(layer.without_images, tree)
    return tree


def parse_override(override: str) -> tuple[str, Any]:
    """Split `section.key=value` into the key and the value, parsed as YAML."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"`{override}` is not key=value", hint="write for example train.lr=2e-4")
    try:
        return current_key(key.strip()), yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(
            f"`{override}`: the value is not YAML",
            hint="put the value in quotes, as YAML takes them",
        ) from error


def objective_of(tree: Mapping[str, Any]) -> Any:
    """`diffusion.objective` of a nested mapping, not validated; None if it has none."""
    section = tree.get("diffusion")
    return section.get("objective") if isinstance(section, dict) else None


def drop_other_sampling(tree: dict[str, Any], objective: object) -> None:
    """Drop sampler, steps and guidance of another objective where flow-map takes its place.

    Args:
        tree: changed in place.
        objective: that takes the place of the tree's own; None if none does.
    """
    sample = tree.get("sample")
    if objective == "flow-map" != objective_of(tree) and isinstance(sample, dict):
        tree["sample"] = {k: v for k, v in sample.items() if k not in FLOW_MAP_SAMPLING}


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set the value of a dotted key in a nested mapping."""
    if key not in known_keys():
        raise unknown_key(key)
    *sections, last = key.split(".")
    for section in sections:
        if tree.get(section) is None:
            tree[section] = {}
        tree = tree[section]
        if not isinstance(tree, dict):
            raise ConfigError(
                f"`{section}` is {tree!r}, not a section", hint="write `key: value` below it"
            )
    tree[last] = value


def _to_config_error(error: ValidationError, place: Callable[..., str]) -> ConfigError:
    """The first problem that pydantic found: where it is, the key, the value and what is allowed.

    Args:
        error: of pydantic.
        place: where the first of some keys is set, given these; empty if that is not known.
    """
    problem = error.errors(include_url=False)[0]
    if problem["type"] == "extra_forbidden":
        key = ".".join(str(part) for part in problem["loc"])
        unknown = unknown_key(key)
        return ConfigError(_after(place(key), str(unknown)), hint=unknown.hint)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        hint = getattr(problem["ctx"]["error"], "hint", _SHOW_VALUES)
        named = [key for key in _DOTTED.findall(f"{message} {hint}") if key in known_keys()]
        return ConfigError(_after(place(*named), message), hint=hint)
    # The location of a value may go on inside it, such as an index: only keys are named.
    parts = {part for key in known_keys() for part in key.split(".")} | set(Config.model_fields)
    key = ".".join(str(part) for part in problem["loc"] if part in parts)
    description = describe(key)
    hint = f"this key: {description}" if description else _SHOW_VALUES
    message = message[0].lower() + message[1:]
    return ConfigError(_after(place(key), f"`{key}` is {problem['input']!r}: {message}"), hint=hint)


def _after(place: str, message: str) -> str:
    """A message after the place that it is about, if that is known."""
    return f"{place}: {message}" if place else message
