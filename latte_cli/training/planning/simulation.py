"""A training step on tensors without storage, and the most bytes that it would have alive."""

import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from latte_cli.config import Config
from latte_cli.diffusion import Diffusion
from latte_cli.models.attention import as_on_gpu
from latte_cli.models.embeddings import forget_tables
from latte_cli.training.guard import SpikeGuard
from latte_cli.training.optimizer import build_optimizer
from latte_cli.training.planning.measuring import synthetic_batch
from latte_cli.training.planning.parameters import network_on_meta
from latte_cli.training.state import TrainState
from latte_cli.training.step import accumulate_gradients

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class StepPeaks:
    """The most bytes alive beside weights, averages and moments.

    Attributes:
        forward: in the forward pass.
        backward: in the backward pass, gradients apart.
        together: in both, with gradients.
    """

    forward: int
    backward: int
    together: int

    @property
    def largest(self) -> int:
        """Of both passes, gradients apart."""
        return max(self.forward, self.backward)

    def towards(self, other: "StepPeaks", share: float) -> "StepPeaks":
        """On the line from these to others: these at 0, the others at 1, and beyond."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return StepPeaks(*(round(ours + share * (theirs - ours)) for ours, theirs in pairs))


def simulate_step(config: Config, depth: int, clips: int, sharded: bool = False) -> StepPeaks:
    """Compute the gradients of a step as a GPU would, on tensors that have sizes and no values.

    Args:
        config: of the run.
        depth: blocks of the network.
        clips: of the step.
        sharded: whether the blocks' weights are gathered in the type of the matrix products, and
            gradients leave as soon as they are computed.
    """
    dtype = torch.float32 if config.train.precision == "float32" else torch.bfloat16
    model = network_on_meta(config, depth)
    if sharded:
        for block in model.blocks:
            block.to(dtype)
    diffusion, train = Diffusion(**config.diffusion.model_dump()), config.train
    if train.guidance_target_from == "teacher":  # whose answers need less memory than gradients
        train = train.model_copy(update={"guidance_target": None})
    with _without_storage():
        _fill(model)
        state = TrainState(model, model, build_optimizer(model, train), SpikeGuard(train, _CPU))
        alive = _Alive(model, forget_gradients=sharded)
        with alive:
            batch = synthetic_batch(config, clips)
            accumulate_gradients(state, [batch], diffusion, train, dtype)
    return StepPeaks(alive.forward, alive.backward, alive.together)


@contextmanager
def _without_storage() -> Iterator[None]:
    """New tensors have no storage; attention is a GPU's."""
    forget_tables()
    try:
        with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True):
            warnings.simplefilter("ignore")
            with as_on_gpu():
                yield
    finally:
        forget_tables()


def _fill(model: nn.Module) -> None:
    """Let a network's tensors lie on the CPU in place of the meta device."""
    for module in model.modules():
        for name, value in module.named_parameters(recurse=False):
            filled = torch.empty(value.shape, dtype=value.dtype, device=_CPU)
            module.register_parameter(name, nn.Parameter(filled, value.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype, device=_CPU))


class _Alive(TorchDispatchMode):
    """Counts the bytes of tensors that are made while it is active, and are still referred to.

    Args:
        model: whose parameters are not counted, and whose gradients are counted apart.
        forget_gradients: whether to drop each gradient once it is whole.

    Attributes:
        forward: see `StepPeaks`.
        backward: likewise.
        together: likewise.
    """

    def __init__(self, model: nn.Module, *, forget_gradients: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types here
        self.forward = self.backward = self.together = 0
        self._now = self._gradients = 0
        self._in_backward = False
        kept = (*model.parameters(), *model.buffers())
        self._known = {value.untyped_storage()._cdata for value in kept}
        self._forget = forget_gradients
        model.register_forward_hook(self._await_backward)
        for value in model.parameters():
            if value.requires_grad:
                value.register_post_accumulate_grad_hook(self._add_gradient)

    def _await_backward(self, _model: nn.Module, _inputs: object, out: Tensor) -> None:
        if out.requires_grad:
            out.register_hook(self._begin_backward)

    def _begin_backward(self, _gradient: Tensor) -> None:
        self._in_backward = True

    def _add_gradient(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        if self._forget:
            parameter.grad = None
        else:
            self._gradients += parameter.grad.untyped_storage().nbytes()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                self._add(value)
        return out

    def _add(self, value: Tensor) -> None:
        storage = value.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self._now += size
        weakref.finalize(storage, self._remove, key, size)
        self.together, apart = max(self.together, self._now), self._now - self._gradients
        if self._in_backward:
            self.backward = max(self.backward, apart)
        else:
            self.forward = max(self.forward, apart)

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size
