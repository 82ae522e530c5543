"""What OpenMP's waiting threads cost, on a quiet machine and on a busy one.

    python tests/benchmarks/threads.py [--seconds 8] [--rounds 3] [--out threads.json]

Training steps and forward passes of the preset `shapes` per second, each in a process of its own,
by how threads wait for each other (OMP_WAIT_POLICY, or a bounded spin by GOMP_SPINCOUNT, which
OpenMP of GCC reads) and by the number of threads: alone, beside one busy loop, and beside a second
copy of itself, whose rates are added. The settings take turns, and medians are shown; the best
setting is the one whose worst rate, against the best of each column, is highest.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import latte_cli
from latte_cli.runtime.cpus import compute_threads

LOADS = ("quiet", "beside a busy loop", "beside a copy")
WORK = ("training", "sampling")
BUSY = "while True: pass"


def settings() -> dict[str, dict[str, str]]:
    """Environment variables by the name of a setting."""
    threads = compute_threads()
    waits = {
        "default": {},
        "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
        "spin 100": {"GOMP_SPINCOUNT": "100"},
        "spin 1000": {"GOMP_SPINCOUNT": "1000"},
        "spin 10000": {"GOMP_SPINCOUNT": "10000"},
    }
    numbers = sorted({1, threads})
    return {
        f"{name}, {count} threads": {**wait, "OMP_NUM_THREADS": str(count)}
        for name, wait in waits.items()
        for count in numbers
        if count > 1 or name == "passive"  # a single thread waits for none
    }


def work(kind: str, seconds: float) -> None:
    """In a process of its own: print steps, or passes, per second."""
    import torch

    from latte_cli.config import load_config
    from latte_cli.models import build_model

    config = load_config("shapes")
    torch.manual_seed(0)
    model = build_model(config)
    frames, side = config.data.frames, config.latent_size
    x = torch.randn(4, frames, config.vae.latent_channels, side, side)
    t, y = torch.full((4,), 500), torch.zeros(4, dtype=torch.long)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    count, started = -1, 0.0  # the first one warms up
    with torch.set_grad_enabled(kind == "training"):
        while count < 1 or time.perf_counter() - started < seconds:
            out = model(x, t, y)
            if kind == "training":
                optimizer.zero_grad()
                out.square().mean().backward()
                optimizer.step()
            count += 1
            started = started or time.perf_counter()
    print(count / (time.perf_counter() - started))


def start(kind: str, seconds: float, variables: dict[str, str]) -> subprocess.Popen[str]:
    """A process that works."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP", "GOMP"))}
    root = str(Path(latte_cli.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, __file__, "--work", kind, "--seconds", str(seconds)],
        env={**clean, "PYTHONPATH": root, **variables},
        stdout=subprocess.PIPE,
        text=True,
    )


def rate(kind: str, seconds: float, variables: dict[str, str], load: str) -> float:
    """Steps or passes per second under a load; of both copies together."""
    copies = [start(kind, seconds, variables) for _ in range(1 + (load == LOADS[2]))]
    busy = subprocess.Popen([sys.executable, "-c", BUSY]) if load == LOADS[1] else None
    try:
        return sum(float(copy.communicate()[0]) for copy in copies)
    finally:
        for process in copies if busy is None else [*copies, busy]:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each setting")
    parser.add_argument("--out", type=Path, help="JSON file of all measurements")
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work, args.seconds)
        return
    measured: dict[str, dict[str, list[float]]] = {name: {} for name in settings()}
    for _ in range(args.rounds):
        for kind in WORK:
            for load in LOADS:
                for name, variables in settings().items():
                    found = rate(kind, args.seconds, variables, load)
                    measured[name].setdefault(f"{kind} {load}", []).append(found)
                    print(f"{kind} {load}: {name}: {found:.2f}/s", file=sys.stderr, flush=True)
    if args.out:
        args.out.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    medians = {n: {c: statistics.median(v) for c, v in row.items()} for n, row in measured.items()}
    columns = list(next(iter(medians.values())))
    best = {column: max(row[column] for row in medians.values()) for column in columns}
    print(f"{'':24}" + "".join(f"{column:>30}" for column in columns) + f"{'worst':>8}")
    for name, row in medians.items():
        worst = min(row[column] / best[column] for column in columns)
        cells = "".join(f"{row[column]:30.2f}" for column in columns)
        print(f"{name:24}{cells}{worst:8.2f}")


if __name__ == "__main__":
    main()
