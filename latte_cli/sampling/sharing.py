"""Several processes sample the same clips together, each with a part of their tokens."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from latte_cli.models import Latte, LatteT2V
from latte_cli.models.sequence.groups import sequence_group
from latte_cli.runtime.distributed import is_main, process_group
from latte_cli.sampling.parallel_sampling import Generate

Request = TypeVar("Request")


@contextmanager
def sharing_clips(
    model: Latte | LatteT2V, processes: int, generate: "Generate[Request]"
) -> Iterator["Generate[Request] | None"]:
    """Let processes share each clip: the main one chooses clips and writes them.

    The others sample what it samples, until it is done.

    Args:
        model: in evaluation mode, on its device.
        processes: that share a clip; all that there are, see `check_shared_sampling`.
        generate: samples a batch: its clips in order, each as its frames.

    Yields:
        What to sample with; None on the processes that have already done their part.

    Raises:
        TrainingError: if another process has ended or cannot be reached.
    """
    if processes == 1:
        yield generate
        return
    device = next(model.parameters()).device
    with process_group(device.type):
        model.sequence_group = sequence_group(processes)
        if is_main():
            yield lambda batch, on_step: generate(_broadcast(batch), on_step)
            _broadcast(None)
        else:
            while (batch := _broadcast(None)) is not None:
                for _ in generate(batch, lambda clips: None):
                    pass
            yield None
        model.sequence_group = None


def _broadcast(value: Any) -> Any:
    """The main process's value, on every process."""
    import torch.distributed as dist

    values = [value]
    dist.broadcast_object_list(values)
    return values[0]
