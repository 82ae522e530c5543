"""What turns clips into rows of numbers: the feature networks, and the judges without weights."""

# Axes: b clips, f frames, h height, w width, r rows of a clip, d width of a row.

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from latte_cli.evaluation.features.motion import LEAST_FRAMES, direction_of
from latte_cli.evaluation.features.random_network import RandomNetwork
from latte_cli.runtime.devices import pick_device
from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.metrics.features import FeatureNetwork

Rows = NDArray[np.float32]

NETWORK_OF = {
    "fvd": "i3d",
    "kvd": "i3d",
    "fid": "inception",
    "kid": "inception",
    "is": "c3d",
    "direction": "motion",
    "fd-random": "random3d",
}
"""Which rows a metric is made of; paired metrics have none."""

_LEAST_FRAMES = {"i3d": 9, "motion": LEAST_FRAMES}
_FRAMES = {"c3d": 16}


@dataclass(frozen=True)
class FeatureExtractor:
    """A way to describe clips.

    Attributes:
        name: of the network.
        weights: their checksum; of a judge without weights, its version.
        per_frame: whether a clip has a row for each frame, or one.
        rows: (b, f, h, w, 3) uint8 to (b, r, d) float32. A clip's rows depend on it alone.
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
        frames: of a clip.
        weights: folder of weights; None: the cache, or the official place.
        trust_torchscript: whether an archive that holds code may be loaded.
        say: is told of downloads.
        download: whether missing weights may be fetched.

    Raises:
        CheckpointError: if there are no weights, or not the right ones.
        ConfigError: if clips of so many frames cannot be described.
    """
    _check_frames(name, frames)
    if name == "motion":
        return FeatureExtractor(name, "cross-correlation, version 1", False, _directions)
    if name == "random3d":
        judge = RandomNetwork().to(pick_device())
        return FeatureExtractor(
            name, judge.fingerprint, False, lambda clips: judge(clips).numpy()[:, None]
        )
    from latte_cli.metrics import load_features  # networks that the judges do not need

    device = pick_device()
    network = load_features(
        name, weights, device, trust_torchscript=trust_torchscript, say=say, download=download
    )
    return FeatureExtractor(
        name, network.weights.sha256, network.per_frame, _rows_of(name, network)
    )


def _rows_of(name: str, network: "FeatureNetwork") -> Callable[[torch.Tensor], Rows]:
    """What a metric needs of a feature network: its logits, or its features."""

    def rows(clips: torch.Tensor) -> Rows:
        found = network(clips)
        chosen = found.logits if name == "c3d" else found.features
        assert chosen is not None
        each: Rows = chosen.float().numpy().reshape(len(clips), -1, chosen.shape[-1])
        return each

    return rows


def _check_frames(name: str, frames: int) -> None:
    least, exact = _LEAST_FRAMES.get(name, 1), _FRAMES.get(name, frames)
    if frames < least or frames != exact:
        needed = f"{exact}" if name in _FRAMES else f"at least {least}"
        metrics = " or ".join(m for m, network in NETWORK_OF.items() if network == name)
        raise ConfigError(
            f"clips of {frames} frames, {metrics} needs {needed}",
            hint=f"-o data.frames={max(least, exact)}, or another of --metrics",
        )


def _directions(clips: torch.Tensor) -> Rows:
    return np.array([[[direction_of(clip.numpy())]] for clip in clips], np.float32)
