"""The metrics of `latte eval`: what each is computed from, and how its value is to be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from latte_cli.runtime.errors import ConfigError


@dataclass(frozen=True)
class Metric:
    """What the rest of the evaluation needs to know of a metric.

    Attributes:
        network: feature extractor whose rows it is computed from; empty: it compares paired videos,
            frame by frame.
        fakes_only: whether it ignores the real clips.
        biased: whether its value depends on the number of clips: fewer clips raise a Fréchet
            distance and lower the Inception Score, whatever they show.
        higher_is_better: whether larger values are better.
        least_clips: how many clips it needs.
        note: what the number must not be mistaken for.
    """

    network: str = ""
    fakes_only: bool = False
    biased: bool = False
    higher_is_better: bool = False
    least_clips: int = 2
    note: str = ""


INCEPTION_SPLITS = 10

METRICS: Mapping[str, Metric] = {
    "fvd": Metric("i3d", biased=True),
    "kvd": Metric("i3d"),
    "fid": Metric("inception", biased=True),
    "kid": Metric("inception"),
    "is": Metric(
        "c3d", fakes_only=True, biased=True, higher_is_better=True, least_clips=INCEPTION_SPLITS
    ),
    "direction": Metric(
        "motion",
        fakes_only=True,
        higher_is_better=True,
        least_clips=1,
        note="of clips that move as their label or caption says",
    ),
    "color": Metric(
        "colors",
        fakes_only=True,
        higher_is_better=True,
        least_clips=1,
        note="of clips in which what moves has the color that their caption names",
    ),
    "shape": Metric(
        "motion",
        fakes_only=True,
        higher_is_better=True,
        least_clips=1,
        note="of clips that hold one figure of one kind and color in every frame",
    ),
    "fd-random": Metric("random3d", biased=True, note="not comparable with FVD: a random network"),
    "psnr": Metric(higher_is_better=True),
    "ssim": Metric(higher_is_better=True),
    "lpips": Metric(),
}
"""By the names that `config.schema_eval.METRICS` explains."""

NETWORK_OF = {name: metric.network for name, metric in METRICS.items() if metric.network}
"""Feature extractor of each metric that has one."""

PAIRED = tuple(name for name, metric in METRICS.items() if not metric.network)
"""Metrics of paired videos."""

PAIRED_PROTOCOL = "paired"
"""Name in place of a protocol's for the numbers of paired metrics."""


def check_unpaired(metrics: Sequence[str]) -> None:
    """Check that no metric compares paired videos, where clips are generated and have no partners.

    Raises:
        ConfigError: if one does.
    """
    for metric in metrics:
        if metric in PAIRED:
            raise ConfigError(
                f"{metric} compares videos in pairs, and generated clips have no partners",
                hint="choose other --metrics, or give two folders of videos of the same names",
            )
