"""The text-to-video network against diffusers' own, and what its texts and images reach."""

# Axes: b clips, f frames, i images, c latent channels, h w latent size, l tokens of text.

import warnings

import pytest
import torch
import torch.nn.functional as F
from diffusers import LatteTransformer3DModel
from einops import rearrange
from helpers.networks import (
    differ,
    initial_text,
    random_text,
    randomized,
    relative_error,
    text_inputs,
)
from torch import Tensor

from latte_cli.models import LatteT2V, TextShape
from latte_cli.models.shapes import interpolation_scale
from latte_cli.models.text_layers import Text
from latte_cli.runtime.errors import LatteWarning

TOKENS, TEXT_WIDTH = 6, 32


def networks(size: int) -> tuple[LatteTransformer3DModel, LatteT2V]:
    """Diffusers' network with random weights, and ours with the same."""
    theirs = LatteTransformer3DModel(
        num_attention_heads=3,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=24,
        attention_bias=True,
        sample_size=size,
        patch_size=2,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        caption_channels=TEXT_WIDTH,
        video_length=16,
    )
    randomized(theirs, std=0.2)
    scale = interpolation_scale(size)
    ours = LatteT2V(
        TextShape(size, 16, 2, 24, 4, 3, text_width=TEXT_WIDTH, interpolation_scale=scale)
    )
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours.eval()


def cond(clips: int) -> tuple[Tensor, Tensor, Tensor]:
    """Timesteps, texts, and a mask under which they have other lengths."""
    mask = torch.arange(TOKENS) < torch.tensor([[TOKENS], [3], [1]])[:clips]
    return torch.tensor([10, 500, 999])[:clips], torch.randn(clips, TOKENS, TEXT_WIDTH), mask


