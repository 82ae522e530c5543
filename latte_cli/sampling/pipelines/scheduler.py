"""The sampler of a text-to-video pipeline: its published scheduler, or one of ours."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from latte_cli.runtime.errors import ConfigError

# torch is imported where it is needed: the files are checked before that.
if TYPE_CHECKING:
    from latte_cli.diffusion import Sampler

_HINT = "leave --sampler out to use the scheduler that it was published with"

OBJECTIVES: dict[str, Literal["eps", "v", "flow"]] = {
    "epsilon": "eps",
    "v_prediction": "v",
    "flow_prediction": "flow",
}
"""Training objectives, by diffusers' names."""


def load_sampler(
    config: Mapping[str, Any], name: str | None, steps: int, eta: float = 0.0
) -> "Sampler":
    """The sampler of a pipeline: the scheduler that it was published with, or another.

    Args:
        config: of the pipeline's scheduler.
        name: a sampler of ours over the pipeline's noise schedule; None: the published scheduler.
        steps: denoising steps.
        eta: noise that `ddim` adds at each step.

    Raises:
        CheckpointError: if the published scheduler is not known.
        ConfigError: if there is no such sampler, it does not go with the noise schedule or the
            prediction type, or there are not that many timesteps.
    """
    from latte_cli.diffusion import Diffusion, build_sampler, published_sampler

    if name is None:
        return published_sampler(config, steps, eta)
    if (schedule := nonlinear_schedule(config)) is not None:
        raise ConfigError(
            f"the pipeline's noise schedule {schedule}, --sampler needs a linear one", hint=_HINT
        )
    predicted = config.get("prediction_type", "epsilon")
    if predicted not in OBJECTIVES:
        raise ConfigError(
            f"the pipeline's network predicts {predicted}, --sampler needs one of "
            f"{', '.join(OBJECTIVES)}",
            hint=_HINT,
        )
    diffusion = Diffusion(**linear_schedule(config), objective=OBJECTIVES[predicted])
    return build_sampler(name, diffusion, steps, eta)


def linear_schedule(config: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's linear noise schedule, by keys of `diffusion`.

    Args:
        config: of the scheduler; what it lacks are the defaults of diffusers' classes.
    """
    return {
        "num_timesteps": int(config.get("num_train_timesteps", 1000)),
        "beta_start": float(config.get("beta_start", 1e-4)),
        "beta_end": float(config.get("beta_end", 0.02)),
    }


def nonlinear_schedule(config: Mapping[str, Any]) -> str | None:
    """What a scheduler's noise schedule is if it is not a plain linear one, for a message."""
    if config.get("trained_betas") is not None:
        return "has betas of its own"
    if (name := config.get("beta_schedule", "linear")) != "linear":
        return f"is {name}"
    if config.get("rescale_betas_zero_snr"):
        return "is rescaled to end in pure noise"
    return None
