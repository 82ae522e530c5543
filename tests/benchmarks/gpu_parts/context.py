"""What every part of `gpu.py` is given, and how it takes times."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from latte_cli.config import Config, load_config
from latte_cli.runtime.devices import matrix_peak, synchronize

Row = dict[str, object]
Part = Callable[["Context"], Iterator[Row]]

TINY = (
    *("model.size=null", "model.width=32", "model.depth=2", "model.heads=2"),
    *("data.size=32", "data.frames=4"),
)


@dataclass
class Context:
    """The device, the sizes and the time that a part has.

    Attributes:
        device: to measure.
        tiny: sizes that show that the script works, and no more.
        seconds: of the part's time box.
    """

    device: torch.device
    tiny: bool
    seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds until the time box ends."""
        return self.seconds - (time.monotonic() - self.started)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def peak(self) -> float:
        """Of a bf16 product, in operations per second; measured once in this process."""
        if not self.tiny:
            return matrix_peak(self.device, torch.bfloat16)
        factor = torch.randn(256, 256, device=self.device).bfloat16()
        return 2 * 256**3 / self.time_of(lambda: factor @ factor)

    def config(self, size: str, *words: str) -> Config:
        """A class-conditional network of a size on clips of 16 x 256 x 256, without images."""
        sizes = TINY if self.tiny else (f"model.size={size}", "data.size=256", "data.frames=16")
        given = ("data.num_images=0", "model.condition=class", "model.num_classes=101")
        return load_config(None, [*sizes, *given, "train.precision=bf16", *words])

    def time_of(self, run: Callable[[], object], least: float = 0.3) -> float:
        """Seconds of one call: the median of three rounds, which take `least` seconds together."""
        run()
        once = self._seconds(run, 1)
        if self.tiny:
            return once
        count = max(1, min(200, int(least / 3 / max(once, 1e-6))))
        return statistics.median(self._seconds(run, count) for _ in range(3))

    def _seconds(self, run: Callable[[], object], count: int) -> float:
        synchronize(self.device)
        started = time.perf_counter()
        for _ in range(count):
            run()
        synchronize(self.device)
        return (time.perf_counter() - started) / count

    def forget(self) -> None:
        """Free the memory of what was measured before, and what was compiled for it."""
        torch._dynamo.reset()
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()


def reason(error: BaseException) -> str:
    """An error in a line."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:200]
