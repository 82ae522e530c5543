"""What a network refuses, when it is made and when it is called: each told with both values."""

import pytest
import torch
from helpers.networks import initial_latte, random_text, small_shape, small_text_shape, text_inputs

from latte_cli.runtime.errors import ConfigError, ShapeError


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ({"variant": 1, "depth": 3}, "model.depth must be even for variant 1, got 3"),
        ({"variant": 2, "depth": 5}, "model.depth must be even for variant 2, got 5"),
        ({"variant": 4, "heads": 1}, "model.heads must be even for variant 4, got 1"),
        ({"variant": 4, "width": 12, "heads": 3}, "model.heads must be even for variant 4, got 3"),
        (
            {"width": 12, "temporal_position": "rope"},
            "model.width 12 over 4 heads is 3, which is odd",
        ),
        ({"width": 18, "heads": 4}, "model.width 18 does not divide into 4 heads"),
        ({"width": 18, "heads": 2}, "model.width 18 does not divide into 2 heads and into four"),
        ({"tube": 3}, "model.tube 3 does not divide the 4 frames"),
        ({"patch": 3}, "model.patch 3 does not divide the 4 x 4 latents"),
        ({"variant": 6, "depth": 3}, "model.depth must be even for variant 6, got 3"),
        ({"variant": 5, "frame_queries": 5}, "frame_queries is 5, more than the 4 tokens"),
        ({"variant": 1, "frame_queries": 2}, "frame_queries is 2, but model.variant is 1"),
        ({"variant": 5, "injection": "tokens"}, "injection tokens adds tokens to each frame"),
        ({"variant": 6, "injection": "tokens"}, "injection tokens adds tokens to each frame"),
    ],
)
def test_incompatible_designs_raise_config_error(design, message):
    with pytest.raises(ConfigError, match=message) as refused:
        small_shape(**design)
    assert refused.value.hint


@pytest.mark.parametrize(
    "design",
    [
        {"variant": 3, "depth": 3},
        {"variant": 4, "depth": 1},
        {"variant": 1, "heads": 1},
        {"variant": 3, "width": 12, "heads": 3},
        {"width": 12, "heads": 4},
        {"tube": 4},
        {"tube": 1},
        {"variant": 6, "frame_queries": 4},
        {"patch": 4},
    ],
)
def test_checks_of_one_design_do_not_apply_to_others(design):
    model = initial_latte(**design)
    out = model(torch.randn(1, 4, 4, 4, 4), torch.zeros(1), torch.tensor([0]))
    assert out.shape == (1, 4, 8, 4, 4)


@pytest.mark.parametrize(
    ("size", "design", "message"),
    [
        ((1, 4, 4, 5, 4), {}, "latents of 5 x 4 do not divide into the network's patches of 2"),
        ((1, 4, 4, 4, 7), {}, "latents of 4 x 7 do not divide into the network's patches of 2"),
        (
            (1, 4, 3, 4, 4),
            {},
            r"latents are \(1, 4, 3, 4, 4\), .* takes \(b, f, 4, h, w\)",
        ),
        ((1, 4, 4, 4), {}, r"latents are \(1, 4, 4, 4\), .* takes \(b, f, 4, h, w\)"),
        ((1, 5, 4, 4, 4), {"tube": 2}, "5 frames and 0 images do not divide into tubes of 2"),
    ],
)
def test_latents_that_do_not_divide_into_tokens_raise_shape_error(size, design, message):
    model = initial_latte(**design)
    with pytest.raises(ShapeError, match=message) as refused:
        model(torch.zeros(size), torch.zeros(1), torch.tensor([0]))
    assert refused.value.hint


@pytest.mark.parametrize(
    ("num_images", "message"),
    [
        (4, "4 frames with num_images 4 leave 0 for the video"),
        (9, "4 frames with num_images 9 leave -5 for the video"),
        (-1, "4 frames with num_images -1 leave 5 for the video"),
    ],
)
def test_images_must_leave_frames_for_the_video(num_images, message):
    model = initial_latte()
    with pytest.raises(ShapeError, match=message):
        model(torch.zeros(1, 4, 4, 4, 4), torch.zeros(1), num_images=num_images)


def test_tubes_take_no_images():
    model = initial_latte(tube=2)
    labels = {"y": torch.tensor([0]), "y_image": torch.zeros(1, 2).long()}
    with pytest.raises(ShapeError, match="2 frames and 2 images do not divide into tubes of 2"):
        model(torch.zeros(1, 4, 4, 4, 4), torch.zeros(1), **labels, num_images=2)


KNOWS = "the network knows 0 to 2, and 3 for none"


