"""The training step: what it changes, what it leaves alone, and that it never waits."""

import copy
import math
from functools import partial

import pytest
import torch
from helpers.small import random_batch, small_config, split_batch, take_step
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from latte_cli.config import load_config
from latte_cli.runtime.errors import ConfigError
from latte_cli.training.batches import micro_batches
from latte_cli.training.parallel import clip_gradients
from latte_cli.training.state import TrainState, checkpoint_parts, new_state
from latte_cli.training.step import learning_rate, update_ema

CPU = torch.device("cpu")


def tensors(tree: dict, name: str = "") -> dict[str, Tensor]:
    """All tensors of a nested mapping, copied."""
    found = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= tensors(value, f"{name}{key}.")
        elif isinstance(value, Tensor):
            found[f"{name}{key}"] = value.clone()
    return found


def learned(state: TrainState) -> dict[str, Tensor]:
    """Network, EMA and optimizer."""
    parts = checkpoint_parts(state)
    return tensors({name: dict(parts[name]) for name in ("model", "ema", "optimizer")})


def test_gradients_of_micro_batches_add_up_to_those_of_the_batch():
    config = small_config(train__batch_size=6)
    batch, states = random_batch(config), [new_state(config, CPU) for _ in range(2)]
    take_step(states[0], config, batch)
    metrics = take_step(states[1], config, *split_batch(batch, [range(0, 6, 2), range(1, 6, 2)]))
    whole, split = (learned(state) for state in states)
    moments = [name for name in whole if "exp_avg" in name]
    assert moments, "AdamW's moments show the gradient itself"
    for name in moments:
        torch.testing.assert_close(split[name], whole[name], rtol=1e-4, atol=1e-7)
    assert metrics.t.tolist() == batch.t[[0, 2, 4, 1, 3, 5]].tolist()


def test_the_loss_is_the_mean_of_its_clips():
    config = small_config()
    batch = random_batch(config)
    metrics = take_step(new_state(config, CPU), config, batch)
    assert metrics.loss.item() == pytest.approx(metrics.loss_per_clip.mean().item())
    assert metrics.loss_per_clip.shape == (config.train.batch_size,)
    assert not metrics.loss_per_clip.requires_grad
    assert torch.equal(metrics.t, batch.t)


class Waits(TorchDispatchMode):
    """Counts how often a value is read from the device."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_a_step_never_waits_for_the_device():
    """Reading a value would drain a GPU's queue; the range of labels is checked on CPUs only."""
    config = small_config(
        model__condition="none", model__num_classes="null", train__clip_from_step=0
    )
    state = new_state(config, CPU)
    with Waits() as waits:
        for seed in range(2):
            metrics = take_step(state, config, random_batch(config, seed))
        assert waits.count == 0
        metrics.loss.item()
        assert waits.count == 1, "the counter works"


@pytest.mark.parametrize("harm", [math.nan, math.inf, 1e30])
def test_a_bad_step_changes_nothing_but_the_count(harm):
    config = small_config()
    state = new_state(config, CPU)
    take_step(state, config, random_batch(config))
    before, bad = learned(state), random_batch(config, 1)
    bad.x_start[1, 0, 0, 0, 0] = harm
    take_step(state, config, bad)
    after = learned(state)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert state.step == 2
    (bad_step,) = state.guard.fetch(state.step)
    assert bad_step.step == 2
    assert state.guard.skipped == state.guard.in_a_row == 1
    take_step(state, config, random_batch(config, 2))
    last = "model.final_layer.linear.weight"
    assert not torch.equal(learned(state)[last], before[last]), "the next good step moves again"


def test_weights_and_ema_stay_float32_under_bf16():
    config = small_config(train__precision="bf16")
    state = new_state(config, CPU)
    take_step(state, config, random_batch(config))
    kinds = {value.dtype for value in (*state.model.parameters(), *state.ema.parameters())}
    assert kinds == {torch.float32}
    assert all(parameter.grad is None for parameter in state.model.parameters())
    assert not any(parameter.requires_grad for parameter in state.ema.parameters())


