"""Feature networks as callables: uint8 clips in, rows of float32 out, each clip on its own."""

# Axes: b clips, f frames, h height, w width, n rows, d width of a row, k classes.

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import torch
from torch import Tensor

from latte_cli.metrics.loading import Loaded, load_network
from latte_cli.metrics.weights import WeightFolders
from latte_cli.runtime.errors import ConfigError, ShapeError

FEATURE_NETWORKS = ("i3d", "inception", "c3d")

_PER_FRAME = ("inception",)
_FRAMES_AT_ONCE = 16
_CLIPS_AT_ONCE = 8  # on a GPU


@dataclass(frozen=True)
class Features:
    """What a network says of some clips.

    Attributes:
        features: (n, d) float32 on the CPU; n is b, or b * f where there is a row for each frame.
        logits: (n, k) float32 on the CPU, before the softmax; None where they are the features.
    """

    features: Tensor
    logits: Tensor | None = None


class FeatureNetwork:
    """A network with its weights, on a device.

    A row depends on its clip alone: on the CPU bit for bit, whatever the batch and the number of
    threads, since each clip goes alone through one thread, as many clips at once as there are
    threads; on a GPU clips go in batches of one size, the last one filled up.

    Args:
        name: of the network.
        loaded: the network.
        device: where it runs.

    Attributes:
        name: of the network.
        weights: where they come from.
        per_frame: whether there is a row for each frame, rather than for each clip.
        device: where it runs.
    """

    def __init__(self, name: str, loaded: Loaded, device: torch.device | str = "cpu") -> None:
        self.name, self.weights = name, loaded.origin
        self.per_frame = name in _PER_FRAME
        self.device = torch.device(device)
        self._module = loaded.module.to(self.device)

    @torch.no_grad()
    def __call__(self, clips: Tensor) -> Features:
        """Describe clips.

        Args:
            clips: (b, f, h, w, 3) uint8 RGB, b at least 1, on any device; resized as the network
                wants it.

        Raises:
            ShapeError: if these are no clips, or not of as many frames as the network takes.
        """
        if clips.ndim != 5 or clips.shape[-1] != 3 or clips.dtype != torch.uint8 or not len(clips):
            raise ShapeError(
                f"clips of shape {tuple(clips.shape)} and {clips.dtype}: a feature network takes "
                "(b, f, h, w, 3) uint8"
            )
        with _full_precision(self.device):
            if self.device.type == "cpu":
                parts = _each_in_a_thread(self._clip, clips)
            else:
                parts = [self._batch(part) for part in clips.split(_CLIPS_AT_ONCE)]
        features = torch.cat([part.features for part in parts])
        if parts[0].logits is None:
            return Features(features)
        return Features(features, torch.cat([p.logits for p in parts if p.logits is not None]))

    def _clip(self, clips: Tensor) -> Features:
        """One clip, (1, f, h, w, 3); frames some at a time."""
        if not self.per_frame:
            return self._describe(clips)
        parts = [self._describe(frames) for frames in clips[0].split(_FRAMES_AT_ONCE)]
        logits = [part.logits for part in parts if part.logits is not None]
        return Features(torch.cat([part.features for part in parts]), torch.cat(logits))

    def _batch(self, clips: Tensor) -> Features:
        """Clips or frames of one batch on the GPU, which is always of the same size."""
        if self.per_frame:
            parts = [self._clip(clip[None]) for clip in clips]
            logits = [part.logits for part in parts if part.logits is not None]
            return Features(torch.cat([part.features for part in parts]), torch.cat(logits))
        filling = clips[-1:].expand(_CLIPS_AT_ONCE - len(clips), *clips.shape[1:])
        found = self._describe(torch.cat([clips, filling]))
        logits_here = None if found.logits is None else found.logits[: len(clips)]
        return Features(found.features[: len(clips)], logits_here)

    def _describe(self, frames: Tensor) -> Features:
        found = self._module(frames.to(self.device))
        if isinstance(found, Tensor):
            return Features(found.cpu())
        return Features(*(rows.cpu() for rows in found))


