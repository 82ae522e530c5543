"""Stages of a preset: trainings in turn, each of which begins with the network of the one before.

A stage has a name, and values by section that replace those of the preset. It is trained as any
other run is, under a configuration that knows nothing of stages.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from latte_cli.config.schema import Config
from latte_cli.runtime.errors import ConfigError

STAGES = "stages"
"""The key of a preset's list of stages."""

SECTIONS = tuple(name for name, field in Config.model_fields.items() if field.annotation is not str)
"""What a stage may set values of."""

INIT = "train.init"
"""The key by which a stage begins with the one before."""

_NAME = re.compile(r"[\w-]+")
_KEY = re.compile(rf"{STAGES}\.([\w-]+)\.(.+)")
_MAY_CHANGE = ("model.joint", "model.learn_sigma")  # other weights than these are not needed
_FORM = "write `stages:`, below it `- name: …` for each, and its sections below that"


@dataclass(frozen=True)
class Stage:
    """A stage as a preset's file has it.

    Attributes:
        name: of letters, digits, `_` and `-`.
        tree: its values, by section and key.
        lines: of its keys, in the file.
    """

    name: str
    tree: dict[str, Any]
    lines: Mapping[str, int]


@dataclass(frozen=True)
class StageConfig:
    """A stage that is resolved.

    Attributes:
        name: of the stage.
        folder: of its run, inside that of the preset's run.
        config: of its training; its `train.init` is the folder of the stage before, if any.
    """

    name: str
    folder: str
    config: Config


def stage_folder(number: int, name: str) -> str:
    """The folder of a stage's run, by its number from 0 and its name."""
    return f"stage-{number + 1}-{name}"


def read_stages(value: object, place: str, lines: Mapping[str, int]) -> list[Stage]:
    """The stages of a preset's file; none for null.

    Args:
        value: of the key `stages`.
        place: the file.
        lines: of the file's keys; those of the first stage begin with `stages.0.`.

    Raises:
        ConfigError: if it is no list of stages, or two have the same name.
    """
    if not isinstance(value or [], list):
        raise ConfigError(f"{place}: `{STAGES}` is {value!r}, not a list", hint=_FORM)
    stages: list[Stage] = []
    assert value is None or isinstance(value, list)
    for number, each in enumerate(value or []):
        name = each.get("name") if isinstance(each, dict) else None
        if not isinstance(each, dict) or not _NAME.fullmatch(str(name or "")):
            raise ConfigError(
                f"{place}: stage {number + 1} has no name of letters, digits, `_` and `-`",
                hint=_FORM,
            )
        if any(stage.name == str(name) for stage in stages):
            raise ConfigError(
                f"{place}: two stages are named `{name}`", hint="give one of them another name"
            )
        tree = {key: values for key, values in each.items() if key != "name" and values is not None}
        if wrong := [key for key in tree if key not in SECTIONS]:
            raise ConfigError(
                f"{place}: stage `{name}`: unknown key `{wrong[0]}`",
                hint=f"a stage has a name, and values of the sections {', '.join(SECTIONS)}",
            )
        prefix = f"{STAGES}.{number}."
        own = {key.removeprefix(prefix): n for key, n in lines.items() if key.startswith(prefix)}
        stages.append(Stage(str(name), tree, own))
    return stages


def without_stage(key: str) -> str:
    """`train.lr` for `stages.images.train.lr`; another key as it is."""
    match = _KEY.fullmatch(key)
    return match[2] if match else key


def is_of_stages(override: str) -> bool:
    """Whether an override is of the stages, or of one of them."""
    key = override.partition("=")[0].strip()
    return key == STAGES or key.startswith(f"{STAGES}.")


def overrides_of(stage: str, overrides: Iterable[str], names: Sequence[str]) -> list[str]:
    """The overrides that are of one stage, as those of a preset.

    Args:
        stage: its name.
        overrides: `KEY=VALUE`, or `stages.NAME.KEY=VALUE` for one stage.
        names: of all stages.

    Raises:
        ConfigError: if there is no such stage.
    """
    found = []
    for override in filter(is_of_stages, overrides):
        key, _, value = override.partition("=")
        if key.strip() == STAGES:
            continue
        match = _KEY.fullmatch(key.strip())
        if match is None or match[1] not in names:
            known = f"the stages are {', '.join(names)}" if names else "the preset has no stages"
            raise ConfigError(
                f"`{override}` is of no stage: {known}",
                hint="-o stages.NAME.KEY=VALUE sets a value of one stage, -o KEY=VALUE of all, and "
                "-o stages=[] trains without",
            )
        if match[1] == stage:
            found.append(f"{match[2]}={value}")
    return found


@contextmanager
def naming(stage: str) -> Iterator[None]:
    """Let an error say which stage it is about."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"stage `{stage}`: {error}", hint=error.hint) from error


def check_same_network(before: StageConfig, after: StageConfig) -> None:
    """Raise ConfigError if a stage's network cannot begin with that of the stage before."""
    theirs, ours = _network(before.config), _network(after.config)
    changed = [f"{k} is {ours[k]!r}, there {theirs[k]!r}" for k in ours if ours[k] != theirs[k]]
    if changed:
        raise ConfigError(
            f"stage `{after.name}` cannot begin with the network of stage `{before.name}`: "
            f"{'; '.join(changed)}",
            hint="set network and autoencoder for all stages, outside of `stages`",
        )


def _network(config: Config) -> dict[str, Any]:
    """What decides the weights of a network, by dotted key."""
    sections = config.model_dump(include={"model", "vae"})
    flat = {f"{name}.{key}": v for name, values in sections.items() for key, v in values.items()}
    return {key: value for key, value in flat.items() if key not in _MAY_CHANGE}
