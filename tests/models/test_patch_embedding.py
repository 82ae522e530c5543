"""Uniform and compression frame patch embedding, and the way back (Latte, section 3.3.1)."""

# Axes: b clips, f frames, r frames in a tube, c latent channels, h w latent size, s tokens of a
# frame, d width, p patch.

import pytest
import torch
from helpers.networks import differ, initial_latte, inputs, random_latte, randomized, record_blocks
from torch import nn

from latte_cli.models.embeddings import PatchEmbedding, TubeUpsampling, unpatchify


def test_patches_become_tokens_in_row_major_order_and_back():
    """A projection that keeps all of a patch's values loses nothing."""
    x = torch.randn(2, 3, 4, 4, 6)
    embedding = PatchEmbedding(4, 16, 2)
    values = torch.eye(16).view(2, 2, 4, 16).permute(3, 2, 0, 1)  # token entry (p, q, c)
    embedding.proj.weight.data.copy_(values)
    nn.init.zeros_(embedding.proj.bias)
    tokens = embedding(x)
    assert tokens.shape == (2, 3, 6, 16)
    assert torch.equal(unpatchify(tokens, (2, 3), 2), x)


@pytest.mark.parametrize("tube", [1, 2, 4])
def test_tubes_divide_the_frames_into_fewer_tokens(tube):
    model = random_latte(tube=tube, num_frames=8)
    x, cond = inputs(model)
    with record_blocks(model.blocks) as passed:
        out = model(x, **cond)
    assert out.shape == (2, 8, 8, 4, 4)
    assert all(given.shape == (2, 8 // tube, 4, 16) for given, _ in passed)
    assert model.temp_embed.shape == (1, 8 // tube, 16)


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_a_tube_with_weights_for_one_frame_embeds_that_frame(frame):
    tubes, single = PatchEmbedding(4, 16, 2, tube=3), randomized(PatchEmbedding(4, 16, 2))
    nn.init.zeros_(tubes.proj.weight)
    tubes.proj.weight.data[:, :, frame] = single.proj.weight.data
    tubes.proj.bias.data.copy_(single.proj.bias)
    x = torch.randn(2, 6, 4, 4, 4)
    torch.testing.assert_close(tubes(x), single(x[:, frame::3]))


def test_a_tube_of_one_frame_is_the_uniform_embedding():
    tubes, uniform = random_latte(tube=1), initial_latte()
    with torch.no_grad():
        tubes.upsample.init_as_copies()
        nn.init.zeros_(tubes.upsample.deconv.bias)
    weights = {k: v for k, v in tubes.state_dict().items() if not k.startswith("upsample.")}
    weights["x_embedder.proj.weight"] = weights["x_embedder.proj.weight"].squeeze(2)
    uniform.load_state_dict(weights)
    x, cond = inputs(tubes)
    torch.testing.assert_close(tubes(x, **cond), uniform(x, **cond), atol=1e-4, rtol=1e-5)


def test_each_frame_of_a_tube_begins_as_the_tubes_prediction():
    model = initial_latte(tube=2)
    before = torch.randn(2, 2, 8, 4, 4)
    assert torch.equal(model.upsample(before), before.repeat_interleave(2, dim=1))
    for name, parameter in model.named_parameters():
        if not name.startswith("upsample."):
            nn.init.normal_(parameter, std=0.3)
    x, cond = inputs(model)
    out = model(x, **cond)
    assert torch.equal(out[:, 0::2], out[:, 1::2])
    assert differ(out[:, 0], out[:, 2], over=(1, 2, 3)).all(), "another tube predicts otherwise"


def test_upsampling_is_linear_in_each_tube():
    """A transposed convolution whose stride is its size: frame k of a tube has matrix k."""
    upsampling = randomized(TubeUpsampling(8, 3))
    x = torch.randn(2, 2, 8, 4, 5)
    weight, bias = upsampling.deconv.weight[..., 0, 0], upsampling.deconv.bias
    frames = torch.einsum("bfchw,cor->bfrohw", x, weight) + bias[:, None, None]
    torch.testing.assert_close(upsampling(x), frames.flatten(1, 2), atol=1e-5, rtol=1e-5)


def test_a_frame_only_changes_the_token_of_its_tube():
    model = random_latte(tube=2, num_frames=8)
    x, cond = inputs(model, clips=1)
    touched = x.clone()
    touched[:, 5] += 1
    with record_blocks(model.blocks) as passed:
        model(x, **cond)
        model(touched, **cond)
    moved = differ(passed[2][0], passed[0][0], over=(0, 2, 3))
    assert moved.tolist() == [False, False, True, False]
