"""Blocks under `torch.compile`, and blocks computed again for the backward pass."""

import os
import shutil
from collections.abc import Iterator

import pytest
import torch
from helpers.networks import (
    DESIGNS,
    VARIANTS,
    inputs,
    named,
    random_latte,
    random_text,
    relative_error,
    text_inputs,
)
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.func import functional_call

from latte_cli.diffusion.flow_map import mean_velocity_change
from latte_cli.models import Latte, LatteT2V
from latte_cli.models.text_layers import PLAIN_HALVES, Halves, TextBlock

Network = Latte | LatteT2V

# Of each network, how many of its blocks differ in more than their weights; spatial blocks of the
# text-to-video network are compiled in two halves, around attention to text.
KINDS = {1: 2, 2: 2, 3: 1, 4: 1, 5: 2, 6: 2, "rope": 2, "tokens": 2, "text": 3}


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def network(name: int | str) -> tuple[Network, tuple[Tensor, dict[str, object]]]:
    """A network of four blocks that KINDS names, and what it is called with."""
    if name in VARIANTS:
        model = random_latte(variant=name, depth=4)
        return model, inputs(model)
    if name in ("rope", "tokens"):
        design = {"temporal_position": "rope"} if name == "rope" else {"injection": "tokens"}
        model = random_latte(depth=4, **design)
        return model, inputs(model)
    text_model = random_text(depth=4)
    x, cond = text_inputs(text_model)
    return text_model, (x, cond | {"text_mask": torch.arange(6) < torch.tensor([[6], [3]])})


def blocks(model: Network) -> list[nn.Module]:
    if isinstance(model, LatteT2V):
        return [*model.transformer_blocks, *model.temporal_transformer_blocks]
    return list(model.blocks)


def compile_blocks(model: Network, backend: object) -> None:
    """Each block for itself, without graph breaks: one would raise."""
    halves = Halves(
        *(
            torch.compile(half, backend=backend, fullgraph=True, dynamic=False)
            for half in PLAIN_HALVES
        )
    )
    for block in blocks(model):
        if isinstance(block, TextBlock) and block.axis == "space":
            block.halves = halves
        else:
            block.compile(backend=backend, fullgraph=True)


@pytest.mark.parametrize("name", KINDS, ids=str)
def test_each_kind_of_block_compiles_once_without_graph_breaks(name):
    """Blocks that differ in weights alone share their graph; a second call compiles nothing."""
    model, (x, cond) = network(name)
    counter = CompileCounterWithBackend("aot_eager")
    with torch.no_grad():
        eager = model(x, **cond)
        compile_blocks(model, counter)
        assert relative_error(model(x, **cond), eager) < 1e-3
        assert counter.frame_count == KINDS[name]
        cond["t"] = cond["t"] + 1
        model(torch.randn_like(x), **cond)
    assert counter.frame_count == KINDS[name]


@pytest.mark.filterwarnings("ignore::latte_cli.runtime.errors.LatteWarning")
def test_known_sizes_are_not_recompiled():
    model, (x, cond) = network(4)
    counter, counts = CompileCounterWithBackend("aot_eager"), []
    compile_blocks(model, counter)
    with torch.no_grad():
        for frames in (4, 3, 4, 3):
            model(x[:, :frames], **cond)
            counts.append(counter.frame_count)
    assert counts == [1, 2, 2, 2]


def test_captions_of_other_lengths_compile_nothing():
    """Nor do they change what is computed: a resumed run has seen fewer of them."""
    model, (x, cond) = network("text")
    text, mask = cond["text"], cond["text_mask"]
    counter = CompileCounterWithBackend("aot_eager")
    compile_blocks(model, counter)
    with torch.no_grad():
        first = model(x, **cond)
        for length in (6, 5, 4):
            model(x, **cond | {"text": text[:, :length], "text_mask": mask[:, :length]})
        assert torch.equal(model(x, **cond), first)
    assert counter.frame_count == KINDS["text"]


def test_blocks_compile_without_graph_breaks_in_bf16():
    model, (x, cond) = network(1)
    counter = CompileCounterWithBackend("aot_eager")
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        eager = model(x, **cond)
        compile_blocks(model, counter)
        assert relative_error(model(x, **cond).float(), eager.float()) < 2e-2
    assert counter.frame_count == KINDS[1]


def learned(model: Network, x: Tensor, cond: dict[str, object]) -> dict[str, Tensor]:
    """Gradients of every parameter for the mean square of the output."""
    model.zero_grad(set_to_none=True)
    model(x, **cond).square().mean().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("variant", [1, 3, 6])
def test_compiled_blocks_have_the_same_gradients(variant):
    model = random_latte(variant=variant, joint="only-video")
    x, cond = inputs(model, images=2)
    eager = learned(model, x, cond)
    counter = CompileCounterWithBackend("aot_eager")
    compile_blocks(model, counter)
    for name, gradient in learned(model, x, cond).items():
        assert relative_error(gradient, eager[name]) < 1e-3, name
    once = counter.frame_count
    learned(model, x, cond)
    assert counter.frame_count == once


def test_a_flow_maps_derivative_is_taken_of_the_plain_blocks():
    """Compiled ones have none."""
    model = random_latte(depth=4, flow_map=True, learn_sigma=False)
    x, cond = inputs(model)
    t, end, y = cond["t"], cond["t"] // 2, cond["y"]
    weights = {name: value.detach() for name, value in model.state_dict().items()}

    def frozen(*given: Tensor, **cond: Tensor) -> Tensor:
        return functional_call(model, weights, given, cond)

    eager = mean_velocity_change(frozen, x, t, end, torch.ones_like(x), 1000, y=y)
    compile_blocks(model, CompileCounterWithBackend("aot_eager"))
    model(x, t, y, end=end).mean().backward()
    after = mean_velocity_change(frozen, x, t, end, torch.ones_like(x), 1000, y=y)
    assert torch.equal(after, eager)


@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler on this machine"
)
@pytest.mark.parametrize("name", [4, pytest.param("text", marks=pytest.mark.slow)], ids=str)
def test_inductor_gives_the_same_output(name):
    model, (x, cond) = network(name)
    with torch.no_grad():
        eager = model(x, **cond)
        compile_blocks(model, "inductor")
        assert relative_error(model(x, **cond), eager) < 1e-3


JOINT_DESIGNS = [*({"variant": v, "joint": "only-video"} for v in VARIANTS), *DESIGNS]


@pytest.mark.parametrize("design", JOINT_DESIGNS, ids=named)
def test_checkpointing_does_not_change_gradients(design):
    model = random_latte(**design).train()
    x, cond = inputs(model, images=0 if "tube" in design else 2)
    kept = learned(model, x, cond)
    model.checkpointing = True
    again = learned(model, x, cond)
    assert all(torch.equal(again[name], gradient) for name, gradient in kept.items())


def test_checkpointing_does_not_change_gradients_of_the_text_model():
    model = random_text().train()
    x, cond = text_inputs(model, images=2)
    kept = learned(model, x, cond)
    model.checkpointing = True
    again = learned(model, x, cond)
    assert all(torch.equal(again[name], gradient) for name, gradient in kept.items())


@pytest.mark.parametrize("name", [1, "text"], ids=str)
def test_blocks_are_recomputed_only_for_a_backward_pass(name):
    model, (x, cond) = network(name)
    model.checkpointing = True
    calls = []
    for block in blocks(model):
        block.register_forward_pre_hook(lambda block, given: calls.append(block))
    with torch.no_grad():
        model(x, **cond)
    assert len(calls) == 4
    learned(model, x, cond)
    assert len(calls) == 4 + 2 * 4
