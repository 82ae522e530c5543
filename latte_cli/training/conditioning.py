"""The conditioning of a run whose configuration leaves it open: that of its data."""

from collections.abc import Sequence
from pathlib import Path

from latte_cli.config import Config
from latte_cli.config.section import class_overrides
from latte_cli.config.sections import ModelConfig
from latte_cli.data.table import NO_LABEL, VideoTable
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import DataError
from latte_cli.training.resuming import config_to_resume

_NAMES_SHOWN = 4


def with_conditioning(
    config: Config, table: VideoTable, classes: Sequence[str], run: Path, how: str, console: Console
) -> Config:
    """The configuration with the condition and the number of classes of the network to train.

    What the preset or an override sets stays. A run that is resumed keeps its conditioning.
    Otherwise the network is class-conditional if every video that is trained on has a label.

    Args:
        config: of the run.
        table: of the videos, of all splits.
        classes: names of their labels; empty if these have no names.
        run: the run's folder.
        how: `--resume`.
        console: reports what the videos decide, and labels that are not used.

    Raises:
        DataError: if classes are configured without their number, and no video has a label.
    """
    model, count = config.model, count_classes(table, classes)
    is_open = "condition" not in model.model_fields_set
    resumed = config_to_resume(run, how)
    before = None if resumed is None else (resumed.model.condition, resumed.model.num_classes)
    if before is not None and is_open:
        _check_resumed(before, count, run, console)
        return _with(config, *before)
    if model.condition == "class":
        if model.num_classes is None:
            known = before[1] if before is not None else None
            return _with(config, "class", known or _require(count, table))
        if 0 < count < model.num_classes:
            console.warning(
                f"the videos have {count} classes, model.num_classes is {model.num_classes}: the "
                "network learns nothing of the others"
            )
        return config
    if not count or model.condition != "none":
        return config
    in_split = (
        slice(None) if config.data.split == "all" else table.where("split", config.data.split)
    )
    unlabelled = int((table.labels[in_split] == NO_LABEL).sum())
    if not is_open or unlabelled:
        why = f"{unlabelled} videos have none" if is_open else "model.condition is none"
        instead = "" if unlabelled else f"; {_to_train_with(count)}"
        console.info(f"the labels of the videos are not used: {why}{instead}")
        return config
    names = ", ".join(classes[:_NAMES_SHOWN]) + (", …" if len(classes) > _NAMES_SHOWN else "")
    console.info(
        f"the videos have {count} classes{f' ({names})' if names else ''}: the network is "
        f"class-conditional; {class_overrides(None)} trains without"
    )
    return _with(config, "class", count)


def count_classes(table: VideoTable, classes: Sequence[str]) -> int:
    """The number of classes of some videos; 0 if none has a label."""
    largest = int(table.labels.max(initial=NO_LABEL))
    return 0 if largest == NO_LABEL else max(len(classes), largest + 1)


def _check_resumed(before: tuple[str, int | None], count: int, run: Path, console: Console) -> None:
    """Report labels that a resumed run does not use; raise if there are more than it knows."""
    condition, known = before
    if condition == "none" and count:
        console.info(f"{run} began without labels, and goes on without; {_to_train_with(count)}")
    if known is not None and count > known:
        raise DataError(
            f"the videos have {count} classes, {run} has learned {known}",
            hint=_to_train_with(count),
        )


def _require(count: int, table: VideoTable) -> int:
    if not count:
        raise DataError(
            f"{table.path}: no video has a label, but model.condition is class",
            hint=f"prepare with --labels, or train without: {class_overrides(None)}",
        )
    return count


def _to_train_with(count: int) -> str:
    return f"a new --run with {class_overrides(count)} learns them"


def _with(config: Config, condition: str, num_classes: int | None) -> Config:
    values = {**config.model.model_dump(), "condition": condition, "num_classes": num_classes}
    return config.model_copy(update={"model": ModelConfig.model_validate(values)})
