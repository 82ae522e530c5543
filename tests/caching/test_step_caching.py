"""Step caching: what is skipped, what is added instead, and that a network stays what it was."""

import pytest
import torch
from helpers.caching_networks import DEPTH, NOISE, STEPS, class_network, text_network, told

from latte_cli.caching import Adaptive, AttentionBroadcast, Schedule, cached
from latte_cli.caching.progress import pairs_of, shadowed
from latte_cli.diffusion import Diffusion, build_sampler, denoise, guided
from latte_cli.runtime.errors import CheckpointError

ALL = frozenset(range(STEPS))


def draw(model, policy, noise=NOISE, timesteps=None):
    """Latents by DDIM, guided, and what was computed."""
    sampler = build_sampler("ddim", Diffusion(), STEPS)
    denoiser = guided(model, *told(model, len(noise)), 3.0, timesteps=timesteps)
    with cached(model, policy) as tally:
        return denoise(denoiser, noise, sampler, []), tally


def parts_of(model):
    """All that a policy may put in the way of."""
    return {name: dict(module.__dict__) for name, module in model.named_modules()}


NETWORKS = {
    "variant 1": class_network,
    "variant 3": lambda: class_network(3),
    "variant 4": lambda: class_network(4),
    "text": text_network,
}
networks = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def every_step(model):
    return Schedule((ALL,) * len(pairs_of(model)))


@networks
@pytest.mark.parametrize(
    "policy", [every_step, lambda m: Adaptive(0.0), lambda m: AttentionBroadcast(1, 1, 1), None]
)
def test_a_policy_that_skips_nothing_changes_no_bit(make, policy):
    model = make()
    sampler = build_sampler("ddim", Diffusion(), STEPS)
    expected = denoise(guided(model, *told(model), 3.0), NOISE, sampler, [])
    found, tally = draw(model, policy and policy(model))
    assert torch.equal(found, expected)
    assert tally.blocks == tally.blocks_in_all == STEPS * DEPTH
    assert tally.attentions == tally.attentions_in_all


def changes_of(model, policy, calls):
    """What the last block adds at each call of the network: x grows with the step."""
    found, block = [], pairs_of(model)[-1][-1]

    def look(module, values, out):
        found.append(out - values[0])

    hook = block.register_forward_hook(look)
    with cached(model, policy), torch.no_grad():
        for step in range(calls):
            model(NOISE * (1 + step), torch.tensor([900 - step]), **told(model)[0])
    hook.remove()
    return found


