"""Cache policies: what is skipped, what is reused instead, and that the network is restored."""

import pytest
import torch
from helpers.caching_networks import DEPTH, NOISE, STEPS, class_network, conditioning, text_network

from latte_cli.caching import Adaptive, AttentionBroadcast, Schedule, cached
from latte_cli.caching.policy import block_pairs, patched
from latte_cli.diffusion import Diffusion, build_sampler, denoise, guided
from latte_cli.runtime.errors import CheckpointError

ALL = frozenset(range(STEPS))


def sample(model, policy, noise=NOISE, timesteps=None):
    """Guided DDIM latents, and the tally."""
    sampler = build_sampler("ddim", Diffusion(), STEPS)
    denoiser = guided(model, *conditioning(model, len(noise)), 3.0, timesteps=timesteps)
    with cached(model, policy) as tally:
        return denoise(denoiser, noise, sampler, []), tally


def module_attributes(model):
    """All that a policy may patch."""
    return {name: dict(module.__dict__) for name, module in model.named_modules()}


NETWORKS = {
    "variant 1": class_network,
    "variant 3": lambda: class_network(3),
    "variant 4": lambda: class_network(4),
    "variant 6": lambda: class_network(6),
    "text": text_network,
}
networks = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def every_step(model):
    return Schedule((ALL,) * len(block_pairs(model)))


@networks
@pytest.mark.parametrize(
    "policy", [every_step, lambda m: Adaptive(0.0), lambda m: AttentionBroadcast(1, 1, 1), None]
)
def test_a_policy_that_skips_nothing_is_bit_identical(make, policy):
    model = make()
    sampler = build_sampler("ddim", Diffusion(), STEPS)
    expected = denoise(guided(model, *conditioning(model), 3.0), NOISE, sampler, [])
    found, tally = sample(model, policy and policy(model))
    assert torch.equal(found, expected)
    assert tally.blocks == tally.blocks_total == STEPS * DEPTH
    assert tally.attentions == tally.attentions_total


def last_residuals(model, policy, calls):
    """The last block's residual at each call of the network: x grows with the step."""
    found, block = [], block_pairs(model)[-1][-1]

    def look(module, values, out):
        found.append(out - values[0])

    hook = block.register_forward_hook(look)
    with cached(model, policy), torch.no_grad():
        for step in range(calls):
            model(NOISE * (1 + step), torch.tensor([900 - step]), **conditioning(model)[0])
    hook.remove()
    return found


@networks
def test_a_skipped_block_adds_the_linearly_extrapolated_residual(make):
    model = make()
    computed = frozenset({0, 2, 5})
    plain = last_residuals(model, every_step(model), 6)
    others = (ALL,) * (len(block_pairs(model)) - 1)
    found = last_residuals(model, Schedule((*others, computed)), 6)
    slope = (plain[2] - plain[0]) / 2
    expected = [plain[0], plain[0], plain[2], plain[2] + slope, plain[2] + 2 * slope, plain[5]]
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(plain[3], plain[2], atol=1e-2), (
        "otherwise plain reuse would pass, too"
    )


@networks
def test_the_tally_matches_the_schedule(make):
    model = make()
    pairs = block_pairs(model)
    schedule = Schedule((ALL, *[frozenset({0, 3})] * (len(pairs) - 1)))
    _, tally = sample(model, schedule)
    assert tally.blocks_total == STEPS * DEPTH
    assert tally.blocks == len(pairs[0]) * STEPS + (DEPTH - len(pairs[0])) * 2


@networks
@pytest.mark.parametrize(
    "policy", [every_step, lambda m: Adaptive(), lambda m: AttentionBroadcast()]
)
def test_the_network_is_restored_also_after_an_error(make, policy):
    model = make()
    before = module_attributes(model)
    sample(model, policy(model))
    assert module_attributes(model) == before
    with pytest.raises(RuntimeError, match="stop"), cached(model, policy(model)):
        assert module_attributes(model) != before
        raise RuntimeError("stop")
    assert module_attributes(model) == before


def test_patches_nest():
    module = torch.nn.Identity()
    with patched(module, "forward", lambda x: x + 1):
        with patched(module, "forward", lambda x: x + 2):
            assert module(0) == 2
        assert module(0) == 1
    assert module(0) == 0


