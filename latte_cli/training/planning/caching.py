"""What it costs to encode a data set once, beside the training on it."""

from collections.abc import Iterator
from dataclasses import dataclass

from latte_cli.runtime.console import format_bytes, format_duration, format_flop

_USUAL_SHARE = 0.4  # of the peak of matrix products, where no training step was measured
_WHERE_UNKNOWN = 1000  # frames or captions, where there are no data


@dataclass(frozen=True)
class Encoding:
    """Encoding of frames or of captions.

    Attributes:
        what: `frames` or `captions`.
        count: how many are still to be encoded; None without data.
        flops: of each.
        seconds: of each, about.
        bytes: of each on disk, at most.
    """

    what: str
    count: int | None
    flops: int
    seconds: float
    bytes: int

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Rows of a table: what, the figure, and how it is known; none if nothing is to be done."""
        count = _WHERE_UNKNOWN if self.count is None else self.count
        if count:
            time = format_duration(count * self.seconds)
            work = f"{count:,}: {format_flop(count * self.flops)}, {time}"
            how = "estimate" if self.count is not None else "estimate, no data here yet"
            yield f"{self.what} to encode, once", work, how


@dataclass(frozen=True)
class CachingCost:
    """What is encoded before the training.

    Attributes:
        latents: the folder that the latents go to.
        frames: of all views.
        captions: different ones; None for networks that take no text.
        encoder_bytes: of the text encoder's weights; 0 likewise.
    """

    latents: str
    frames: Encoding
    captions: Encoding | None = None
    encoder_bytes: int = 0

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Rows of a table: what, the figure, and how it is known."""
        yield from self.frames.rows()
        if self.captions is not None:
            yield from self.captions.rows()
            if self.captions.count:
                size = format_bytes(self.captions.count * self.captions.bytes)
                yield "disk for captions", f"at most {size}", "counted"
            held = f"{format_bytes(self.encoder_bytes)} for captions, none in training"
            yield "text encoder", held, "counted"


def seconds_of(flops: int, peak: float, share: float | None) -> float:
    """The time of some operations.

    Args:
        flops: of matrix products and convolutions.
        peak: operations a second of a large matrix product.
        share: of the peak that training reaches; None: unknown.
    """
    return flops / (peak * (share or _USUAL_SHARE))
