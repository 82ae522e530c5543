"""Reading ahead keeps the order, passes errors on and stops when it is left."""

import threading

import pytest

from latte_cli.runtime.prefetch import prefetch


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_order(count):
    assert list(prefetch(lambda n: n * n, range(6), count)) == [(n, n * n) for n in range(6)]
    assert list(prefetch(str, [], count)) == []


def test_work_is_done_before_it_is_asked_for():
    begun = [threading.Event() for _ in range(4)]
    results = prefetch(lambda n: begun[n].set(), range(4), count=2)
    next(results)
    assert begun[2].wait(timeout=10)
    assert not begun[3].is_set()


def test_errors_are_raised_where_the_result_is_used():
    def fails(n):
        if n == 2:
            raise ValueError("two")
        return n

    done = []
    with pytest.raises(ValueError, match="two"):
        for n, _ in prefetch(fails, range(9)):
            done.append(n)
    assert done == [0, 1]