@networks
def test_a_skipped_block_adds_what_it_added_carried_on_along_a_line(make):
    model = make()
    computed = frozenset({0, 2, 5})
    plain = changes_of(model, every_step(model), 6)
    others = (ALL,) * (len(pairs_of(model)) - 1)
    found = changes_of(model, Schedule((*others, computed)), 6)
    slope = (plain[2] - plain[0]) / 2
    expected = [plain[0], plain[0], plain[2], plain[2] + slope, plain[2] + 2 * slope, plain[5]]
    for there, asked in zip(found, expected, strict=True):
        torch.testing.assert_close(there, asked, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(plain[3], plain[2], atol=1e-2), "else re-use would pass, too"


@networks
def test_counts_are_those_of_the_schedule(make):
    model = make()
    pairs = pairs_of(model)
    schedule = Schedule((ALL, *[frozenset({0, 3})] * (len(pairs) - 1)))
    _, tally = draw(model, schedule)
    assert tally.blocks_in_all == STEPS * DEPTH
    assert tally.blocks == len(pairs[0]) * STEPS + (DEPTH - len(pairs[0])) * 2


@networks
@pytest.mark.parametrize(
    "policy", [every_step, lambda m: Adaptive(), lambda m: AttentionBroadcast()]
)
def test_a_network_is_as_it_was_afterwards_also_after_an_error(make, policy):
    model = make()
    before = parts_of(model)
    draw(model, policy(model))
    assert parts_of(model) == before
    with pytest.raises(RuntimeError, match="stop"), cached(model, policy(model)):
        assert parts_of(model) != before
        raise RuntimeError("stop")
    assert parts_of(model) == before


def test_what_stood_in_before_stands_in_again():
    module = torch.nn.Identity()
    with shadowed(module, "forward", lambda x: x + 1):
        with shadowed(module, "forward", lambda x: x + 2):
            assert module(0) == 2
        assert module(0) == 1
    assert module(0) == 0


def test_where_guidance_changes_the_batch_blocks_are_computed_anew():
    """Guided at the noisier half alone: the batch shrinks at the fourth of six steps."""
    model = class_network()
    once = Schedule((frozenset({0}),) * (DEPTH // 2))
    _, tally = draw(model, once, timesteps=range(500, 1000))
    assert tally.blocks == 2 * DEPTH


@pytest.mark.parametrize("policy", [Schedule((frozenset({0, 3}),) * 2), AttentionBroadcast()])
def test_nothing_is_carried_over_to_the_next_batch(policy):
    model = class_network()
    expected, _ = draw(model, policy)
    sampler = build_sampler("ddim", Diffusion(), STEPS)
    with cached(model, policy):
        for noise in (-2 * NOISE, NOISE):
            found = denoise(guided(model, *told(model), 3.0), noise, sampler, [])
    assert torch.equal(found, expected)


def test_a_clip_does_not_depend_on_its_company():
    model = class_network()
    schedule = Schedule((frozenset({0, 1, 4}),) * 2)
    alone, _ = draw(model, schedule)
    among, _ = draw(model, schedule, torch.cat([NOISE, -NOISE]))
    torch.testing.assert_close(among[:1], alone, rtol=1e-3, atol=1e-2)  # rounding, on the way
    assert not torch.allclose(among[1:], alone, rtol=1e-3, atol=1)
    assert not schedule.one_by_one
    assert Adaptive().one_by_one


@networks
def test_adaptive_skips_all_pairs_but_the_first_while_that_one_changes_little(make):
    model = make()
    first = len(pairs_of(model)[0])
    _, tally = draw(model, Adaptive(1e9))
    assert tally.blocks == STEPS * first + (DEPTH - first)
    _, some = draw(model, Adaptive(0.05))
    _, more = draw(model, Adaptive(0.5))
    assert tally.blocks <= more.blocks <= some.blocks <= STEPS * DEPTH


def test_adaptive_compares_with_the_last_step_at_which_all_was_computed():
    """The first pair's change grows by a tenth a step: with 0.25 every third step is computed."""
    model = class_network()
    scales = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    calls = iter(scales)
    spatial, temporal = pairs_of(model)[0]
    now = []

    def grown(x, *values):
        now[:] = [next(calls)]
        return x + now[0]

    with (
        shadowed(spatial, "forward", grown),
        shadowed(temporal, "forward", lambda x, *v: x + now[0]),
    ):
        _, tally = draw(model, Adaptive(0.25))
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
        # Of variant 4 each attention is half spatial.
        (lambda: class_network(4), 4 * 4),
        # A block of variant 3 has one of each kind.
        (lambda: class_network(3), 4 * 4 + 4 * 3),
    ],
)
def test_attentions_are_broadcast_over_steps_by_their_kind(make, computed):
    model = make()
    plain, whole = draw(model, AttentionBroadcast(1, 1, 1))
    found, tally = draw(model, AttentionBroadcast(2, 4, 6))
    assert tally.attentions_in_all == whole.attentions
    assert tally.attentions == computed
    assert tally.blocks == tally.blocks_in_all
    assert not torch.equal(found, plain)


def test_outside_of_the_range_all_attentions_are_computed():
    _, tally = draw(class_network(), AttentionBroadcast(low=999, high=1000))
    assert tally.attentions == tally.attentions_in_all == STEPS * DEPTH


def test_a_schedule_for_another_network_is_told():
    with pytest.raises(CheckpointError, match="a cache for 7 pairs of blocks, this network has 2"):
        draw(class_network(), Schedule((ALL,) * 7))


def test_policies_that_draw_otherwise_have_other_names():
    schedules = [Schedule((ALL, frozenset({0}))), Schedule((frozenset({0}), ALL))]
    policies = [
        *schedules,
        Adaptive(0.1),
        Adaptive(0.2),
        AttentionBroadcast(),
        AttentionBroadcast(3),
    ]
    assert len({policy.name for policy in policies}) == len(policies)
