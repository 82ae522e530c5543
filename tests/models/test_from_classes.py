"""A text-to-video network that is initialized from a network with classes."""

import pytest
import torch
from helpers.networks import relative_error
from safetensors.torch import save_file
from torch import nn

from latte_cli.models import Latte, LatteShape, LatteT2V, TextShape
from latte_cli.models.initializing.from_weights import initialize
from latte_cli.models.reading import read_weights
from latte_cli.runtime.errors import CheckpointError

SHAPE = {"latent_size": 8, "num_frames": 4, "patch": 2, "width": 32, "depth": 4, "heads": 4}


def class_network(*, alike: bool, **design: object) -> Latte:
    """A random network of which all blocks have the same modulation, or each its own.

    It changes smoothly with time, as trained ones do: so few features can be fitted.
    """
    torch.manual_seed(0)
    network = Latte(LatteShape(**{**SHAPE, **design}, num_classes=3)).eval()
    for name, parameter in network.named_parameters():
        nn.init.normal_(parameter, std=0.02 if name.startswith("t_embedder.") else 0.2)
    for block in network.blocks if alike else ():
        block.adaLN_modulation.load_state_dict(network.blocks[0].adaLN_modulation.state_dict())
    last = network.final_layer.adaLN_modulation[1]
    with torch.no_grad():  # shift and scale that change alike with time, as in adaLN-single
        last.weight[:32] = last.weight[32:]
    return network


def text_network(source: Latte, folder, **sizes: object) -> LatteT2V:
    save_file(source.state_dict(), folder / "weights.safetensors")
    network = LatteT2V(TextShape(**{**SHAPE, **sizes}, text_width=12)).eval()
    report = initialize(network, read_weights(folder / "weights.safetensors"))
    assert report.kind == "latte"
    assert any("begin at zero" in line for line in report.lines())
    return network


def answers(source: Latte, ours: LatteT2V) -> tuple[torch.Tensor, torch.Tensor]:
    """What both say for the null label, and for any text."""
    x, t = torch.randn(3, 4, 4, 8, 8), torch.tensor([3, 500, 990])
    with torch.no_grad():
        theirs = source(x, t, torch.full((3,), source.null_label))
        return theirs, ours(x, t, text=torch.randn(3, 5, 12))[:, :, : theirs.shape[2]]


@pytest.mark.parametrize("learn_sigma", [True, False])
def test_it_answers_as_the_null_label_if_all_blocks_are_modulated_alike(learn_sigma, tmp_path):
    source = class_network(alike=True, learn_sigma=learn_sigma)
    theirs, ours = answers(source, text_network(source, tmp_path))
    assert relative_error(ours, theirs) < 0.01  # timesteps are fitted


def test_blocks_that_are_modulated_each_in_its_way_are_met_halfway(tmp_path):
    source = class_network(alike=False)
    theirs, ours = answers(source, text_network(source, tmp_path))
    unlike = answers(source, LatteT2V(TextShape(**SHAPE, text_width=12)).eval())[1]
    assert (ours - theirs).square().mean() < 0.5 * (unlike - theirs).square().mean()


def test_text_is_learned_from_there(tmp_path):
    ours = text_network(class_network(alike=True), tmp_path).train()
    x, t = torch.randn(3, 4, 4, 8, 8), torch.tensor([3, 500, 990])
    ours(x, t, text=torch.randn(3, 5, 12)).square().mean().backward()
    assert all(block.attn2.to_out[0].weight.grad.any() for block in ours.transformer_blocks)


def test_a_network_of_another_size_or_design_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"depth is 2, the file's 4") as failure:
        text_network(class_network(alike=True), tmp_path, depth=2)
    assert failure.value.hint == "-o model.depth=4"
    with pytest.raises(CheckpointError, match="another design"):
        text_network(class_network(alike=True, flow_map=True), tmp_path)
