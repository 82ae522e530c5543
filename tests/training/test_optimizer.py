"""Muon: torch's steps, its own for fused matrices, and exactly none for a skipped step."""

import pytest
import torch
from helpers.networks import random_text
from helpers.small import random_batch, small_config, take_step
from torch import Tensor

from latte_cli.checkpoints.folder import CheckpointMeta, save_checkpoint
from latte_cli.models import build_model
from latte_cli.runtime.errors import ConfigError
from latte_cli.training.optimizer import Muon, build_optimizer, orthogonalize, takes_muon
from latte_cli.training.state import checkpoint_parts, load_state, new_state

CPU = torch.device("cpu")
MUON = {"train__optimizer": "muon", "train__lr": 0.02, "train__adamw_lr": 3e-3}


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def stepped(optimizer: torch.optim.Optimizer, parameter: Tensor, gradients: list[Tensor]) -> Tensor:
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("size", [(24, 24), (48, 12), (12, 48)])
def test_its_steps_are_those_of_torch(size):
    start, gradients = random(*size), [random(*size, seed=seed) for seed in (1, 2, 3)]
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    muon = Muon([{"params": [ours], "parts": 1}], lr=0.1, weight_decay=0.01)
    reference = torch.optim.Muon(
        [theirs], lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
    )
    moved = stepped(muon, ours, gradients) - start
    # bf16 rounds differently in products of several matrices at once.
    torch.testing.assert_close(
        moved, stepped(reference, theirs, gradients) - start, rtol=0.05, atol=0.01
    )


def test_singular_values_become_about_one():
    matrices = random(3, 16, 40)
    singular = torch.linalg.svdvals(orthogonalize(matrices).float())
    assert singular.min() > 0.6
    assert singular.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    same = (orthogonalize(matrices).float() * (left @ right)).sum() / (3 * 16)
    assert same > 0.85, "the directions are kept"


@pytest.mark.parametrize(("has_bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bf16_is_used_only_where_it_is_fast(monkeypatch, has_bf16, dtype):
    monkeypatch.setattr("latte_cli.runtime.devices.has_bf16", lambda device: has_bf16)
    assert orthogonalize(random(2, 8, 16)).dtype == dtype


def test_queries_keys_and_values_are_orthogonalized_each():
    start, gradient = random(30, 10), random(30, 10, seed=1)
    gradient[:10] *= 1000  # in a single matrix it would leave nothing of the others
    fused = start.clone().requires_grad_()
    step = stepped(Muon([{"params": [fused], "parts": 3}], 1.0, 0.0), fused, [gradient]) - start
    for own, part, values in zip(step.chunk(3), start.chunk(3), gradient.chunk(3), strict=True):
        alone = part.clone().requires_grad_()
        single = Muon([{"params": [alone], "parts": 1}], 1.0, 0.0)
        torch.testing.assert_close(own, stepped(single, alone, [values]) - part)


def test_it_takes_the_matrices_of_blocks_alone():
    model = build_model(small_config(model__variant=3))
    taken = {n.split(".", 2)[2] for n, p in model.named_parameters() if takes_muon(n, p)}
    assert taken == {
        f"{part}.weight"
        for part in (
            "attn.qkv", "attn.proj", "temporal_attn.qkv", "temporal_attn.proj", "mlp.fc1", "mlp.fc2"
        )
    }  # fmt: skip
    optimizer = build_optimizer(model, small_config(**MUON).train)
    rates = {name: group["peak_lr"] for group in optimizer.param_groups for name, value in
             model.named_parameters() if any(value is p for p in group["params"])}  # fmt: skip
    assert len(rates) == len(list(model.parameters())), "each parameter is in one group"
    assert rates["blocks.0.attn.qkv.weight"] == 0.02
    assert rates["blocks.0.attn.qkv.bias"] == rates["x_embedder.proj.weight"] == 3e-3


def test_it_leaves_attention_to_text_to_adamw():
    model = random_text(depth=2)
    taken = {n for n, p in model.named_parameters() if takes_muon(n, p)}
    parts = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0")
    parts += ("ff.net.0.proj", "ff.net.2")
    kinds = ("transformer_blocks", "temporal_transformer_blocks")
    assert taken == {f"{kind}.0.{part}.weight" for kind in kinds for part in parts}


@pytest.mark.parametrize("variant", [5, 6])
def test_it_takes_the_matrices_of_attention_over_whole_frames(variant):
    """Not the weights of tokens, nor the queries' and keys' offsets, which are tables."""
    model = build_model(small_config(model__variant=variant))
    taken = {n for n, p in model.named_parameters() if takes_muon(n, p)}
    temporal = {n.removeprefix("blocks.1.attn.") for n in taken if n.startswith("blocks.1.attn.")}
    assert temporal == {
        *("q.weight", "k.weight", "v.weight", "proj.weight"),
        *(["qkv.weight"] if variant == 6 else []),
    }
    config = small_config(**MUON, model__variant=variant)
    state = new_state(config, CPU)
    before = snapshot(state)
    for seed in range(4):
        take_step(state, config, random_batch(config, seed=seed))
    names = [name for name, _ in model.named_parameters()]
    after = snapshot(state)
    assert not [name for name in names if torch.equal(before[name], after[name])]


def test_a_network_without_matrices_to_take_is_an_error():
    with pytest.raises(ConfigError, match="muon"):
        build_optimizer(torch.nn.Linear(3, 3), small_config(**MUON).train)


def test_a_bad_step_changes_nothing():
    config = small_config(**MUON)
    state, batch = new_state(config, CPU), random_batch(config)
    take_step(state, config, batch)
    before = snapshot(state)
    batch.x_start[0] = float("nan")
    take_step(state, config, batch)
    after = snapshot(state)
    assert before.keys() == after.keys()
    assert not [name for name in before if not torch.equal(before[name], after[name])]


def test_a_resumed_run_takes_the_same_steps(tmp_path):
    config = small_config(**MUON)
    batches = [random_batch(config, seed=seed) for seed in range(3)]
    whole, first = new_state(config, CPU), new_state(config, CPU)
    for batch in batches:
        take_step(whole, config, batch)
    for batch in batches[:2]:
        take_step(first, config, batch)
    meta = CheckpointMeta(first.step, "", 1.0)
    folder = save_checkpoint(tmp_path, config, meta, **checkpoint_parts(first))
    resumed = new_state(config, CPU)
    load_state(resumed, folder)
    take_step(resumed, config, batches[2])
    expected = snapshot(whole)
    assert not [n for n, value in snapshot(resumed).items() if not torch.equal(value, expected[n])]


def snapshot(state) -> dict[str, Tensor]:
    """Network, EMA and momentum, copied."""
    kept = {f"{n}.{k}": v for n, each in state.optimizer.state_dict()["state"].items()
            for k, v in each.items()}  # fmt: skip
    tensors = {**state.model.state_dict(), **kept}
    tensors |= {f"ema.{name}": value for name, value in state.ema.state_dict().items()}
    return {name: value.clone() for name, value in tensors.items()}
