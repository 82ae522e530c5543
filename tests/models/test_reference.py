"""The network is the plain one of `tests/reference.py`, which is the published one."""

import pytest
import torch
from conftest import HERE
from helpers.networks import published, randomized, relative_error
from helpers.reference import ReferenceLatte

from latte_cli.models import Latte, LatteShape


def plain(shape: LatteShape) -> ReferenceLatte:
    return ReferenceLatte(
        shape.latent_size,
        shape.num_frames,
        shape.patch,
        shape.width,
        shape.depth,
        shape.heads,
        shape.num_classes,
    )


@pytest.mark.parametrize("name", ["latte_class", "latte_class_p4", "latte_uncond"])
def test_the_reference_matches_the_published_network(goldens, name):
    values = goldens(name)
    shape, _ = published(str(HERE / "goldens" / f"{name}.safetensors"))
    reference = plain(shape)
    reference.load_state_dict({k[2:]: v for k, v in values.items() if k.startswith("w.")})
    with torch.no_grad():
        out = reference(values["in.x"], values["in.t"], values.get("in.y"))
    torch.testing.assert_close(out, values["out"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("num_classes", [None, 5])
@pytest.mark.parametrize("patch", [2, 4])
def test_the_network_matches_the_reference_forward_and_backward(num_classes, patch):
    """To 1e-5 of the norm, in float32: of the output, and of each parameter's gradient."""
    shape = LatteShape(16, 6, patch, 48, 4, 4, num_classes=num_classes)
    ours, reference = randomized(Latte(shape), std=0.1), plain(shape)
    reference.load_state_dict(ours.state_dict())
    x, t = torch.randn(2, 6, 4, 16, 16), torch.tensor([0, 700])
    y = None if num_classes is None else torch.tensor([1, 5])
    outputs = [model(x, t, y) for model in (ours, reference)]
    assert relative_error(*outputs) < 1e-5
    upstream = torch.randn_like(outputs[0])
    for out in outputs:
        out.backward(upstream)
    expected = dict(reference.named_parameters())
    for name, parameter in ours.named_parameters():
        assert relative_error(parameter.grad, expected[name].grad) < 1e-5, name
