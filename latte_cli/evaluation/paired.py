"""Metrics of paired videos: each is compared with the one of the same name, frame by frame."""

# Axes: f frames, h height, w width, 3 color channels.

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latte_cli.evaluation.evaluating import EvalContext
from latte_cli.evaluation.metric_table import PAIRED_PROTOCOL
from latte_cli.evaluation.numbers import rounded
from latte_cli.evaluation.plan import ClipSetPlan
from latte_cli.evaluation.protocol import Protocol
from latte_cli.evaluation.results.result import ClipSetFacts, Number
from latte_cli.evaluation.sources.clip_sets import summarized
from latte_cli.evaluation.sources.npz import NpzSource
from latte_cli.evaluation.sources.opening import open_files
from latte_cli.evaluation.sources.videos import ReadRequest, Source, Video
from latte_cli.metrics.scores import psnr, ssim
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import pick_device
from latte_cli.runtime.errors import DataError

_FRAMES_AT_A_TIME = 16
_OUR_NAME = re.compile(r"^(\d{5}-seed\d+-label\d+)-.+$")  # the name of a class may follow
EQUAL_FRAMES_DB = 100.0
"""PSNR of equal frames, in place of infinity, so that a mean is finite."""

Compare = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Pair:
    """Two videos of one name, length and size."""

    name: str
    real: Video
    fake: Video


@dataclass(frozen=True)
class Pairs:
    """Paired videos of two sources, ready to be compared.

    Attributes:
        real: a source of videos.
        fake: another source.
        pairs: sorted by name.
        compare: the function of each metric, from two clips to a value per frame.
    """

    real: Source
    fake: Source
    pairs: Sequence[Pair]
    compare: Mapping[str, Compare]

    def clip_sets(self) -> tuple[ClipSetFacts, ClipSetFacts]:
        """The real and the fake videos, for a result."""
        real, fake = tuple(p.real for p in self.pairs), tuple(p.fake for p in self.pairs)
        return _facts(self.real, real), _facts(self.fake, fake)

    def measure(self, console: Console) -> dict[str, Number]:
        """Average over frames, then over videos; at the videos' own size, without compression.

        Raises:
            VideoError: if a video cannot be read any more.
        """
        values: dict[str, list[float]] = {metric: [] for metric in self.compare}
        fake_origin = summarized(self.fake.origin, [pair.fake for pair in self.pairs])
        checksum = hashlib.sha256(fake_origin.encode())  # and of the real frames
        with console.progress("comparing", len(self.pairs), "pairs") as bar:
            real = self.real.read([_whole(pair.real) for pair in self.pairs])
            fake = self.fake.read([_whole(pair.fake) for pair in self.pairs])
            for pair, a, b in zip(self.pairs, real, fake, strict=True):
                for metric, function in self.compare.items():
                    values[metric].append(_mean(function, a.clips[0], b.clips[0]))
                checksum.update(json.dumps([pair.name, a.clips[0].shape]).encode())
                checksum.update(a.clips[0].tobytes())
                bar.advance()
        return {
            metric: Number(
                metric=metric,
                value=rounded(float(np.mean(each))),
                real=len(each),
                fake=len(each),
                draws=(rounded(float(np.mean(each))),),
                parts_std=rounded(float(np.std(each))),
                protocol_hash=checksum.hexdigest()[:12],
                note="of paired videos, frame by frame, without compression",
            )
            for metric, each in values.items()
        }


def open_pairs(
    metrics: Sequence[str],
    real: Path,
    fake: Path,
    context: EvalContext,
    console: Console,
) -> Pairs:
    """Open everything that a comparison needs, before anything is compared.

    Args:
        metrics: psnr, ssim, lpips.
        real: a folder of videos or frame folders, or an npz file.
        fake: the same; videos are paired by name.
        context: folders of features and weights, and the like.
        console: shows the progress.

    Raises:
        CheckpointError: if LPIPS's weights are missing.
        DataError: if there are no videos, or they are no pairs; see `pair_videos`.
    """
    real_source, fake_source = [
        open_files(path, None, "crop-resize", context.survey_cache, console)
        for path in (real, fake)
    ]
    pairs = pair_videos(real_source, fake_source)
    compare = {metric: _comparison(metric, context, console) for metric in metrics}
    return Pairs(real_source, fake_source, pairs, compare)


