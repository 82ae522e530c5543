"""The workers of one run on a Ray cluster: fed with items, and replaced when they die.

Ray chooses nodes and starts processes; which item is where is decided here, since only answers say
what is done. A worker gets about as many items at once as it does in half a second, so that short
items are not sent one by one, and long ones are not queued while another worker is idle.
"""

import os
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latte_cli.runtime.engines.engine import Work
from latte_cli.runtime.engines.ray_cluster import Need, capacity, import_ray
from latte_cli.runtime.engines.ray_worker import RayWorker, Reply, Setup
from latte_cli.runtime.errors import EngineError, LatteNote, LatteWarning

_BATCH_S = 0.5  # of work given at once
_MOST_ITEMS = 1000  # given at once
_ATTEMPTS = 3  # workers that an item may take down with it
_LOOK_S = 5.0  # between two looks at the nodes
_POLL_S = 0.5
_SILENT_S = 30.0
_STOP_S = 12.0  # for workers to save what is done
_OWN = "LATTE_"
_OUT_OF_MEMORY = (
    "let fewer workers share a node, by more --workers or --gpus-per-worker for each, or give a "
    "smaller --batch; what is done is kept"
)
_DIED = "the logs of the node say more; what is done is kept, and the same command goes on"


@dataclass
class Taken:
    """An item that is not answered yet, and the workers that died while they held it."""

    number: int
    item: Any
    deaths: int = 0


@dataclass
class _Member:
    """A worker of the pool.

    Attributes:
        actor: Ray's handle of it.
        held: numbers of the items given to it that are not answered.
        give: how many items it gets at once.
        since: when it last got some, in seconds.
        is_started: whether it has replied.
        is_last: whether it was told that no more items follow.
        advanced: its progress since the last answer.
    """

    actor: Any
    held: set[int] = field(default_factory=set)
    give: int = 1
    since: float = 0.0
    is_started: bool = False
    is_last: bool = False
    advanced: int = 0


