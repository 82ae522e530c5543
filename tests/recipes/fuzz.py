"""Damage files of every kind that latte reads, and look at what it says of them.

    python tests/recipes/fuzz.py [--minutes 60] [--seed 0] [--workers 2] --out FOLDER

Whole inputs are made once: videos in 23 containers and codecs, archives, presets, tables of
captions, files of weights and of clips, and a data set with latents, a run and samples. A case
takes one of them, damages it (cut off, bits flipped, blocks zeroed, repeated, swapped or missing,
numbers in headers, lines, values and encodings changed), and gives it to the command that reads it.
Each is a function of the seed and its number, so `--only 123` tries one again, and the same command
goes on where it stopped.

A find is: a traceback, an exit code other than 0, 1 and 2, an error without a hint, a half-written
file, a hang, a process that dies, or damage that was accepted silently (see `videos`, `archives`,
`tensors` and `folders` for what that means exactly). A case whose process hangs or dies is tried
once more with videos checked in processes of their own, as users have it: that must end well.

Results are lines of FOLDER/results.jsonl; the files of a find are kept in FOLDER/finds. The exit
code is 1 if there was one.
"""

import argparse
import itertools
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}

_PROGRESS_S = 30.0


def read_options() -> argparse.Namespace:
    """The command line."""
    from fuzzing.kinds import KINDS

    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60, help="with those of earlier runs")
    parser.add_argument("--cases", type=int, help="how many, instead of minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="try these again")
    parser.add_argument("--again", action="store_true", help="try all earlier finds again")
    return parser.parse_args()


def main() -> None:
    from fuzzing.kinds import KINDS
    from fuzzing.processes import Worker, try_all

    options = read_options()
    out = options.out.resolve()
    shutil.rmtree(out / "work", ignore_errors=True)
    (out / "whole").mkdir(parents=True, exist_ok=True)
    makers = dict.fromkeys(maker for kind in options.kinds for maker in KINDS[kind].makers)
    for make in makers:
        make(out / "whole")
    known = read_results(out / "results.jsonl")
    arguments = (out, options.kinds, options.seed)
    numbers = cases(options, known)
    spent_s = sum(row.get("seconds", 0) for row in known.values()) / options.workers
    left_s = 1e9 if options.cases or options.only or options.again else 60 * options.minutes
    end_s = time.monotonic() + left_s - spent_s
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    workers = [Worker(*arguments, False) for _ in range(options.workers)]
    shown = began = time.monotonic()
    try:
        with (out / "results.jsonl").open("a") as file:
            for row in try_all(workers, numbers, end_s):
                if row.get("find", "").startswith(("crash", "hang")):
                    row = tried_alone(row, arguments)
                known[row["index"]] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
                if "find" in row:
                    print(f"find {row['index']} ({row['kind']}): {row['find']}", file=sys.stderr)
                if time.monotonic() - shown > _PROGRESS_S:
                    shown = time.monotonic()
                    finds = sum("find" in each for each in known.values())
                    minutes = (shown - began) / 60
                    print(f"{minutes:.1f} min: {len(known)} cases, {finds} finds", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
    finally:
        for worker in workers:
            worker.stop()
        shutil.rmtree(out / "work", ignore_errors=True)
    print(table(known.values()))
    sys.exit(any("find" in row for row in known.values()))


def cases(options: argparse.Namespace, known: dict[int, dict[str, Any]]) -> Iterator[int]:
    """The numbers of the cases to try."""
    if options.only:
        return iter(options.only)
    if options.again:
        return iter([index for index, row in known.items() if "find" in row])
    end = options.cases if options.cases is not None else sys.maxsize
    return itertools.filterfalse(frozenset(known).__contains__, iter(range(end)))


def tried_alone(row: dict[str, Any], arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Try a case again in the way of users; what happened at first is kept as `before`."""
    from fuzzing.processes import Worker, try_all

    worker = Worker(*arguments, True)
    try:
        again = next(
            answer for answer in try_all([worker], iter([row["index"]]), time.monotonic() + 1e9)
        )
    finally:
        worker.stop()
    return again | {"before": row["find"]}


def read_results(path: Path) -> dict[int, dict[str, Any]]:
    """Earlier results by the case's number; a last line that was cut off is removed."""
    content = path.read_bytes() if path.is_file() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    rows = [json.loads(line) for line in whole.splitlines()]
    return {row["index"]: row for row in rows}


def table(rows: Any) -> str:
    """Cases by kind and outcome, and the finds."""
    from fuzzing.cases import OUTCOMES

    rows = list(rows)
    counts = Counter((row["kind"], row["outcome"]) for row in rows)
    names = [*OUTCOMES, "find"]
    kinds = [*sorted({row["kind"] for row in rows}), "all"]
    counts.update({("all", row["outcome"]): 0 for row in rows})
    for (_, outcome), count in list(counts.items()):
        counts["all", outcome] += count
    lines = [f"{'':12}{'cases':>8}" + "".join(f"{name:>13}" for name in names)]
    for kind in kinds:
        own = [counts[kind, name] for name in names]
        lines.append(f"{kind:12}{sum(own):>8}" + "".join(f"{count:>13}" for count in own))
    lines += [f"crashed or hung at first, and ended well as users have it: {_survived(rows)}"]
    finds = sorted((row for row in rows if "find" in row), key=lambda row: row["find"])
    lines += [f"{row['index']:>8} {row['kind']:12}{row['find'][:160]}" for row in finds]
    return "\n".join(lines)


def _survived(rows: list[dict[str, Any]]) -> int:
    return sum("before" in row and "find" not in row for row in rows)


if __name__ == "__main__":
    main()
