"""What must be right on a device before it is worth being fast."""

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from helpers.networks import published, relative_error
from safetensors.torch import load_file
from torch import Tensor, nn

from gpu_parts.context import Context, Row
from latte_cli.checkpoints.folder import CheckpointMeta
from latte_cli.checkpoints.writer import CheckpointWriter
from latte_cli.config import Config
from latte_cli.diffusion import Diffusion
from latte_cli.models import Latte
from latte_cli.models.kernels.choice import check_kernels, set_kernels, why_not
from latte_cli.runtime import distributed
from latte_cli.runtime.devices import autocast, device_name, peak_memory
from latte_cli.training import parallel
from latte_cli.training.planning.measuring import synthetic_batch
from latte_cli.training.saving import CheckpointSaver
from latte_cli.training.state import TrainState, load_state, new_state
from latte_cli.training.step import train_step

GOLDENS = Path(__file__).parent.parent.parent / "goldens"
NETWORKS = ("latte_class", "latte_class_p4", "latte_uncond", "latteimg_class", "latteimg_uncond")
COPIED = 1 << 30  # bytes


def machine(context: Context) -> Iterator[Row]:
    """The device, the versions, and what both the products and the memory can do."""
    yield {"what": "device", "value": device_name(context.device)}
    yield {"what": "Python, PyTorch", "value": f"{platform.python_version()}, {torch.__version__}"}
    yield {"what": "bf16 product, TFLOP/s", "value": round(context.peak / 1e12, 3)}
    if context.on_gpu:
        free, total = torch.cuda.mem_get_info()
        yield {"what": "memory free, of GB", "value": f"{free / 1e9:.0f}, {total / 1e9:.0f}"}
    kernels = why_not(context.device) if context.on_gpu else "not on a CPU: plain PyTorch instead"
    yield {"what": "Triton's kernels", "value": kernels or "can be used"}
    source = torch.empty(COPIED // (64 if context.tiny else 1), dtype=torch.uint8)
    source = source.to(context.device)
    target = torch.empty_like(source)
    took = context.time_of(lambda: target.copy_(source))
    yield {"what": "memory, read and written, GB/s", "value": round(2 * len(source) / took / 1e9)}


def goldens(context: Context) -> Iterator[Row]:
    """The published network's numbers: in float32, in bf16, and with Triton's kernels."""
    usable = context.on_gpu and not why_not(context.device)
    if usable:
        from latte_cli.models.kernels import triton_attention, triton_norm  # noqa: F401

        for name, error in check_kernels(context.device, 16, 1152).items():
            yield {"numbers": f"kernel: {name}", "relative error": error, "right": error < 2e-2}
    for name in NETWORKS:
        values = load_file(GOLDENS / f"{name}.safetensors")
        for dtype, kernels in (
            (torch.float32, False),
            (torch.bfloat16, False),
            (torch.float32, True),
        ):
            if kernels and not usable:
                continue
            out = _golden_output(name, values, context, dtype, kernels)
            error = relative_error(out.float(), values["out"].to(context.device))
            row = {"numbers": f"{name}, {str(dtype).removeprefix('torch.')}"}
            row["numbers"] += ", kernels" if kernels else ""
            limit = 2e-2 if dtype == torch.bfloat16 else 1e-4
            yield {**row, "relative error": error, "right": error < limit}


@torch.no_grad()
def _golden_output(
    name: str, values: dict[str, Tensor], context: Context, dtype: torch.dtype, kernels: bool
) -> Tensor:
    shape, images = published(str(GOLDENS / f"{name}.safetensors"))
    model = Latte(shape)
    model.load_state_dict({key[2:]: each for key, each in values.items() if key.startswith("w.")})
    model = model.to(context.device).eval()
    set_kernels(model, attention=kernels, norms=kernels)
    given = {key: each.to(context.device) for key, each in values.items() if key.startswith("in.")}
    labels = {"y": given.get("in.y"), "y_image": given.get("in.y_image")}
    with autocast(context.device, dtype):
        return model(given["in.x"], given["in.t"], **labels, num_images=images)


def _steps(state: TrainState, config: Config, device: torch.device, count: int) -> list[float]:
    """Losses of some steps, each on its own batch."""
    losses = []
    for _ in range(count):
        words = config.train.model_copy(update={"seed": state.step})
        batch = synthetic_batch(config.model_copy(update={"train": words}), 2).to(device)
        metrics = train_step(state, [batch], Diffusion(), config.train, torch.bfloat16)
        losses.append(metrics.loss.item())
    return losses


def _same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def resume(context: Context) -> Iterator[Row]:
    """Two runs, and one that is saved half-way and read again: the same weights bit for bit?"""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic products need it
    for kernels, deterministic in (("off", False), ("auto", False), ("auto", True)):
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        config = context.config("S", f"train.kernels={kernels}", "train.compile=none")
        runs = [new_state(config, context.device) for _ in range(2)]
        losses = [_steps(each, config, context.device, 4) for each in runs]
        halted = new_state(config, context.device)
        begun = _steps(halted, config, context.device, 2)
        resumed = _resumed(halted, config, context.device)
        ended = begun + _steps(resumed, config, context.device, 2)
        yield {
            "kernels": kernels,
            "deterministic algorithms": "asked for" if deterministic else "not asked for",
            "two runs equal": losses[0] == losses[1] and _same(runs[0].model, runs[1].model),
            "resumed run equal": losses[0] == ended and _same(runs[0].model, resumed.model),
            "losses": ", ".join(f"{loss:.6f}" for loss in losses[0]),
        }
        del runs, halted, resumed
        context.forget()


def _resumed(state: TrainState, config: Config, device: torch.device) -> TrainState:
    """The state as it is read from its checkpoint."""
    with tempfile.TemporaryDirectory() as folder, CheckpointWriter(print) as writer:
        saver = CheckpointSaver(Path(folder), config, CheckpointMeta(0, "", 1.0), writer)
        place = saver.save(state)
        writer.wait()
        resumed = new_state(config, device)
        load_state(resumed, place)
    return resumed


def sharding(context: Context) -> Iterator[Row]:
    """NCCL (gloo on a CPU) with one process, and FSDP2 against the same steps without."""
    import torch.distributed as dist

    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "RANK": "0", "WORLD_SIZE": "1"}
    where["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
    backend = "cpu:gloo,cuda:nccl" if context.on_gpu else "gloo"
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, where):
        store = dist.FileStore(str(Path(folder) / "store"), 1)
        dist.init_process_group(backend, store=store, rank=0, world_size=1)
        ones = torch.ones(1 << (12 if context.tiny else 28), device=context.device)
        took = context.time_of(partial(dist.all_reduce, ones))
        rate = ones.nbytes / took / 1e9
        yield {"what": f"all_reduce by {backend}, GB/s", "value": round(rate, 2), "right": True}
        del ones
        yield from _against_fsdp(context)
        dist.destroy_process_group()


def _against_fsdp(context: Context) -> Iterator[Row]:
    found = {}
    for how in ("none", "fsdp"):
        config = context.config("B", f"train.shard={how}", "train.compile=none")
        # One process is taken for several, or nothing would be sharded.
        several = [
            mock.patch.object(module, "is_distributed", lambda how=how: how == "fsdp")
            for module in (distributed, parallel)
        ]
        with several[0], several[1]:
            state = new_state(config, context.device)
            state.network = parallel.wrap_ddp_or_fsdp(state.model)
            losses = _steps(state, config, context.device, 3)
        found[how] = losses
        value = ", ".join(f"{loss:.5f}" for loss in losses)
        row: Row = {"what": f"losses, train.shard={how}", "value": value}
        plain = found["none"]
        right = all(abs(a - b) < 2e-3 * abs(b) for a, b in zip(losses, plain, strict=True))
        yield {**row, "right": right, "memory, GB": peak_memory(context.device) / 1e9}
        del state
        context.forget()
