"""A Ray cluster: reaching it, what its nodes have, and its errors in words."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

from latte_cli.runtime.errors import EngineError

ADDRESS = "RAY_ADDRESS"
_CLIENT = "ray://"
_CLIENT_PORT = 10001
_CONNECT_S = 10.0
_INSTALL = "pip install 'latte-cli[ray]'; --engine local does without"
_FULL = 1e-6  # GPUs may be fractions


@dataclass(frozen=True)
class Need:
    """What a worker takes of a node."""

    cpus: int
    gpus: float

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU{'s' * (self.gpus > 1)}" if self.gpus else ""
        return f"{self.cpus} CPU{'s' * (self.cpus > 1)}{gpus}"


def import_ray() -> ModuleType:
    """The library.

    Raises:
        EngineError: if it is not installed.
    """
    try:
        import ray
        import ray._private.worker
        import ray.exceptions
    except ImportError as error:
        raise EngineError(f"--engine ray needs Ray ({error})", hint=_INSTALL) from error
    module: ModuleType = ray
    return module


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, unless this process already is.

    Args:
        address: `HOST:PORT` of its client server. None: that of RAY_ADDRESS or the one that this
            machine is a node of; where there is none, one of this machine alone.

    Raises:
        EngineError: if there is no Ray, no cluster at the address, or one of another version.
    """
    ray = import_ray()
    if hasattr(ray._private.worker, "print_to_stdstream"):  # stdout is for results
        ray._private.worker.print_to_stdstream = lambda *told, **how: None
    if ray.is_initialized():
        yield
        return
    place = os.environ.get(ADDRESS) if address is None else f"{_CLIENT}{address}"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent unasked
    if place and place != "auto":
        _check_reachable(place)
    settings = {} if place else {"include_dashboard": False}
    try:
        ray.init(
            place, log_to_driver=False, logging_level="ERROR", configure_logging=True, **settings
        )
    except (Exception, SystemExit) as error:  # of many kinds, and some of none
        raise _connect_error(place, error) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(place: str) -> None:
    """Raise EngineError unless something listens at an address: Ray takes minutes to say so."""
    host, _, port = place.removeprefix(_CLIENT).rpartition(":")
    if not host and place.startswith(_CLIENT):
        host, port = port, str(_CLIENT_PORT)
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise EngineError(
            f"`{place}` is no address of a Ray cluster",
            hint="--engine ray://HOST:10001, or RAY_ADDRESS=HOST:6379",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EngineError(
            f"no Ray cluster at {place}: {str(reason).lower()}",
            hint="check host and port; on the head node `ray start --head` starts a cluster, and "
            "`ray status` shows it",
        ) from error


def _connect_error(place: str | None, error: BaseException) -> EngineError:
    """Why `ray.init` failed."""
    where, reason = place or "this machine", " ".join(str(error).split())
    if "ersion mismatch" in reason or "different Python" in reason:
        return EngineError(
            f"the cluster at {where} has another version of Ray or Python: {reason}",
            hint="use the same versions of both here and on every node",
        )
    if isinstance(error, ImportError) or "grpc" in reason:
        return EngineError(f"the Ray client cannot be used: {reason}", hint=_INSTALL)
    reason = f": {reason}" if reason and not isinstance(error, SystemExit) else ""
    return EngineError(
        f"no Ray cluster at {where}{reason}",
        hint="`ray status` on the head node shows whether it runs; the port of ray://HOST:PORT is "
        "10001, that of RAY_ADDRESS=HOST:PORT is 6379",
    )


def live_nodes() -> list[dict[str, float]]:
    """The resources of each node that is alive."""
    nodes = import_ray().nodes()
    return [node["Resources"] for node in nodes if node["Alive"]]


def described() -> str:
    """What the cluster has, such as `2 nodes with 64 CPUs and 8 GPUs`."""
    nodes = live_nodes()
    cpus, gpus = (sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU"))
    return f"{len(nodes)} node{'s' * (len(nodes) != 1)} with {Need(int(cpus), gpus)}"


def capacity(need: Need) -> int:
    """The workers that fit onto the live nodes."""
    return sum(_fitting(node, need) for node in live_nodes())


def _fitting(node: dict[str, float], need: Need) -> int:
    count = int(node.get("CPU", 0.0) / need.cpus)
    return min(count, int(node.get("GPU", 0.0) / need.gpus + _FULL)) if need.gpus else count


def cpus_beside(gpus: float, most: int) -> int:
    """The CPUs of a node for each worker of so many GPUs, from 1 to `most`; the least of all."""
    if not gpus:
        return 1
    nodes = [node for node in live_nodes() if node.get("GPU", 0.0) >= gpus]
    return max(1, min([most, *(int(n.get("CPU", 1.0) * gpus / n["GPU"]) for n in nodes)]))
