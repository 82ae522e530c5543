"""The same files come out of a command on a Ray cluster as out of one process."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from conftest import fail, succeed
from helpers.eval_data import flat
from helpers.rays import running_ray
from helpers.small_data import BYTES_A_VIDEO, contents

from latte_cli.data.latents import plan as latent_plan

pytestmark = pytest.mark.ray
cluster = running_ray
RAY = "--engine=ray"
COUNT = 16  # of the world's videos


def kill_one_worker(when) -> threading.Thread:
    """Kill one of Ray's processes that does work, by its id, once something is true."""

    def run() -> None:
        while not when():
            time.sleep(0.01)
        os.kill(_workers()[0], signal.SIGKILL)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _workers() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        if b"ray::RayWorker" in (path / "cmdline").read_bytes():
            found.append(int(path.name))
    return found


def test_prepare_with_a_worker_killed_in_the_middle(cluster, world, tmp_path):
    shutil.copytree(world.root / "data" / "shapes" / "videos", "videos")
    Path("videos", "empty.mp4").touch()
    Path("videos", "text.avi").write_text("no video")
    words = "prepare", "folder", "--source=videos"
    succeed(*words, f"--out={tmp_path / 'local'}")
    journal = tmp_path / "ray" / "checked.jsonl"
    killing = kill_one_worker(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 2)
    result = json.loads(succeed("--json", *words, f"--out={tmp_path / 'ray'}", RAY).stdout)
    killing.join(1)
    assert not killing.is_alive()
    assert (result["accepted"], result["rejected"]) == (COUNT, 2)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")


def test_encode_latents_with_a_worker_killed_in_the_middle(cluster, world, monkeypatch):
    monkeypatch.setattr(latent_plan, "SHARD_BYTES", 2 * BYTES_A_VIDEO)
    words = (
        "encode-latents",
        "--preset=shapes",
        "--size=32",
        f"--data={world.root / 'data' / 'shapes'}",
    )
    succeed(*words, "--out=local", "--workers=1")
    killing = kill_one_worker(lambda: len([*Path("ray").glob("shard-*")]) > 1)
    result = json.loads(succeed("--json", *words, "--out=ray", RAY).stdout)
    killing.join(1)
    assert not killing.is_alive()
    assert result["videos"] == COUNT
    assert contents(Path("ray")) == contents(Path("local"))


def test_clips_are_the_same(cluster, world):
    words = "sample", f"--checkpoint={world.run}", "-n", 6, "--batch=2", "--steps=4"
    succeed(*words, "--out=local", *world.roots[::2])
    result = succeed("--json", *words, "--out=ray", RAY, *world.roots[::2])
    assert json.loads(result.stdout)["sampled_now"] == 6
    assert contents(Path("ray")) == contents(Path("local"))
    assert "one clip is not shared" in fail(*words[:2], "--out=one.mp4", RAY)


@pytest.mark.usefixtures("clips")
def test_features_and_numbers_are_the_same(cluster):
    words = "eval", "--preset=shapes", "--real=real", "--fake=fake", *flat()
    local = succeed("--json", *words, "--features-root=local", "--out=local.json")
    ray = succeed("--json", *words, "--features-root=ray", "--out=ray.json", RAY)
    assert contents(Path("ray")) == contents(Path("local"))
    numbers = [json.loads(each.stdout)["metrics"] for each in (local, ray)]
    assert numbers[0] == numbers[1]
