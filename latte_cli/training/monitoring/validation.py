"""The loss on videos held out: fixed clips, timesteps and noise, so that only the network moves."""

# Axes: b clips.

from dataclasses import replace
from functools import cached_property

import torch
from torch import nn

from latte_cli.config import Config
from latte_cli.data.batch import Batch
from latte_cli.data.clips import ClipSampler, ClipStore
from latte_cli.diffusion import Diffusion
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import all_reduce_sum, rank, world_size
from latte_cli.runtime.errors import DataError
from latte_cli.training.losses import clip_losses
from latte_cli.training.monitoring.monitor import QUARTERS, Row

_AT_A_TIME = 8
_ALL_CLIPS = 0  # the step whose clips of the test split are taken


class Validation:
    """Measures a network on the same held-out clips whenever it is asked.

    Each clip is seen once in each quarter of the noise scale. Clips, timesteps and noise follow
    from `train.seed` alone. They are taken in portions that do not depend on the number of
    processes, which share them out, so that the number is the same for any of it.

    Args:
        store: the videos.
        config: whose objective is measured: what training does to a clip is done here.
        scaling_factor: diffusion sees latents times this.
        device: that the network is on.
        dtype: of the products.

    Raises:
        DataError: if the test split holds no video that is long enough.
    """

    def __init__(
        self,
        store: ClipStore,
        config: Config,
        scaling_factor: float,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        held_out = config.data.model_copy(update={"split": "test"})
        self._sampler = ClipSampler(
            store, config.model_copy(update={"data": held_out}), scaling_factor
        )
        self._config, self._device, self._dtype = config, device, dtype
        self._diffusion = Diffusion(**config.diffusion.model_dump())
        self._clips: dict[int, Batch] = {}

    @torch.no_grad()
    def losses(self, model: nn.Module) -> Row:
        """`val_loss` and `val_loss_q1` to `_q4`, by quarter of the noise scale.

        Every process of a run calls it at the same time.

        Args:
            model: in evaluation mode.
        """
        clips = self._config.train.validate_clips
        found = torch.zeros(len(self._portions) * _AT_A_TIME, device=self._device)
        # Sharded weights are gathered by all processes at once, so all take equally many portions.
        for turn in range(-(-len(self._portions) // world_size())):
            number = turn * world_size() + rank()
            own = self._loss_of(model, number % len(self._portions))
            if number < len(self._portions):
                found[number * _AT_A_TIME :][: len(own)] = own
        per_quarter = all_reduce_sum(found).double().view(QUARTERS, -1).sum(1) / clips
        quarters = {f"val_loss_q{n}": loss for n, loss in enumerate(per_quarter.tolist(), 1)}
        return {"val_loss": float(per_quarter.mean()), **quarters}

    @cached_property
    def _portions(self) -> list[range]:
        """The clips of each portion, as often as there are quarters."""
        clips = self._config.train.validate_clips
        cut = [
            range(first, min(first + _AT_A_TIME, clips)) for first in range(0, clips, _AT_A_TIME)
        ]
        return cut * QUARTERS

    def _loss_of(self, model: nn.Module, number: int) -> torch.Tensor:
        """The loss of each clip of a portion, (b,) float32."""
        quarter = number * QUARTERS // len(self._portions)
        batch = self._batch(self._portions[number], quarter).to(self._device)
        return clip_losses(model, batch, self._diffusion, self._config, self._dtype).total

    def _batch(self, indices: range, quarter: int) -> Batch:
        """Clips of the test split, each at its own place in a quarter of the noise scale."""
        clips, scale = self._config.train.validate_clips, self._config.diffusion.num_timesteps
        places = [(quarter + (index + 0.5) / clips) / QUARTERS for index in indices]
        t = torch.tensor([int(place * scale) for place in places])
        # Kept, since a clip may have been decoded and encoded for it: some megabytes.
        if indices.start not in self._clips:
            self._clips[indices.start] = self._sampler.batch(_ALL_CLIPS, indices)
        return replace(self._clips[indices.start], t=t)


def validation_of(
    store: ClipStore,
    config: Config,
    scaling_factor: float,
    device: torch.device,
    dtype: torch.dtype,
    console: Console,
) -> Validation | None:
    """What measures a run on held-out videos; None, with a word why, where nothing is held out."""
    if not config.train.validate_clips:
        return None
    if config.data.split != "train":
        reason = f"data.split is {config.data.split}: the test split is learnt from"
    else:
        try:
            return Validation(store, config, scaling_factor, device, dtype)
        except DataError as error:
            reason = str(error)
    console.say(f"no held-out loss: {reason}")
    return None