def test_blocks_are_computed_where_guidance_changes_the_batch_size():
    """Guided at the noisier half only: the batch shrinks at the fourth of six steps."""
    model = class_network()
    once = Schedule((frozenset({0}),) * (DEPTH // 2))
    _, tally = sample(model, once, timesteps=range(500, 1000))
    assert tally.blocks == 2 * DEPTH


@pytest.mark.parametrize("policy", [Schedule((frozenset({0, 3}),) * 2), AttentionBroadcast()])
def test_nothing_is_reused_from_the_batch_before(policy):
    model = class_network()
    expected, _ = sample(model, policy)
    sampler = build_sampler("ddim", Diffusion(), STEPS)
    with cached(model, policy):
        for noise in (-2 * NOISE, NOISE):
            found = denoise(guided(model, *conditioning(model), 3.0), noise, sampler, [])
    assert torch.equal(found, expected)


def test_a_clip_does_not_depend_on_the_others_of_its_batch():
    model = class_network()
    schedule = Schedule((frozenset({0, 1, 4}),) * 2)
    alone, _ = sample(model, schedule)
    batched, _ = sample(model, schedule, torch.cat([NOISE, -NOISE]))
    torch.testing.assert_close(batched[:1], alone, rtol=1e-3, atol=1e-2)  # rounding
    assert not torch.allclose(batched[1:], alone, rtol=1e-3, atol=1)
    assert not schedule.needs_batch_of_one
    assert Adaptive().needs_batch_of_one


@networks
def test_adaptive_computes_only_the_first_pair_while_it_changes_little(make):
    model = make()
    first = len(block_pairs(model)[0])
    _, tally = sample(model, Adaptive(1e9))
    assert tally.blocks == STEPS * first + (DEPTH - first)
    _, some = sample(model, Adaptive(0.05))
    _, more = sample(model, Adaptive(0.5))
    assert tally.blocks <= more.blocks <= some.blocks <= STEPS * DEPTH


def test_adaptive_compares_with_the_last_fully_computed_step():
    """The first pair's change grows by a tenth a step: with 0.25 every third step is computed."""
    model = class_network()
    scales = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    calls = iter(scales)
    spatial, temporal = block_pairs(model)[0]
    now = []

    def grown(x, *values):
        now[:] = [next(calls)]
        return x + now[0]

    with (
        patched(spatial, "forward", grown),
        patched(temporal, "forward", lambda x, *v: x + now[0]),
    ):
        _, tally = sample(model, Adaptive(0.25))
    # Skipped: 1.1 and 1.2 against 1.0; 1.4 and 1.5 against 1.3.
    assert tally.blocks == STEPS * 2 + 2 * 2


@pytest.mark.parametrize(
    ("make", "computed"),
    [
        # Timesteps 999, 799, 599, 399, 200, 0; between 100 and 800: four, at steps 1 to 4.
        # Two spatial attentions serve 2 steps (0, 2, 4, 5), two temporal ones 4 (0, 4, 5).
        (class_network, 2 * 4 + 2 * 3),
        # Two attentions to text serve 6: (0, 5).
        (text_network, 2 * 4 + 2 * 3 + 2 * 2),
        # Variants 5 and 6 alternate, too.
        (lambda: class_network(5), 2 * 4 + 2 * 3),
        (lambda: class_network(6), 2 * 4 + 2 * 3),
        # Of variant 4 each attention is half spatial.
        (lambda: class_network(4), 4 * 4),
        # A block of variant 3 has one of each kind.
        (lambda: class_network(3), 4 * 4 + 4 * 3),
    ],
)
def test_attentions_are_broadcast_over_steps_by_their_kind(make, computed):
    model = make()
    plain, whole = sample(model, AttentionBroadcast(1, 1, 1))
    found, tally = sample(model, AttentionBroadcast(2, 4, 6))
    assert tally.attentions_total == whole.attentions
    assert tally.attentions == computed
    assert tally.blocks == tally.blocks_total
    assert not torch.equal(found, plain)


def test_all_attentions_are_computed_outside_the_range():
    _, tally = sample(class_network(), AttentionBroadcast(low=999, high=1000))
    assert tally.attentions == tally.attentions_total == STEPS * DEPTH


def test_a_schedule_of_another_network_raises():
    with pytest.raises(CheckpointError, match="a cache for 7 pairs of blocks, this network has 2"):
        sample(class_network(), Schedule((ALL,) * 7))


def test_different_policies_have_different_names():
    schedules = [Schedule((ALL, frozenset({0}))), Schedule((frozenset({0}), ALL))]
    policies = [
        *schedules,
        Adaptive(0.1),
        Adaptive(0.2),
        AttentionBroadcast(),
        AttentionBroadcast(3),
    ]
    assert len({policy.name for policy in policies}) == len(policies)
