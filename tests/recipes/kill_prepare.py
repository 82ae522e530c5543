"""Kill `latte prepare` at random moments; its files must equal those of an undisturbed run.

    python tests/recipes/kill_prepare.py [--kills 50] [--count 120] [--seed 0]

Small videos, some damaged or duplicates, are checked, once undisturbed, then again and again with a
SIGKILL at a random moment; the same command starts a killed run again. Whenever a run finishes, its
files are compared with those of the undisturbed run and the data set is deleted, until there were
enough kills. A checked video must never be checked again, and no worker process may
outlive its run for long.

Each run is a fork of this process, which has imported everything.
"""

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

from forks import contents, start

WORKERS_GONE_S = 30.0
WORKERS = 2


def generate_videos(folder: Path, count: int) -> None:
    """Videos of different lengths; every fifth is truncated, every seventh has a copy."""
    from latte_cli.sources import shapes
    from latte_cli.video_io import write_video

    for number in range(count):
        path = folder / f"{number:03d}.mp4"
        write_video(path, shapes.render_clip(number, num_frames=4 + number % 9), 8)
        if number % 5 == 0:
            path.write_bytes(path.read_bytes()[:-200])
        if number % 7 == 0:
            shutil.copyfile(path, folder / f"{number:03d} again.mp4")


def checked(folder: Path) -> list[bytes]:
    """The journal's lines; the last one may have been cut off."""
    journal = folder / "checked.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True) if journal.is_file() else []
    return [line for line in lines if line.endswith(b"}\n")]


def wait_for_workers(group: int) -> None:
    """Wait until no process of a killed run is left."""
    end = time.monotonic() + WORKERS_GONE_S
    while time.monotonic() < end:
        alive = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, their_group = stat.read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            alive += int(their_group) == group and state != "Z"
        if not alive:
            return
        time.sleep(0.02)
    raise AssertionError(f"processes of run {group} are left")


def kill(folder: Path, kills: int, chance: random.Random) -> dict[str, object]:
    """Kill runs a number of times, and count how they ended."""

    def prepare(out: str) -> int:
        words = ("--source", folder / "in", "--out", folder / out, f"--workers={WORKERS}")
        return start("-q", "prepare", "folder", *words)

    began = time.monotonic()
    assert os.waitpid(prepare("calm"), 0)[1] == 0
    calm_s = time.monotonic() - began
    calm, disturbed = contents(folder / "calm"), folder / "disturbed"
    done = finished = midway = 0
    while True:
        before = checked(disturbed)
        pid = prepare("disturbed")
        last = done == kills
        if not last:
            time.sleep(chance.uniform(0, calm_s))
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        wait_for_workers(pid)
        after = checked(disturbed)
        names = [json.loads(line)["outcome"]["path"] for line in after]
        assert set(before) <= set(after), "a verdict was lost"
        assert len(names) == len(set(names)), "a video was checked twice"
        if os.WIFSIGNALED(status):
            done += 1
            midway += 0 < len(after) < len(checked(folder / "calm"))
            continue
        assert status == 0, f"exit status {status}"
        assert contents(disturbed) == calm, "files differ from those of the undisturbed run"
        finished += 1
        shutil.rmtree(disturbed)
        if last:
            break
    counts = {"kills": done, "midway": midway, "finished": finished}
    return {**counts, "files": sorted(calm), "calm_s": round(calm_s, 2)}


def main() -> None:
    import latte_cli.commands.prepare  # noqa: F401  # so that forks need not import

    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        generate_videos(Path(folder) / "in", options.count)
        result = kill(Path(folder), options.kills, random.Random(options.seed))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
