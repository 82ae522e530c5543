"""Kill `latte encode-latents` at random moments; its files must equal those of an undisturbed run.

    python tests/recipes/kill_encode.py [--kills 50] [--count 48] [--seed 0]

Small videos are generated and encoded into shards of a few videos each, once undisturbed, then
again and again with a SIGKILL at a random moment; the same command starts a killed run again.
Whenever a run finishes, its files are compared with those of the undisturbed run and the latents
are deleted, until there were enough kills. A finished shard must never be written again.

Each run is a fork of this process, which has imported everything (not at the top of this file,
since the processes that decode import it, too).
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
    """The modification time of each shard."""
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
    prepare = ("prepare", "shapes", f"--count={count}", "--size=32", f"--out={folder / 'data'}")
    assert os.waitpid(start("-q", *prepare), 0)[1] == 0
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
        assert before.items() <= after.items(), "a finished shard was written again"
        if os.WIFSIGNALED(status):
            done += 1
            continue
        assert status == 0, f"exit status {status}"
        assert contents(disturbed) == calm, "files differ from those of the undisturbed run"
        finished += 1
        shutil.rmtree(disturbed)
        if last:
            break
    result = {"kills": done, "finished": finished, "files": len(calm), "calm_s": round(calm_s, 2)}
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
