"""The Ray engine: every item is answered once, whatever happens to its workers."""

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from helpers.rays import running_ray

from latte_cli.runtime.engines.engine import ANYWHERE, LOCAL, Advance, Place
from latte_cli.runtime.engines.ray_engine import RayEngine
from latte_cli.runtime.errors import DataError, EngineError, LatteWarning

pytestmark = pytest.mark.ray
cluster = running_ray


def work(
    items: Iterable[int], advance: Advance, act: Callable[[int], object] = lambda item: None
) -> Iterator[tuple[int, int]]:
    for item in items:
        act(item)
        advance(2)
        yield item, item * item


def squares(
    act: Callable[[int], object], items: Iterable[int], place: Place = ANYWHERE
) -> dict[int, int]:
    return dict(RayEngine(0).run(partial(work, act=act), items, lambda count: None, place))


@pytest.mark.parametrize("count", [0, 1, 7, 3000])
def test_answers_are_those_of_the_local_engine(cluster, count):
    counted = {"local": 0, "ray": 0}

    def count_as(name: str) -> Advance:
        def advance(count: int) -> None:
            counted[name] += count

        return advance

    local = sorted(LOCAL.run(work, range(count), count_as("local")))
    ray = sorted(RayEngine(0).run(work, range(count), count_as("ray")))
    assert ray == local
    assert counted == {"local": 2 * count, "ray": 2 * count}


def test_items_are_taken_as_they_are_needed(cluster):
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with closing(
        RayEngine(0).run(partial(work, act=lambda n: time.sleep(0.2)), items(), print)
    ) as run:
        next(run)
    assert len(taken) < 10


def test_what_a_dead_worker_held_is_done_by_another(cluster, tmp_path):
    def die_once(item: int) -> None:
        flag = tmp_path / "died"
        if item == 20 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)

    assert squares(die_once, range(60)) == {n: n * n for n in range(60)}
    assert (tmp_path / "died").exists()


def test_an_item_that_ends_every_worker_is_named_an_error(cluster):
    def die(item: int) -> None:
        if item == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(EngineError, match="3 workers died"):
        squares(die, range(5))


def test_errors_of_the_work_are_raised_here_after_the_answers_before_them(cluster):
    def fail(item: int) -> None:
        if item == 3:
            raise DataError("item 3 is bad", hint="mend it")

    answers: list[int] = []
    with pytest.raises(DataError, match="item 3 is bad") as caught:
        for item, _ in RayEngine(0).run(partial(work, act=fail), range(4), print, Place(2)):
            answers.append(item)
    assert caught.value.hint == "mend it"
    assert answers == [0, 1, 2]


def test_warnings_of_workers_reach_the_user(cluster):
    with pytest.warns(LatteWarning, match="odd: 1"):
        squares(lambda n: warnings.warn(LatteWarning(f"odd: {n}"), stacklevel=2), [1])


def test_stopping_lets_workers_save_what_is_done(cluster, tmp_path):
    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(RayEngine(0).run(partial(_save, tmp_path), [0], interrupt))
    assert (tmp_path / "saved").exists()


def _save(folder: Path, items: Iterable[int], advance: Advance) -> Iterator[tuple[int, None]]:
    for item in items:
        yield item, None
        try:
            while True:
                advance(1)
                time.sleep(0.01)
        finally:
            (folder / "saved").touch()


def test_more_than_any_node_has_is_refused(cluster):
    with pytest.raises(EngineError, match="no node of the cluster has 64 CPUs"):
        squares(print, [1], Place(64))
    with pytest.raises(EngineError, match="1 CPU and 2 GPUs"):
        list(RayEngine(2).run(work, [1], print))


def test_work_that_a_node_cannot_load_is_an_error(cluster, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def work(items, advance): yield from ()\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    with pytest.raises(EngineError, match="cannot load the work: No module named 'only_here'"):
        list(RayEngine(0).run(only_here.work, [1], print))
    del sys.modules["only_here"]


def test_a_folder_that_a_node_does_not_see_is_an_error(cluster, tmp_path):
    with pytest.raises(EngineError, match=f"does not see {tmp_path}/gone"):
        squares(print, [1], Place(paths=[tmp_path, tmp_path / "gone"]))


def test_equal_items_are_all_answered(cluster):
    answers = list(RayEngine(0).run(work, [5, 5, 5, 6, 5], print))
    assert sorted(answers) == [(5, 25)] * 4 + [(6, 36)]
