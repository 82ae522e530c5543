"""Which device runs, and in which precision its products are taken."""

from contextlib import AbstractContextManager
from pathlib import Path

import torch

from latte_cli.runtime.distributed import local_rank

PRECISIONS = ("auto", "bf16", "float32")


def pick_device() -> torch.device:
    """The GPU where there is one, each process of a machine its own; else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank() % torch.cuda.device_count())


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 products run on units of their own, and so faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """`auto`, `bf16` or `float32` as a type: auto is bf16 where that is fast."""
    assert precision in PRECISIONS, precision
    if precision == "bf16" or (precision == "auto" and has_bf16(device)):
        return torch.bfloat16
    return torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Take products in this type, over float32 weights."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)
