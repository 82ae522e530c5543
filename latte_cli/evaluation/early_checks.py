"""Checks of metrics that need neither torch nor weights, so that they can come before both."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from latte_cli.config import Config
from latte_cli.evaluation.metric_table import METRICS, NETWORK_OF, check_unpaired
from latte_cli.runtime.errors import ConfigError, LatteError

_MIN_FRAMES = {"i3d": 9, "motion": 4, "colors": 2, "random3d": 2}
_FRAMES = {"c3d": 16}


def check_clip_length(network: str, frames: int) -> None:
    """Raise ConfigError if a feature network does not take clips of this length."""
    least, exact = _MIN_FRAMES.get(network, 1), _FRAMES.get(network, frames)
    if frames < least or frames != exact:
        needed = f"{exact}" if network in _FRAMES else f"at least {least}"
        metrics = " or ".join(m for m, name in NETWORK_OF.items() if name == network)
        raise ConfigError(
            f"clips of {frames} frames, {metrics} needs {needed}",
            hint=f"-o data.frames={max(least, exact)}, or another of --metrics",
        )


def check_metrics_of_run(config: Config) -> None:
    """Raise ConfigError for metrics that would fail only once a run's clips are sampled."""
    settings = config.eval
    check_unpaired(settings.metrics)
    check_conditions(config)
    for metric in settings.metrics:
        if settings.clips < (least := METRICS[metric].least_clips):
            raise ConfigError(
                f"{metric} needs at least {least} clips, eval.clips is {settings.clips}",
                hint=f"-o eval.clips={least}, or more",
            )


def check_conditions(config: Config) -> None:
    """Raise ConfigError for metrics of what a clip should show, if the network is not told that."""
    metrics, condition = config.eval.metrics, config.model.condition
    if "direction" in metrics and condition == "none":
        raise ConfigError(
            "direction needs clips with labels or captions, and this network is unconditional",
            hint="choose other metrics, such as -o eval.metrics=fd-random",
        )
    if "color" in metrics and condition != "text":
        raise ConfigError(
            "color needs clips with captions, and this network takes no text",
            hint="choose other metrics, such as -o eval.metrics=shape",
        )


@contextmanager
def naming_eval_every() -> Iterator[None]:
    """Let an error of an evaluation say that `train.eval_every` wants it."""
    try:
        yield
    except LatteError as error:
        # The hint's options are those of `latte eval`: `latte train` takes them as settings.
        hint = re.sub(r"--(metrics|interval|clips)\b", r"eval.\1", error.hint)
        raise type(error)(
            f"train.eval_every: {error}",
            hint=f"{hint}; or train without measuring, -o train.eval_every=null",
        ) from error


def choose_timesteps(config: Config, requested: Sequence[int]) -> tuple[int, ...]:
    """The requested timesteps, unique and sorted; the middle one by default.

    Raises:
        ConfigError: if the network has no such timestep.
    """
    count = config.diffusion.num_timesteps
    wrong = [t for t in requested if not 0 <= t < count]
    if wrong:
        raise ConfigError(
            f"timestep {wrong[0]} is not in 0 to {count - 1}",
            hint=f"choose a --timestep from 0 to {count - 1}",
        )
    return tuple(sorted(set(requested))) or (count // 2,)
