"""Command lines in several processes at a time, under torchrun's own agent.

    python tests/helpers/ranks.py '[{"processes": 2, "words": ["train", …], "killed": 1}]'

For each entry the processes are forked from this one, which has imported everything, and a line of
JSON holds the exit code of the first that failed, or 0, and the seconds that all took. `killed`
names a process that sends itself a signal, SIGKILL or `by`, once `runs/shapes` has logged a step,
or there is something in the files that the pattern `after` matches.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import latte_cli.commands.train  # noqa: F401  # so that forks need not import
from latte_cli.cli import app
from latte_cli.vae.autoencoders import load_autoencoder

METRICS = Path("runs/shapes/metrics.jsonl")


def work(words: list[str], killed: int | None, by: str, after: str) -> None:
    """One process's part."""
    if os.environ["RANK"] == str(killed):
        threading.Thread(target=end, args=[by, after], daemon=True).start()
    app(words)


def end(by: str, after: str) -> None:
    """Send this process a signal, as the system does when memory runs out or a job must end."""
    while not any(path.stat().st_size for path in Path().glob(after)):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.Signals[by])


def launch(
    processes: int,
    words: list[str],
    killed: int | None = None,
    by: str = "SIGKILL",
    after: str = str(METRICS),
) -> int:
    """Run a command line in several processes; 0, or how the first that failed ended."""
    if killed is not None:
        METRICS.unlink(missing_ok=True)  # of a launch before
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="test",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        monitor_interval=0.1,
        max_restarts=0,
        start_method="fork",
    )
    try:
        elastic_launch(config, work)(words, killed, by, after)
    except ChildFailedError as error:
        return error.get_first_failure()[1].exitcode
    return 0


def main() -> None:
    load_autoencoder("embedded")  # diffusers imports its parts late
    for entry in json.loads(sys.argv[1]):
        began = time.monotonic()
        print(json.dumps([launch(**entry), time.monotonic() - began]), flush=True)
        print("-- end of launch --", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
