"""Reports: seconds to write a page, its size, and what a browser takes to show it.

    python tests/benchmarks/reports.py [--steps 100000] [--clips 10000]

A run with a logged line a step, 100 previews of eight 256-pixel clips, spikes and restarts; and a
folder of clips. Needs playwright and Chromium for what a browser does.

Wanted: a page in 5 s and 8 MB, 5 MB without its clips; first paint in 1 s; previews that follow the
slider at 30 frames/s on 2 cores; a gallery that opens in 2 s.
"""

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers.browser import launched, opened
from helpers.made_runs import make_run, make_samples

from latte_cli.runtime.files import json_lines
from latte_cli.video_io import write_video

PREVIEWS = 100
SLIDE = """async count => {
    const slider = document.getElementById("step"), started = performance.now();
    for (let frame = 0; frame < count; frame += 1) {
        slider.value = frame % (+slider.max + 1);
        slider.dispatchEvent(new Event("input"));
        await new Promise(requestAnimationFrame);
    }
    return count / (performance.now() - started) * 1000;
}"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def make_long_run(folder: Path, steps: int) -> None:
    """A run of many steps; its previews are as hard to compress as blurred noise."""
    make_run(folder, previews=0)
    settings = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(settings.replace("steps: 40", f"steps: {steps}"))
    rng = random.Random(0)
    rows = []
    for step in range(1, steps + 1):
        loss = 0.15 + math.exp(-step / 6000) + rng.gauss(0, 0.02)
        row = {"step": step, "loss": loss, "mse": loss * 0.99, "vlb": loss * 0.01}
        row |= {f"loss_q{number}": loss * number for number in range(1, 5)}
        row |= {"grad_norm": rng.random(), "lr": 1e-4, "clips_per_s": rng.gauss(640, 20)}
        rows.append({**row, "peak_share": 0.41, "memory_gb": 63.2})
    (folder / "metrics.jsonl").write_text(json_lines(rows))
    generator = np.random.default_rng(0)
    for number in range(1, PREVIEWS + 1):
        blocks = generator.integers(0, 255, (32, 64, 3), np.uint8)
        frame = blocks.repeat(16, 0).repeat(16, 1)
        clip = [np.roll(frame, 5 * shift, 1) for shift in range(16)]
        write_video(folder / "previews" / f"step-{steps * number // PREVIEWS:08d}.mp4", clip, 8)


def make_many_clips(folder: Path, count: int) -> None:
    """One clip under many names."""
    make_samples(folder, 1)
    row = json.loads((folder / "samples.jsonl").read_text())
    first = folder / row["file"]
    rows = []
    for number in range(count):
        name = f"{number:06d}-seed{number}"
        os.link(first, folder / f"{name}.mp4")
        rows.append({**row, "name": name, "file": f"{name}.mp4", "seed": number})
    (folder / "samples.jsonl").write_text(json_lines(rows))


def write(*words: str) -> dict:
    """The result of `latte report`, with the seconds of the whole command, also of processors."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "latte_cli", "--json", "report", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(done.stdout), "whole": time.monotonic() - started, "cpu": cpu}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--clips", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        run, clips = root / "run", root / "clips"
        make_long_run(run, given.steps)
        make_many_clips(clips, given.clips)
        for label, words in (
            ("without clips", (str(run), "--embed=0", f"--out={root / 'small.html'}")),
            ("first", (str(run),)),
            ("again", (str(run),)),
            ("gallery", (str(clips),)),
        ):
            wrote = write(*words)
            print(
                f"{label}: {wrote['whole']:.1f} s, {wrote['cpu']:.1f} s of processors, "
                f"{wrote['bytes'] / 1e6:.2f} MB"
            )
        with launched() as browser:
            with opened(browser, run / "report.html") as found:
                found.page.wait_for_selector(".stage.playing")
                print(f"first paint: {found.page.evaluate(PAINT) / 1000:.2f} s")
                print(f"slider: {found.page.evaluate(SLIDE, 150):.0f} frames/s")
            started = time.monotonic()
            # The page forbids what waiting for a condition evaluates.
            with opened(browser, clips / "report.html", bypass_csp=True) as found:
                found.page.wait_for_function(
                    "document.querySelector('#clips video')?.readyState >= 2"
                )
                seconds = time.monotonic() - started
                paint = found.page.evaluate(PAINT) / 1000
                print(f"gallery: first paint {paint:.2f} s, first clip {seconds:.2f} s")


if __name__ == "__main__":
    main()
