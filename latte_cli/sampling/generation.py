"""From noise to pixels with a class-conditional or unconditional network."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latte_cli.config import Config
from latte_cli.config.train_section import count_passing
from latte_cli.diffusion import (
    Diffusion,
    build_sampler,
    guided,
    guided_by_weak,
    timesteps_between,
)
from latte_cli.models import Latte
from latte_cli.models.inputs import Route
from latte_cli.models.kernels.choice import use_kernels
from latte_cli.models.trained import label_names, load_trained
from latte_cli.runtime.devices import pick_device, resolve_precision
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.randomness import random_positions, seeded
from latte_cli.sampling.long_plan import LongClipPlan
from latte_cli.sampling.long_video import NoiseSource, SamplingLoop
from latte_cli.sampling.sample_requests import ClipRequest
from latte_cli.vae import LatentCodec, decode_pieces, load_codec, to_pixels


@dataclass(frozen=True)
class Generator:
    """A network with all that turns its output into pixels.

    Attributes:
        model: in evaluation mode, on the codec's device.
        codec: the autoencoder whose latents it learned.
        config: `diffusion` and `sample` are read.
        dtype: of matmuls: float32, or bfloat16 by autocast.
    """

    model: Latte
    codec: LatentCodec
    config: Config
    dtype: torch.dtype = torch.float32

    @torch.no_grad()
    def clips(
        self,
        requests: Sequence[ClipRequest],
        num_frames: int | None = None,
        on_step: Callable[[int], None] = lambda clips: None,
        first_frames: Tensor | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """Sample clips, `sample.batch` at a time, in the order of the requests.

        Args:
            requests: the clips.
            num_frames: of each clip; by default what the network was trained for.
            on_step: called after each denoising step with the number of clips in it.
            first_frames: latents that every clip begins with, (1, k, c, h, w).

        Yields:
            (f, h, w, 3) uint8 RGB each.

        Raises:
            ConfigError: if the given frames are all of the clip.
        """
        batch_size = self.config.sample.batch
        for first in range(0, len(requests), batch_size):
            batch = requests[first : first + batch_size]
            loop, noise_source = self._start(batch, on_step)
            noise = noise_source(num_frames or self.model.shape.num_frames)
            given = None
            if first_frames is not None:
                given = first_frames.expand(len(batch), -1, -1, -1, -1)
            latents = loop.clip(noise, given)
            pixels = to_pixels(self.codec.decode(latents / self.codec.scaling_factor, loop.names))
            yield from pixels.cpu().numpy()

    @torch.no_grad()
    def long_clip(
        self,
        request: ClipRequest,
        plan: LongClipPlan,
        on_step: Callable[[int], None] = lambda clips: None,
        first_frames: Tensor | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """Sample a long clip.

        Args:
            request: the clip.
            plan: how it is composed.
            on_step: as for `clips`.
            first_frames: as for `clips`.

        Yields:
            Its frames as they are done, (h, w, 3) uint8 RGB each.

        Raises:
            ConfigError: if the sampler or the network cannot be used with FIFO.
        """
        if plan.method == "fifo" and self.model.shape.tube:
            raise ConfigError(
                "--long-method fifo needs tokens of one frame, this network has tubes",
                hint="--long-method window",
            )
        loop, noise_source = self._start([request], on_step)
        latents = loop.long(plan, noise_source, first_frames)
        yield from decode_pieces(self.codec, latents, loop.names[0])

    def _start(
        self, requests: Sequence[ClipRequest], on_step: Callable[[int], None]
    ) -> tuple[SamplingLoop, NoiseSource]:
        """The sampling loop of a batch, and its noise."""
        shape, sample, device = self.model.shape, self.config.sample, self.codec.device
        generators = [seeded(request.seed, request.index) for request in requests]
        diffusion = Diffusion(**self.config.diffusion.model_dump())
        null, conditional, unconditional = self.model.null_label, {}, {}
        if null is not None:
            labels = [null if request.label is None else request.label for request in requests]
            y = torch.tensor(labels, device=device)
            conditional, unconditional = {"y": y}, {"y": torch.full_like(y, null)}
        scope: dict[str, Any] = {
            "timesteps": timesteps_between(*sample.guidance_interval, diffusion.num_timesteps),
            "channels": sample.guided_channels,
        }
        if sample.guidance_routing is None:
            adapted = diffusion.adapt(self.model)
            if sample.skip_guidance:
                weak = diffusion.adapt(partial(self.model, skip=self._skipped()))
                scope |= {"weak": weak, "weak_scale": sample.skip_guidance}
            model = guided(adapted, conditional, unconditional, sample.guidance, **scope)
        else:
            strong = partial(diffusion.adapt(self.model), **conditional)
            weak = partial(diffusion.adapt(self._routed(requests)), **conditional)
            model = guided_by_weak(strong, weak, sample.guidance, **scope)
        sampler = build_sampler(sample.sampler, diffusion, sample.steps, sample.eta)

        def noise_source(frames: int) -> Tensor:
            size = (frames, shape.in_channels, *[shape.latent_size] * 2)
            return torch.stack([torch.randn(size, generator=g) for g in generators]).to(device)

        names = [f"clip {request.index} of seed {request.seed}" for request in requests]
        after_step = partial(on_step, len(requests))
        return SamplingLoop(model, sampler, generators, after_step, self.dtype, names), noise_source

    def _skipped(self) -> frozenset[int]:
        """The blocks that `sample.skip_blocks` leaves out.

        Raises:
            ConfigError: if the network has no such blocks.
        """
        depth = self.model.shape.depth
        wrong = [n for n in self.config.sample.skip_blocks if not -depth <= n < depth]
        if wrong:
            raise ConfigError(
                f"sample.skip_blocks has {wrong[0]}, but the network's blocks are 0 to {depth - 1}",
                hint=f"-o sample.skip_blocks={depth // 2} is one in the middle",
            )
        return frozenset(n % depth for n in self.config.sample.skip_blocks)

    def _routed(self, requests: Sequence[ClipRequest]) -> Callable[..., Tensor]:
        """The network with part of the tokens waiting, at other positions in each call.

        Positions follow from the clip's seed and index, not from the batch it is in.
        """
        route, share = self.config.train.route, self.config.sample.guidance_routing
        assert route is not None
        assert share is not None
        blocks, patch = route.blocks(self.model.shape.depth), self.model.shape.patch
        generators = [seeded(request.seed, request.index, 2) for request in requests]

        def weak(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
            tokens = (x.shape[3] // patch) * (x.shape[4] // patch)
            count = count_passing(tokens, share)
            rows = [random_positions(tokens, count, each) for each in generators]
            positions = torch.stack(rows).to(x.device)
            return cast(Tensor, self.model(x, t, **cond, route=Route(blocks, positions)))

        return weak


def load_generator(checkpoint: Path, config: Config) -> tuple[Generator, tuple[str, ...]]:
    """A trained network on this machine's device, ready to sample, and the names of its labels.

    Args:
        checkpoint: a folder or a file of weights.
        config: of the network, its autoencoder and sampling.

    Raises:
        CheckpointError: if the checkpoint is broken, or holds another network than configured.
        ConfigError: if the configuration is of a text-to-video network.
    """
    device = pick_device()
    model = load_trained(checkpoint, config).to(device)
    if config.train.kernels == "auto":
        use_kernels(model, device)
    codec = load_codec(config, device)
    dtype = resolve_precision(config.sample.precision, device)
    return Generator(model, codec, config, dtype), label_names(checkpoint, codec)


def tile(clips: Sequence[NDArray[np.uint8]], columns: int, gap: int = 2) -> NDArray[np.uint8]:
    """Clips of one size side by side, in rows, on white.

    Args:
        clips: (f, h, w, 3) uint8 each.
        columns: clips in a row.
        gap: pixels between them.

    Returns:
        (f, height, width, 3) uint8, height and width even, as video needs.
    """
    frames, height, width, _ = clips[0].shape
    rows = -(-len(clips) // columns)
    canvas_height = rows * (height + gap) + gap
    canvas_width = columns * (width + gap) + gap
    even = (frames, canvas_height + canvas_height % 2, canvas_width + canvas_width % 2, 3)
    canvas = np.full(even, 255, np.uint8)
    for number, clip in enumerate(clips):
        top = gap + number // columns * (height + gap)
        left = gap + number % columns * (width + gap)
        canvas[:, top : top + height, left : left + width] = clip
    return canvas


def filmstrip(clip: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """`count` frames of a clip, first to last, side by side: (h, count * w, 3) uint8."""
    chosen = np.linspace(0, len(clip) - 1, count).round().astype(int)
    return np.concatenate(list(clip[chosen]), axis=1)
