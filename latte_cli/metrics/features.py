"""Feature networks as callables: uint8 clips in, rows of float32 out, each clip independently."""

# Axes: b clips, f frames, h height, w width, n rows, d width of a row, k classes.

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from latte_cli.metrics.loading import LoadedNetwork, load_network
from latte_cli.runtime.errors import ConfigError, ShapeError
from latte_cli.runtime.weight_files.published import WeightFolders

FEATURE_NETWORKS = ("i3d", "inception", "c3d")

_PER_FRAME = ("inception",)
_FRAMES_AT_ONCE = 16
_GPU_BATCH = 8  # clips


@dataclass(frozen=True)
class Features:
    """The outputs of a feature network for some clips.

    Attributes:
        features: (n, d) float32 on the CPU; n is b, or b * f if there is a row for each frame.
        logits: (n, k) float32 on the CPU, before the softmax; None if the features are the logits.
    """

    features: Tensor
    logits: Tensor | None = None

    @classmethod
    def concatenate(cls, parts: Sequence["Features"]) -> "Features":
        """The rows of several parts, in order."""
        logits = [part.logits for part in parts if part.logits is not None]
        features = torch.cat([part.features for part in parts])
        return cls(features, torch.cat(logits) if logits else None)


class FeatureNetwork:
    """A network with its weights, on a device.

    A row depends only on its clip. On the CPU this holds bit for bit, whatever the batch and the
    number of threads: each clip runs alone in one thread, and as many clips run at once as there
    are threads. On a GPU all batches have the same size; the last one is padded.

    Args:
        name: of the network.
        loaded: the network.
        device: on which it runs.

    Attributes:
        name: of the network.
        weights: their origin.
        per_frame: whether there is a row for each frame, rather than for each clip.
        device: on which it runs.
    """

    def __init__(
        self, name: str, loaded: LoadedNetwork, device: torch.device | str = "cpu"
    ) -> None:
        self.name, self.weights = name, loaded.origin
        self.per_frame = name in _PER_FRAME
        self.device = torch.device(device)
        self._module = loaded.module.to(self.device)

    @torch.no_grad()
    def __call__(self, clips: Tensor) -> Features:
        """Extract the features of clips.

        Args:
            clips: (b, f, h, w, 3) uint8 RGB, b at least 1, on any device; resized as the network
                requires.

        Raises:
            ShapeError: if these are not clips, or have a number of frames that the network does
                not take.
        """
        if clips.ndim != 5 or clips.shape[-1] != 3 or clips.dtype != torch.uint8 or not len(clips):
            raise ShapeError(
                f"clips of shape {tuple(clips.shape)} and {clips.dtype}: a feature network takes "
                "(b, f, h, w, 3) uint8",
                hint="stack the frames of each clip, and the clips, of pixels from 0 to 255",
            )
        with _full_precision(self.device):
            if self.device.type == "cpu":
                return Features.concatenate(_map_in_threads(self._clip, clips))
            return Features.concatenate([self._batch(part) for part in clips.split(_GPU_BATCH)])

    def _clip(self, clips: Tensor) -> Features:
        """One clip, (1, f, h, w, 3)."""
        if not self.per_frame:
            return self._run(clips)
        return Features.concatenate([self._run(x) for x in clips[0].split(_FRAMES_AT_ONCE)])

    def _batch(self, clips: Tensor) -> Features:
        """At most `_GPU_BATCH` clips on the GPU, padded to this number."""
        if self.per_frame:
            return Features.concatenate([self._clip(clip[None]) for clip in clips])
        count = len(clips)
        padding = clips[-1:].expand(_GPU_BATCH - count, *clips.shape[1:])
        found = self._run(torch.cat([clips, padding]))
        logits = None if found.logits is None else found.logits[:count]
        return Features(found.features[:count], logits)

    def _run(self, frames: Tensor) -> Features:
        output = self._module(frames.to(self.device))
        if isinstance(output, Tensor):
            return Features(output.cpu())
        return Features(*(rows.cpu() for rows in output))


class DistanceNetwork:
    """LPIPS with its weights, on a device.

    Attributes:
        weights: their origin.
        device: on which it runs.
    """

    def __init__(self, loaded: LoadedNetwork, device: torch.device | str = "cpu") -> None:
        self.weights, self.device = loaded.origin, torch.device(device)
        self._module = loaded.module.to(self.device)

    @torch.no_grad()
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance of each frame from its counterpart.

        Args:
            a: (b, f, h, w, 3) uint8, h and w at least 31.
            b: the same shape.

        Returns:
            (b, f) float32 on the CPU.

        Raises:
            ShapeError: if shapes differ, or frames are too small.
        """
        if a.shape != b.shape or a.ndim != 5:
            raise ShapeError(
                f"clips of shapes {tuple(a.shape)} and {tuple(b.shape)}: both must be the same "
                "(b, f, h, w, 3)",
                hint="pair each clip with one of the same length and size",
            )
        frames = zip(*(clips.flatten(0, 1).split(_FRAMES_AT_ONCE) for clips in (a, b)), strict=True)
        with _full_precision(self.device), _single_threads():
            found = [self._module(x.to(self.device), y.to(self.device)).cpu() for x, y in frames]
        return torch.cat(found).reshape(a.shape[:2])


def load_features(
    name: str,
    weights_dir: Path | None,
    device: torch.device | str = "cpu",
    *,
    trust_torchscript: bool = False,
    say: Callable[[str], None] | None = None,
    download: bool = False,
) -> FeatureNetwork:
    """A feature network with its published weights.

    Args:
        name: `i3d`, `inception` or `c3d`.
        weights_dir: searched before the cache; None: only that.
        device: on which it runs.
        trust_torchscript: whether a TorchScript archive, which contains code, may replace I3D's
            weights.
        say: receives a message about each download.
        download: whether missing weights may be downloaded from where they were published.

    Raises:
        ConfigError: if there is no such network.
        CheckpointError: if weights are missing, damaged or not the published ones.
    """
    if name not in FEATURE_NETWORKS:
        raise ConfigError(
            f"{name}: no feature network of that name", hint=f"known: {', '.join(FEATURE_NETWORKS)}"
        )
    folders = WeightFolders.standard(weights_dir, say, download=download)
    loaded = load_network(name, folders, trust_torchscript=trust_torchscript)
    return FeatureNetwork(name, loaded, device)


def load_lpips(
    weights_dir: Path | None,
    device: torch.device | str = "cpu",
    *,
    say: Callable[[str], None] | None = None,
    download: bool = False,
) -> DistanceNetwork:
    """LPIPS with its published weights; see `load_features`.

    Raises:
        CheckpointError: if weights are missing, damaged or not the published ones.
    """
    folders = WeightFolders.standard(weights_dir, say, download=download)
    return DistanceNetwork(load_network("lpips", folders), device)


def _map_in_threads(function: Callable[[Tensor], Features], clips: Tensor) -> list[Features]:
    """One clip per thread: faster than all threads on one clip, and always rounded alike."""
    with _single_threads() as threads:
        if threads == 1 or len(clips) == 1:
            return [function(clip) for clip in clips.split(1)]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(torch.no_grad()(function), clips.split(1)))


@contextmanager
def _single_threads() -> Iterator[int]:
    """Let PyTorch use one thread per Python thread; yields the previous number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Convolutions in full float32, without TF32, on GPUs."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
