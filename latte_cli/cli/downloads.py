"""Consent: what takes long is asked on a terminal, as whether to download metrics' weights."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from latte_cli.cli.boundary import global_options
from latte_cli.cli.options import option
from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.config import Config
    from latte_cli.runtime.console import Console

EVALUATING = "Networks of the metrics"
"""Panel of the help; in training they are used with `train.eval_every`."""

Download = Annotated[
    bool,
    option(
        EVALUATING,
        "Download weights that are missing, without asking first.",
        "--download",
    ),
]


def check_metric_weights(
    console: "Console",
    configs: Sequence["Config"],
    folder: Path | None,
    *,
    trust_torchscript: bool = False,
    download: bool = False,
) -> bool:
    """Whether weights that metrics need may be downloaded; asks on a terminal.

    Args:
        console: says what is missing.
        configs: of which `eval.metrics` and the length of clips are read.
        folder: of `--weights`.
        trust_torchscript: whether weights that contain code may be loaded.
        download: whether `--download` is given.

    Raises:
        ConfigError: if clips are too short for a metric, or there is no such folder.
        CheckpointError: if weights are missing and may not be downloaded.
    """
    from latte_cli.evaluation.early_checks import check_clip_length
    from latte_cli.evaluation.metric_table import NETWORK_OF
    from latte_cli.runtime.weight_files.metric_networks import missing_files
    from latte_cli.runtime.weight_files.published import (
        WeightFile,
        WeightFolders,
        is_offline,
        missing,
    )

    check_weights_folder(folder)
    folders = WeightFolders.standard(folder)
    wanted: dict[WeightFile, str] = {}
    for config in configs:
        for metric in config.eval.metrics:
            network = NETWORK_OF.get(metric, metric)
            check_clip_length(network, config.data.frames)
            files = missing_files(network, folders, trust_torchscript=trust_torchscript)
            for file in files:
                wanted.setdefault(file, metric)
    if not wanted or (download and not is_offline()):
        return download
    first, needed_by = next(iter(wanted.items()))
    if is_offline() or not can_ask():
        raise missing(first, needed_by)
    for file, metric in wanted.items():
        console.info(f"{metric} needs {file} from {file.url}")
    if not confirms(console, f"Download to {folders.cache}?"):
        raise missing(first, needed_by)
    return True


def check_weights_folder(folder: Path | None) -> None:
    """Raise ConfigError if `--weights` is given, and names no folder."""
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder of weights", hint="--weights takes a folder")


def confirms(console: "Console", question: str) -> bool:
    """Whether the user answers a question with yes; no, where nobody can be asked."""
    if not can_ask():
        return False
    console.info(f"{question} [y/N]")
    # Not by typer.confirm, which writes to stdout, where results go.
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def can_ask() -> bool:
    """Whether a person reads and answers: a terminal, and one process."""
    from latte_cli.runtime.distributed import world_size

    alone = world_size() == 1 and not global_options.quiet
    return alone and sys.stdin.isatty() and sys.stderr.isatty()
