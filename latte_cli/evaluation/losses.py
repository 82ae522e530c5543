"""What compression does to real clips: the distance that it puts between them and themselves."""

# Axes: b clips, f frames, h height, w width, n rows.

from dataclasses import dataclass

import numpy as np
import torch

from latte_cli.evaluation.features.extractors import FeatureExtractor, Rows
from latte_cli.evaluation.plan import ClipRef
from latte_cli.evaluation.sources.videos import Clip, ReadRequest, Source
from latte_cli.metrics.frechet import frechet_distance
from latte_cli.metrics.paired import psnr
from latte_cli.runtime.console import Console
from latte_cli.video_io.compressing import through_jpeg, through_mp4

_PLAIN = "none"
_EQUAL_DB = 100.0  # instead of an infinite PSNR


@dataclass(frozen=True)
class Loss:
    """What a compression does.

    Attributes:
        name: of the compression.
        psnr_db: of the frames, in the mean.
        distance: Fréchet distance of the clips from what they were.
    """

    name: str
    psnr_db: float
    distance: float


def compression_losses(
    source: Source, refs: tuple[ClipRef, ...], extractor: FeatureExtractor, console: Console
) -> list[Loss]:
    """Compress clips as the protocols do, and measure how far each moves them.

    Args:
        source: of the clips.
        refs: the clips, at least two.
        extractor: the network.
        console: tells how it goes.
    """
    rows: dict[str, list[Rows]] = {}
    decibels: dict[str, list[float]] = {}
    requests = [
        ReadRequest(ref.video, (ref.window,)) for ref in sorted(refs, key=lambda r: r.video.name)
    ]
    with console.progress("compressing", len(requests), "clips") as bar:
        for read in source.read(requests):
            clip = read.clips[0]
            for name, changed in _variants(clip).items():
                rows.setdefault(name, []).append(extractor.rows(torch.from_numpy(changed)[None])[0])
                noise = psnr(torch.from_numpy(changed), torch.from_numpy(clip))
                decibels.setdefault(name, []).append(float(noise.clamp(max=_EQUAL_DB).mean()))
            bar.advance()
    joined = {name: np.concatenate(each) for name, each in rows.items()}
    return [
        Loss(name, float(np.mean(decibels[name])), frechet_distance(joined[_PLAIN], joined[name]))
        for name in joined
    ]


def _variants(clip: Clip) -> dict[str, Clip]:
    """The clip as it is, and as each compression leaves it."""
    fine, usual = through_mp4(clip, 5), through_mp4(clip, 23)
    return {
        _PLAIN: clip,
        "JPEG 75": through_jpeg(clip, 75),
        "JPEG 95": through_jpeg(clip, 95),
        "mp4 crf 5": fine,
        "mp4 crf 23": usual,
        "mp4 crf 5, then JPEG 75": through_jpeg(fine, 75),
    }
