"""Run the commands that README shows in random orders, each twice, in one folder.

    python tests/recipes/walk_commands.py [--walks 20] [--seed 0] [--rounds 2]

A command must end well if what it needs was made before, whatever else ran before; otherwise with a
message and a hint (`tests/helpers/readme_commands.py`). The seed of a walk that fails is printed,
with the commands up to there.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.readme_commands import OTHERS, README, take, walk, write_inputs
from typer.testing import CliRunner


def run(*words: str) -> tuple[int, str]:
    """Run the command line in this process."""
    from latte_cli.cli import app

    result = CliRunner().invoke(app, list(words))
    known = result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output + ("" if known else f"Traceback: {result.exception!r}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--walks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    failed = 0
    for seed in range(options.seed, options.seed + options.walks):
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            write_inputs(Path(folder))
            taken = []
            started = time.monotonic()
            for step in walk(README + OTHERS, seed, options.rounds):
                taken.append(step.command.words)
                if wrong := take(step, run):
                    failed += 1
                    print(f"seed {seed}, after\n  latte " + "\n  latte ".join(taken))
                    print(wrong, flush=True)
            print(
                f"seed {seed}: {len(taken)} commands, {time.monotonic() - started:.0f} s",
                flush=True,
            )
            os.chdir("/")
    print(f"{failed} commands ended otherwise than they should")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
