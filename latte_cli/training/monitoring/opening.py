"""What a run says at its beginning."""

import torch

from latte_cli.config import Config
from latte_cli.runtime.devices import device_name, resolve_precision, why_on_cpu
from latte_cli.training.state import TrainState


def describe_start(
    name: str, config: Config, videos: int, state: TrainState, device: torch.device
) -> str:
    """What is trained, on which device and which clips, and from which step.

    Args:
        name: of the run.
        config: of the run.
        videos: that clips are cut from.
        state: that the run begins with.
        device: that the network is on.
    """
    train = config.train
    precision = str(resolve_precision(train.precision, device)).removeprefix("torch.")
    parameters = sum(parameter.numel() for parameter in state.model.parameters())
    said = (
        f"training {name}: {parameters / 1e6:.2f} M parameters on {device_name(device)}, in "
        f"{precision}; clips of {config.data.frames} frames of {videos} videos, "
        f"{train.batch_size} a step, from step {state.step} to {train.steps}"
    )
    lines = [said, why_on_cpu(), _guided_twice(config)]
    return "\n".join(line for line in lines if line)


def _guided_twice(config: Config) -> str:
    """A word of warning if clips of a network with guidance trained in will be guided once more."""
    train, again = config.train, config.sample.guidance
    own = train.guidance_target is not None and train.guidance_target_from != "teacher"
    taught = train.guidance_target is None and train.teacher is not None
    if again == 1 or not (own or (taught and train.teacher_guidance != 1)):
        return ""
    return (
        f"guidance is trained in, and sample.guidance {again:g} guides clips once more: with "
        "sample.guidance=1 they take half the time"
    )
