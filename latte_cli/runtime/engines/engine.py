"""What every engine does: map a function over items, wherever it runs."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from latte_cli.runtime.cpus import cpu_share

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Advance = Callable[[int], None]
"""Counts progress, in whatever unit the command shows."""

Work = Callable[[Iterable[Item], Advance], Iterator[tuple[Item, Answer]]]
"""Maps items to answers; it must be picklable.

It takes an item when it has time for it, and yields the item, the same object, with its answer.
What it needs for all items, such as a network, it loads before the first one.
"""


@dataclass(frozen=True)
class Place:
    """What a place where work is done must have.

    Attributes:
        cpus: from `Engine.processes`, for what the work itself starts.
        paths: files and folders that the work reads or writes.
    """

    cpus: int = 1
    paths: Sequence[Path] = ()


ANYWHERE = Place()


class Engine(Protocol):
    """Does work somewhere."""

    def processes(self, asked: int | None, most: int) -> int:
        """The CPUs, and so the decoding processes, of each place where work is done.

        Args:
            asked: by the user; None: decided here.
            most: where it is decided here.
        """

    def run(
        self,
        work: Work[Item, Answer],
        items: Iterable[Item],
        advance: Advance,
        place: Place = ANYWHERE,
    ) -> Generator[tuple[Item, Answer], None, None]:
        """Do work, and yield each item with its answer as soon as it is known.

        Answers do not depend on the engine. An error of the work is raised here, and so ends it.

        Args:
            work: what to do.
            items: taken as they are needed, so there may be any number of them.
            advance: called with the progress that the work reports.
            place: what each place where work is done must have.
        """


class LocalEngine:
    """Does all work in this process."""

    def processes(self, asked: int | None, most: int) -> int:
        """See `Engine`: this process's share of the CPUs."""
        return asked or cpu_share(most)

    def run(
        self,
        work: Work[Item, Answer],
        items: Iterable[Item],
        advance: Advance,
        place: Place = ANYWHERE,
    ) -> Generator[tuple[Item, Answer], None, None]:
        """See `Engine`."""
        yield from work(items, advance)


LOCAL = LocalEngine()
