"""`latte encode-latents` in several processes at once, and in killed ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.small_data import BYTES_A_VIDEO, COUNT, contents, copy_data, encode, latents_of, words

from latte_cli.data.latents import plan as latent_plan

RECIPES = Path(__file__).parent.parent / "recipes"

# The command line with small shards. A process that has claimed its first one waits until the other
# has done so, too: else the first to start might do it all.
SCRIPT = f"""
import os, time
from pathlib import Path

def encode(codec, frames):
    Path("at-work", os.environ.get("RANK") or os.environ["WHO"]).touch()
    deadline = time.monotonic() + 120
    while len(os.listdir("at-work")) < 2:
        assert time.monotonic() < deadline, "the other does not begin"
        time.sleep(0.01)
    return original(codec, frames)

if __name__ == "__main__":  # the processes that decode read this file, too
    from latte_cli.cli import app
    from latte_cli.data.latents import plan as latent_plan
    from latte_cli.vae import LatentCodec

    latent_plan.SHARD_BYTES = 2 * {BYTES_A_VIDEO}
    original, LatentCodec.encode = LatentCodec.encode, encode
    app()
"""


@pytest.fixture
def data(world, tmp_path) -> Path:
    (tmp_path / "run.py").write_text(SCRIPT)
    (tmp_path / "at-work").mkdir()
    return copy_data(world, tmp_path)


@pytest.fixture
def calm(data, monkeypatch) -> dict[str, list[bytes]]:
    """The latents that a single process makes."""
    monkeypatch.setattr(latent_plan, "SHARD_BYTES", 2 * BYTES_A_VIDEO)
    encode(data, "--out=calm")
    return latents_of(Path("calm"))


def assert_finished(folder: Path, calm: dict[str, list[bytes]]) -> None:
    """On a busy machine the shards are closed by time, and so hold other videos each."""
    assert latents_of(folder) == calm
    others = {name for name in contents(folder) if not name.startswith("shard-")}
    assert others == {"index.jsonl", "meta.json"}


def start(*command: object, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_torchrun_processes_share_the_work_and_one_prints_the_result(data, calm):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    out, said = (process := start(*torchrun, "run.py", "--json", *words(data))).communicate()
    assert process.returncode == 0, said
    assert json.loads(out)["encoded_now"] == COUNT
    assert_finished(Path("l"), calm)


def test_two_nodes_can_encode_one_folder(data, calm):
    """Two independent commands, as on two nodes with one shared disk."""
    both = [start("run.py", "--json", *words(data), WHO=who) for who in ("a", "b")]
    for process in both:
        out, said = process.communicate()
        assert process.returncode == 0, said
        assert json.loads(out)["videos"] == COUNT
    assert_finished(Path("l"), calm)


def test_stopped_runs_lose_little_and_end_with_the_same_latents():
    """A few kills; the recipe can do more."""
    shown = subprocess.run(
        [sys.executable, RECIPES / "kill_encode.py", "--kills=4", "--count=16"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["kills"] == 4
