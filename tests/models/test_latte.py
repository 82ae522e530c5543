"""The network against the published code's numbers, and what each block sees."""

import pytest
import torch
from conftest import HERE
from safetensors import safe_open
from torch import Tensor, nn

from latte_cli.config import load_config
from latte_cli.diffusion import guided
from latte_cli.errors import ConfigError, ShapeError
from latte_cli.models import Latte, LatteShape, build_model
from latte_cli.models.layers import Block

PUBLISHED = ["latte_class", "latte_class_p4", "latte_uncond"]


def published(name: str) -> LatteShape:
    """The shape that a golden's metadata states."""
    with safe_open(HERE / "goldens" / f"{name}.safetensors", "pt") as file:
        meta = {key: int(value) for key, value in file.metadata().items() if value.isdecimal()}
    return LatteShape(
        latent_size=meta["input_size"],
        num_frames=meta["num_frames"],
        patch=meta["patch_size"],
        width=meta["hidden_size"],
        depth=meta["depth"],
        heads=meta["num_heads"],
        num_classes=meta["num_classes"] if meta["extras"] == 2 else None,
    )


def load(name: str, values: dict[str, Tensor]) -> Latte:
    model = Latte(published(name)).eval()
    weights = {key[2:]: value for key, value in values.items() if key.startswith("w.")}
    assert set(weights) == set(model.state_dict()), "parameter names are the published ones"
    for table in ("pos_embed", "temp_embed"):
        torch.testing.assert_close(model.state_dict()[table], weights[table], atol=1e-6, rtol=0)
    model.load_state_dict(weights)
    return model


@pytest.mark.parametrize("name", PUBLISHED)
def test_output_matches_published_network(goldens, name):
    values = goldens(name)
    with torch.no_grad():
        out = load(name, values)(values["in.x"], values["in.t"], values.get("in.y"))
    torch.testing.assert_close(out, values["out"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["latte_class", "latte_class_p4"])
def test_guided_output_matches_published_network(goldens, name):
    values = goldens(name)
    model = load(name, values)
    with torch.no_grad():
        out = guided(model, values["in.y"], model.null_label, 4.0)(values["in.x"], values["in.t"])
    torch.testing.assert_close(out, values["out.cfg4"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("size", "parameters"),
    # Latte, Table 1 and the exact counts behind its rounding.
    [("S", 32_480_672), ("B", 129_547_040), ("L", 456_815_648), ("XL", 673_681_568)],
)
def test_parameter_counts_are_the_papers(size, parameters):
    with torch.device("meta"):
        model = build_model(load_config(None, [f"model.size={size}"]))
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("patch", [2, 4, 8])
@pytest.mark.parametrize("num_classes", [None, 5])
def test_every_patch_size_gives_noise_and_covariance(patch, num_classes):
    model = Latte(LatteShape(16, 3, patch, 32, 2, 4, num_classes=num_classes))
    y = None if num_classes is None else torch.tensor([0, 5])
    out = model(torch.randn(2, 3, 4, 16, 16), torch.tensor([0, 999]), y)
    assert out.shape == (2, 3, 8, 16, 16)
    assert (out == 0).all(), "the last layer begins at zero"


@pytest.mark.parametrize("axis", ["space", "time"])
def test_a_block_sees_along_its_axis_alone(axis):
    block = Block(width=16, num_heads=2, axis=axis)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    tokens, c = torch.randn(1, 3, 4, 16), torch.randn(1, 1, 1, 16)
    touched = tokens.clone()
    touched[0, 1, 2] += torch.randn(16)
    moved = (block(touched, c) - block(tokens, c)).abs().amax(-1)[0] > 1e-6
    expected = torch.zeros(3, 4, dtype=torch.bool)
    if axis == "space":
        expected[1, :] = True
    else:
        expected[:, 2] = True
    assert torch.equal(moved, expected)


def test_longer_clips_keep_the_positions_of_shorter_ones(goldens):
    values = goldens("latte_uncond")
    model = load("latte_uncond", values)
    x = values["in.x"][:, :1].expand(-1, 9, -1, -1, -1)
    assert model(x, values["in.t"]).shape[1] == 9
    table = model._frame_positions(9)
    assert torch.equal(table[:, :6], values["w.temp_embed"])


def test_wrong_input_is_told_with_both_sizes():
    model = Latte(LatteShape(8, 2, 2, 16, 2, 2, num_classes=3))
    with pytest.raises(ShapeError, match=r"\(1, 2, 4, 16, 16\).*\(4, 8, 8\)"):
        model(torch.zeros(1, 2, 4, 16, 16), torch.zeros(1), torch.zeros(1).long())
    with pytest.raises(ShapeError, match="labels are missing"):
        model(torch.zeros(1, 2, 4, 8, 8), torch.zeros(1))
    unconditional = Latte(LatteShape(8, 2, 2, 16, 2, 2))
    with pytest.raises(ShapeError, match="unconditional"):
        unconditional(torch.zeros(1, 2, 4, 8, 8), torch.zeros(1), torch.zeros(1).long())


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"depth": 3}, "even, got 3"),
        ({"width": 30}, "width 30 .* 4 heads"),
        ({"patch": 3}, "patch 3 .* 8 x 8"),
    ],
)
def test_wrong_shapes_are_refused_with_both_values(changed, told):
    shape = {"latent_size": 8, "num_frames": 2, "patch": 2, "width": 32, "depth": 2, "heads": 4}
    with pytest.raises(ConfigError, match=told):
        LatteShape(**{**shape, **changed})
