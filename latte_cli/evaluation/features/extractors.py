"""Feature extractors by name: each turns clips into rows of numbers that metrics compare."""

# Axes: b clips, f frames, h height, w width, r rows of a clip, d width of a row.

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from latte_cli.evaluation.features.builtin import MIN_MOTION_FRAMES, RandomNetwork, direction_of
from latte_cli.evaluation.metric_table import NETWORK_OF
from latte_cli.runtime.devices import pick_device
from latte_cli.runtime.errors import ConfigError

Rows = NDArray[np.float32]

_MIN_FRAMES = {"i3d": 9, "motion": MIN_MOTION_FRAMES}
_FRAMES = {"c3d": 16}


@dataclass(frozen=True)
class FeatureExtractor:
    """Turns clips into rows of features.

    Attributes:
        name: of the network.
        weights: checksum of the weights, or the version of an extractor without weights.
        per_frame: whether a clip has a row for each frame, or one row.
        rows: (b, f, h, w, 3) uint8 to (b, r, d) float32. A clip's rows do not depend on the other
            clips of the batch.
    """

    name: str
    weights: str
    per_frame: bool
    rows: Callable[[torch.Tensor], Rows]


def open_feature_extractor(
    name: str,
    frames: int,
    weights: Path | None,
    *,
    trust_torchscript: bool,
    say: Callable[[str], None] | None = None,
    download: bool = True,
) -> FeatureExtractor:
    """The extractor of a name, ready to use.

    Args:
        name: one of the values of `NETWORK_OF`.
        frames: length of a clip.
        weights: folder of weights; None: the cache, or the official URL.
        trust_torchscript: whether an archive that contains code may be loaded.
        say: receives a message about each download.
        download: whether missing weights may be downloaded.

    Raises:
        CheckpointError: if weights are missing, or not the published ones.
        ConfigError: if the extractor does not take clips of this length.
    """
    _check_frames(name, frames)
    if name == "motion":
        return FeatureExtractor(name, "cross-correlation, version 1", False, _directions)
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


def _check_frames(name: str, frames: int) -> None:
    least, exact = _MIN_FRAMES.get(name, 1), _FRAMES.get(name, frames)
    if frames < least or frames != exact:
        needed = f"{exact}" if name in _FRAMES else f"at least {least}"
        metrics = " or ".join(m for m, network in NETWORK_OF.items() if network == name)
        raise ConfigError(
            f"clips of {frames} frames, {metrics} needs {needed}",
            hint=f"-o data.frames={max(least, exact)}, or another of --metrics",
        )


def _directions(clips: torch.Tensor) -> Rows:
    return np.array([[[direction_of(clip.numpy())]] for clip in clips], np.float32)
