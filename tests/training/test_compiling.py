"""`train.compile`: when blocks are compiled, and errors before the first step."""

import sys

import pytest
import torch
from conftest import fail
from helpers.small import small_config

from latte_cli.runtime.errors import ConfigError
from latte_cli.training import state as state_module
from latte_cli.training.state import new_state, should_compile

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def programs(monkeypatch):
    """Only these programs are there, and Triton."""
    there: set[str] = set()
    monkeypatch.setattr(state_module, "which", lambda name: name if name in there else None)
    monkeypatch.setattr(state_module, "find_spec", lambda name: object())
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    return there


@pytest.mark.parametrize(
    ("there", "cc", "expected"),
    [
        ({"gcc"}, None, True),
        ({"clang"}, None, True),
        ({"g++"}, None, False),
        (set(), None, False),
        ({"gcc"}, "nope", False),
        ({"nvc"}, "nvc", True),
    ],
)
def test_auto_compiles_on_a_gpu_where_triton_finds_a_c_compiler(
    programs, monkeypatch, there, cc, expected
):
    programs |= there
    if cc:
        monkeypatch.setenv("CC", cc)
    assert should_compile("auto", GPU) is expected
    assert should_compile("auto", CPU) is False, "not worth its minutes"


def test_auto_needs_triton(programs, monkeypatch):
    programs.add("gcc")
    monkeypatch.setattr(state_module, "find_spec", lambda name: None)
    assert should_compile("auto", GPU) is False


@pytest.mark.parametrize(
    ("device", "wanted"),
    [(CPU, "clang++" if sys.platform == "darwin" else "g++"), (GPU, "gcc or clang")],
)
def test_blocks_without_a_compiler_are_an_error_before_the_network_is_built(
    programs, monkeypatch, device, wanted
):
    monkeypatch.setattr(state_module, "build_model", lambda config: pytest.fail("built"))
    with pytest.raises(ConfigError, match=r"train\.compile is blocks") as error:
        new_state(small_config(train__compile="blocks"), device)
    assert wanted in str(error.value)
    assert "train.compile=none" in error.value.hint


def test_the_compiler_named_by_the_environment_is_used(programs, monkeypatch):
    programs.add("g++")
    monkeypatch.setenv("CXX", "nope")
    with pytest.raises(ConfigError, match="nope"):
        should_compile("blocks", CPU)
    programs.add("nope")
    assert should_compile("blocks", CPU)
    assert not should_compile("none", CPU)


def test_a_failing_compiler_is_reported_without_a_traceback(monkeypatch):
    """Of headers that are missing nobody knows before."""
    from torch._inductor.exc import InductorError

    def run(*_: object) -> None:
        raise InductorError(RuntimeError("Python.h is missing\nmore"), None)

    monkeypatch.setattr("latte_cli.commands.train.run", run)
    monkeypatch.setattr("latte_cli.cli.checks.check_training", lambda *_: None)
    said = fail("train", "--preset=shapes")
    assert "the network could not be compiled: RuntimeError: Python.h is missing" in said
    assert "hint: -o train.compile=none trains without" in said
    assert "more" not in said.partition("hint")[0]
