"""What sharing out work by Ray costs, on workers of this machine.

    python tests/benchmarks/ray_overhead.py [--items 1000] [--seconds 1] [--empty 1000000]

It prints the time of sleeping items against the time that they sleep, divided by the workers, and
the time, items/s and memory of empty items, at intervals. Sleeping needs no CPU, so a busy machine
changes only the overhead itself.
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from latte_cli.runtime.engines.engine import Advance
from latte_cli.runtime.engines.ray_cluster import connected, import_ray
from latte_cli.runtime.engines.ray_engine import RayEngine

WORKERS = 2
REPORTS = 10


def sleep(seconds: float, items: Iterable[int], advance: Advance) -> Iterator[tuple[int, None]]:
    """Work that takes so long for each item."""
    for item in items:
        if seconds:
            time.sleep(seconds)
        yield item, None


def memory_mb(pid: str = "self") -> float:
    """What a process holds now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def workers_mb() -> float:
    """What all workers hold together."""
    found = 0.0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if b"RayWorker" in (path / "cmdline").read_bytes():
                found += memory_mb(path.name)
        except OSError:
            continue
    return found


def overhead(items: int, seconds: float) -> dict[str, float]:
    """Sleeping items: from the first answer on, so that starting workers does not count."""
    work = partial(sleep, seconds)
    began = time.monotonic()
    answers = RayEngine(0).run(work, range(items), lambda count: None)
    next(answers)
    first = time.monotonic()
    for _ in answers:
        pass
    took = time.monotonic() - first
    ideal = (items - WORKERS) * seconds / WORKERS
    return {
        "items": items,
        "seconds_each": seconds,
        "start_s": round(first - began - seconds, 2),
        "took_s": round(took, 2),
        "ideal_s": round(ideal, 2),
        "overhead_percent": round(100 * (took / ideal - 1), 2),
    }


def empty(items: int) -> dict[str, object]:
    """Empty items: time, and memory of the driver and of the workers at equal intervals."""
    began, held = time.monotonic(), []
    for number, _ in enumerate(RayEngine(0).run(partial(sleep, 0.0), range(items), lambda n: None)):
        if number % (items // REPORTS) == items // REPORTS - 1:
            held.append((round(memory_mb()), round(workers_mb())))
    took = time.monotonic() - began
    return {
        "items": items,
        "took_s": round(took, 1),
        "items_per_s": round(items / took),
        "mb_of_driver_and_workers": held,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--empty", type=int, default=1_000_000)
    options = parser.parse_args()
    ray = import_ray()
    ray.init("local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    with connected(None):
        if options.items:
            print(json.dumps(overhead(options.items, options.seconds)), flush=True)
        if options.empty:
            print(json.dumps(empty(options.empty)), flush=True)
    ray.shutdown()
