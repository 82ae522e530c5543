"""How clips longer than the network's window are composed, as `--long` and its options say."""

from dataclasses import dataclass
from typing import Literal

from latte_cli.runtime.errors import ConfigError

Method = Literal["window", "fifo"]
METHODS: tuple[Method, ...] = ("window", "fifo")


@dataclass(frozen=True)
class LongClipPlan:
    """How a long clip is composed.

    Attributes:
        frames: of the clip.
        window: frames that the network sees at once.
        overlap: for `window`: frames that a window shares with the one before.
        method: `window`, or `fifo` (Kim et al. 2024, "FIFO-Diffusion").

    Raises:
        ConfigError: if the values do not go together.
    """

    frames: int
    window: int
    overlap: int
    method: Method = "window"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(
                f"--long-method {self.method} is unknown", hint=f"known: {', '.join(METHODS)}"
            )
        if self.window < 2:
            raise ConfigError(
                f"--long needs at least 2 frames in a window, not {self.window}",
                hint="--frames 2 or more",
            )
        if self.frames <= self.window:
            raise ConfigError(
                f"--long {self.frames} is no more than the {self.window} frames of a window",
                hint=f"--frames {self.frames} is enough, or set --long to more",
            )
        if not 1 <= self.overlap < self.window:
            raise ConfigError(
                f"--overlap {self.overlap} in windows of {self.window} frames",
                hint=f"from 1 to {self.window - 1}",
            )

    def steps(self, steps: int) -> int:
        """Calls of the network for a whole clip, for a number of denoising steps."""
        if self.method == "window":
            windows = 1 - (self.window - self.frames) // (self.window - self.overlap)
            return windows * steps
        rounds = self.frames - max(0, self.window - steps) + max(0, steps - self.window)
        return steps + rounds * -(-steps // (self.window // 2))


def plan_long_clip(
    frames: int | None, window: int, overlap: int | None, method: str
) -> LongClipPlan | None:
    """How a clip of `--long` frames is composed; None without `--long`.

    Raises:
        ConfigError: if the values do not go together, `--long` is missing, or `--overlap` has no
            effect.
    """
    if frames is None:
        for option, value in (("--overlap", overlap), ("--long-method", method)):
            if value not in (None, METHODS[0]):
                raise ConfigError(
                    f"{option} {value} without --long", hint="add --long N, or leave it out"
                )
        return None
    if overlap is not None and method == "fifo":
        raise ConfigError(
            f"--overlap {overlap} has no effect with --long-method fifo, which has no windows",
            hint="leave --overlap out, or use --long-method window",
        )
    overlap = overlap if overlap is not None else max(1, window // 2)
    return LongClipPlan(frames, window, overlap, method)  # type: ignore[arg-type]  # it checks
