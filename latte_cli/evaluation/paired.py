"""Paired videos, frame by frame: how far each is from the one of the same name."""

# Axes: f frames, h height, w width, 3 colour channels.

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latte_cli.evaluation.evaluating import PAIRED
from latte_cli.evaluation.plan import ClipSetPlan
from latte_cli.evaluation.results.files import ClipSetFacts, Result
from latte_cli.evaluation.results.numbers import Number, rounded
from latte_cli.evaluation.sources.opening import open_files
from latte_cli.evaluation.sources.videos import ReadClips, ReadRequest, Source, Video
from latte_cli.metrics.paired import psnr, ssim
from latte_cli.metrics.protocol import Protocol
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import pick_device
from latte_cli.runtime.errors import DataError

_FRAMES_AT_A_TIME = 16
_EQUAL_DB = 100.0
"""PSNR of equal frames, which is infinite: a mean would be, too."""

PAIRED_PROTOCOL = "paired"
"""Name of what takes a protocol's place where pairs alone are measured."""
COMPARED = "all frames, as they are"

Compare = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Pair:
    """Two videos of one name, length and size."""

    name: str
    real: Video
    fake: Video


@dataclass(frozen=True)
class Pairs:
    """Videos of two places that belong together, ready to be compared.

    Attributes:
        real: a source of videos.
        fake: another one.
        pairs: each two videos, sorted by name.
        compare: what is to be measured, by metric.
    """

    real: Source
    fake: Source
    pairs: Sequence[Pair]
    compare: Mapping[str, Compare]

    def clip_sets(self) -> tuple[ClipSetFacts, ClipSetFacts]:
        """Both sides of a result, real and fake."""
        real, fake = tuple(p.real for p in self.pairs), tuple(p.fake for p in self.pairs)
        return _side(self.real, real), _side(self.fake, fake)

    def measure(self, console: Console) -> dict[str, Number]:
        """Means over frames, then over videos, at the videos' own size and without compression.

        Raises:
            VideoError: if a video cannot be read any more.
        """
        values: dict[str, list[float]] = {metric: [] for metric in self.compare}
        seen = hashlib.sha256()
        with console.progress("comparing", len(self.pairs), "pairs") as bar:
            reals = self.real.read([_whole(pair.real) for pair in self.pairs])
            fakes = self.fake.read([_whole(pair.fake) for pair in self.pairs])
            for pair, a, b in zip(self.pairs, reals, fakes, strict=True):
                for metric, function in self.compare.items():
                    values[metric].append(_mean(function, a.clips[0], b.clips[0]))
                _take_in(seen, pair.name, a)
                bar.advance()
        found = seen.hexdigest()[:12]
        return {metric: _number(metric, values[metric], found) for metric in self.compare}


def open_pairs(
    metrics: Sequence[str],
    real: Path,
    fake: Path,
    memory: Path,
    weights: Path | None,
    console: Console,
) -> Pairs:
    """Everything that comparing needs, before anything is compared.

    Args:
        metrics: psnr, ssim, lpips.
        real: a folder of videos or frame folders, or an npz file.
        fake: the same; videos are paired by name.
        memory: folder in which is kept what was seen of videos.
        weights: folder of LPIPS's weights.
        console: tells how it goes.

    Raises:
        CheckpointError: if LPIPS's weights are missing.
        DataError: if there are no videos, or they are no pairs; see `pair_videos`.
    """
    sources = [open_files(path, None, "crop-resize", memory, console) for path in (real, fake)]
    real_source, fake_source = sources
    pairs = pair_videos(real_source, fake_source)
    compare = {metric: _comparison(metric, weights, console) for metric in metrics}
    return Pairs(real_source, fake_source, pairs, compare)


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
        if ".npz[" in name:
            name = name[name.rindex("[") :]
        elif video.encoding == "video":  # a dot in the name of a frame folder is part of the name
            name = os.path.splitext(name)[0]
        if (other := found.setdefault(name, video)) is not video:
            raise DataError(
                f"{source.place}: {other.name} and {video.name} have the same name",
                hint="paired metrics compare videos of the same name; remove one of the two",
            )
    return found


def paired_protocol(protocol: Protocol) -> Protocol:
    """What takes a protocol's place where pairs alone are measured; 0 stands for no limit."""
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


def protocols(result: Result, metrics: Sequence[str]) -> str:
    """What some numbers of a result were measured by: names and hashes."""
    told: dict[str, dict[str, None]] = {}
    for metric in metrics:
        name = PAIRED_PROTOCOL if metric in PAIRED else result.protocol.name
        told.setdefault(name, {})[result.numbers[metric].protocol_hash] = None
    return ", ".join(f"{name} {' '.join(hashes)}" for name, hashes in told.items())


def refuse_other_frames(names: Sequence[str], results: Sequence[Result]) -> None:
    """Refuse to compare paired metrics against different real videos.

    Partners have one name and one length whatever they show, so that those tell nothing.

    Args:
        names: of the results, for the message.
        results: at least two.

    Raises:
        DataError: if real frames differ.
    """
    first = results[0]
    for name, other in zip(names[1:], results[1:], strict=True):
        for metric in PAIRED:
            pair = [each.numbers.get(metric) for each in (first, other)]
            if len({number.protocol_hash for number in pair if number is not None}) > 1:
                raise DataError(
                    f"{names[0]} and {name} cannot be compared, {metric} is against other real "
                    f"videos: {first.real.place} and {other.real.place}",
                    hint="evaluate both against the same videos",
                )


def _side(source: Source, videos: tuple[Video, ...]) -> ClipSetFacts:
    return ClipSetFacts.of(source, ClipSetPlan(videos, (), (), None), "none")


def _whole(video: Video) -> ReadRequest:
    return ReadRequest(video, (range(video.frames),))


def _take_in(seen: "hashlib._Hash", name: str, read: ReadClips) -> None:
    """Add a real video's frames to a checksum."""
    seen.update(json.dumps([name, read.clips[0].shape]).encode())
    seen.update(read.clips[0].tobytes())


def _comparison(metric: str, weights: Path | None, console: Console) -> Compare:
    if metric == "psnr":
        return lambda a, b: psnr(a, b).clamp(max=_EQUAL_DB)
    if metric == "ssim":
        return ssim
    from latte_cli.metrics import load_features

    network = load_features("lpips", weights, pick_device(), say=console.say)
    return lambda a, b: network.distance(a[None], b[None])[0].double()


def _mean(function: Compare, a: np.ndarray, b: np.ndarray) -> float:
    """Over the frames of a pair, some at a time."""
    parts = [
        function(torch.from_numpy(a[n : n + _FRAMES_AT_A_TIME]), torch.from_numpy(b[n : n + 16]))
        for n in range(0, len(a), _FRAMES_AT_A_TIME)
    ]
    return float(torch.cat(parts).mean())


def _number(metric: str, values: Sequence[float], frames: str) -> Number:
    """A paired number; its protocol is the same wherever the real frames' checksum is."""
    return Number(
        metric=metric,
        value=rounded(float(np.mean(values))),
        real=len(values),
        fake=len(values),
        draws=(rounded(float(np.mean(values))),),
        parts_std=rounded(float(np.std(values))),
        protocol_hash=frames,
        note="paired, by frame; no clips are drawn, and no compression",
    )
