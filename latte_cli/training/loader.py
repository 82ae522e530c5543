"""The next batches, cut in the background while the present one is learnt from."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch

from latte_cli.data.batch import Batch
from latte_cli.data.clips import ClipSampler

_AHEAD = 2


class Loader:
    """Gives this process its share of each batch, on its device.

    As a context it ends its thread.

    Args:
        sampler: cuts clips.
        portions: which clips of each batch, portion by portion.
        device: where they are to be.
    """

    def __init__(
        self, sampler: ClipSampler, portions: Sequence[range], device: torch.device
    ) -> None:
        self._sampler, self._portions, self._device = sampler, portions, device
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._cut: dict[int, Future[list[Batch]]] = {}

    def take(self, number: int, last: int) -> list[Batch]:
        """The portions of one batch; those after it are begun.

        Args:
            number: of the batch.
            last: number of the last one that will be wanted, as far as is known.
        """
        wanted = range(number, max(number, min(number + _AHEAD, last)) + 1)
        for other in set(self._cut).difference(wanted):  # the run went back to a checkpoint
            self._cut.pop(other).cancel()
        for coming in wanted:
            if coming not in self._cut:
                self._cut[coming] = self._pool.submit(self._portions_of, coming)
        return [batch.to(self._device) for batch in self._cut.pop(number).result()]

    def _portions_of(self, number: int) -> list[Batch]:
        batches = [self._sampler.batch(number, indices) for indices in self._portions]
        pins = self._device.type == "cuda"
        return [batch.pinned() for batch in batches] if pins else batches

    def __enter__(self) -> "Loader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
