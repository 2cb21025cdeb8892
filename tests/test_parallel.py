"""Work in threads comes back in order, in bounded memory, and stops when it should."""

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.parallel import ordered_map, processors

REPOSITORY = Path(__file__).resolve().parent.parent


@given(st.lists(st.integers(), max_size=50), st.integers(1, 8))
def test_it_is_map(items: list[int], workers: int) -> None:
    assert list(ordered_map(lambda item: item * 3, items, workers=workers)) == [item * 3 for item in items]


def test_order_is_kept_when_the_first_take_longest() -> None:
    def wait(item: int) -> int:
        time.sleep(0.02 if item % 4 == 0 else 0)
        return item

    assert list(ordered_map(wait, range(40), workers=4)) == list(range(40))


def test_it_works_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=5)
    assert list(ordered_map(lambda _: barrier.wait() >= 0, range(3), workers=3)) == [True] * 3


def test_no_more_is_taken_in_than_a_few_per_worker() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(10_000):
            taken += 1
            yield item

    results = ordered_map(lambda item: item, items(), workers=2)
    for received in range(1, 101):
        next(results)
        assert taken - received <= 2 * 4


def test_an_error_comes_where_its_result_would_have_come_and_ends_the_work() -> None:
    done: list[int] = []

    def work(item: int) -> int:
        if item == 10:
            raise ValueError("ten")
        done.append(item)
        return item

    results = ordered_map(work, range(10_000), workers=2)
    received: list[int] = []
    with pytest.raises(ValueError, match="ten"):
        received.extend(results)
    assert len(done) < 30


def test_an_error_in_the_items_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(ordered_map(lambda item: item, items()))


def test_results_that_nobody_wants_are_not_worked_out() -> None:
    done: list[int] = []
    results = ordered_map(done.append, range(10_000), workers=2)
    next(results)
    assert isinstance(results, Iterator)
    results.close()
    assert len(done) < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("curate")]


def test_ctrl_c_ends_it() -> None:
    code = """
        import os, signal, threading, time
        from curate.parallel import ordered_map
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            for _ in ordered_map(lambda _: time.sleep(0.01), iter(int, 1)):
                pass
        except KeyboardInterrupt:
            print("stopped")
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.returncode) == ("stopped\n", 0), done.stderr


def test_there_is_a_processor() -> None:
    assert processors() >= 1
