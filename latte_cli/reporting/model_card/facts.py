"""What a card says of a model, without the paths of the machine that it was trained on."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from latte_cli.checkpoints.folder import (
    CheckpointMeta,
    read_checkpoint_config,
    read_checkpoint_meta,
)
from latte_cli.checkpoints.formats import Format
from latte_cli.checkpoints.names import run_and_step
from latte_cli.config import Config
from latte_cli.evaluation.results.result import Result
from latte_cli.reporting.run_files import read_run, run_of_clips
from latte_cli.runtime.errors import LatteError

_IN_HUB_CACHE = re.compile(r"models--([^/\\]+)--([^/\\]+)[/\\]snapshots[/\\]")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*){1,2}")  # perhaps with a folder
_PARTS = ("transformer", "vae", "text_encoder", "tokenizer")


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model that was converted.

    Attributes:
        source: name of the file or folder that it was read from.
        form: that it was converted to.
        parameters: of the network, or of the adapters.
        config: that it was trained with; None if unknown.
        meta: of its checkpoint; None if it is from none of this project's.
        results: of evaluations of this checkpoint.
        preview: clips of the run, at this step or before; None without any.
        changes: what was done to the weights after training, whole phrases.
    """

    source: str
    form: Format
    parameters: int
    config: Config | None = None
    meta: CheckpointMeta | None = None
    results: Sequence[Result] = ()
    preview: Path | None = None
    changes: Sequence[str] = ()


def facts_of(
    source: Path, form: Format, parameters: int, changes: Sequence[str] = ()
) -> ModelFacts:
    """Collect what is known of a model.

    Args:
        source: the weights: a checkpoint, of a run if it lies in one, or any others.
        form: that they were converted to.
        parameters: of the network, or of the adapters.
        changes: what was done to the weights after training. Numbers and clips of the run are not
            of such weights, and left out.
    """
    config = meta = None
    with suppress(LatteError, OSError):
        config, meta = read_checkpoint_config(source), read_checkpoint_meta(source)
    results, preview = [], None
    if not changes and (found := run_of_clips(source)) is not None:
        folder, step = found
        run = read_run(folder)
        results = [each.result for each in run.results if each.step == step]
        earlier = [each.path for each in run.previews if each.step <= step]
        preview = earlier[-1] if earlier else None
    name = public_name(str(source))
    return ModelFacts(name, form, parameters, config, meta, results, preview, changes)


def cached_hub_id(path: str) -> str | None:
    """The id of the model on the hub whose files in the hub's cache a path names, if any."""
    found = _IN_HUB_CACHE.search(path)
    return f"{found[1]}/{found[2]}" if found else None


def public_name(path: str) -> str:
    """A path as others may read it: a hub id, a run and its step, or the name of a folder."""
    if (known := cached_hub_id(path)) is not None:
        return known
    place = Path(path)
    if (found := run_and_step(place)) is not None:
        run, step = found
        return f"step {step} of {(run if run.name else run.resolve()).name}"
    if place.name in _PARTS and place.parent.name:
        place = place.parent
    return (place if place.name else place.resolve()).name


def part_name(path: str) -> str:
    """A text encoder or an autoencoder, which are named by hub id or folder, as others read it."""
    return path if _HUB_ID.fullmatch(path) and not Path(path).exists() else public_name(path)


def data_set_name(config: Config) -> str:
    """Of the videos that a network was trained on."""
    return Path(config.data.root).name if config.data.root else config.name
