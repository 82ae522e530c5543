"""What Windows answers through kernel32 where other systems have functions of Python.

Nothing here is called elsewhere. The structures are those of Microsoft's documentation.
"""

import ctypes
from typing import Any

_ctypes: Any = ctypes  # which has other names on Windows
_SYNCHRONIZE = 0x0010_0000
_WAIT_TIMEOUT = 0x102  # the process has not ended
_ACCESS_DENIED = 5


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("total", "available", "total_page_file")),
        *((name, ctypes.c_uint64) for name in ("available_page_file", "total_virtual")),
        *((name, ctypes.c_uint64) for name in ("available_virtual", "available_extended")),
    )


class _ProcessMemory(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("page_faults", ctypes.c_uint32),
        *((name, ctypes.c_size_t) for name in ("peak", "held", "peak_paged_pool", "paged_pool")),
        *((name, ctypes.c_size_t) for name in ("peak_other_pool", "other_pool")),
        *((name, ctypes.c_size_t) for name in ("page_file", "peak_page_file")),
    )


def is_running(pid: int) -> bool:
    """Whether a process is alive. `os.kill(pid, 0)` would send it Ctrl-C."""
    kernel = _kernel()
    handle = kernel.OpenProcess(_SYNCHRONIZE, False, pid)
    if not handle:  # of another user, or gone
        return _last_error() == _ACCESS_DENIED
    try:
        return int(kernel.WaitForSingleObject(handle, 0)) == _WAIT_TIMEOUT
    finally:
        kernel.CloseHandle(handle)


def available_memory() -> int:
    """Bytes that programs can still allocate without swapping."""
    status = _MemoryStatus()
    status.length = ctypes.sizeof(status)
    _kernel().GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.available)


def held_memory() -> tuple[int, int]:
    """Bytes of memory that this process holds, and the most that it has held."""
    counters = _ProcessMemory()
    counters.length = ctypes.sizeof(counters)
    kernel = _kernel()
    kernel.K32GetProcessMemoryInfo(
        kernel.GetCurrentProcess(), ctypes.byref(counters), counters.length
    )
    return int(counters.held), int(counters.peak)


def _kernel() -> Any:
    """The library, with the types of those functions that take or return handles."""
    kernel = _ctypes.WinDLL("kernel32", use_last_error=True)
    for function in (kernel.OpenProcess, kernel.GetCurrentProcess):
        function.restype = ctypes.c_void_p
    kernel.OpenProcess.argtypes = (ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32)
    kernel.WaitForSingleObject.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    kernel.WaitForSingleObject.restype = ctypes.c_uint32
    kernel.CloseHandle.argtypes = (ctypes.c_void_p,)
    kernel.K32GetProcessMemoryInfo.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)
    return kernel


def _last_error() -> int:
    return int(_ctypes.get_last_error())
