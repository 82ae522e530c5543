"""What words without an option stand for: data sets, prompts, folders of clips."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.runtime.console import Console


def choose_dataset(
    dataset: str, source: Path | None, console: "Console"
) -> tuple[str, Path | None]:
    """The data set and its source; a path in place of a data set's name is a source of videos.

    Args:
        dataset: as it was typed.
        source: of `--source`.
        console: says what a path is taken for.

    Raises:
        ConfigError: if it is neither a name nor a path.
    """
    from latte_cli.sources import DATASETS, unknown_dataset
    from latte_cli.sources.tables.reading import TABLE_SUFFIXES

    path = Path(dataset)
    if dataset in DATASETS:
        return dataset, source
    if not path.exists():
        raise unknown_dataset(dataset)
    if source is not None:
        raise ConfigError(
            f"{dataset} is a path, and so is --source {source}",
            hint=f"name a data set: `latte prepare folder --source {source}`",
        )
    kind = "captions" if path.suffix.lower() in TABLE_SUFFIXES else "folder"
    console.info(f"{path} is taken for a source: latte prepare {kind} --source {path}")
    return kind, path


def say_how_many_clips(prompts: Sequence[str], count: int, console: "Console") -> None:
    """Say that several prompts make several clips, which a sentence without quotes does, too.

    Args:
        prompts: of the command line.
        count: clips of each.
        console: of the command.
    """
    if len(prompts) < 2:
        return
    listed = ", ".join(f"`{prompt}`" for prompt in prompts)
    said = f"{len(prompts)} prompts make {len(prompts) * count} clips: {listed}"
    if any(" " not in prompt.strip() for prompt in prompts):
        quoted = shlex.join([" ".join(prompts)])
        said += f"; a single prompt of several words needs quotes: latte t2v {quoted}"
    console.info(said)


def choose_clips(
    paths: Sequence[Path], real: Path | None, fake: Path | None, console: "Console"
) -> tuple[list[Path], Path | None, Path | None]:
    """Result files to compare, and the real and fake clips, of the words of `latte eval`.

    One folder holds fake clips, and the second of two is measured against the first.

    Args:
        paths: given without an option.
        real: of `--real`.
        fake: of `--fake`.
        console: says what the paths are taken for.

    Raises:
        ConfigError: if a word is no path but the name of a preset.
    """
    from latte_cli.config import preset_names

    if named := [str(path) for path in paths if str(path) in preset_names() and not path.exists()]:
        raise ConfigError(
            f"{named[0]} is a preset, not a result file",
            hint=f"`latte eval --preset {named[0]}` measures clips of its newest checkpoint",
        )
    given = real is not None or fake is not None
    clips = [path for path in paths if path.is_dir() or path.suffix == ".npz"]
    if given or len(clips) != len(paths) or len(paths) not in (1, 2):
        return list(paths), real, fake
    *against, measured = clips
    real = against[0] if against else None
    against_real, option = (f" against {real}", f"--real {real} ") if real else ("", "")
    console.info(f"{measured} is measured{against_real}: latte eval {option}--fake {measured}")
    return [], real, measured


def with_interval_of_samples(
    flags: Mapping[str, Any], real: Path | None, overrides: Sequence[str], console: "Console"
) -> dict[str, Any]:
    """The flags of `latte eval`, with interval 1 where the real clips are generated ones, too.

    These are as long as a clip: at the interval of training none would be long enough.

    Args:
        flags: by key; None: not given.
        real: of `--real`.
        overrides: of `-o`.
        console: says that interval 1 is taken.
    """
    from latte_cli.sampling.clip_list import SAMPLES

    chosen = flags.get("eval.interval") is not None or any(
        word.partition("=")[0].strip() in ("eval.interval", "data.interval") for word in overrides
    )
    if real is None or chosen or not (real / SAMPLES).is_file():
        return dict(flags)
    console.info(f"{real} holds generated clips, so every frame of theirs is taken: --interval 1")
    return {**flags, "eval.interval": 1}
