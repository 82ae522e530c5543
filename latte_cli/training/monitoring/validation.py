"""Checks of the network while it trains: the loss on held-out clips, and preview clips."""

# Axes: b clips.

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from latte_cli.config import Config
from latte_cli.data.batch import Batch
from latte_cli.data.clips import ClipSampler, ClipStore
from latte_cli.diffusion import Diffusion
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import all_reduce_sum, rank, world_size
from latte_cli.runtime.errors import DataError
from latte_cli.training.monitoring.metrics_log import QUARTERS, Row
from latte_cli.training.step import clip_losses

_CHUNK_CLIPS = 8
_STEP_OF_CLIPS = 0  # clips are those of this training step, cut from the test split

Tick = Callable[[], None]
"""Called after each part of the work, in every process that does some."""


class Validation:
    """Computes the loss on the same held-out clips each time.

    Each clip is seen once in each quarter of the noise scale. Clips, timesteps and noise follow
    from `train.seed` alone. Clips are taken in chunks that do not depend on the number of
    processes, so the loss is the same for any number of them.

    Args:
        store: the videos.
        config: of the run, whose objective and weighting are used.
        scaling_factor: diffusion sees latents times this.
        device: of the network.
        dtype: of the matrix products, by autocast.

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
        clips = range(config.train.validate_clips)
        chunks = [clips[first : first + _CHUNK_CLIPS] for first in clips[::_CHUNK_CLIPS]]
        self._chunks = chunks * QUARTERS
        self._batches: dict[int, Batch] = {}  # by their first clip

    @property
    def turns(self) -> int:
        """Batches that each process takes; some take one twice, so that all take as many."""
        return -(-len(self._chunks) // world_size())

    @torch.no_grad()
    def losses(self, model: nn.Module, tick: Tick = lambda: None) -> Row:
        """Compute `val_loss`, and `val_loss_q1` to `_q4` by quarter of the noise scale.

        Every process of a run calls it at the same time.

        Args:
            model: in evaluation mode.
            tick: called after each of `turns`.
        """
        clips = self._config.train.validate_clips
        losses = torch.zeros(len(self._chunks) * _CHUNK_CLIPS, device=self._device)
        # Sharded weights are gathered by all processes at once, so all take equally many chunks.
        for turn in range(self.turns):
            number = turn * world_size() + rank()
            chunk_losses = self._chunk_losses(model, number % len(self._chunks))
            if number < len(self._chunks):
                losses[number * _CHUNK_CLIPS :][: len(chunk_losses)] = chunk_losses
            tick()
        per_quarter = all_reduce_sum(losses).double().view(QUARTERS, -1).sum(1) / clips
        quarters = {f"val_loss_q{n}": loss for n, loss in enumerate(per_quarter.tolist(), 1)}
        return {"val_loss": float(per_quarter.mean()), **quarters}

    def _chunk_losses(self, model: nn.Module, number: int) -> Tensor:
        """The loss of each clip of a chunk, (b,) float32."""
        quarter, indices = number * QUARTERS // len(self._chunks), self._chunks[number]
        batch = self._batch(indices, quarter).to(self._device)
        train = self._config.train
        return clip_losses(model, batch, self._diffusion, train, self._dtype).total

    def _batch(self, indices: range, quarter: int) -> Batch:
        """Held-out clips, with timesteps spread evenly over a quarter of the noise scale."""
        clips, scale = self._config.train.validate_clips, self._config.diffusion.num_timesteps
        fractions = [(quarter + (index + 0.5) / clips) / QUARTERS for index in indices]
        t = torch.tensor([int(fraction * scale) for fraction in fractions])
        # Kept, since a clip may have been decoded and encoded for it: some megabytes.
        if indices.start not in self._batches:
            self._batches[indices.start] = self._sampler.batch(_STEP_OF_CLIPS, indices)
        return replace(self._batches[indices.start], t=t)


def open_validation(
    store: ClipStore,
    config: Config,
    scaling_factor: float,
    device: torch.device,
    dtype: torch.dtype,
    console: Console,
) -> Validation | None:
    """The validation of a run; None, and a note why, if no videos are held out."""
    if not config.train.validate_clips or config.train.validate_every is None:
        return None
    if config.data.split != "train":
        reason = f"data.split is {config.data.split}: the run trains on the test split"
    elif config.diffusion.map_levels is not None:
        reason = "between diffusion.map_levels the network learns nothing"
    else:
        try:
            return Validation(store, config, scaling_factor, device, dtype)
        except DataError as error:
            reason = str(error)
    console.info(f"no held-out loss: {reason}")
    return None
