"""Work in forked processes comes back whole, whatever becomes of them, and none of them outlives it."""

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.forked import ordered_results_of, results_of

REPOSITORY = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks safely")


def nothing_lost(item: int, exit_code: int) -> int:
    raise AssertionError(f"{item} was lost: {exit_code}")


@pytest.mark.thorough
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(), max_size=60), st.integers(1, 4))
def test_it_is_map_in_some_order(items: list[int], workers: int) -> None:
    with results_of(lambda item: item * 3, items, nothing_lost, workers=workers) as results:
        assert Counter(results) == Counter(item * 3 for item in items)
    assert not active_children()


@pytest.mark.thorough
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(), max_size=60), st.integers(1, 4), st.integers(1, 9))
def test_it_is_map_in_order_where_that_is_asked_for(items: list[int], workers: int, ahead: int) -> None:
    with ordered_results_of(lambda item: item * 3, items, nothing_lost, ahead=ahead, workers=workers) as results:
        assert list(results) == [item * 3 for item in items]
    assert not active_children()


def alone(code: str, *arguments: str) -> Any:
    """What a program prints as JSON. It has no other threads, as a test has that comes after others; and it may die."""
    program = (
        "import json, os, sys, time\nfrom curate.forked import map_isolated, ordered_results_of, results_of\n"
        + textwrap.dedent(code)
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_works_in_other_processes_at_the_same_time() -> None:
    answers = alone("""
        def who(_):
            time.sleep(0.01)
            return os.getpid()

        with results_of(who, range(40), print, workers=3) as results:
            print(json.dumps([os.getpid(), *results]))
    """)
    ours, workers = answers[0], Counter(answers[1:])
    assert len(workers) == 3
    assert ours not in workers
    assert max(workers.values()) < 25, "one of them did nearly all of it"


def test_beside_another_thread_it_does_not_fork() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with results_of(lambda _: os.getpid(), range(40), nothing_lost, workers=3) as results:
            assert set(results) == {os.getpid()}
    finally:
        stop.set()
        thread.join()


@settings(max_examples=10, deadline=None)
@given(deadly=st.sets(st.integers(0, 39)), how=st.sampled_from(["SIGKILL", "SIGSEGV", "SIGABRT"]))
def test_an_item_that_kills_its_process_is_lost_alone(deadly: set[int], how: str) -> None:
    by_many, by_one = alone(
        """
        import signal
        ours, deadly, how = os.getpid(), json.loads(sys.argv[1]), getattr(signal, sys.argv[2])

        def work(item):
            assert os.getpid() != ours
            if item in deadly:
                os.kill(os.getpid(), how)
            return f"done {item}"

        def lost(item, exit_code):
            assert (os.getpid(), exit_code) == (ours, -how)
            return f"lost {item}"

        with results_of(work, range(40), lost, workers=3) as results:
            print(json.dumps([list(results), map_isolated(work, range(40), lost)]))
        """,
        json.dumps(sorted(deadly)),
        how,
    )
    wanted = [f"{'lost' if item in deadly else 'done'} {item}" for item in range(40)]
    assert sorted(by_many) == sorted(wanted)
    assert by_one == wanted


@pytest.mark.parametrize("ahead", [1, 3, 8])
def test_in_order_and_never_further_ahead_than_asked(ahead: int) -> None:
    """Slow items, lost ones and a consumer that takes its time: what is begun and not given stays within bounds."""
    given, most = alone(
        """
        import mmap, random, signal
        ahead, begun = int(sys.argv[1]), mmap.mmap(-1, 60)  # a byte an item, which every process sees

        def work(item):
            begun[item] = 1
            time.sleep(random.Random(item).choice([0, 0, 0, 0.03]))
            if item % 11 == 10:
                os.kill(os.getpid(), signal.SIGKILL)
            return item

        given, most = [], 0
        with ordered_results_of(work, range(60), lambda item, _: -item, ahead=ahead, workers=3) as results:
            for result in results:
                time.sleep(random.Random(result).choice([0, 0.005]))
                most = max(most, sum(begun[:]) - len(given))
                given.append(result)
        print(json.dumps([given, most]))
        """,
        str(ahead),
    )
    assert given == [-item if item % 11 == 10 else item for item in range(60)]
    assert most <= 2 * ahead


def test_an_error_is_raised_here_and_ends_the_work() -> None:
    def work(item: int) -> int:
        if item == 10:
            raise ValueError("ten")
        if item > 10:
            time.sleep(0.05)  # so that a machine that is busy besides does not keep the error waiting for many of them
        return item

    received: list[int] = []
    with pytest.raises(ValueError, match="ten"), results_of(work, range(10_000), nothing_lost, workers=2) as results:
        received.extend(results)
    assert len(received) < 30
    assert not active_children()


def test_a_standing_crew_works_on_beside_threads_that_came_later() -> None:
    ours, lists, lost = alone("""
        import signal, threading
        from contextlib import suppress
        from curate.forked import standing_crew

        def work(item):
            time.sleep(0.005)
            if item < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return item, os.getpid()

        lists, lost = [], []
        with standing_crew(work, 200, workers=3) as crew:
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
            for ahead in (2, 50):
                lists.append(list(crew.ordered(range(60), print, ahead=ahead)))
            abandoned = crew.ordered(range(60), print, ahead=9)
            next(abandoned)
            lists.append(list(crew.ordered(range(100, 130), print, ahead=9)))
            list(crew.ordered([1, -2, 3], lambda item, code: lost.append([item, code]), ahead=9))
            for pid in {pid for _, pid in lists[0]}:
                with suppress(ProcessLookupError):  # one has died already
                    os.kill(pid, signal.SIGKILL)
            list(crew.ordered([7], lambda item, code: lost.append([item, code]), ahead=9))
        print(json.dumps([os.getpid(), lists, lost]))
    """)
    wanted = [list(range(60)), list(range(60)), list(range(100, 130))]
    assert [[item for item, _ in found] for found in lists] == wanted
    workers = {pid for found in lists for _, pid in found}
    assert len(workers) == 3
    assert ours not in workers
    assert [item for item, _ in lost] == [-2, 7], "what can't be done is said, never waited for"


def test_results_that_nobody_wants_are_not_worked_out(tmp_path: Path) -> None:
    def work(item: int) -> None:
        (tmp_path / str(item)).touch()

    with results_of(work, range(10_000), lambda *_: None, workers=2) as results:
        next(results)
    assert not active_children()
    assert len(list(tmp_path.iterdir())) < 30


ORPHANS = """
    import os, time
    from curate.forked import results_of

    def work(item):
        time.sleep(0.05)
        return os.getpid()

    with results_of(work, range(10_000), print, workers=3) as results:
        for pid in results:
            print(pid, flush=True)
"""


def test_when_we_are_killed_they_end_too() -> None:
    command = [sys.executable, "-c", textwrap.dedent(ORPHANS)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen: set[int] = set()
        while len(seen) < 3:
            seen.add(int(process.stdout.readline()))
        process.kill()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in seen):
        assert time.monotonic() < deadline, "a process outlives the one it worked for"
        time.sleep(0.02)
