"""How many CPUs this process may use, and the settings of OpenMP that follow from it.

Nothing here imports torch: its libraries read these settings once, when they are loaded.
"""

import math
import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock

from latte_cli.runtime.distributed import local_world_size

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_CPUS = Path("/sys/devices/system/cpu")

_SPINS = "1000"
_THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_starting_worker = Lock()
_granted: list[int] = []


@lru_cache
def usable_cpus() -> int:
    """The CPUs that this process may use: by its affinity, and by the quota of its container."""
    return min([_within_quota(len(_affinity()) or os.cpu_count() or 1), *_granted])


def grant_cpus(count: int) -> None:
    """Use no more CPUs than these from now on: others on this machine have been given theirs."""
    _granted[:] = [count]
    usable_cpus.cache_clear()


def cpu_share(most: int) -> int:
    """This process's share of the CPUs of its node, from 1 to `most`."""
    return max(1, min(most, usable_cpus() // local_world_size()))


@lru_cache
def compute_threads() -> int:
    """Threads for arithmetic: the cores, since two hyperthreads of one share its units."""
    cores = {_siblings(cpu) for cpu in _affinity()}
    return _within_quota(len(cores)) if cores else usable_cpus()


def set_thread_defaults(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set how OpenMP's threads behave, unless the user has; call it before torch is imported.

    By default a thread that waits for the others keeps its CPU busy. Where another program needs
    that CPU, each parallel section then takes as long as the system's scheduler lets it: all of it
    becomes 4 to 70 times slower. A thread that sleeps at once loses a third of a small network's
    speed on a quiet machine. So it spins for a moment, then sleeps; OpenMP libraries that do not
    know the bounded spin sleep at once (`tests/benchmarks/threads.py`).

    Args:
        environment: the variables of this process, which child processes inherit.
    """
    if not any(name in environment for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")):
        environment.update({"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": _SPINS})
    threads = str(max(1, compute_threads() // local_world_size()))
    for name in _THREAD_COUNTS:
        environment.setdefault(name, threads)


@contextmanager
def one_thread_for_children() -> Iterator[None]:
    """Let processes that are started meanwhile compute with one thread each."""
    with _starting_worker:  # the environment is one for all threads
        before = {name: os.environ.get(name) for name in _THREAD_COUNTS}
        os.environ.update(dict.fromkeys(_THREAD_COUNTS, "1"))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _affinity() -> set[int]:
    """The CPUs that the system may run this process on; empty where it does not say."""
    if not hasattr(os, "sched_getaffinity"):  # macOS, Windows
        return set()
    with suppress(OSError):
        return set(os.sched_getaffinity(0))
    return set()


def _siblings(cpu: int) -> str:
    """A name of the core that a CPU belongs to; its own number where that is unknown."""
    with suppress(OSError):
        path = _CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        return path.read_text(encoding="ascii").strip() or str(cpu)
    return str(cpu)


def _within_quota(count: int) -> int:
    """A number of CPUs, but no more than the quota of the container."""
    quota = _quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def _quota() -> float | None:
    """The CPUs that the control groups of this process grant it; None without a limit.

    A group's parents limit it, too. In a container its own group is mounted as the root, while
    `/proc/self/cgroup` may show the path on the host, so both are looked for.
    """
    quotas = []
    for folder in _cgroup_folders():
        with suppress(OSError, ValueError, ZeroDivisionError):  # `max` of version 2: no limit
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            quotas.append(int(quota) / int(period))
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (
                (folder / f"cpu.cfs_{what}_us").read_text(encoding="ascii")
                for what in ("quota", "period")
            )
            quotas.append(int(quota) / int(period))
    return min((quota for quota in quotas if quota > 0), default=None)  # -1: no limit


def _cgroup_folders() -> Iterator[Path]:
    """The folders of this process's CPU group and its parents, in both versions' layouts."""
    lines = []
    with suppress(OSError):
        lines = _OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    for line in ("0::/", "1:cpu:/", *lines):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        roots = [_CGROUPS / controllers, _CGROUPS / "cpu"] if controllers else [_CGROUPS]
        group = Path(path.lstrip("/"))
        for root in roots:
            yield from (root / part for part in (group, *group.parents))