@pytest.mark.parametrize(
    ("y", "y_image", "message"),
    [
        (None, [[0, 1]], "labels are missing"),
        ([4, 0], [[0, 1], [0, 1]], f"y holds label 4, {KNOWS}"),
        ([0, -1], [[0, 1], [0, 1]], f"y holds label -1, {KNOWS}"),
        ([0, 0], [[0, 1], [0, 7]], f"y_image holds label 7, {KNOWS}"),
        ([0, 0], [[0, -2], [0, 1]], f"y_image holds label -2, {KNOWS}"),
        ([0], [[0, 1], [0, 1]], r"y is \(1,\), must be \(2,\)"),
        ([[0], [0]], [[0, 1], [0, 1]], r"y is \(2, 1\), must be \(2,\)"),
        ([0, 0], None, "2 images without labels"),
        ([0, 0], [[0, 1, 2], [0, 1, 2]], r"y_image is \(2, 3\), must be \(2, 2\)"),
        ([0, 0], [[0, 1]], r"y_image is \(1, 2\), must be \(2, 2\)"),
        ([0, 0], [0, 1], r"y_image is \(2,\), must be \(2, 2\)"),
    ],
)
def test_wrong_labels_raise_shape_error(y, y_image, message):
    labels = {
        name: None if value is None else torch.tensor(value)
        for name, value in (("y", y), ("y_image", y_image))
    }
    model = initial_latte()
    with pytest.raises(ShapeError, match=message) as refused:
        model(torch.zeros(2, 6, 4, 4, 4), torch.zeros(2), **labels, num_images=2)
    assert refused.value.hint


def test_image_labels_need_images():
    model, y = initial_latte(), torch.tensor([0])
    with pytest.raises(ShapeError, match=r"0 images with labels \(1, 2\)"):
        model(torch.zeros(1, 4, 4, 4, 4), torch.zeros(1), y, y_image=torch.zeros(1, 2).long())


@pytest.mark.parametrize("name", ["y", "y_image"])
def test_an_unconditional_network_takes_no_labels(name):
    model = initial_latte(num_classes=None)
    labels = {name: torch.zeros((1, 2) if name == "y_image" else (1,)).long()}
    with pytest.raises(ShapeError, match="labels given to an unconditional network"):
        model(torch.zeros(1, 6, 4, 4, 4), torch.zeros(1), **labels, num_images=2)


def test_every_label_and_the_null_label_are_valid():
    model = initial_latte()
    y, y_image = torch.tensor([0, 3]), torch.tensor([[0, 3], [2, 1]])
    out = model(torch.zeros(2, 6, 4, 4, 4), torch.zeros(2), y, num_images=2, y_image=y_image)
    assert out.shape == (2, 6, 8, 4, 4)
    assert model.null_label == 3


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"depth": 5}, "model.depth must be even for a text model, got 5"),
        ({"width": 18}, "model.width 18 does not divide into 4 heads"),
        ({"patch": 3}, "model.patch 3 does not divide the 4 x 4 latents"),
    ],
)
def test_incompatible_text_shapes_raise_config_error(sizes, message):
    with pytest.raises(ConfigError, match=message) as refused:
        small_text_shape(**sizes)
    assert refused.value.hint


TRUE = torch.ones(2, 6, dtype=torch.bool)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"text": None}, "text is missing"),
        ({"text": torch.zeros(2, 6, 9)}, r"text is \(2, 6, 9\), .* takes \(2, 'l', 12\)"),
        ({"text": torch.zeros(3, 6, 12)}, r"text is \(3, 6, 12\), .* takes \(2, 'l', 12\)"),
        ({"text": torch.zeros(2, 12)}, r"text is \(2, 12\), .* takes \(2, 'l', 12\)"),
        ({"text_mask": TRUE[:, :5]}, r"text_mask is \(2, 5\), must be \(2, 6\)"),
        ({"text_mask": TRUE[:1]}, r"text_mask is \(1, 6\), must be \(2, 6\)"),
        ({"text_image": None}, "text_image is missing"),
        ({"text_image": torch.zeros(2, 3, 6, 9)}, r"\(2, 3, 6, 9\), .* takes \(2, 3, 'l', 12\)"),
        ({"text_image": torch.zeros(2, 2, 6, 12)}, r"\(2, 2, 6, 12\), .* takes \(2, 3, 'l', 12\)"),
        ({"text_image_mask": TRUE}, r"text_image_mask is \(2, 6\), must be \(2, 3, 6\)"),
        ({"num_images": 7}, "7 frames with num_images 7 leave 0 for the video"),
    ],
)
def test_wrong_texts_raise_shape_error(given, message):
    model = random_text()
    x, right = text_inputs(model, images=3)
    with pytest.raises(ShapeError, match=message) as refused:
        model(x, **{**right, **given})
    assert refused.value.hint


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ([300, 700], "a step from timestep 600 cannot end at 700"),
        ([300], r"end is \(1,\), must be \(2,\)"),
    ],
)
def test_a_step_ends_at_less_noise(end, message):
    model = initial_latte(num_classes=None)
    with pytest.raises(ShapeError, match=message) as refused:
        model(torch.zeros(2, 4, 4, 4, 4), torch.tensor([500, 600]), end=torch.tensor(end))
    assert refused.value.hint
