"""Networks whose clips several processes share, against the same networks in one process.

    python tests/helpers/sequence_ranks.py PROCESSES

Prints a line of JSON: for each case the largest difference of outputs and of gradients, relative to
the largest value, over all processes, and the tokens that a process held at most.
"""

import json
import os
import sys
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from latte_cli.models import Latte, LatteT2V
from latte_cli.models.sequence.groups import SequenceGroup
from latte_cli.models.shapes import LatteShape, TextShape

COMMON = {"latent_size": 6, "num_frames": 5, "patch": 2, "width": 24, "depth": 4, "heads": 2}
CLIPS, FRAMES, IMAGES = 2, 5, 2


def cases() -> Iterator[tuple[str, nn.Module, dict[str, Tensor | int]]]:
    """Names, networks and conditioning; 9 tokens a frame and 5 or 7 frames divide by no 2 or 4."""
    torch.manual_seed(0)
    labels = {"y": torch.tensor([1, 3])}
    of_images = {"num_images": IMAGES, "y_image": torch.randint(4, (CLIPS, IMAGES))}
    for name, design, cond in (
        ("variant 1", {}, labels),
        ("variant 2 with images", {"variant": 2}, {**labels, **of_images}),
        ("only video", {"joint": "only-video"}, {**labels, **of_images}),
        ("conditioning tokens", {"injection": "tokens"}, labels),
        ("rotary positions", {"temporal_position": "rope", "variant": 2}, labels),
    ):
        yield name, Latte(LatteShape(**COMMON, num_classes=4, **design)), cond
    mask = torch.arange(6) < torch.tensor([[4], [6]])
    text = {"text": torch.randn(CLIPS, 6, 8), "text_mask": mask}
    of_images = {
        "num_images": IMAGES,
        "text_image": torch.randn(CLIPS, IMAGES, 6, 8),
        "text_image_mask": torch.arange(6) < torch.randint(1, 7, (CLIPS, IMAGES, 1)),
    }
    yield "text", LatteT2V(TextShape(**COMMON, text_width=8)), text
    yield "text with images", LatteT2V(TextShape(**COMMON, text_width=8)), {**text, **of_images}


def measure(model: nn.Module, x: Tensor, weight: Tensor, cond: dict) -> tuple[Tensor, Tensor]:
    """A network's output, and its gradients as one vector."""
    model.zero_grad()
    out = model(x, torch.tensor([10, 700]), **cond)
    (out * weight).sum().backward()
    return out.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])


def most(difference: Tensor, reference: Tensor) -> float:
    return float(difference.abs().max() / reference.abs().max())


def work(rank: int, processes: int, port: int) -> None:
    """One process's part; the first one prints."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=processes)
    found = {}
    for name, model, cond in cases():
        for value in model.parameters():  # nothing begins as identity
            nn.init.normal_(value, std=0.1)
        frames = FRAMES + int(cond.get("num_images", 0))
        x = torch.randn(CLIPS, frames, 4, 6, 6)
        weight = torch.randn(CLIPS, frames, 8, 6, 6)
        expected = measure(model, x, weight, cond)
        model.sequence_group = SequenceGroup(dist.group.WORLD, processes, rank)
        out, gradient = measure(model, x, weight, cond)
        dist.all_reduce(gradient)
        gradient /= processes
        differences = torch.tensor(
            [most(out - expected[0], expected[0]), most(gradient - expected[1], expected[1])]
        )
        dist.all_reduce(differences, dist.ReduceOp.MAX)
        found[name] = differences.tolist()
    if rank == 0:
        print(json.dumps(found), flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    count = int(sys.argv[1])
    torch.multiprocessing.start_processes(work, (count, port), nprocs=count, start_method="fork")
