"""`train.compile`: when blocks are compiled, and errors before the first step."""

import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest
import torch
from conftest import World, fail, succeed, tiny
from helpers.small import random_batch, small_config, take_step
from torch import nn

from latte_cli.checkpoints.folder import (
    CheckpointMeta,
    list_checkpoints,
    read_checkpoint_meta,
    save_for_sampling,
)
from latte_cli.config import Config
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import ConfigError
from latte_cli.training import state as state_module
from latte_cli.training.compiling import blocks, choice
from latte_cli.training.compiling.blocks import (
    can_compile_on_cpu,
    compile_blocks,
    is_compiled,
    should_compile,
)
from latte_cli.training.compiling.choice import settle_compiling
from latte_cli.training.state import TrainState, new_state

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def programs(monkeypatch):
    """Only these programs are there, and Triton."""
    there: set[str] = set()
    monkeypatch.setattr(blocks, "which", lambda name: name if name in there else None)
    monkeypatch.setattr(blocks, "find_spec", lambda name: object())
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
    assert should_compile("auto", CPU) is False, "settled later, by a measurement"


def test_auto_needs_triton(programs, monkeypatch):
    programs.add("gcc")
    monkeypatch.setattr(blocks, "find_spec", lambda name: None)
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


def test_on_a_cpu_a_compiler_is_at_hand_with_the_headers_of_python(programs, monkeypatch, tmp_path):
    headers = tmp_path / "Python.h"
    monkeypatch.setattr(blocks.sysconfig, "get_path", lambda name: str(tmp_path))
    programs.add({"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++"))
    assert not can_compile_on_cpu()
    headers.touch()
    assert can_compile_on_cpu()
    programs.clear()
    assert not can_compile_on_cpu()


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[nn.Module]:
    """Blocks are compiled without Inductor, and a compiler is at hand; the blocks, as they are."""
    compiled: list[nn.Module] = []
    compile_block = partial(nn.Module.compile, backend="aot_eager")

    def compile_and_note(block: nn.Module, **given: Any) -> None:
        compiled.append(block)
        compile_block(block, **given)

    monkeypatch.setattr(nn.Module, "compile", compile_and_note)
    monkeypatch.setattr(choice, "can_compile_on_cpu", lambda: True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    return compiled


class Sampler:
    """Cuts noise, and counts how often."""

    def __init__(self, config: Config) -> None:
        self.config, self.calls = config, 0

    def batch(self, number: int, indices: object) -> Any:
        self.calls += 1
        return random_batch(self.config, number)


def settle(config: Config, newest: Path | None = None) -> tuple[TrainState, bool]:
    state = new_state(config, CPU)
    sampler: Any = Sampler(config)
    return state, settle_compiling(state, sampler, config, CPU, newest, Console(quiet=True))


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> dict[bool, float]:
    """Seconds of a micro-batch, by whether blocks are compiled; steps are not computed."""
    seconds = {False: 3.0, True: 2.0}
    monkeypatch.setattr(choice._Trial, "_run", lambda self: seconds[is_compiled(self._state.model)])
    return seconds


AUTO = {"train__compile": "auto"}
LONG = small_config(train__steps=1000, **AUTO)


def test_auto_compiles_on_a_cpu_what_is_long_enough_and_faster_for_it(compiling, times):
    state, is_so = settle(LONG)
    assert is_so
    assert compiling == list(state.model.blocks)
    assert not any(block in compiling for block in state.ema.blocks)


def test_a_teacher_is_compiled_with_the_network_and_answers_anew(compiling, tmp_path, monkeypatch):
    """What plain blocks answered while they were measured differs in its last digits."""
    monkeypatch.setattr(choice, "COMPILE_S", 0.0)
    monkeypatch.setattr(choice, "MIN_GAIN", 0.0)
    flow = {"diffusion__objective": "flow", "train__min_snr_gamma": "null"}
    plain = small_config(**flow)
    meta = CheckpointMeta(step=1, vae_fingerprint="0", scaling_factor=1.0)
    save_for_sampling(tmp_path / "teacher", plain, meta, new_state(plain, CPU).model.state_dict())
    config = small_config(
        train__steps=1000, train__teacher=str(tmp_path / "teacher"), train__teacher_reuse=2,
        **flow, **AUTO,
    )  # fmt: skip
    state, is_so = settle(config)
    assert is_so
    assert is_compiled(state.teacher)
    assert state.answers.find((0, 1)) is None


@pytest.mark.parametrize(
    ("values", "plain", "compiled"),
    [
        ({"train__steps": 99}, 1000.0, 1.0),  # measured, this would cost much of the run
        ({"train__steps": 1000}, 0.5, 0.1),
        ({"train__steps": 1000}, 2.0, 1.95),
        ({"train__steps": 1000, "train__compile": "none"}, 3.0, 1.0),
    ],
)
def test_auto_leaves_other_runs_as_they_are(compiling, times, values, plain, compiled):
    times.update({False: plain, True: compiled})
    state, is_so = settle(small_config(**(AUTO | values)))
    assert not is_so
    assert not is_compiled(state.model)


def test_auto_needs_a_compiler_on_a_cpu(compiling, times, monkeypatch):
    monkeypatch.setattr(choice, "can_compile_on_cpu", lambda: False)
    assert not settle(LONG)[1]
    assert not compiling


def test_what_was_measured_holds_for_the_next_run(compiling, times):
    """So the same command takes the same steps again, whatever else the machine does meanwhile."""
    assert settle(LONG)[1]
    times.update({False: 2.0, True: 3.0})
    assert settle(LONG)[1]
    other = small_config(train__steps=1000, train__batch_size=2, **AUTO)
    assert not settle(other)[1], "of another batch nothing is known"


def checkpoint(folder: Path, compiled: bool | None) -> Path:
    """The meta.json of a checkpoint."""
    from latte_cli.checkpoints.folder import write_meta

    folder.mkdir()
    write_meta(folder, CheckpointMeta(3, "", 1.0, compiled=compiled))
    return folder


@pytest.mark.parametrize(("before", "now"), [(True, True), (False, False), (None, False)])
def test_a_resumed_run_takes_the_path_that_it_took(compiling, times, tmp_path, before, now):
    """Whatever a measurement would say; an earlier version had plain blocks on a CPU."""
    times.update({False: 3.0, True: 4.0 if before else 1.0})
    assert settle(LONG, checkpoint(tmp_path / "step-3", before))[1] is now


def test_a_failing_compiler_leaves_plain_blocks_with_a_warning(compiling, monkeypatch, capsys):
    def run(trial: Any) -> float:
        if is_compiled(trial._state.model):
            raise RuntimeError("omp.h: no such file\nmore")
        return 3.0

    monkeypatch.setattr(choice._Trial, "_run", run)
    state, sampler = new_state(LONG, CPU), Sampler(LONG)
    assert not settle_compiling(state, sampler, LONG, CPU, None, Console())  # type: ignore[arg-type]
    assert not is_compiled(state.model)
    said = " ".join(capsys.readouterr().err.split())
    assert "the blocks could not be compiled, and stay plain: omp.h: no such file" in said
    assert "more" not in said.partition("warning")[2]


def test_measuring_changes_nothing_but_the_blocks(compiling, monkeypatch):
    monkeypatch.setattr(choice, "COMPILE_S", 0.0)
    monkeypatch.setattr(choice, "MIN_GAIN", 0.0)
    untouched = new_state(LONG, CPU)
    compile_blocks(untouched.model)
    random_state = torch.get_rng_state()
    state, is_so = settle(LONG)
    assert is_so
    assert torch.equal(torch.get_rng_state(), random_state)
    losses = [take_step(each, LONG, random_batch(LONG)).loss for each in (state, untouched)]
    assert torch.equal(*losses)


def test_a_stopped_run_has_the_losses_of_one_that_was_not(
    compiling, monkeypatch, tmp_path, world: World
):
    """Compiled blocks in both, although a measurement would now be against it."""
    monkeypatch.setattr(choice, "MIN_STEPS", 1)
    monkeypatch.setattr(choice, "COMPILE_S", 0.0)
    monkeypatch.setattr(choice, "MIN_GAIN", 0.0)
    losses = {}
    for name in ("whole", "stopped"):
        words = ["train", "--preset=shapes", f"--run={name}", *tiny(**AUTO), *world.roots[:2]]
        words += [f"--runs-root={tmp_path}"]
        run = tmp_path / name
        said = succeed(*words).stderr
        assert "compiling the blocks" in said
        if name == "stopped":
            shutil.rmtree(run / "checkpoints" / "step-00000006")
            monkeypatch.setattr(choice, "MIN_GAIN", float("inf"))
            compiling.clear()
            succeed(*words)
            assert compiling
        rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        losses[name] = [row["loss"] for row in rows]
        assert all(read_checkpoint_meta(each).compiled for each in list_checkpoints(run))
    assert len(losses["whole"]) == 6
    assert losses["whole"] == losses["stopped"]


def test_what_is_compiled_is_kept_between_runs_unless_the_user_says_where(monkeypatch, tmp_path):
    monkeypatch.setattr(nn.Module, "compile", lambda block, **given: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "mine")
    compile_blocks(new_state(LONG, CPU).model)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "mine"
    for name in (None, os.path.join(gettempdir(), "torchinductor_me")):  # PyTorch's default
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
        if name:
            monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", name)
        compile_blocks(new_state(LONG, CPU).model)
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "latte" / "inductor")
