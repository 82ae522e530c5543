"""The device to run on: its precision, its peak of matrix products, and its memory."""

import os
import platform
import sys
import time
from contextlib import AbstractContextManager, suppress
from functools import lru_cache
from pathlib import Path

import torch

from latte_cli.runtime import windows
from latte_cli.runtime.distributed import local_rank

PRECISIONS = ("auto", "bf16", "float32")

_MATRIX_SIZES = (1024, 2048, 4096, 8192)
_MIN_MATMUL_S = 0.02  # so that the overhead of a launch does not count
_REPEATS = 5
_STATUS = Path("/proc/self/status")
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def pick_device() -> torch.device:
    """The GPU if there is one, a different one for each process of a node; else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank() % torch.cuda.device_count())


def why_on_cpu() -> str:
    """Why a GPU that torch has is not used, in words; empty if there is none, or it is used."""
    if torch.cuda.is_available() or not torch.backends.mps.is_available():
        return ""
    return (
        "the Apple GPU (MPS) is not used: it has no float64, in which the noise schedule is "
        "computed, and nothing has been checked on it"
    )


@lru_cache  # the kernel takes milliseconds to write a large machine's description
def has_bf16(device: torch.device) -> bool:
    """Whether the hardware has bf16 matmul units, so that bf16 is faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of `auto`, `bf16` or `float32`; auto is bf16 where that is fast."""
    assert precision in PRECISIONS, precision
    if precision == "bf16" or (precision == "auto" and has_bf16(device)):
        return torch.bfloat16
    return torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Autocast matmuls to bf16 if that is the dtype; weights stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def device_name(device: torch.device) -> str:
    """The name of a device; devices with the same name are about equally fast."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                processor = value.strip()
                break
    threads = torch.get_num_threads()
    return f"{processor}, {threads} thread{'s' if threads > 1 else ''}"


@lru_cache
def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large square matmul, the best of a few; measured once.

    A multiply-add counts as two operations.

    Args:
        device: the device to measure.
        dtype: of both factors.
    """
    count = 10 if device.type == "cuda" else 1
    for size in _MATRIX_SIZES:
        factor = torch.randn(size, size, device=device).to(dtype)
        seconds = []
        for _ in range(_REPEATS):
            synchronize(device)
            started = time.perf_counter()
            for _ in range(count):
                factor @ factor
            synchronize(device)
            seconds.append((time.perf_counter() - started) / count)
        if min(seconds) >= _MIN_MATMUL_S:
            break
    if device.type == "cuda":
        del factor
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    return 2 * size**3 / min(seconds)


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """The peak bytes so far: of tensors on a GPU, of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Preferred, since the peak of getrusage may be that of the parent process.
    peak = _read_proc(_STATUS, "VmHWM")
    if peak is not None:
        return peak
    if sys.platform == "win32":
        return windows.held_memory()[1]
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_memory_of_workers() -> int:
    """The peak bytes of the largest child process that has ended; 0 on Windows: unknown."""
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak, where the system can (GPUs, Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def memory_limit(device: torch.device) -> int:
    """The bytes that this process can hold, including what it already holds."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    available = _read_proc(Path("/proc/meminfo"), "MemAvailable")
    held = _read_proc(_STATUS, "VmRSS")
    if sys.platform == "win32":
        limit = windows.available_memory() + windows.held_memory()[0]
    elif available is None or held is None:
        limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        limit = available + held
    for path in _CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # `max`: no limit
            limit = min(limit, int(path.read_text(encoding="ascii")))
    return limit


def _read_proc(path: Path, key: str) -> int | None:
    """A value of a file in `/proc`, converted from kB to bytes; None if there is none."""
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return int(value.split()[0]) * 1024
    return None
