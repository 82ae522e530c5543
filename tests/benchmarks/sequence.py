"""Peak memory of a training step of a long clip that 1, 2 or 4 processes share.

    python tests/benchmarks/sequence.py [--frames 128] [--processes 1 2 4]

The processes run on this machine, one thread each. Prints what the step adds to each process's
resident memory at most, its ratio to that of one process, and what a process sends in a step.
Large blocks go back to the system at once, so that peaks are those of tensors, not of the
allocator's leftovers.
"""

import argparse
import os
import socket

import torch
import torch.distributed as dist
from memory import resident_mb

from latte_cli.config import load_config
from latte_cli.data.batch import Batch
from latte_cli.diffusion import Diffusion
from latte_cli.models.sequence.clips import bytes_per_step
from latte_cli.runtime.devices import peak_memory
from latte_cli.training.parallel import wrap_ddp_or_fsdp
from latte_cli.training.state import new_state
from latte_cli.training.step import train_step


def work(rank: int, processes: int, port: int, frames: int) -> None:
    """One process's part; the first one prints megabytes."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(processes)}
    words = [f"data.frames={frames}", "model.patch=1", "train.precision=float32"]
    config = load_config("shapes", [*words, f"train.sequence_parallel={processes}"])
    if processes > 1:
        dist.init_process_group("gloo")
    state = new_state(config, torch.device("cpu"))
    state.network = wrap_ddp_or_fsdp(state.model, processes)
    x = torch.randn(2, 1, frames, 4, 8, 8)
    batch = Batch(x[0], x[1], torch.tensor([500]), torch.tensor([1]))
    small = Batch(*(each[:, :processes] for each in (x[0], x[1])), batch.t, batch.y)
    train_step(state, [small], Diffusion(), config.train, torch.float32)  # AdamW's state is there
    before = resident_mb()
    train_step(state, [batch], Diffusion(), config.train, torch.float32)
    if rank == 0:
        sent = bytes_per_step(state.model.shape, frames, 1, 4, processes) / 1e6
        print(f"{processes} {peak_memory(torch.device('cpu')) / 1e6 - before:.0f} {sent:.0f}")
    if processes > 1:
        dist.barrier()
        dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=128)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    chosen = parser.parse_args()
    print("processes, MB that a step adds to a process, MB that a process sends in it")
    for processes in chosen.processes:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        torch.multiprocessing.start_processes(
            work, (processes, port, chosen.frames), nprocs=processes, start_method="spawn"
        )


if __name__ == "__main__":
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "65536")
    main()