class Pool:
    """The workers of one run.

    Args:
        work: what they do.
        items: what they do it with.
        need: what each takes of a node.
        paths: that each must see.

    Attributes:
        taken: by number, the items that are waiting or given to a worker.
    """

    def __init__(
        self, work: Work[Any, Any], items: Iterable[Any], need: Need, paths: Iterable[Path]
    ) -> None:
        self._ray = import_ray()
        environment = {name: value for name, value in os.environ.items() if name.startswith(_OWN)}
        pickled = self._ray.cloudpickle.dumps(work)
        self._setup = self._ray.put(
            Setup(pickled, Path.cwd(), tuple(paths), need.cpus, environment)
        )
        self._actor = self._ray.remote(num_cpus=need.cpus, num_gpus=need.gpus)(RayWorker)
        self._items, self._need, self._count = iter(items), need, 0
        self.taken: dict[int, Taken] = {}
        self._waiting: deque[Taken] = deque()
        self._members: list[_Member] = []
        self._calls: dict[Any, _Member] = {}
        self._next_look, self._room, self._failed_starts = 0.0, 0, 0
        self._silent_since = time.monotonic()

    def replies(self) -> Iterator[Reply]:
        """What workers send, until all items are answered and all workers are done."""
        while self._grow() or self._members or self._waiting:
            for call in self._ready():
                member = self._calls.pop(call)
                try:
                    reply: Reply = self._ray.get(call)
                except self._ray.exceptions.RayError as error:
                    self._bury(member, error)
                    yield Reply(advanced=-member.advanced)  # another does it again
                    continue
                member.is_started, self._failed_starts = True, 0
                self._silent_since = time.monotonic()
                member.held.difference_update(number for number, _ in reply.answers)
                member.advanced = 0 if reply.answers else member.advanced + reply.advanced
                self._show(reply)
                yield reply
                if reply.is_done:
                    self._members.remove(member)
                else:
                    self._give(member, reply)
            self._tell_if_silent()

    def _ready(self) -> list[Any]:
        """The calls that have returned by now; waits a moment for one."""
        if not self._calls:  # no node is alive
            time.sleep(_POLL_S)
            return []
        ready: list[Any] = self._ray.wait(list(self._calls), timeout=_POLL_S)[0]
        return ready

    def stop(self) -> None:
        """Let workers save what they have done, then end them."""
        stops = [member.actor.stop.remote() for member in self._members if member.is_started]
        try:
            if stops:
                self._ray.wait(stops, num_returns=len(stops), timeout=_STOP_S)
            for member in self._members:
                self._ray.kill(member.actor)
        except (self._ray.exceptions.RayError, ConnectionError, RuntimeError):
            pass  # the cluster is gone, and the workers with it

    def _grow(self) -> bool:
        """Start workers while there is room and work for more; whether any was started."""
        if time.monotonic() >= self._next_look:
            self._next_look, self._room = time.monotonic() + _LOOK_S, capacity(self._need)
        started = 0
        while len(self._members) < self._room:
            starting = sum(not member.is_started for member in self._members)
            if not self._fill(starting + 1):
                break
            member = _Member(self._actor.remote(self._setup))
            self._members.append(member)
            self._call(member, [])
            started += 1
        return started > 0

    def _fill(self, count: int) -> bool:
        """Let at least so many items wait for a worker; False if there are fewer."""
        while len(self._waiting) < count:
            try:
                item = next(self._items)
            except StopIteration:
                return False
            taken = Taken(self._count, item)
            self.taken[taken.number] = taken
            self._waiting.append(taken)
            self._count += 1
        return True

    def _give(self, member: _Member, reply: Reply) -> None:
        """Give a worker the next items, if it waits for them; or tell it that there are none."""
        given: list[Taken] = []
        if reply.is_waiting and not member.is_last:
            if member.since:
                took_s = max(time.monotonic() - member.since, 1e-6)
                fitting = int(member.give * _BATCH_S / took_s)
                member.give = max(1, min(fitting, 2 * member.give, _MOST_ITEMS))
            self._fill(member.give)
            while self._waiting and len(given) < member.give:
                if given and self._waiting[0].deaths:
                    break  # alone, to find the one that ends workers
                given.append(self._waiting.popleft())
                if given[0].deaths:
                    break
            # What this worker has deferred, it answers at the end.
            member.is_last = not given and not self._fill(1)
            member.since = time.monotonic() if given else 0.0
        member.held |= {each.number for each in given}
        self._call(member, [(each.number, each.item) for each in given])

    def _call(self, member: _Member, given: list[tuple[int, Any]]) -> None:
        call = member.actor.exchange.remote(given, is_last=member.is_last)
        self._calls[call] = member

    def _bury(self, member: _Member, error: Exception) -> None:
        """Take back what a dead worker held.

        Raises:
            EngineError: if a worker cannot start, or the same item has ended several.
        """
        reason = _reason(error)
        self._members.remove(member)
        with suppress(self._ray.exceptions.RayError, RuntimeError):
            self._ray.kill(member.actor)  # it may only be out of reach
        if not member.is_started:
            self._check_start(reason)
        self._next_look = 0.0  # its node may be gone
        for number in sorted(member.held, reverse=True):
            taken = self.taken[number]
            taken.deaths += 1
            if taken.deaths >= _ATTEMPTS and len(member.held) == 1:
                raise EngineError(
                    f"{taken.deaths} workers died over the same part of the work: {reason}",
                    hint=_OUT_OF_MEMORY if _is_memory(error) else _DIED,
                )
            self._waiting.appendleft(taken)

    def _check_start(self, reason: str) -> None:
        """Raise EngineError if a node lacks this package, or no worker starts any more."""
        if "latte_cli" in reason and ("No module named" in reason or "ImportError" in reason):
            raise EngineError(
                f"a node of the cluster has no latte-cli: {reason}",
                hint="install the same version on every node, where Ray's own Python finds it",
            )
        self._failed_starts += 1
        if self._failed_starts >= _ATTEMPTS:
            raise EngineError(
                f"workers cannot be started: {reason}",
                hint="memory may have run out: use fewer --workers; the logs of the node say more",
            )

    def _show(self, reply: Reply) -> None:
        for text, is_note in reply.warned:
            warnings.warn((LatteNote if is_note else LatteWarning)(text), stacklevel=2)

    def _tell_if_silent(self) -> None:
        """Say once in a while why nothing happens."""
        if any(member.is_started for member in self._members):
            return
        if time.monotonic() - self._silent_since > _SILENT_S:
            self._silent_since = time.monotonic()
            warnings.warn(
                LatteNote(f"waiting for a node of the cluster with {self._need} free"), stacklevel=2
            )


def _reason(error: Exception) -> str:
    """The last line of an error of Ray's that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "memory" in line or "died" in line]
    return (telling or lines or [type(error).__name__])[-1]


def _is_memory(error: Exception) -> bool:
    return "OutOfMemory" in type(error).__name__ or "memory" in str(error).lower()
