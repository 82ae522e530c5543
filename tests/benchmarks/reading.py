"""How fast whole videos are read and checked, beside ffmpeg on the same files.

    python tests/benchmarks/reading.py CLIPS [--workers 2] [--repeats 8] [--rounds 3]

Every way goes through all videos below a folder, each several times, as many at once as asked:
ffmpeg decodes and throws away (`ffmpeg -i VIDEO -f null -`), one process a video; `looped` is the
same with a video's repeats in one process, so that ffmpeg's start is not held against it; `read`
hands out RGB frames; `check` is what `latte prepare` does with each file, checksum included. `read`
and `check` run in worker processes that have started. Rounds alternate, since other work on a
machine comes and goes; the quickest of each way is compared. What does not decode is left out.
"""

import argparse
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import imageio_ffmpeg

from latte_cli.data.checking import Job, check_video
from latte_cli.data.manifest import SourceVideo, VideoRecord
from latte_cli.runtime.errors import VideoError
from latte_cli.runtime.workers import Alive, run_jobs
from latte_cli.video_io import VIDEO_SUFFIXES, inspect_video, iter_frames

WARM_UP = Path()  # a job that starts a process and does nothing


def read(path: Path, alive: Alive, *, repeats: int) -> int:
    if path == WARM_UP:
        return 0
    return sum(1 for _ in range(repeats) for _ in iter_frames(path))


def check(path: Path, alive: Alive, *, repeats: int) -> int:
    if path == WARM_UP:
        return 0
    frames = 0
    for _ in range(repeats):
        outcome = check_video(Job(SourceVideo(path), Path.cwd()), alive).outcome
        assert isinstance(outcome, VideoRecord)
        frames += outcome.frames
    return frames


def in_processes(
    way: Callable[..., int], videos: list[Path], workers: int, repeats: int
) -> tuple[int, float]:
    """Frames and seconds, counted from when all processes have started."""
    started = 0.0

    def jobs() -> Iterator[Path]:
        nonlocal started
        yield from [WARM_UP] * workers
        started = time.perf_counter()
        yield from videos

    answers = run_jobs(partial(way, repeats=repeats), jobs(), workers, timeout_s=600)
    frames = sum(answer for _, answer in answers if isinstance(answer, int))
    return frames, time.perf_counter() - started


def by_ffmpeg(videos: list[Path], workers: int, repeats: int, *, looped: bool) -> float:
    """Seconds."""

    def decode(path: Path) -> None:
        words: list[str | Path] = ["-v", "quiet", "-nostdin"]
        words += ["-stream_loop", str(repeats - 1)] if looped else []
        words += ["-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "null", "-"]
        for _ in range(1 if looped else repeats):
            subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *words], check=True)

    started = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(decode, videos))
    return time.perf_counter() - started


def sound_videos(folder: Path) -> tuple[list[Path], int]:
    """Those that decode, the longest work first as far as sizes tell, and their frames."""
    found, frames = [], 0
    for path in sorted(folder.absolute().rglob("*"), key=lambda path: -path.stat().st_size):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            try:
                frames += inspect_video(path).frames
                found.append(path)
            except VideoError:
                continue
    return found, frames


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clips", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    videos, frames = sound_videos(options.clips)
    frames *= options.repeats
    print(f"{len(videos)} videos x {options.repeats}, {frames} frames, {options.workers} at once")
    best = dict.fromkeys(("ffmpeg", "looped", "read", "check"), 0.0)
    for _ in range(options.rounds):
        for name in ("ffmpeg", "looped"):
            given = (videos, options.workers, options.repeats)
            spent = by_ffmpeg(*given, looped=name == "looped")
            best[name] = max(best[name], frames / spent)
        for way in (read, check):
            seen, spent = in_processes(way, videos, options.workers, options.repeats)
            assert seen == frames, f"{way.__name__} saw {seen} frames"
            best[way.__name__] = max(best[way.__name__], frames / spent)
    for name, rate in best.items():
        print(f"{name:7} {rate:8.0f} frames/s   {rate / best['ffmpeg']:5.2f} of ffmpeg's")


if __name__ == "__main__":
    main()
