"""Tokens that wait while others pass through some blocks: what they see, and where they return."""

import pytest
import torch
from torch import Tensor, nn

from latte_cli.config.train_section import count_passing
from latte_cli.models import Latte, LatteShape
from latte_cli.models.inputs import Route
from latte_cli.runtime.randomness import random_positions, seeded

FRAMES, SIDE = 3, 4
TOKENS = 4  # a frame of 4 x 4 latents, patches of 2


def network(**values: object) -> Latte:
    torch.manual_seed(0)
    shape = {"depth": 4, "variant": 1} | values
    model = Latte(LatteShape(SIDE, FRAMES, 2, 16, shape.pop("depth"), 2, **shape))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def inputs(images: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, FRAMES + images, 4, SIDE, SIDE, generator=generator), torch.tensor([3, 9])


def tokens_between(model: Latte, *args: object, **cond: object) -> list[Tensor]:
    """The input of each block, then of the final layer."""
    seen: list[Tensor] = []
    hooks = [
        part.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        for part in (*model.blocks, model.final_layer)
    ]
    model(*args, **cond)
    for hook in hooks:
        hook.remove()
    return seen


def place(x: Tensor, position: int) -> Tensor:
    """The latents under a token, (b, f, c, 2, 2): a view."""
    row, column = divmod(position, SIDE // 2)
    return x[..., 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]


WAITING = (1, 2)
PASSING = torch.tensor([[0, 3], [0, 3]])


@pytest.mark.parametrize("variant", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "values", [{}, {"temporal_position": "rope"}, {"injection": "tokens"}], ids=str
)
@pytest.mark.parametrize("images", [0, 2])
def test_if_no_token_waits_it_is_the_network_bit_for_bit(variant, values, images):
    model = network(variant=variant, **values)
    x, t = inputs(images)
    every = Route(range(1, 3), torch.arange(TOKENS).expand(2, -1))
    with torch.no_grad():
        routed = model(x, t, num_images=images, route=every)
        assert torch.equal(routed, model(x, t, num_images=images))
        fewer = model(x, t, num_images=images, route=Route(range(1, 3), PASSING))
    assert fewer.shape == routed.shape
    assert not torch.equal(fewer, routed)


@pytest.mark.parametrize("extra", [0, 1])
def test_blocks_get_rectangles_and_waiting_tokens_return_to_their_places(extra):
    model = network(injection="tokens" if extra else "s-adaln")
    positions = torch.tensor([[0, 3], [1, 2]])
    seen = tokens_between(model, *inputs(), route=Route(range(1, 3), positions))
    assert [each.shape[2] for each in seen[:4]] == [n + extra for n in (4, 2, 2, 4)]
    before = seen[1]  # block 1 sees passing tokens, with the positions of frames
    whole = tokens_between(model, *inputs())[1]
    for clip, (passing, waiting) in enumerate(zip([[0, 3], [1, 2]], [[1, 2], [0, 3]], strict=True)):
        assert torch.equal(before[clip, :, :2], whole[clip][:, passing])
        assert torch.equal(seen[3][clip][:, waiting], whole[clip][:, waiting])
        assert not torch.equal(seen[3][clip][:, passing], whole[clip][:, passing])
    if extra:
        assert torch.equal(before[:, :, -1], whole[:, :, -1]), "conditioning never waits"


def test_tokens_that_wait_get_the_positions_of_frames_too():
    model, route = network(depth=2), Route(range(2), PASSING)
    x, t = inputs()
    *_, at_end = tokens_between(model, x, t, route=route)
    alike = model.x_embedder(x) + model._spatial_positions((2, 2))
    expected = alike + model._frame_positions(FRAMES, 0)
    assert torch.equal(at_end[:, :, WAITING], expected[:, :, WAITING])


def test_only_tokens_that_pass_see_one_another():
    """All blocks are skipped by the waiting ones, so that nothing else mixes tokens."""
    model, (x, t) = network(), inputs()
    route = Route(range(4), PASSING)
    with torch.no_grad():
        plain = model(x, t, route=route)
        for changed in range(TOKENS):
            other = x.clone()
            place(other, changed)[:, 0] += 1  # of the first frame
            out = model(other, t, route=route)
            for seen in range(TOKENS):
                same = torch.equal(place(out, seen), place(plain, seen))
                reaches = seen == changed or (changed not in WAITING and seen not in WAITING)
                assert same != reaches, (changed, seen)
            over_time = not torch.equal(place(out, changed)[:, 1], place(plain, changed)[:, 1])
            assert over_time == (changed not in WAITING)


def test_gradients_reach_waiting_tokens_through_the_skip():
    model, (x, t) = network(), inputs()
    x.requires_grad_()
    out = model(x, t, route=Route(range(4), PASSING))
    place(out, 1).square().sum().backward()
    assert place(x.grad, 1).abs().min() > 0
    assert all(not place(x.grad, other).any() for other in (0, 2, 3))
    assert all(p.grad is None or not p.grad.any() for p in model.blocks.parameters())
    assert model.x_embedder.proj.weight.grad.abs().max() > 0


def test_positions_are_some_of_all_each_once_in_order():
    counts = torch.zeros(10)
    for seed in range(200):
        found = random_positions(10, 4, seeded(seed))
        assert found.tolist() == sorted(set(found.tolist()))
        assert len(found) == 4
        counts[found] += 1
    assert (counts / 200).sub(0.4).abs().max() < 0.15


@pytest.mark.parametrize(
    ("tokens", "share", "passing"),
    [(256, 0.5, 128), (256, 0, 256), (4, 0.5, 2), (2, 0.9, 1), (2, 0.1, 2), (5, 0.99, 1)],
)
def test_at_least_one_token_passes(tokens, share, passing):
    assert count_passing(tokens, share) == passing


def test_skipped_blocks_are_as_if_they_were_not_there():
    """Also the first block over time, before which positions of frames are added."""
    model = network(num_classes=3)
    x, t = inputs()
    y = torch.tensor([0, 3])
    out = model(x, t, y, skip={1, 2})
    for number in (1, 2):
        block = model.blocks[number]
        nn.init.zeros_(block.adaLN_modulation[1].weight)  # gates of zero: an identity
        nn.init.zeros_(block.adaLN_modulation[1].bias)
    torch.testing.assert_close(out, model(x, t, y))
