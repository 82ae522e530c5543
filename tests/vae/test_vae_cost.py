"""What encoding frames costs, held to operations as PyTorch counts them."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from latte_cli.vae.autoencoders import load_autoencoder
from latte_cli.vae.cost import flops_per_frame


def test_a_frame_costs_what_the_autoencoder_does():
    vae = load_autoencoder("embedded")
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), counter:
        vae.encode(torch.zeros(1, 3, 64, 64))
    assert flops_per_frame("embedded", 64) == counter.get_total_flops() > 0


def test_an_autoencoder_that_is_not_here_is_taken_for_stable_diffusions():
    """Four times the pixels, more than four times the work: its attention grows as their square."""
    small, large = (flops_per_frame("stabilityai/sd-vae-ft-ema", size) for size in (256, 512))
    assert 4 < large / small < 5
