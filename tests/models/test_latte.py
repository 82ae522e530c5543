"""The network against the published code's numbers, in float32 and in bf16."""

from dataclasses import replace

import pytest
import torch
from conftest import HERE
from helpers.networks import initial_latte, published, randomized, relative_error
from torch import Tensor

from latte_cli.diffusion import guided
from latte_cli.models import Latte, LatteShape
from latte_cli.runtime.errors import LatteWarning

CLIPS = ["latte_class", "latte_class_p4", "latte_uncond"]
GUIDED = ["latte_class", "latte_class_p4"]
JOINT = ["latteimg_class", "latteimg_uncond"]


def load(name: str, values: dict[str, Tensor]) -> tuple[Latte, int]:
    """The network with a golden's weights, and the golden's number of images."""
    shape, images = published(str(HERE / "goldens" / f"{name}.safetensors"))
    model = Latte(shape).eval()
    weights = {key[2:]: value for key, value in values.items() if key.startswith("w.")}
    assert set(weights) == set(model.state_dict()), "parameter names are the published ones"
    for table in ("pos_embed", "temp_embed"):
        torch.testing.assert_close(model.state_dict()[table], weights[table], atol=1e-6, rtol=0)
    model.load_state_dict(weights)
    return model, images


def output(name: str, values: dict[str, Tensor]) -> Tensor:
    """What the network gives for a golden's inputs."""
    model, images = load(name, values)
    labels = {"y": values.get("in.y"), "y_image": values.get("in.y_image")}
    with torch.no_grad():
        return model(values["in.x"], values["in.t"], **labels, num_images=images)


def guided_output(name: str, values: dict[str, Tensor]) -> Tensor:
    model, _ = load(name, values)
    with torch.no_grad():
        cond = {"y": values["in.y"]}
        uncond = {"y": torch.full_like(values["in.y"], model.null_label)}
        return guided(model, cond, uncond, 4.0)(values["in.x"], values["in.t"])


@pytest.mark.parametrize("name", CLIPS + JOINT)
def test_output_matches_published_network(goldens, name):
    """Of clips, and of clips with images behind them (*Only Video*)."""
    values = goldens(name)
    torch.testing.assert_close(output(name, values), values["out"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", GUIDED)
def test_guided_output_matches_published_network(goldens, name):
    values = goldens(name)
    torch.testing.assert_close(guided_output(name, values), values["out.cfg4"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", CLIPS + JOINT)
def test_bf16_is_close_to_the_published_network(goldens, name):
    values = goldens(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = output(name, values)
    assert out.dtype == torch.bfloat16, "products were taken in bf16"
    assert relative_error(out.float(), values["out"]) <= 2e-2


@pytest.mark.parametrize("name", GUIDED)
def test_guided_bf16_is_close_to_the_published_network(goldens, name):
    """Guidance at scale 4 multiplies the rounding errors of both halves, too."""
    values = goldens(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = guided_output(name, values)
    assert relative_error(out.float(), values["out.cfg4"]) <= 2e-2


@pytest.mark.parametrize("patch", [2, 4, 8])
@pytest.mark.parametrize("num_classes", [None, 5])
def test_every_patch_size_gives_noise_and_covariance(patch, num_classes):
    model = Latte(LatteShape(16, 3, patch, 32, 2, 4, num_classes=num_classes))
    y = None if num_classes is None else torch.tensor([0, 5])
    out = model(torch.randn(2, 3, 4, 16, 16), torch.tensor([0, 999]), y)
    assert out.shape == (2, 3, 8, 16, 16)
    assert (out == 0).all(), "the last layer begins at zero"


def test_noise_channels_come_first_and_patches_keep_their_position():
    """The last layer's bias alone: channel k of place (p, q) of each patch is entry (p, q, k)."""
    model = initial_latte(num_classes=None)
    entries = torch.arange(2 * 2 * 8).float()
    model.final_layer.linear.bias.data.copy_(entries)
    out = model(torch.randn(1, 4, 4, 4, 4), torch.zeros(1))
    for row, column, channel in [(0, 0, 0), (1, 2, 5), (2, 3, 7), (3, 3, 4)]:
        expected = entries.view(2, 2, 8)[row % 2, column % 2, channel]
        assert (out[0, :, channel, row, column] == expected).all()


def test_longer_clips_keep_the_positions_of_shorter_ones(goldens):
    """Of a still clip, only positions tell frames apart where the first temporal block begins."""
    values = goldens("latte_uncond")
    model, _ = load("latte_uncond", values)
    still = values["in.x"][:, :1].expand(-1, 9, -1, -1, -1)
    seen = {}
    model.blocks[1].register_forward_hook(
        lambda _, given, out: seen.__setitem__(given[0].shape[1], given[0])
    )
    model(still[:, :6], values["in.t"])
    with pytest.warns(LatteWarning, match="9 frames for a network trained on 6"):
        model(still, values["in.t"])
    torch.testing.assert_close(seen[9][:, :6], seen[6])
    steps = (seen[9] - seen[9][:, :1])[:, :6, 0]
    table = values["w.temp_embed"]
    torch.testing.assert_close(steps, (table - table[:, :1]).expand(2, -1, -1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("t", [0, 500, 999])
def test_integer_and_float_timesteps_are_equivalent(t):
    model = randomized(initial_latte())
    x, y = torch.randn(1, 4, 4, 4, 4), torch.tensor([1])
    assert torch.equal(model(x, torch.tensor([t]), y), model(x, torch.tensor([float(t)]), y))


def test_clips_of_a_batch_are_independent():
    model = randomized(initial_latte())
    x, t, y = torch.randn(3, 4, 4, 4, 4), torch.tensor([0, 400, 999]), torch.tensor([0, 3, 1])
    together = model(x, t, y)
    alone = torch.cat([model(x[i : i + 1], t[i : i + 1], y[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-5)


def test_joint_is_not_compared_between_shapes():
    """`joint` may differ between two networks that share weights; nothing else may."""
    shape = initial_latte().shape
    assert shape == replace(shape, joint="only-video")
    assert shape != replace(shape, variant=2)
    assert shape != replace(shape, num_classes=4)
