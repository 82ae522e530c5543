"""Commands as functions: the same options and checks, with results and errors as Python objects."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from latte_cli.runtime.distributed import world_size
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.signals import Stopped

# Imported by the commands themselves, since they take seconds.
if TYPE_CHECKING:
    from latte_cli.commands.evaluate import EvalOutcome
    from latte_cli.commands.sample import SampleResult
    from latte_cli.commands.train import TrainResult

Labels = int | str | Iterable[int | str] | None


def sample(
    checkpoint: str | Path | None = None,
    labels: Labels = None,
    *,
    preset: str | None = None,
    run: str | None = None,
    n: int | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    guidance: float | None = None,
    speed: str | None = None,
    overrides: Iterable[str] = (),
    overwrite: bool = False,
) -> "SampleResult":
    """Sample clips into a folder, as `latte sample` does; for clips in memory see `load`.

    Args:
        checkpoint: a checkpoint, a run (its newest checkpoint is taken) or a file of weights.
        labels: numbers or names of classes, used in turn; None: all classes in turn.
        preset: name of a preset, or its YAML file; its run is used unless `checkpoint` is given.
        run: name of a run whose newest checkpoint is taken.
        n: number of clips; None: 8, or one if `out` is a file.
        out: folder of the clips, or the file of one; None: `samples/RUN/step-N`.
        seed: of the noise.
        steps: denoising steps.
        sampler: `ddpm`, `ddim`, `dpm++`, `unipc` or `euler`.
        guidance: scale of classifier-free guidance; 1 is off.
        speed: such as `2x`, after `latte calibrate`.
        overrides: other settings, as `section.key=value`.
        overwrite: whether clips that were made with other settings may be replaced.

    Returns:
        Where the clips are. Only those that were missing have been sampled.

    Raises:
        LatteError: with a hint on what to do, as the command prints it.
    """
    values = {
        **{"checkpoint": checkpoint, "preset": preset, "run": run, "out": out, "seed": seed},
        **{"steps": steps, "sampler": sampler, "guidance": guidance, "speed": speed},
    }
    words = [f"--label={label}" for label in label_words(labels)]
    words += [] if n is None else [f"-n{n}"]
    return cast("SampleResult", _run("sample", values, words, overrides, overwrite=overwrite))


def train(
    preset: str,
    overrides: Iterable[str] = (),
    *,
    run: str | None = None,
    init: str | Path | None = None,
    steps: int | None = None,
    encode: bool = False,
) -> "TrainResult":
    """Train a network on prepared videos, as `latte train` does; a run that was stopped resumes.

    Args:
        preset: name of a preset, or its YAML file.
        overrides: settings that differ from it, as `section.key=value`.
        run: name of the run; None: the preset's.
        init: weights to begin with, or a run.
        steps: number of optimizer steps in total.
        encode: whether videos that are not encoded yet are, first.

    Returns:
        The run, its newest checkpoint, and the loss at its beginning and its end.

    Raises:
        LatteError: with a hint on what to do, as the command prints it.
        KeyboardInterrupt: after a checkpoint is saved, if the kernel is interrupted.
    """
    values = {"preset": preset, "run": run, "init": init, "steps": steps}
    words = ["--yes"] if encode else []
    return cast("TrainResult", _run("train", values, words, overrides))


def evaluate(
    fake: str | Path | None = None,
    real: str | Path | None = None,
    *,
    preset: str | None = None,
    metrics: str | Iterable[str] | None = None,
    protocol: str | None = None,
    clips: int | None = None,
    draws: int | None = None,
    weights: str | Path | None = None,
    download: bool = False,
    out: str | Path | None = None,
    overrides: Iterable[str] = (),
    overwrite: bool = False,
) -> "EvalOutcome":
    """Measure generated clips against real ones, as `latte eval` does.

    Args:
        fake: a folder of clips, an npz file or a checkpoint; None: the preset's newest checkpoint.
        real: a prepared data set or a folder of videos; None: the preset's data set.
        preset: name of a preset, or its YAML file.
        metrics: such as `["fvd", "fid"]`; None: the preset's.
        protocol: `latte` or `stylegan-v`; None: the preset's.
        clips: number of clips from each source.
        draws: number of random selections of clips.
        weights: folder with the weights of the metrics' networks.
        download: whether weights that are missing may be downloaded.
        out: result file; None: in the folder `results`.
        overrides: other settings, as `section.key=value`.
        overwrite: whether the result of another evaluation may be replaced.

    Returns:
        The result: `outcome.result.numbers["fvd"].value`, its spread and its protocol.

    Raises:
        LatteError: with a hint on what to do, as the command prints it.
    """
    names = metrics if metrics is None or isinstance(metrics, str) else ",".join(metrics)
    values = {
        **{"fake": fake, "real": real, "preset": preset, "metrics": names, "protocol": protocol},
        **{"clips": clips, "draws": draws, "weights": weights, "out": out},
    }
    words = ["--download"] if download else []
    return cast("EvalOutcome", _run("eval", values, words, overrides, overwrite=overwrite))


def label_words(labels: Labels) -> tuple[str, ...]:
    """Labels as the command line takes them."""
    if labels is None:
        return ()
    several = labels if isinstance(labels, Iterable) and not isinstance(labels, str) else (labels,)
    return tuple(str(label) for label in several)


def _run(
    command: str,
    values: Mapping[str, object],
    words: Iterable[str],
    overrides: Iterable[str],
    *,
    overwrite: bool = False,
) -> object:
    """Run a command in this process; a value of None is an option that is not given."""
    from latte_cli.cli import run_command

    if world_size() > 1:
        raise ConfigError(
            f"`{command}` is called from Python in one of several processes",
            hint=f"torchrun takes the command: torchrun … -m latte_cli -- {command} …",
        )
    given = [f"--{key}={value}" for key, value in values.items() if value is not None]
    given += [word for override in overrides for word in ("-o", override)]
    given += ["--overwrite"] if overwrite else []
    try:
        return run_command(command, *given, *words)
    except Stopped as stop:  # a notebook knows this one, and goes on with its next cell
        raise KeyboardInterrupt(str(stop)) from None
