"""Whatever a file holds, the decoder gives pixels or says why not: in bounded time and memory, and never a crash.

A few hundred cases; benchmarks/fuzz.py looks at twenty thousand.
"""

import random
import subprocess
import sys
import textwrap
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import damage, fuzz
from curate.image import BrokenImage, decode
from curate.inspect import inspect


@pytest.mark.thorough
def test_damaged_files_of_every_format_give_pixels_or_a_reason() -> None:
    tally = fuzz.fuzz(400)
    assert tally.faults == []
    assert sum(tally.outcomes.values()) == 400
    # Neither outcome is the rare one, or the damage would be too slight or too coarse to find anything.
    assert min(tally.outcomes["pixels"], tally.outcomes["broken"]) > 80
    assert tally.largest[0] < 2048


def test_what_is_damaged_was_whole() -> None:
    for name, data in damage.seeds().items():
        assert inspect(data).broken == "", name


def test_a_case_is_made_from_its_number_alone() -> None:
    cases = [damage.case(number) for number in range(60)]
    random.seed(99)
    assert [damage.case(number) for number in reversed(range(60))] == cases[::-1]


HEADERS = [b"", *(data[:length] for data in damage.seeds().values() for length in (4, 16, 40, 200))]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(HEADERS), st.binary(max_size=300))
def test_any_bytes_after_any_header(header: bytes, rest: bytes) -> None:
    try:
        decoded = decode(header + rest)
    except BrokenImage:
        return
    assert decoded.pixels.mode == "RGB"


# -- the watch over the cases sees what it is there for


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        pytest.param("os.kill(os.getpid(), signal.SIGSEGV)", "crash: the process ended with -11", id="crash"),
        pytest.param("time.sleep(60)", "hang: no answer within", id="hang"),
        pytest.param("print('done', 0.1, 9, 'KeyError: 1', sep='\\t', flush=True)", "KeyError: 1", id="exception"),
    ],
)
def test_a_fault_is_put_down_to_its_case(monkeypatch: pytest.MonkeyPatch, code: str, fault: str) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 2.0)
    script = f"""
        import os, signal, time
        print("case", 3, "GIF", sep="\\t", flush=True)
        print("done", 0.1, 9, "pixels", sep="\\t", flush=True)
        print("case", 5, "JPEG", sep="\\t", flush=True)
        {code}
    """
    tally = fuzz.Tally()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    ) as process:
        following = fuzz.follow(process, 3, 2, tally, threading.Lock())
    assert (tally.outcomes["pixels"], tally.outcomes["fault"]) == (1, 1)
    assert tally.faults[0].startswith(f"case 5 (JPEG): {fault}")
    assert following >= 7