class DistanceNetwork:
    """LPIPS with its weights, on a device.

    Attributes:
        weights: where they come from.
        device: where it runs.
    """

    def __init__(self, loaded: Loaded, device: torch.device | str = "cpu") -> None:
        self.weights, self.device = loaded.origin, torch.device(device)
        self._module = loaded.module.to(self.device)

    @torch.no_grad()
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance of each frame from its counterpart.

        Args:
            a: (b, f, h, w, 3) uint8, sides at least 31.
            b: the same shape.

        Returns:
            (b, f) float32 on the CPU.

        Raises:
            ShapeError: if shapes differ, or frames are too small.
        """
        if a.shape != b.shape or a.ndim != 5:
            raise ShapeError(
                f"clips of shapes {tuple(a.shape)} and {tuple(b.shape)}: both must be the same "
                "(b, f, h, w, 3)"
            )
        frames = zip(*(clips.flatten(0, 1).split(_FRAMES_AT_ONCE) for clips in (a, b)), strict=True)
        with _full_precision(self.device), _single_threads():
            found = [self._module(x.to(self.device), y.to(self.device)).cpu() for x, y in frames]
        return torch.cat(found).reshape(a.shape[:2])


@overload
def load_features(  # type: ignore[overload-overlap]  # the one name that compares
    name: Literal["lpips"],
    weights_dir: Path | None,
    device: torch.device | str = ...,
    *,
    trust_torchscript: bool = ...,
    say: Callable[[str], None] | None = ...,
    download: bool = ...,
) -> DistanceNetwork: ...
@overload
def load_features(
    name: str,
    weights_dir: Path | None,
    device: torch.device | str = ...,
    *,
    trust_torchscript: bool = ...,
    say: Callable[[str], None] | None = ...,
    download: bool = ...,
) -> FeatureNetwork: ...
def load_features(
    name: str,
    weights_dir: Path | None,
    device: torch.device | str = "cpu",
    *,
    trust_torchscript: bool = False,
    say: Callable[[str], None] | None = None,
    download: bool = True,
) -> FeatureNetwork | DistanceNetwork:
    """A feature network with its published weights.

    Args:
        name: `i3d`, `inception` or `c3d`; `lpips` gives a network that compares frames.
        weights_dir: looked into before the cache and the official places; None: only those.
        device: where it runs.
        trust_torchscript: whether a TorchScript archive, which is a program, may stand in for I3D.
        say: is told of downloads.
        download: whether missing weights may be fetched.

    Raises:
        ConfigError: if there is no such network.
        CheckpointError: if weights are missing, damaged or not the published ones.
    """
    if name not in (*FEATURE_NETWORKS, "lpips"):
        raise ConfigError(
            f"{name}: no feature network of that name",
            hint=f"known: {', '.join(FEATURE_NETWORKS)}, lpips",
        )
    folders = WeightFolders.standard(weights_dir, say, download=download)
    loaded = load_network(name, folders, trust_torchscript=trust_torchscript)
    return (
        DistanceNetwork(loaded, device) if name == "lpips" else FeatureNetwork(name, loaded, device)
    )


def _each_in_a_thread(work: Callable[[Tensor], Features], clips: Tensor) -> list[Features]:
    """One clip a thread: quicker than one clip in all of them, and rounded in one way only."""
    with _single_threads() as threads:
        if threads == 1 or len(clips) == 1:
            return [work(clip) for clip in clips.split(1)]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(torch.no_grad()(work), clips.split(1)))


@contextmanager
def _single_threads() -> Iterator[int]:
    """Let PyTorch use one thread in each of Python's; how many it used before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Float32 products with all their digits: convolutions on GPUs would otherwise drop some."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
