"""Image-video joint training: images behind a clip's frames (Latte, section 3.3.4)."""

# Axes: b clips, f frames, i images, n = f + i, s tokens of a frame, d width, m heads, e width of a
# head.

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from helpers.networks import (
    OF_WHOLE_FRAMES,
    VARIANTS,
    differ,
    initial_latte,
    inputs,
    named,
    of_every_variant,
    random_latte,
    randomized,
    relative_error,
)
from torch import Tensor, nn

from latte_cli.diffusion import Diffusion
from latte_cli.models import Latte
from latte_cli.models.attention import Images, Joint
from latte_cli.models.layers import Attention, Block

JOINTS: tuple[Joint, ...] = ("temporal-mask", "only-video")
FRAMES, IMAGES = 4, 3


def moved_frames(model: Latte, given: dict[str, object], **changed: object) -> list[bool]:
    """Which of the f + i frames of the output change with some of the inputs."""
    return differ(model(**{**given, **changed}), model(**given), over=(0, 2, 3, 4)).tolist()


def expected(*frames: int) -> list[bool]:
    return [frame in frames for frame in range(FRAMES + IMAGES)]


@pytest.mark.parametrize("joint", JOINTS)
@pytest.mark.parametrize(
    "design", of_every_variant({}, {"num_classes": None}, {"injection": "tokens"}), ids=named
)
def test_images_and_video_are_independent(design, joint):
    """A frame of the video reaches all of it; an image reaches itself; so do their labels."""
    model = random_latte(joint=joint, **design)
    x, cond = inputs(model, clips=1, images=IMAGES)
    given, video = {"x": x, **cond}, expected(*range(FRAMES))
    for frame in range(FRAMES + IMAGES):
        other = x.clone()
        other[:, frame] += torch.randn(4, 4, 4)
        own = video if frame < FRAMES else expected(frame)
        assert moved_frames(model, given, x=other) == own
    if model.shape.num_classes is None:
        return
    assert moved_frames(model, given, y=torch.tensor([3])) == video
    for image in range(IMAGES):
        labels = cond["y_image"].clone()
        labels[0, image] = 3
        assert moved_frames(model, given, y_image=labels) == expected(FRAMES + image)


@pytest.mark.parametrize(
    "design",
    of_every_variant({}, {"injection": "tokens"}, {"temporal_position": "rope"}),
    ids=named,
)
def test_without_images_joint_has_no_effect(design):
    model = random_latte(**design)
    x, cond = inputs(model, images=IMAGES)
    clip, plain = x[:, :FRAMES], {name: cond[name] for name in ("t", "y")}
    alone = model(clip, **plain)
    for joint in JOINTS:
        model.joint = joint
        assert torch.equal(model(clip, **plain, num_images=0), alone)
        with_images = model(x, **cond)[:, :FRAMES]
        assert relative_error(with_images, alone) < 1e-5, "what the video gives has no images in it"


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("axes", [("time",), ("space", "time")])
def test_temporal_mask_matches_the_papers_mask(axes, rotary):
    """The mask M of (f + i) x (f + i): video to video, each image to itself."""
    attention = randomized(Attention(16, 4, axes, rotary))
    tokens = torch.randn(2, FRAMES + IMAGES, 3, 16)
    mask = torch.eye(FRAMES + IMAGES, dtype=torch.bool)
    mask[:FRAMES, :FRAMES] = True
    seen = []
    heads = rearrange(
        attention.qkv(tokens), "b n s (k w m e) -> w k m b s n e", k=3, w=len(axes), e=4
    )
    for axis, (q, k, v) in zip(axes, heads, strict=True):
        if axis == "space":
            q, k, v = (part.transpose(-2, -3) for part in (q, k, v))
        elif rotary:
            q, k = turned(q), turned(k)
        out = F.scaled_dot_product_attention(q, k, v, mask if axis == "time" else None)
        out = out.transpose(-2, -3) if axis == "space" else out
        seen.append(rearrange(out, "m b s n e -> b n s (m e)"))
    plain = attention.proj(torch.cat(seen, dim=-1))
    assert relative_error(attention(tokens, Images(IMAGES, "temporal-mask")), plain) < 1e-5


def turned(x: Tensor) -> Tensor:
    """Rotary positions by complex numbers: (..., n, e)."""
    angles = torch.arange(x.shape[-2])[:, None] * 10000.0 ** -torch.arange(0, 1, 2 / x.shape[-1])
    pairs = torch.complex(*x.chunk(2, dim=-1)) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([pairs.real, pairs.imag], dim=-1)


@pytest.mark.parametrize("design", of_every_variant({}, {"injection": "tokens"}), ids=named)
def test_under_the_temporal_mask_an_image_is_a_clip_of_one_frame(design):
    """One without a temporal position: attention over a single frame is that frame's value."""
    model = random_latte(joint="temporal-mask", **design)
    x, cond = inputs(model, images=IMAGES)
    out = model(x, **cond)
    model.temp_embed.zero_()
    for image in range(IMAGES):
        picture = x[:, FRAMES + image, None]
        alone = model(picture, cond["t"], cond["y_image"][:, image])
        assert relative_error(out[:, FRAMES + image, None], alone) < 1e-5


