"""Training steps, each way against the others, and where the time of one goes."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from unittest import mock

import torch
from helpers.reference import ReferenceLatte
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from gpu_parts.context import Context, Row, reason
from latte_cli.config import Config
from latte_cli.diffusion import Diffusion
from latte_cli.models.designs import count_training_flops
from latte_cli.models.kernels.choice import set_kernels
from latte_cli.runtime.devices import memory_limit, peak_memory, reset_peak_memory, synchronize
from latte_cli.training import state as state_module
from latte_cli.training.planning.measuring import synthetic_batch
from latte_cli.training.state import TrainState, new_state
from latte_cli.training.step import train_step

MOST_CLIPS = {"S": 64, "B": 64, "XL": 32}
USED = 0.85  # of the memory


@dataclass(frozen=True)
class Way:
    """How a step is computed.

    Attributes:
        name: in the table.
        compiled: whether blocks are.
        attention: whether attention over time is a kernel.
        norms: whether norms are kernels.
        again: whether blocks are computed again for the backward pass.
        published: whether the network is the plain one of `tests/helpers/reference.py`.
    """

    name: str
    compiled: bool = False
    attention: bool = False
    norms: bool = False
    again: bool = False
    published: bool = False

    def config(self, context: Context, size: str) -> Config:
        words = [f"train.checkpointing={'blocks' if self.again else 'none'}"]
        words.append(f"train.compile={'blocks' if self.compiled else 'none'}")
        words.append(f"train.kernels={'auto' if self.attention else 'off'}")
        return context.config(size, *words)


WAYS = [
    Way("eager"),
    Way("eager, kernels", attention=True, norms=True),
    Way("compiled, kernel of attention (train's choice)", compiled=True, attention=True),
    Way("compiled", compiled=True),
    Way("as published, compiled", compiled=True, published=True),
    Way("compiled, all kernels", compiled=True, attention=True, norms=True),
    Way("compiled, kernel, checkpointing", compiled=True, attention=True, again=True),
    Way("eager, kernels, checkpointing", attention=True, norms=True, again=True),
]


class Published(ReferenceLatte):
    """The plain network, called as ours is."""

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None, num_images: int = 0) -> Tensor:
        assert not num_images
        return super().forward(x, t, y)


def _published(config: Config) -> Published:
    model = state_module.build_model(config)
    shape = model.shape
    sizes = (shape.latent_size, shape.num_frames, shape.patch, shape.width, shape.depth)
    plain = Published(*sizes, shape.heads, shape.num_classes)
    plain.load_state_dict(model.state_dict())
    plain.shape = shape
    return plain


class Steps:
    """A network in training, and steps of any number of clips."""

    def __init__(self, context: Context, way: Way, size: str) -> None:
        self.context, self.config = context, way.config(context, size)
        build = _published if way.published else state_module.build_model
        with (
            mock.patch.object(state_module, "build_model", _on(context.device, build)),
            mock.patch.object(nn.Module, "compile", _compile(context.tiny)),
        ):
            self.state: TrainState = new_state(self.config, context.device)
        if context.on_gpu and not way.published:
            set_kernels(self.state.model, attention=way.attention, norms=way.norms)
        self.batches: dict[int, object] = {}

    def step(self, clips: int) -> None:
        """One step, without waiting for it."""
        if clips not in self.batches:
            self.batches[clips] = synthetic_batch(self.config, clips).to(self.context.device)
        train_step(
            self.state, [self.batches[clips]], Diffusion(), self.config.train, torch.bfloat16
        )

    def memory(self, clips: int) -> int:
        """Peak bytes of a step."""
        reset_peak_memory(self.context.device)
        self.step(clips)
        synchronize(self.context.device)
        return peak_memory(self.context.device)


def _compile(tiny: bool) -> Callable[..., None]:
    """As PyTorch compiles a module; with tiny sizes, where only the script is tried, hardly."""
    real = nn.Module.compile
    return (lambda module, **_: real(module, backend="eager")) if tiny else real


def _on(device: torch.device, build: Callable[..., object]) -> Callable[..., object]:
    """A builder of networks on the device: on the CPU one of XL/2 takes many seconds."""
    real = state_module.build_model

    def run(config: Config) -> object:
        with mock.patch.object(state_module, "build_model", real), device:
            return build(config)

    return run


def fitting_clips(context: Context, size: str) -> int:
    """The largest batch that fits in the plainest way."""
    if context.tiny:
        return 2
    steps = Steps(context, WAYS[0], size)
    steps.step(1)  # the moments of AdamW appear
    one, two = steps.memory(1), steps.memory(2)
    free = USED * memory_limit(context.device) - (2 * one - two)
    clips = int(free / max(1, two - one))
    return min(clips // 4 * 4 or max(1, clips), MOST_CLIPS[size])


def measured(context: Context, way: Way, size: str, clips: int, flops: int) -> Row:
    """A row: the rate, the share of the peak and the memory; `flops` are those of a clip."""
    context.forget()
    steps = Steps(context, way, size)
    steps.step(clips)
    held = steps.memory(clips)
    rate = clips / context.time_of(lambda: steps.step(clips), least=1.5)
    share = rate * flops / context.peak
    row = {"clips": clips, "clips/s": rate, "share of peak": f"{share:.1%}"}
    return {**row, "memory, GB": held / 1e9}


def fitted(context: Context, way: Way, size: str, clips: int, flops: int) -> Row:
    """As `measured`, with half as many clips as often as they do not fit."""
    while clips > 1:
        with suppress(torch.OutOfMemoryError):
            return measured(context, way, size, clips, flops)
        clips //= 2
    return measured(context, way, size, clips, flops)


def training(context: Context, size: str) -> Iterator[Row]:
    """Steps of a network of a size at 16 x 32 x 32 latents, in bf16."""
    peak = context.peak
    yield {"way": "a bf16 product", "note": f"{peak / 1e12:.3g} TFLOP/s, the peak of this part"}
    flops = count_training_flops(context.config(size))
    clips, rates = fitting_clips(context, size), {}
    few = 2 if context.tiny else 4
    for way in WAYS[: None if size == "XL" else few]:
        if context.left < (25 if way.compiled else 8):
            yield {"way": way.name, "note": "no time left"}
            continue
        try:
            row = fitted(context, way, size, clips, flops)
        except Exception as failed:
            yield {"way": way.name, "note": reason(failed)}
            continue
        rates[way] = row["clips/s"]
        yield {"way": way.name, **row}
    published = next((rates.pop(way) for way in list(rates) if way.published), None)
    if published and rates:
        note = f"{max(rates.values()) / published:.2f} times as published, compiled"
        yield {"way": "fastest", "note": note}


KINDS = {
    "kernel of attention": r"^_attend_",
    "kernel of norms": r"^_norm_",
    "fused attention": r"flash|fmha|sdpa|attention",
    "matrix products": r"gemm|nvjet|cutlass|cublas|xmma|splitK|\bmm\b|addmm|linear",
    "optimizer and average": r"multi_tensor|foreach|adam|lerp",
    "compiled pointwise and sums": r"^triton_",
    "norms": r"layer_norm|LayerNorm",
    "copies and casts": r"copy|Memcpy|Memset|[Cc]at(Array)?|_to_copy",
    "softmax": r"[Ss]oft[Mm]ax",
    "batched products": r"bmm",
    "sums": r"reduce|sum",
    "other pointwise": r"elementwise|mul|add|gelu|silu|div",
}


def profiled(context: Context) -> Iterator[Row]:
    """Milliseconds of a training step of XL/2 by kind, eager and compiled."""
    clips = min(8, fitting_clips(context, "XL"))
    for way in WAYS[1:3]:
        if context.left < (25 if way.compiled else 8):
            yield {"way": way.name, "note": "no time left"}
            continue
        try:
            yield from _profile(context, way, clips)
        except Exception as failed:
            yield {"way": way.name, "note": reason(failed)}


def _profile(context: Context, way: Way, clips: int) -> Iterator[Row]:
    context.forget()
    steps, count = Steps(context, way, "XL"), 2
    for _ in range(3):
        steps.step(clips)
    wall = context.time_of(lambda: steps.step(clips), least=0.6)
    activity = ProfilerActivity.CUDA if context.on_gpu else ProfilerActivity.CPU
    with profile(activities=[activity]) as recorded:
        for _ in range(count):
            steps.step(clips)
        synchronize(context.device)
    by_name = _milliseconds(recorded, context.on_gpu, count)
    totals: dict[str, float] = {}
    for name, spent in by_name.items():
        kind = next((kind for kind, words in KINDS.items() if re.search(words, name)), "other")
        totals[kind] = totals.get(kind, 0.0) + spent
    busy = sum(totals.values())
    totals["nothing: waiting"] = max(0.0, wall * 1e3 - busy)
    for kind, spent in sorted(totals.items(), key=lambda item: -item[1]):
        share = f"{spent / (wall * 1e3):.1%}"
        yield {"way": way.name, "clips": clips, "what": kind, "ms": spent, "of the step": share}
    longest = sorted(by_name.items(), key=lambda item: -item[1])[:12]
    for name, spent in longest:
        yield {"way": way.name, "clips": clips, "what": f"`{name[:90]}`", "ms": spent}


def _milliseconds(recorded: profile, on_gpu: bool, count: int) -> dict[str, float]:
    """Of each kernel, or of each operation on a CPU, in one step."""
    spent = {}
    for event in recorded.key_averages():
        own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        if own:
            spent[event.key] = own / 1e3 / count
    return spent
