"""Beside other threads, too, work is done in processes; they are as whole, and as mortal, as those forked here."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks safely")

HEAD = """
    import json, os, sys, threading, time
    from curate import forked
    from curate.fork_server import ForkServer
    from curate.forked import ordered_results_of, standing_crew
    from tests.test_fork_server import Written, add_pid, die_at_seven
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    forked._WORTH_SERVING = 8
"""


def add_pid(item: int) -> tuple[int, int]:
    time.sleep(0.005)
    return item, os.getpid()


def die_at_seven(item: int) -> int:
    if item == 7:
        os.kill(os.getpid(), signal.SIGSEGV)
    return item


class Written:
    """Writes on memory that it was sent the handle of."""

    def __init__(self, memory: Any) -> None:
        self.memory = memory

    def __call__(self, item: int) -> int:
        self.memory.bytes[item] = item
        return os.getpid()


def alone(code: str, arguments: Sequence[str] = ()) -> Any:
    """What a program with another thread prints as JSON."""
    program = textwrap.dedent(HEAD) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return json.loads(done.stdout)


@pytest.mark.thorough
def test_beside_a_thread_a_server_forks() -> None:
    first, second, ours, empty = alone("""
        def lost(item, code):
            raise AssertionError

        answers = []
        with ordered_results_of(add_pid, range(60), lost, ahead=20, workers=3) as results:
            answers.append(list(results))
        with standing_crew(add_pid, 60, workers=3) as crew:
            abandoned = crew.ordered(range(30), lost, ahead=20)
            assert next(abandoned)[0] == 0
            assert [item for item, _ in crew.ordered(range(30), lost, ahead=20)] == list(range(30))
            answers.append(list(crew.ordered(range(60), lost, ahead=9)))
        with ordered_results_of(lambda item: os.getpid(), range(60), lost, ahead=20, workers=3) as results:
            in_threads = set(results)
        print(json.dumps([*answers, os.getpid(), sorted(in_threads)]))
    """)
    for answers in (first, second):
        assert [item for item, _ in answers] == list(range(60))
        assert len({pid for _, pid in answers} - {ours}) == 3
    assert {pid for _, pid in first}.isdisjoint(pid for _, pid in second)
    assert empty == [ours], "what cannot be sent is done in threads"


def test_shared_memory_is_one_memory() -> None:
    seen, pids, ours = alone("""
        from curate.shared_memory import SharedMemory

        memory = SharedMemory(60)
        with ordered_results_of(Written(memory), range(60), print, ahead=20, workers=2) as results:
            pids = set(results)
        print(json.dumps([list(memory.bytes[:]), sorted(pids), os.getpid()]))
    """)
    assert seen == list(range(60))
    assert ours not in pids


def test_an_item_that_kills_its_process_is_lost_alone() -> None:
    found = alone("""
        def lost(item, code):
            return item, code

        with ordered_results_of(die_at_seven, range(40), lost, ahead=9, workers=3) as results:
            print(json.dumps(list(results)))
    """)
    assert found == [[item, -signal.SIGSEGV] if item == 7 else item for item in range(40)]


def test_a_server_that_is_killed_is_said_and_the_next_is_another() -> None:
    lost, again = alone("""
        lost, again = [], []
        with standing_crew(add_pid, 60, workers=3) as crew:
            for item, _ in crew.ordered(range(60), lambda item, code: lost.append(code) or (item, 0), ahead=9):
                if item == 5:
                    ForkServer._running._process.kill()
        with ordered_results_of(add_pid, range(60), print, ahead=20, workers=3) as results:
            again = [item for item, _ in results]
        print(json.dumps([lost, again]))
    """)
    assert set(lost) == {-signal.SIGKILL}
    assert again == list(range(60))


@pytest.mark.thorough
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_when_we_end_they_end_too(how: signal.Signals) -> None:
    program = textwrap.dedent(HEAD) + textwrap.dedent("""
        with standing_crew(add_pid, 60, workers=3) as crew:
            print(ForkServer._running._process.pid, flush=True)
            for _, pid in crew.ordered(range(100_000), print, ahead=9):
                print(pid, flush=True)
    """)
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        seen: set[int] = set()
        while len(seen) < 4:
            seen.add(int(process.stdout.readline()))
        process.send_signal(how)
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in seen):
        assert time.monotonic() < deadline, "a process outlives the one it worked for"
        time.sleep(0.02)
