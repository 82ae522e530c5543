"""Fixtures shared by all tests: reference numbers, a small world of data, and the command line."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch is imported

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner, Result

from latte_cli.cli import app

if TYPE_CHECKING:
    from helpers.stub_hub import StubHub

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared"
REAL_CLIPS = SHARED / "clips"
SHAPES_WEIGHTS = HERE.parent / "latte_cli" / "assets" / "shapes-fast" / "ema.safetensors"
VBENCH_PROMPTS = SHARED / "eval" / "goldens" / "vbench_full_info.json"

os.environ["HF_HUB_OFFLINE"] = "1"  # looked at once, when the hub's library is first imported
if "PYTEST_XDIST_WORKER" in os.environ:  # several processes share the processors
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
    torch.set_num_threads(1)

# A network and clips so small that a training step takes milliseconds.
TINY = {
    "data.size": 32,
    "data.frames": 4,
    "model.width": 32,
    "model.depth": 2,
    "model.heads": 2,
    "train.batch_size": 4,
    "train.steps": 6,
    "train.save_every": 3,
    "train.log_every": 1,
    "train.preview_every": 1000,
    "train.warmup_steps": 0,
    "train.compile": "none",  # which takes a minute
    "sample.steps": 4,
}


def tiny(**values: object) -> list[str]:
    """`-o` words of the tiny world, with changes; double underscores stand for dots."""
    chosen = TINY | {key.replace("__", "."): value for key, value in values.items()}
    return [word for key, value in chosen.items() for word in ("-o", f"{key}={value}")]


def invoke(*words: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def succeed(*words: object) -> Result:
    """Run the command line, which must end well."""
    result = invoke(*words)
    assert result.exit_code == 0, result.output + result.stderr
    return result


def fail(*words: object) -> str:
    """Run the command line, which must end with a message and a hint; stderr on one line."""
    result = invoke(*words)
    said = " ".join(result.stderr.split())
    assert result.exit_code == 1, said
    assert "error: " in said
    assert "hint: " in said
    assert "Traceback" not in result.stderr
    return said


def stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    """When a folder and all in it were last written, and what number the disk gave them."""
    told = {path: path.stat() for path in (folder, *folder.rglob("*"))}
    return {path: (each.st_mtime_ns, each.st_ino) for path, each in told.items()}


@dataclass(frozen=True)
class World:
    """A folder with prepared `shapes`, their latents and a short run."""

    root: Path

    @property
    def roots(self) -> list[str]:
        """Where data, latents and runs lie, as options of `train`."""
        return [f"--{name}-root={self.root / name}" for name in ("data", "latents", "runs")]

    @property
    def run(self) -> Path:
        return self.root / "runs" / "shapes"

    @property
    def latents(self) -> Path:
        return self.root / "latents" / "shapes-32-embedded"


@pytest.fixture(scope="session")
def goldens() -> Callable[[str], dict[str, Tensor]]:
    """Numbers of the published model and diffusion code, by file name (tests/goldens/README.md)."""
    return lambda name: load_file(HERE / "goldens" / f"{name}.safetensors")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Sixteen videos of 32 pixels, encoded, with a run of six steps. Not to be changed by tests."""
    world = World(tmp_path_factory.mktemp("world"))
    data, latents, _ = world.roots
    succeed("prepare", "shapes", "--count=16", "--size=32", data)
    succeed("encode-latents", "--preset=shapes", "--size=32", data, latents)
    succeed("train", "--preset=shapes", *tiny(), *world.roots)
    return world


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """A folder of real videos beside the checkout; tests that need it skip where it is absent."""
    if not REAL_CLIPS.is_dir():
        pytest.skip("no real clips on this machine")
    return REAL_CLIPS


@pytest.fixture(scope="session")
def clip_folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A prepared data set of ten videos, and six clips as mp4. Not to be changed by tests."""
    from helpers.eval_data import mp4_folder, prepared

    root = tmp_path_factory.mktemp("clips")
    return [prepared(root / "real", 10, 12), mp4_folder(root / "fake", 6, 6, seed=1)]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output as on a terminal of eighty columns, without colors."""
    for name, value in (("COLUMNS", "80"), ("TTY_COMPATIBLE", "1"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)


@pytest.fixture
def clips(tmp_path: Path, clip_folders: list[Path]) -> None:
    """The same as `real` and `fake`, of which a test may change what it likes."""
    for folder in clip_folders:
        shutil.copytree(folder, tmp_path / folder.name)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator["StubHub"]:
    """An empty hub, which the library asks from now on, with a token that may write."""
    from helpers.stub_hub import GOOD, running_hub

    with running_hub() as running:
        for name, value in {
            "ENDPOINT": running.url,
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_TOKEN_PATH": str(tmp_path / "no token"),
        }.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        monkeypatch.setenv("HF_TOKEN", GOOD)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
        yield running


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a folder of its own, seeded, with no hub and no settings of the user's."""
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("LATTE_")]:
        monkeypatch.delenv(name)
