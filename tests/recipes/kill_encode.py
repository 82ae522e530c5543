"""Kill `latte encode-latents` at random moments; in the end its files must be those of a calm run.

    python tests/recipes/kill_encode.py [--kills 50] [--count 48] [--seed 0]

Small videos are drawn and encoded into shards of a few videos each, once undisturbed and then
again and again with a SIGKILL somewhere between the first and the last moment; what is killed is
run again by the same command. Whenever a run gets through, every file is compared with the calm
run's, and the latents are deleted, until enough kills were done. A shard that was there must never
be written again.

Each run is a fork of this process, which has imported everything (but not on top of this file: the
processes that decode begin by reading it, too).
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

from forks import contents, start

VIDEOS_A_SHARD = 4
BYTES_A_VIDEO = 32 * 2 * 2 * 4 * 4 * 4  # frames, parts, float16, channels, side, side


def written_at(folder: Path) -> dict[str, int]:
    """When each shard was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import latte_cli.commands.encode_latents
    import latte_cli.commands.prepare  # noqa: F401
    from latte_cli.data.latents import plan as latent_plan
    from latte_cli.vae.autoencoders import load_autoencoder

    load_autoencoder("embedded")  # diffusers imports its parts late, too
    latent_plan.SHARD_BYTES = VIDEOS_A_SHARD * BYTES_A_VIDEO
    with tempfile.TemporaryDirectory() as folder:
        kill(Path(folder), options.kills, options.count, random.Random(options.seed))


def kill(folder: Path, kills: int, count: int, chance: random.Random) -> None:
    def encode(out: str) -> int:
        return start("-q", "encode-latents", *words, f"--out={folder / out}")

    words = ["--preset=shapes", f"--data={folder / 'data'}", "--size=32"]
    draw = ("prepare", "shapes", f"--count={count}", "--size=32", f"--out={folder / 'data'}")
    assert os.waitpid(start("-q", *draw), 0)[1] == 0
    began = time.monotonic()
    assert os.waitpid(encode("calm"), 0)[1] == 0
    calm_s = time.monotonic() - began
    calm, disturbed = contents(folder / "calm"), folder / "disturbed"
    assert len(written_at(folder / "calm")) == count // VIDEOS_A_SHARD, "several shards"
    done = finished = 0
    while True:
        before = written_at(disturbed)
        pid = encode("disturbed")
        last = done == kills
        if not last:
            time.sleep(chance.uniform(0, calm_s))
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        after = written_at(disturbed)
        assert before.items() <= after.items(), "a whole shard was written again"
        if os.WIFSIGNALED(status):
            done += 1
            continue
        assert status == 0, f"exit status {status}"
        assert contents(disturbed) == calm, "other files than those of the calm run"
        finished += 1
        shutil.rmtree(disturbed)
        if last:
            break
    result = {"kills": done, "finished": finished, "files": len(calm), "calm_s": round(calm_s, 2)}
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