def test_gradients_are_scaled_to_the_limit_and_their_norm_before_is_returned():
    model = nn.Linear(2, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[3.0, 0.0]]), torch.tensor([4.0])
    assert clip_gradients(model, None).item() == pytest.approx(5)
    assert model.bias.grad.item() == 4
    assert clip_gradients(model, 0.5).item() == pytest.approx(5)
    assert model.weight.grad[0, 0].item() == pytest.approx(0.3)
    assert model.bias.grad.item() == pytest.approx(0.4)


def test_gradients_are_clipped_from_the_configured_step():
    """AdamW's first moment after a step is a tenth of the gradient."""
    config = small_config(train__clip_grad_norm=1e-3, train__clip_from_step=1)
    state = new_state(config, CPU)

    def norm_of_moments() -> float:
        parts = [v["exp_avg"] for v in state.optimizer.state.values()]
        return torch.cat([part.flatten() for part in parts]).norm().item()

    first = take_step(state, config, random_batch(config)).grad_norm.item()
    assert norm_of_moments() == pytest.approx(first / 10, rel=1e-4)
    state = new_state(config, CPU)
    state.step = 1
    assert take_step(state, config, random_batch(config)).grad_norm.item() > 1e-2
    assert norm_of_moments() == pytest.approx(1e-4, rel=1e-3)


def test_compiled_blocks_take_the_same_step(monkeypatch):
    compiled = partial(nn.Module.compile, backend="aot_eager", fullgraph=True)
    compiled_blocks = []

    def compile_block(block: nn.Module, *, dynamic: bool) -> None:
        assert not dynamic, "each size for itself"
        compiled_blocks.append(block)
        compiled(block, dynamic=dynamic)

    values = {"model__variant": 3, "model__depth": 1, "train__checkpointing": "blocks"}
    config = small_config(train__compile="auto", **values)
    eager = take_step(new_state(config, CPU), config, random_batch(config))
    assert not compiled_blocks, "on a CPU not before it is settled"
    monkeypatch.setattr(nn.Module, "compile", compile_block)
    config = small_config(train__compile="blocks", **values)
    state = new_state(config, CPU)
    assert compiled_blocks == list(state.model.blocks)
    step = take_step(state, config, random_batch(config))
    assert step.grad_norm.item() == pytest.approx(eager.grad_norm.item(), rel=1e-4)
    assert set(state.model.state_dict()) == set(state.ema.state_dict()), "names are kept"


def test_the_learning_rate_warms_up_and_decays_by_half_a_cosine():
    flat = load_config(None, ["train.warmup_steps=4"])
    assert [learning_rate(flat.train, s, 1) for s in (0, 1, 3, 4, 10**6)] == [0.2, 0.4, 0.8, 1, 1]
    cosine = load_config(None, ["train.lr_schedule=cosine", "train.steps=100"])
    assert learning_rate(cosine.train, 0, 1) == 1
    assert learning_rate(cosine.train, 50, 1) == pytest.approx(0.5)
    assert learning_rate(cosine.train, 100, 1) == pytest.approx(0)


def test_every_clip_of_a_batch_is_in_one_micro_batch(monkeypatch):
    config = small_config(train__batch_size=12, train__accumulate=2)
    taken = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        own = micro_batches(config.train)
        assert [len(indices) for indices in own] == [2, 2]
        taken += [index for indices in own for index in indices]
    assert sorted(taken) == list(range(12))


def test_the_error_on_a_batch_that_does_not_divide_names_one_that_does(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(ConfigError, match="40 does not divide among 8 processes") as caught:
        micro_batches(small_config(train__batch_size=40, train__accumulate=3).train)
    assert "train.batch_size=48" in caught.value.hint


def test_the_ema_is_the_weighted_mean_of_past_weights():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = copy.deepcopy(model)
    expected = 0.0
    for step, value in enumerate([1.0, 3.0, -2.0], start=1_000_000):
        nn.init.constant_(model.weight, value)
        update_ema(ema, model, 0.9, step)
        expected = 0.9 * expected + 0.1 * value
    assert ema.weight.item() == pytest.approx(expected)


def test_a_young_ema_forgets_its_initialization():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 100.0)
    ema = copy.deepcopy(model)
    nn.init.zeros_(model.weight)
    for step in range(1, 21):
        update_ema(ema, model, 0.9999, step)
    assert abs(ema.weight.item()) < 1e-3
