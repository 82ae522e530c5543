"""Triton's kernels against plain PyTorch: in Triton's interpreter, and compiled for a GPU."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from conftest import HERE

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="no Triton on this machine"
)


def run_helper(name: str, **environment: str) -> dict:
    """The JSON that a script of `tests/helpers` prints."""
    done = subprocess.run(
        [sys.executable, str(HERE / "helpers" / name)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def interpreted() -> dict:
    """What the interpreter computes: it is chosen when Triton is imported."""
    return run_helper("interpreted_kernels.py", TRITON_INTERPRET="1")


def test_attention_and_its_gradients_are_those_of_float64(interpreted):
    assert len(interpreted["attention"]) == 16
    for name, errors in interpreted["attention"].items():
        assert max(errors) < (1e-2 if "bfloat16" in name else 1e-6), name


def test_norms_and_their_gradients_are_those_of_float64(interpreted):
    assert len(interpreted["norms"]) == 8
    for name, errors in interpreted["norms"].items():
        assert max(errors) < (1e-2 if "bfloat16" in name else 1e-6), name


def test_networks_compute_the_same_with_kernels(interpreted):
    """In the designs that take them partly, with images, and in compiled blocks."""
    assert {"text", "compiled"} < interpreted["networks"].keys()
    for name, errors in interpreted["networks"].items():
        assert max(errors) < 1e-5, name


def test_a_temporal_layer_copies_nothing(interpreted):
    """Forward and backward; the kernel gets what the linear layer has written."""
    with_kernel, plain, storages = interpreted["copies"]
    assert with_kernel == 0
    assert plain > 0
    assert storages == 1


def test_kernels_compile_for_a_gpu_without_one(tmp_path):
    """For compute capability 9.0, in bf16, by 16 bytes at a time and without spilled registers."""
    built = run_helper("compiled_kernels.py", TRITON_CACHE_DIR=str(tmp_path))
    assert len(built) == 4
    for name, (spilled, widest) in built.items():
        assert spilled == 0, name
        assert widest, name
