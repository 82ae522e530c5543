"""Paired videos, frame by frame: how far each is from the one of the same name."""

# Axes: f frames, h height, w width, 3 colour channels.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latte_cli.console import Console
from latte_cli.devices import pick_device
from latte_cli.errors import DataError
from latte_cli.evaluation.numbers import Number, rounded
from latte_cli.evaluation.sources import open_files
from latte_cli.evaluation.videos import Source, Video, Wanted
from latte_cli.metrics.paired import psnr, ssim

_FRAMES_AT_A_TIME = 16
_EQUAL_DB = 100.0
"""PSNR of equal frames, which is infinite: a mean would be, too."""

Compare = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class _Pair:
    real: Video
    fake: Video


def measure_pairs(
    metrics: Sequence[str],
    real: Path,
    fake: Path,
    memory: Path,
    weights: Path | None,
    console: Console,
) -> dict[str, Number]:
    """Means over frames, then over videos, at the videos' own size and without compression.

    Args:
        metrics: psnr, ssim, lpips.
        real: a folder of videos or frame folders, or an npz file.
        fake: the same; videos are paired by name.
        memory: folder in which is kept what was seen of videos.
        weights: folder of LPIPS's weights.
        console: tells how it goes.

    Raises:
        CheckpointError: if LPIPS's weights are missing.
        DataError: if a video has no partner, or one of another length or size.
    """
    sources = [open_files(path, None, "crop-resize", memory, console) for path in (real, fake)]
    pairs = _pairs(*sources)
    compare = {metric: _comparison(metric, weights) for metric in metrics}
    values: dict[str, list[float]] = {metric: [] for metric in metrics}
    with console.progress("comparing", len(pairs), "pairs") as bar:
        streams = [
            source.read([Wanted(video, (range(video.frames),)) for video in videos])
            for source, videos in zip(
                sources, ([p.real for p in pairs], [p.fake for p in pairs]), strict=True
            )
        ]
        for a, b in zip(*streams, strict=True):
            for metric, function in compare.items():
                values[metric].append(_mean(function, a.clips[0], b.clips[0]))
            bar.advance()
    return {metric: _number(metric, values[metric], len(pairs)) for metric in metrics}


def _pairs(real: Source, fake: Source) -> list[_Pair]:
    """Videos of the same name, whatever the ending."""
    ours, theirs = ({_stem(v): v for v in source.videos} for source in (real, fake))
    alone = sorted(ours.keys() ^ theirs.keys())
    if alone:
        place = real.place if alone[0] in ours else fake.place
        raise DataError(
            f"{alone[0]} is in {place} alone, and {len(alone) - 1} more are without a partner",
            hint="paired metrics compare videos of the same name in both folders",
        )
    pairs = [_Pair(video, theirs[stem]) for stem, video in sorted(ours.items())]
    for pair in pairs:
        a, b = ((v.frames, v.height, v.width) for v in (pair.real, pair.fake))
        if a != b:
            told = " and ".join(f"{f} frames of {w} x {h}" for f, h, w in (a, b))
            raise DataError(
                f"{pair.real.name}: the two videos of this name differ, {told}",
                hint="paired metrics compare frame by frame, pixel by pixel",
            )
    return pairs


def _stem(video: Video) -> str:
    """A name without its ending; clips of npz files go by their numbers."""
    name = video.name[video.name.index("[") :] if ".npz[" in video.name else video.name
    return str(Path(name).with_suffix(""))


def _comparison(metric: str, weights: Path | None) -> Compare:
    if metric == "psnr":
        return lambda a, b: psnr(a, b).clamp(max=_EQUAL_DB)
    if metric == "ssim":
        return ssim
    from latte_cli.metrics import load_features

    network = load_features("lpips", weights, pick_device())
    return lambda a, b: network.distance(a[None], b[None])[0].double()


def _mean(function: Compare, a: np.ndarray, b: np.ndarray) -> float:
    """Over the frames of a pair, some at a time."""
    parts = [
        function(torch.from_numpy(a[n : n + _FRAMES_AT_A_TIME]), torch.from_numpy(b[n : n + 16]))
        for n in range(0, len(a), _FRAMES_AT_A_TIME)
    ]
    return float(torch.cat(parts).mean())


def _number(metric: str, values: Sequence[float], count: int) -> Number:
    return Number(
        metric=metric,
        value=rounded(float(np.mean(values))),
        real=count,
        fake=count,
        draws=(rounded(float(np.mean(values))),),
        parts_std=rounded(float(np.std(values))),
        note="paired, by frame; no clips are drawn, and no compression",
    )
