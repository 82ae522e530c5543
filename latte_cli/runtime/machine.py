"""What this machine can do: its matrix peak, its memory, and how much of that is taken."""

import os
import platform
import resource
import sys
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

_SIDES = (1024, 2048, 4096, 8192)
_LONG_ENOUGH_S = 0.02  # of a product, so that starting it does not count
_ROUNDS = 5
_STATUS = Path("/proc/self/status")
_LIMITS_OF_CONTAINERS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def device_name(device: torch.device) -> str:
    """The device in words; two that have the same name are about as fast."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"


@lru_cache
def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large square product, the best of a few.

    Measured once a process; a multiply-add is two operations.

    Args:
        device: where.
        dtype: of the factors.
    """
    for side in _SIDES:
        factor = torch.randn(side, side, device=device).to(dtype)
        took = min(_seconds_of_product(factor) for _ in range(_ROUNDS))
        if took >= _LONG_ENOUGH_S:
            break
    if device.type == "cuda":
        del factor
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    return 2 * side**3 / took


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """The most bytes held so far: of tensors on a GPU, of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Before getrusage, whose peak may be that of the process that began this one.
    known = _from_proc(_STATUS, "VmHWM")
    if known is not None:
        return known
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak_memory(device: torch.device) -> None:
    """Begin the peak anew, where the system can (GPUs, Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def memory_limit(device: torch.device) -> int:
    """The bytes that this process could hold, what it holds already included."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    available = _from_proc(Path("/proc/meminfo"), "MemAvailable")
    held = _from_proc(_STATUS, "VmRSS")
    if available is None or held is None:
        limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        limit = available + held
    return min([limit, *_limits_of_containers()])


def _seconds_of_product(factor: Tensor) -> float:
    count = 10 if factor.device.type == "cuda" else 1
    synchronize(factor.device)
    started = time.perf_counter()
    for _ in range(count):
        factor @ factor
    synchronize(factor.device)
    return (time.perf_counter() - started) / count


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _from_proc(path: Path, key: str) -> int | None:
    """A value in kilobytes of a file of `/proc`, in bytes; None where there is none."""
    with suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return int(value.split()[0]) * 1024
    return None


def _limits_of_containers() -> list[int]:
    limits = []
    for path in _LIMITS_OF_CONTAINERS:
        with suppress(OSError, ValueError):  # `max`: there is none
            limits.append(int(path.read_text()))
    return limits
