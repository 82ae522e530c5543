"""Devices and seeds: which precision runs, and which random stream."""

import torch

from latte_cli.runtime.devices import autocast, resolve_precision
from latte_cli.runtime.randomness import seeded


def test_precision_sets_the_dtype_of_matmuls():
    cpu = torch.device("cpu")
    assert resolve_precision("float32", cpu) == torch.float32
    assert resolve_precision("bf16", cpu) == torch.bfloat16
    assert resolve_precision("auto", cpu) in (torch.float32, torch.bfloat16)
    with autocast(cpu, torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with autocast(cpu, torch.float32):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_every_number_changes_the_stream():
    def sample(*numbers):
        return torch.randn(4, generator=seeded(*numbers)).tolist()

    assert sample(1, 2) == sample(1, 2)
    assert len({tuple(sample(*n)) for n in [(0,), (0, 0), (0, 1), (1, 0), (1, 1), (2**40, 1)]}) == 6
