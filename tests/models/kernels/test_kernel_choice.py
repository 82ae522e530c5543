"""When networks use Triton's kernels, and the words when they cannot."""

import warnings
from importlib.metadata import PackageNotFoundError

import pytest
import torch
from helpers.networks import random_latte, random_text
from helpers.small import small_config

from latte_cli.config import load_config
from latte_cli.models.kernels import choice
from latte_cli.models.kernels.choice import set_kernels, use_kernels
from latte_cli.runtime.errors import LatteNote
from latte_cli.training import state as state_module
from latte_cli.training.state import new_state

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def users(model) -> list[str]:
    """The modules that use kernels."""
    return [name for name, module in model.named_modules() if getattr(module, "kernels", False)]


@pytest.fixture
def gpu(monkeypatch):
    """A GPU on which the kernels work, with Triton 3.6; each can be taken away."""
    monkeypatch.setattr(choice, "version", lambda name: "3.6.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Test GPU")
    monkeypatch.setattr(choice, "_failure", lambda *_: "")
    return monkeypatch


def said(model) -> str:
    with pytest.warns(LatteNote) as notes:
        use_kernels(model, GPU)
    assert not users(model)
    return str(notes[0].message)


def test_the_cpu_has_none_and_says_nothing():
    model = random_latte()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        use_kernels(model, CPU)
    assert not users(model)


@pytest.mark.parametrize("network", [random_latte, random_text])
def test_all_attentions_and_blocks_use_them_but_for_compiled_norms(gpu, network):
    model = network()
    use_kernels(model, GPU)
    assert any(name.endswith(("attn", "attn1")) for name in users(model))
    assert any(name.endswith("blocks.0") for name in users(model))
    set_kernels(model, attention=False, norms=False)
    use_kernels(model, GPU, compiled=True)
    assert all(name.endswith(("attn", "attn1", "attn2")) for name in users(model))


def test_without_triton_a_note_says_so(gpu):
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    gpu.setattr(choice, "version", missing)
    assert "Triton is not installed (wanted: 3.2 or newer)" in said(random_latte())


@pytest.mark.parametrize("found", ["2.1.0", "3.1"])
def test_an_old_triton_is_named(gpu, found):
    gpu.setattr(choice, "version", lambda name: found)
    assert f"Triton {found} is too old (wanted: 3.2 or newer)" in said(random_latte())


def test_an_old_gpu_is_named(gpu):
    gpu.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert "Test GPU is too old for them" in said(random_latte())


def test_kernels_that_fail_or_are_wrong_are_not_used(gpu):
    gpu.undo()
    gpu.setattr(choice, "why_not", lambda device: "")
    choice._failure.cache_clear()

    def fails(*_: object) -> dict[str, float]:
        raise RuntimeError("no such architecture\nmore")

    modules = {"triton_attention": object(), "triton_norm": object()}
    for name, module in modules.items():
        gpu.setitem(__import__("sys").modules, f"latte_cli.models.kernels.{name}", module)
    gpu.setattr(choice, "check_kernels", fails)
    assert "they fail on this machine: RuntimeError: no such architecture;" in said(random_latte())
    choice._failure.cache_clear()
    gpu.setattr(choice, "check_kernels", lambda *_: {"layer norm": float("nan")})
    assert "they compute another layer norm than PyTorch does" in said(random_latte())
    choice._failure.cache_clear()


@pytest.mark.parametrize(("chosen", "asked"), [("auto", [False]), ("off", [])])
def test_training_asks_for_them_unless_they_are_off(monkeypatch, chosen, asked):
    seen = []
    monkeypatch.setattr(
        state_module, "use_kernels", lambda model, device, compiled: seen.append(compiled)
    )
    new_state(small_config(train__kernels=chosen), CPU)
    assert seen == asked


def test_off_may_be_written_as_yaml_reads_it():
    assert load_config("shapes", ["train.kernels=off"]).train.kernels == "off"
    assert load_config("shapes", []).train.kernels == "auto"
