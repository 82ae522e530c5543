"""What the shell offers when Tab is pressed: presets, data sets, labels, runs, checkpoints, keys.

Each function answers with the words that begin as the user's does, and what they mean. Nothing here
loads torch, since the user waits for the answer; where something cannot be read, there is none.
"""

import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

Word = str | tuple[str, str]
"""A word, or a word with its meaning, which some shells show."""

_WORDS, _NUMBER, _KEY = "COMP_WORDS", "COMP_CWORD", "_LATTE_COMPLETED_KEY"
_DESCRIPTION = re.compile(r"^description: *(.*)$", re.MULTILINE)
_MOST = 500  # words; a shell asks before it shows so many


def _quiet(complete: Callable[..., Iterator[Word]]) -> Callable[..., list[Word]]:
    """Offer nothing where something is missing or damaged: an error would spoil the prompt."""

    @wraps(complete)
    def offer(ctx: typer.Context, incomplete: str) -> list[Word]:
        offered: list[Word] = []
        with suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for word in complete(ctx, incomplete):
                offered.append(word)
                if len(offered) == _MOST:
                    break
        return offered

    return offer


@_quiet
def presets(ctx: typer.Context, incomplete: str) -> Iterator[Word]:
    """Presets that ship, those of studies only where their folder is begun, and one's own."""
    from latte_cli.config.preset_files import find_preset, own_presets, preset_names

    for name in [*preset_names(), *own_presets()]:
        if name.startswith(incomplete) and ("/" not in name or incomplete):
            meaning = _DESCRIPTION.search(_head(find_preset(name)))
            yield name, meaning[1] if meaning else ""


@_quiet
def datasets(ctx: typer.Context, incomplete: str) -> Iterator[Word]:
    """Data sets that can be prepared."""
    from latte_cli.sources import DATASETS

    yield from _beginning(incomplete, DATASETS)


@_quiet
def prepared(ctx: typer.Context, incomplete: str) -> Iterator[Word]:
    """Folders of prepared data sets."""
    from latte_cli.data.manifest import prepared_datasets

    root = Path(ctx.params.get("data_root") or "data")
    yield from _beginning(incomplete, map(str, prepared_datasets(root)))


@_quiet
def runs(ctx: typer.Context, incomplete: str) -> Iterator[Word]:
    """Names of training runs."""
    yield from _beginning(incomplete, (path.name for path in _run_folders(ctx)))


@_quiet
def checkpoints(ctx: typer.Context, incomplete: str) -> Iterator[Word]:
    """Runs, whose newest checkpoint is taken, and their checkpoints."""
    from latte_cli.checkpoints.folder import list_checkpoints
    from latte_cli.checkpoints.names import list_stages
    from latte_cli.config.locations import EMBEDDED

    folders = list(_run_folders(ctx))
    runs = [each for run in folders for each in (run, *reversed(list_stages(run)))]
    steps = (str(path) for run in runs for path in reversed(list_checkpoints(run)))
    yield from _beginning(incomplete, [EMBEDDED, *map(str, folders), *steps])


@_quiet
def labels(ctx: typer.Context, incomplete: str) -> Iterator[Word]:
    """Names of the classes of the checkpoint, the run or the preset that is named so far."""
    for name in _classes(ctx):
        if name.startswith(incomplete):
            yield name


@_quiet
def overrides(ctx: typer.Context, incomplete: str) -> Iterator[Word]:
    """Keys with their meaning; for a whole key its values, and the one that holds now."""
    from latte_cli.config import describe, known_keys

    if key := os.environ.get(_KEY):  # bash takes the value for a word of its own
        yield from _beginning(incomplete, _values(key, ctx))
        return
    key, equals, _ = incomplete.partition("=")
    keys = [each for each in known_keys() if each.startswith(key)]
    if equals or keys == [key] or len(keys) == 1:
        whole = keys[0] if len(keys) == 1 else key
        settings = ((f"{whole}={value}", describe(whole)) for value in _values(whole, ctx))
        yield from (each for each in settings if each[0].startswith(incomplete))
        return
    yield from ((each, describe(each)) for each in keys)


@_quiet
def metrics(ctx: typer.Context, incomplete: str) -> Iterator[Word]:
    """Metrics, the last of those that are separated by commas."""
    from latte_cli.config.eval_section import METRICS

    before, comma, last = incomplete.rpartition(",")
    for name, meaning in METRICS.items():
        if name.startswith(last) and name not in before.split(","):
            yield f"{before}{comma}{name}", meaning


