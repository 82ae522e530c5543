"""Kill `latte train` at random moments; in the end its run must be that of an undisturbed one.

    python tests/recipes/kill_train.py [--kills 30] [--steps 24] [--width 192] [--seed 0]

A network is trained on procedural videos, once undisturbed and then again and again with SIGKILLs,
every second of them while a checkpoint is being written; what is killed is run again by the same
command. After each kill the newest whole checkpoint must be at least as new as the one before, and
the run must go on from it. Whenever a run gets through, the loss of every step and every byte of
the last checkpoint's weights are compared with the undisturbed run's, and the run is deleted, until
enough kills were done.

Each run is a fork of this process, which has imported everything and computes nothing itself.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from forks import start

import latte_cli.commands.encode_latents
import latte_cli.commands.prepare
import latte_cli.commands.train  # noqa: F401  # so that forks need not import
from latte_cli.checkpoints.folder import find_corruption, list_checkpoints, step_of
from latte_cli.runtime.files import PART
from latte_cli.vae.autoencoders import load_autoencoder

SAVE_EVERY = 2
SAID = "said.txt"


def finish(pid: int) -> None:
    """Wait for a fork that must end well."""
    status = os.waitpid(pid, 0)[1]
    assert status == 0, f"status {status}: {Path(SAID).read_text()[-2000:]}"


def curve(run: Path) -> list[tuple[int, float, float]]:
    """Step, loss and gradient norm of every step."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["grad_norm"]) for row in rows]


def weights(run: Path) -> dict[str, bytes]:
    """Network, EMA and state of the last checkpoint."""
    last = list_checkpoints(run)[-1]
    return {str(p.relative_to(last)): p.read_bytes() for p in last.rglob("*.safetensors")}


def newest_whole(run: Path) -> int:
    """The step of the newest whole checkpoint; 0 for none."""
    whole = [path for path in list_checkpoints(run) if find_corruption(path) is None]
    assert len(whole) == len(list_checkpoints(run)), "what is there is whole"
    return step_of(whole[-1]) if whole else 0


def is_writing(run: Path) -> bool:
    """Whether a checkpoint is being written."""
    return any((run / "checkpoints").glob(f"{PART}*-step-*"))


def wait_for_writing(pid: int, run: Path, chance: random.Random) -> bool:
    """Wait for a random one of the next writes; False if the run ended before."""
    for _ in range(chance.randint(1, 4)):
        for wanted in (False, True):
            while is_writing(run) != wanted:
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    return False
                time.sleep(0.0005)
    return True


def kill(
    kills: int, steps: int, width: int, latents: Path | None, chance: random.Random
) -> dict[str, object]:
    """Do what this file says in the present folder; the count of what was done."""

    def train(runs: str) -> int:
        values = {
            "data.size": 32,
            "data.frames": 4,
            "model.width": width,
            "train.steps": steps,
            "train.batch_size": 4,
            "train.save_every": SAVE_EVERY,
            "train.keep": 2,
            "train.log_every": 1,
            "train.preview_every": 10**6,
        }
        words = [word for key, value in values.items() for word in ("-o", f"{key}={value}")]
        return start("train", "--preset=shapes", *words, f"--runs-root={runs}", where, said=SAID)

    if latents is None:
        finish(start("prepare", "shapes", "--count=16", "--size=32", said=SAID))
        finish(start("encode-latents", "--preset=shapes", "--size=32", said=SAID))
    where = f"--latents-root={latents or 'latents'}"
    began = time.monotonic()
    finish(train("calm"))
    calm_s = time.monotonic() - began
    calm, run = Path("calm/shapes"), Path("disturbed/shapes")
    done = writing = finished = 0
    best = 0
    while True:
        pid = train("disturbed")
        last = done == kills
        if not last:
            if done % 2 and wait_for_writing(pid, run, chance):
                time.sleep(chance.uniform(0, 0.05))
            else:
                time.sleep(chance.uniform(0, calm_s))
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        reached = newest_whole(run)
        assert reached >= best, f"a checkpoint of step {best} was there, now {reached}"
        best = reached
        if os.WIFSIGNALED(status):
            done += 1
            writing += is_writing(run)
            continue
        assert status == 0, f"status {status}: {Path(SAID).read_text()[-2000:]}"
        assert curve(run) == curve(calm), "other losses than those of the undisturbed run"
        assert weights(run) == weights(calm), "other weights than those of the undisturbed run"
        finished += 1
        shutil.rmtree(run)
        best = 0
        if last:
            break
    return {"kills": done, "while_writing": writing, "finished": finished, "calm_s": calm_s}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--latents", type=Path, help="folder of encoded `shapes` of 32 pixels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    load_autoencoder("embedded")  # diffusers imports its parts late, too
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        chance = random.Random(options.seed)
        result = kill(options.kills, options.steps, options.width, options.latents, chance)
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