@pytest.mark.parametrize("variant", [1, 2, 5, 6])
def test_with_only_video_an_image_passes_only_spatial_blocks(variant):
    model = random_latte(variant=variant, joint="only-video", depth=4)
    x, cond = inputs(model, images=IMAGES)
    out = model(x, **cond)
    model.temp_embed.zero_()
    for block, axes in zip(model.blocks, model.shape.attentions, strict=True):
        if axes != (("space",),):
            for parameter in block.adaLN_modulation.parameters():
                nn.init.zeros_(parameter)  # closes the gates: the block is the identity
    for image in range(IMAGES):
        alone = model(x[:, FRAMES + image, None], cond["t"], cond["y_image"][:, image])
        assert relative_error(out[:, FRAMES + image, None], alone) < 1e-5


@pytest.mark.parametrize("joint", JOINTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_image_does_not_depend_on_frames_before_it(variant, joint):
    model = random_latte(variant=variant, joint=joint)
    x, cond = inputs(model, images=IMAGES)
    behind_a_clip = model(x[:, [0, 1, 2, 3, 6]], **{**cond, **last_image(cond), "num_images": 1})
    behind_images = model(x[:, [0, 4, 5, 6]], **{**cond, "num_images": 3})
    assert relative_error(behind_a_clip[:, -1], model(x, **cond)[:, -1]) < 1e-5
    assert relative_error(behind_images[:, -1], model(x, **cond)[:, -1]) < 1e-5


def last_image(cond: dict[str, object]) -> dict[str, Tensor]:
    return {"y_image": cond["y_image"][:, -1:]}


def test_temporal_blocks_do_not_change_images_with_only_video():
    block = randomized(Block(16, 4, (("time",),)))
    tokens, c = torch.randn(2, FRAMES + IMAGES, 4, 16), torch.randn(2, FRAMES + IMAGES, 1, 16)
    out = block(tokens, c, Images(IMAGES, "only-video"))
    assert torch.equal(out[:, FRAMES:], tokens[:, FRAMES:])
    assert torch.equal(out[:, :FRAMES], block(tokens[:, :FRAMES], c[:, :FRAMES]))


def test_the_second_attention_of_variant_3_does_not_change_images_with_only_video():
    block = randomized(Block(16, 4, (("space",), ("time",))))
    for layer in (block.attn.proj, block.mlp.fc2):
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
    tokens, c = torch.randn(2, FRAMES + IMAGES, 4, 16), torch.randn(2, FRAMES + IMAGES, 1, 16)
    out = block(tokens, c, Images(IMAGES, "only-video"))
    assert torch.equal(out[:, FRAMES:], tokens[:, FRAMES:])
    assert differ(out[:, :FRAMES], tokens[:, :FRAMES], over=(0, 2, 3)).all()


def test_temporal_heads_of_variant_4_do_not_change_images_with_only_video():
    attention = randomized(Attention(16, 4, ("space", "time")))
    tokens = torch.randn(2, FRAMES + IMAGES, 4, 16)
    out = attention(tokens, Images(IMAGES, "only-video"))
    attention.proj.weight.data[:, 8:] = 0
    assert relative_error(attention(tokens)[:, FRAMES:], out[:, FRAMES:]) < 1e-6
    assert relative_error(attention(tokens)[:, :FRAMES], out[:, :FRAMES]) > 0.1


def gradients_of_images(model: Latte) -> Latte:
    x, cond = inputs(model, images=IMAGES)
    model(x, **cond)[:, FRAMES:].square().mean().backward()
    return model


@pytest.mark.parametrize("variant", [1, 2, 5, 6])
def test_images_do_not_train_temporal_blocks_with_only_video(variant):
    model = gradients_of_images(random_latte(variant=variant, joint="only-video"))
    spatial, temporal = model.blocks
    assert all(p.grad.any() for p in spatial.parameters())
    assert not any(p.grad is not None and p.grad.any() for p in temporal.parameters())


@pytest.mark.parametrize("variant", VARIANTS)
def test_images_train_temporal_modules_with_temporal_mask(variant):
    """All but queries and keys, since an image's weight for itself is 1 whatever they are."""
    model = gradients_of_images(random_latte(variant=variant, joint="temporal-mask"))
    block = model.blocks[1]
    untrained = {name for name, p in block.named_parameters() if not p.grad.any()}
    of_frames = {"attn.q.weight", "attn.k.weight", "attn.qk_logits", "attn.qk_bias"}
    assert untrained == (of_frames if variant in OF_WHOLE_FRAMES else set())
    if variant == 5:
        return
    temporal = block.temporal_attn if variant == 3 else block.attn
    queries, keys, values = temporal.qkv.weight.grad.chunk(3)
    first = 8 if variant == 4 else 0  # the temporal half of the heads
    assert not queries[first:].any()
    assert not keys[first:].any()
    assert values[first:].any()


@pytest.mark.parametrize("joint", JOINTS)
def test_the_loss_weights_images_like_frames(joint):
    """A clip's loss is the mean over its frames and its images."""
    model = randomized(initial_latte(joint=joint))
    x, cond = inputs(model, images=IMAGES)
    noise, t = torch.randn_like(x), cond.pop("t")
    terms = Diffusion().losses(model, x, t, noise, **cond)
    schedule = Diffusion().schedule
    a = schedule.alphas_cumprod[t].float().view(-1, 1, 1, 1, 1)
    out = model(a.sqrt() * x + (1 - a).sqrt() * noise, t, **cond)
    errors = (out[:, :, :4] - noise).square().mean(dim=(2, 3, 4))
    torch.testing.assert_close(terms.mse, errors.mean(dim=1), rtol=1e-4, atol=1e-5)
