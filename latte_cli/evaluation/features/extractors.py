"""Feature extractors by name: each turns clips into rows of numbers that metrics compare."""

# Axes: b clips, f frames, h height, w width, r rows of a clip, d width of a row.

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latte_cli.evaluation.early_checks import check_clip_length
from latte_cli.evaluation.features.colors import NO_COLOR, moving_color
from latte_cli.evaluation.features.motion import motion_of
from latte_cli.evaluation.features.random_network import RandomNetwork
from latte_cli.runtime.devices import pick_device
from latte_cli.runtime.errors import CheckpointError

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureExtractor:
    """Turns clips into rows of features.

    Attributes:
        name: of the network.
        weights: checksum of the weights, or the version of an extractor without weights.
        per_frame: whether a clip has a row for each frame, or one row.
        rows: (b, f, h, w, 3) uint8 to (b, r, d) float32. A clip's rows do not depend on the other
            clips of the batch.
        opened: opens it again; another process does so instead of receiving the network.
    """

    name: str
    weights: str
    per_frame: bool
    rows: Callable[[torch.Tensor], Rows]
    opened: "Callable[[], FeatureExtractor] | None" = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_again, (self.opened, self.weights)


def _open_again(opened: Callable[[], FeatureExtractor], weights: str) -> FeatureExtractor:
    """Open an extractor in another process.

    Raises:
        CheckpointError: if its weights are missing there, or are others.
    """
    extractor = opened()
    if extractor.weights != weights:
        raise CheckpointError(
            f"{extractor.name}: other weights here than where the command was started",
            hint="every node must see the same weights, such as by --weights DIR",
        )
    return extractor


def open_feature_extractor(
    name: str,
    frames: int,
    weights: Path | None,
    *,
    trust_torchscript: bool,
    say: Callable[[str], None] | None = None,
    download: bool = False,
) -> FeatureExtractor:
    """The extractor of a name, ready to use.

    Args:
        name: one of the values of `NETWORK_OF`.
        frames: length of a clip.
        weights: folder of weights; None: the cache.
        trust_torchscript: whether an archive that contains code may be loaded.
        say: receives a message about each download.
        download: whether missing weights may be downloaded.

    Raises:
        CheckpointError: if weights are missing, or not the published ones.
        ConfigError: if the extractor does not take clips of this length.
    """
    found = _open(name, frames, weights, trust_torchscript, say, download)
    again = partial(
        open_feature_extractor, name, frames, weights, trust_torchscript=trust_torchscript
    )
    return replace(found, opened=again)


def _open(
    name: str,
    frames: int,
    weights: Path | None,
    trust_torchscript: bool,
    say: Callable[[str], None] | None,
    download: bool,
) -> FeatureExtractor:
    """`open_feature_extractor`, for this process."""
    check_clip_length(name, frames)
    if name == "motion":
        return FeatureExtractor(name, "correlation and fitted shapes, version 2", False, _motions)
    if name == "colors":
        return FeatureExtractor(name, "mean of moving pixels, version 1", False, _colors)
    device = pick_device()
    if name == "random3d":
        random = RandomNetwork().to(device)
        return FeatureExtractor(
            name, random.fingerprint, False, lambda clips: random(clips).numpy()[:, None]
        )
    from latte_cli.metrics import load_features  # large networks, imported only if needed

    network = load_features(
        name, weights, device, trust_torchscript=trust_torchscript, say=say, download=download
    )

    def rows(clips: torch.Tensor) -> Rows:
        found = network(clips)
        output = found.logits if name == "c3d" else found.features
        assert output is not None
        rows: Rows = output.float().numpy().reshape(len(clips), -1, output.shape[-1])
        return rows

    return FeatureExtractor(name, network.weights.sha256, network.per_frame, rows)


def _colors(clips: torch.Tensor) -> Rows:
    found = (moving_color(clip) for clip in clips.numpy())
    return np.array([[NO_COLOR if color is None else color] for color in found], np.float32)


def _motions(clips: torch.Tensor) -> Rows:
    return np.array([[motion_of(clip)] for clip in clips.numpy()], np.float32)
