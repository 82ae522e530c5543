"""Fixtures shared by all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def goldens() -> Callable[[str], dict[str, Tensor]]:
    """Numbers of the published model and diffusion code, by file name (tests/goldens/README.md)."""
    return lambda name: load_file(HERE / "goldens" / f"{name}.safetensors")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