def choices(*words: str) -> Callable[..., list[Word]]:
    """Completion of an option that takes one of a few words."""

    @_quiet
    def offer(ctx: typer.Context, incomplete: str) -> Iterator[Word]:
        yield from _beginning(incomplete, words)

    return offer


def join_key_and_value(environment: MutableMapping[str, str] = os.environ) -> None:
    """Undo how bash splits `-o train.optimizer=mu`: at the equals sign, into words of their own.

    The key is handed on beside the words, and what the user sees completed is the value alone.

    Args:
        environment: in which bash's words are; changed in place.
    """
    try:
        words, number = environment[_WORDS].split("\n"), int(environment[_NUMBER])
    except (KeyError, ValueError):  # another shell, or none
        return
    at_equals = number if words[number : number + 1] == ["="] else number - 1
    if at_equals < 2 or words[at_equals : at_equals + 1] != ["="] or words[at_equals - 2] != "-o":
        return
    value = words[number] if number < len(words) and at_equals != number else ""
    environment[_KEY] = words[at_equals - 1]
    environment[_WORDS] = "\n".join([*words[: at_equals - 1], value])
    environment[_NUMBER] = str(at_equals - 1)


def _beginning(incomplete: str, words: Iterable[str]) -> Iterator[str]:
    return (word for word in words if word.startswith(incomplete))


def _head(path: Path) -> str:
    """The beginning of a text file."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(2000)


def _run_folders(ctx: typer.Context) -> Iterator[Path]:
    root = Path(ctx.params.get("runs_root") or "runs")
    found = {path.parent for path in root.glob("*/config.yaml")}
    found |= {path.parents[1] for path in root.glob("*/stage-*/config.yaml")}
    return iter(sorted(found))


def _values(key: str, ctx: typer.Context) -> list[str]:
    """The values of a key that can be listed; of others the one of the preset, or its default."""
    from latte_cli.config import flatten, load_config, to_yaml
    from latte_cli.config.keys import field_of

    field = field_of(key)
    kinds: list[Any] = [field.annotation] if field else []
    while any(get_args(kind) and get_origin(kind) is not Literal for kind in kinds):
        kinds = [each for kind in kinds for each in _alternatives(kind)]
    found = [to_yaml(value) for kind in kinds for value in _listed(kind)]
    if not found:
        current = flatten(load_config(ctx.params.get("preset")).model_dump())
        found = [to_yaml(current[key])] if key in current else []
    return list(dict.fromkeys([*found, *(["null"] if type(None) in kinds else [])]))


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The types of a union; nothing of containers, whose values cannot be listed."""
    if get_origin(kind) is Literal or not get_args(kind):
        return (kind,)
    return () if get_origin(kind) in (tuple, list) else get_args(kind)


def _listed(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    return (True, False) if kind is bool else ()


def _classes(ctx: typer.Context) -> Iterator[str]:
    """Class names, from the files beside weights or data."""
    from latte_cli.checkpoints.choice import is_run
    from latte_cli.checkpoints.folder import list_checkpoints, read_checkpoint_meta
    from latte_cli.checkpoints.names import last_stage
    from latte_cli.config import load_config
    from latte_cli.config.locations import EMBEDDED, Locations, shipped_network
    from latte_cli.data.manifest import read_classes

    preset, checkpoint, name = (ctx.params.get(key) for key in ("preset", "checkpoint", "run"))
    config = load_config(preset) if preset else None
    places = Locations(
        Path(ctx.params.get("data_root") or "data"),
        runs_root=Path(ctx.params.get("runs_root") or "runs"),
    )
    folder: Path | None = None
    if checkpoint not in (None, EMBEDDED):
        folder = Path(checkpoint)
    elif name:
        folder = places.runs_root / name
    elif config:
        run = last_stage(places.run(config))
        folder = run if list_checkpoints(run) else shipped_network(config.name)
    if folder is not None and is_run(folder):
        folder = next(reversed(list_checkpoints(last_stage(folder))), None)
    if folder is not None and (folder / "meta.json").is_file():
        yield from read_checkpoint_meta(folder).classes
    elif config is not None:
        yield from read_classes(places.data(config))