def diffusers_output(
    model: LatteTransformer3DModel, x: Tensor, t: Tensor, text: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Its axes are (b, c, f, h, w), and its mask is a bias for each frame, (b f, 1, l)."""
    bias = None
    if mask is not None:
        bias = ((1 - mask.float()) * -1e4)[:, None].repeat_interleave(x.shape[1], dim=0)
    with torch.no_grad():
        out = model(x.transpose(1, 2), t, text, encoder_attention_mask=bias).sample
    return out.transpose(1, 2)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("size", "frames", "rows", "columns"),
    [
        (8, 16, 8, 8),
        (8, 1, 8, 8),
        (8, 16, 6, 12),
        (32, 16, 32, 32),
        (32, 16, 8, 20),
        (32, 1, 64, 48),
        (128, 16, 8, 12),
    ],
)
def test_output_matches_diffusers(size, frames, rows, columns, padded):
    """At the trained size and others, for clips and pictures, with texts of one length or not."""
    theirs, ours = networks(size)
    x, (t, text, mask) = torch.randn(2, frames, 4, rows, columns), cond(2)
    mask = mask if padded else None
    with torch.no_grad():
        out = ours(x, t, text=text, text_mask=mask)
    expected = diffusers_output(theirs, x, t, text, mask)
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=0)


def test_interpolated_positions_match_diffusers():
    """Latents of 128 x 128, of 1024 pixels, at which PixArt-alpha halves positions."""
    theirs, ours = networks(128)
    x, (t, text, _) = torch.randn(1, 1, 4, 128, 128), cond(1)
    with torch.no_grad():
        out = ours(x, t, text=text)
    torch.testing.assert_close(out, diffusers_output(theirs, x, t, text), atol=1e-4, rtol=0)


@pytest.mark.parametrize("frames", [8, 32])
def test_other_lengths_run_with_a_warning(frames):
    """Its table of frame positions has one length; ours is made for the clip."""
    theirs, ours = networks(8)
    x, (t, text, _) = torch.randn(1, frames, 4, 8, 8), cond(1)
    with pytest.raises(RuntimeError, match="must match the size"):
        diffusers_output(theirs, x, t, text)
    with pytest.warns(LatteWarning, match=f"{frames} frames for a network trained on 16"):
        assert ours(x, t, text=text).shape == (1, frames, 8, 8, 8)


@pytest.mark.parametrize("frames", [1, 16])
def test_trained_lengths_and_images_run_without_a_warning(frames):
    _, ours = networks(8)
    t, text, _ = cond(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours(torch.randn(1, frames, 4, 8, 8), t, text=text)


@pytest.mark.parametrize("padded", [False, True])
def test_bf16_is_close_to_float32(padded):
    theirs, ours = networks(8)
    x, (t, text, mask) = torch.randn(3, 16, 4, 8, 8), cond(3)
    mask = mask if padded else None
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        out = ours(x, t, text=text, text_mask=mask)
    assert out.dtype == torch.bfloat16, "products were taken in bf16"
    assert relative_error(out.float(), diffusers_output(theirs, x, t, text, mask)) <= 2e-2


def test_padding_has_no_effect():
    model = random_text()
    x, given = text_inputs(model, images=2)
    padding = {"text": 9.0 * torch.randn(2, 3, 12), "text_image": 9.0 * torch.randn(2, 2, 3, 12)}
    masks = {}
    for name, rest in padding.items():
        masks[f"{name}_mask"] = torch.arange(TOKENS + 3).expand(*rest.shape[:-2], -1) < TOKENS
        padding[name] = torch.cat([given[name], rest], dim=-2)
    out = model(x, **given)
    assert relative_error(model(x, **{**given, **padding, **masks}), out) < 1e-5
    assert relative_error(model(x, **{**given, **padding}), out) > 0.1, "without masks it is seen"


def moved_frames(model: LatteT2V, given: dict[str, object], **changed: object) -> list[bool]:
    """Which of the f + i frames of the output change with some of the inputs."""
    return differ(model(**{**given, **changed}), model(**given), over=(0, 2, 3, 4)).tolist()


@pytest.mark.parametrize("joint", ["temporal-mask", "only-video"])
def test_images_and_video_do_not_depend_on_each_other_or_each_others_texts(joint):
    model = random_text(joint=joint)
    x, given = text_inputs(model, clips=1, images=3)
    given = {"x": x, **given}
    video = [frame < 4 for frame in range(7)]
    for frame in range(7):
        other = x.clone()
        other[:, frame] += torch.randn(4, 4, 4)
        own = video if frame < 4 else [frame == place for place in range(7)]
        assert moved_frames(model, given, x=other) == own
    assert moved_frames(model, given, text=torch.randn(1, TOKENS, 12)) == video
    for image in range(3):
        texts = given["text_image"].clone()
        texts[0, image] += torch.randn(TOKENS, 12)
        own = [place == 4 + image for place in range(7)]
        assert moved_frames(model, given, text_image=texts) == own


def test_each_text_has_its_own_mask():
    """A token that is masked for one image is still read by the others, and by the video."""
    model = random_text()
    x, given = text_inputs(model, clips=1, images=3)
    mask = torch.ones(1, 3, TOKENS, dtype=torch.bool)
    given = {"x": x, **given, "text_image_mask": mask}
    hidden = mask.clone()
    hidden[0, 1, 2:] = False
    own = [place == 5 for place in range(7)]
    assert moved_frames(model, given, text_image_mask=hidden) == own
    texts = given["text_image"].clone()
    texts[:, :, 2:] += 1
    others = [place in (4, 6) for place in range(7)]
    assert moved_frames(model, {**given, "text_image_mask": hidden}, text_image=texts) == others


def test_an_image_under_the_temporal_mask_is_a_clip_of_one_frame_alone():
    """A clip of one frame has no temporal position in this network, as an image has none."""
    model = random_text(joint="temporal-mask")
    x, given = text_inputs(model, images=3)
    out = model(x, **given)
    for image in range(3):
        picture = x[:, 4 + image, None]
        alone = model(picture, given["t"], text=given["text_image"][:, image])
        assert relative_error(out[:, 4 + image, None], alone) < 1e-5
    clip = model(x[:, :4], given["t"], text=given["text"])
    assert relative_error(out[:, :4], clip) < 1e-5


def test_temporal_blocks_begin_as_identity():
    model = initial_text()
    tokens, c = torch.randn(2, 4, 4, 16), torch.randn(2, 1, 6, 16)
    for block in model.temporal_transformer_blocks:
        assert torch.equal(block(tokens, c), tokens)
    for block in model.transformer_blocks:
        assert not torch.equal(block(tokens, c), tokens)


def test_a_few_steps_train_every_parameter():
    model = initial_text().train()
    x, given = text_inputs(model, images=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    target, moved = torch.randn_like(model(x, **given)), set()
    for _ in range(4):
        optimizer.zero_grad()
        F.mse_loss(model(x, **given), target).backward()
        moved = {name for name, p in model.named_parameters() if p.grad.any()}
        optimizer.step()
    assert moved == {name for name, _ in model.named_parameters()}


def test_cross_attention_of_a_clip_equals_that_of_its_frames():
    """Queries of all frames at once: cross-attention knows nothing of frames."""
    model = random_text()
    attention = model.transformer_blocks[0].attn2
    x, text = torch.randn(2, 3, 4, 16), torch.randn(2, TOKENS, 16)
    heads = "b n (m e) -> b m n e"
    q = rearrange(attention.to_q(x).flatten(1, 2), heads, m=4)
    k, v = (rearrange(layer(text), heads, m=4) for layer in (attention.to_k, attention.to_v))
    seen = rearrange((q @ k.mT / 2).softmax(-1) @ v, "b m n e -> b n (m e)")  # sqrt(e) = 2
    expected = attention.to_out[0](seen).view_as(x)
    out = attention.to_text(x, Text(text, None), None)
    assert relative_error(out, expected) < 1e-5


@pytest.mark.parametrize("text_width", [64, 1024])
def test_a_new_network_hears_its_text(text_width):
    """That of a narrow encoder, too, and from the first step; positions have 0.7."""
    model = LatteT2V(TextShape(4, 2, 1, 64, 4, 4, text_width=text_width))
    text = Text(model.caption_projection(torch.randn(4, 6, text_width)), None)
    tokens = torch.randn(4, 2, 16, 64)
    for block in model.transformer_blocks:
        added = block.attn2.to_text(tokens, text, None)
        assert 0.2 < float(added.detach().std()) < 3