def paired_protocol(protocol: Protocol) -> Protocol:
    """The protocol of a result that has only paired metrics; 0 stands for no limit."""
    return replace(
        protocol,
        name=PAIRED_PROTOCOL,
        frames=0,
        size=0,
        clips=0,
        draw="all",
        split="all",
        real_interval=1,
        fake_interval=1,
        real_offset="first",
        fake_offset="first",
        shortest="none",
        crop="none",
        real_compression="none",
        fake_compression="none",
    )


def _facts(source: Source, videos: tuple[Video, ...]) -> ClipSetFacts:
    origin = summarized(source.origin, videos)
    compression = f"as given, {origin}" if origin else "none"
    return ClipSetFacts.of(source, ClipSetPlan(videos, (), (), None), compression)


def _whole(video: Video) -> ReadRequest:
    return ReadRequest(video, (range(video.frames),))


def _comparison(metric: str, context: EvalContext, console: Console) -> Compare:
    if metric == "psnr":
        return lambda a, b: psnr(a, b).clamp(max=EQUAL_FRAMES_DB)
    if metric == "ssim":
        return ssim
    from latte_cli.metrics import load_lpips

    network = load_lpips(
        context.weights, pick_device(), say=console.info, download=context.download
    )
    return lambda a, b: network.distance(a[None], b[None])[0].double()


def _mean(function: Compare, a: np.ndarray, b: np.ndarray) -> float:
    """The mean over the frames of a pair, computed for some frames at a time."""
    starts = range(0, len(a), _FRAMES_AT_A_TIME)
    parts = [
        function(*(torch.from_numpy(clip[n : n + _FRAMES_AT_A_TIME]) for clip in (a, b)))
        for n in starts
    ]
    return float(torch.cat(parts).mean())


def pair_videos(real: Source, fake: Source) -> list[Pair]:
    """Pair videos of the same name, whatever the suffix of their files; sorted by name.

    Raises:
        DataError: if a video has no partner, the two differ in length or size, or two videos of one
            source have the same name.
    """
    reals, fakes = _by_name(real), _by_name(fake)
    alone = sorted(reals.keys() ^ fakes.keys())
    if alone:
        place = real.place if alone[0] in reals else fake.place
        raise DataError(
            f"{alone[0]} is only in {place}; videos without a partner: {len(alone)}",
            hint="paired metrics compare videos of the same name in both folders",
        )
    pairs = [Pair(name, video, fakes[name]) for name, video in sorted(reals.items())]
    for pair in pairs:
        a, b = ((v.frames, v.height, v.width) for v in (pair.real, pair.fake))
        if a != b:
            sizes = " and ".join(f"{f} frames of {w} x {h}" for f, h, w in (a, b))
            raise DataError(
                f"{pair.real.name}: the two videos of this name differ, {sizes}",
                hint="paired metrics compare frame by frame, pixel by pixel",
            )
    return pairs


def _by_name(source: Source) -> dict[str, Video]:
    """A source's videos by the name that pairs them; clips of npz files have only their number."""
    found: dict[str, Video] = {}
    for video in source.videos:
        name = video.name
        if isinstance(source, NpzSource):
            name = name[name.rindex("[") :]
        elif video.encoding == "video":  # a dot in the name of a frame folder is part of the name
            name = os.path.splitext(name)[0]
        name = _OUR_NAME.sub(r"\1", name)
        if (other := found.setdefault(name, video)) is not video:
            raise DataError(
                f"{source.place}: {other.name} and {video.name} have the same name",
                hint="paired metrics compare videos of the same name; remove one of the two",
            )
    return found
