"""Asking again: how often, after how long, and when not."""

import asyncio
import time
from collections.abc import Iterable
from itertools import pairwise

import httpx2
import pytest

from curate.web.retries import ATTEMPTS, FetchFailed, patiently, retry_after

PASSING = FetchFailed("server error", "it answered 503", passing=True)
LASTING = FetchFailed("http 404", "it answered 404")


class Line:
    """Answers that come one after the other, each an error or what it brought before it broke off."""

    def __init__(self, answers: Iterable[FetchFailed | int]) -> None:
        self._answers = iter(answers)
        self.asked: list[float] = []
        self.size = 0

    async def ask(self) -> str:
        self.asked.append(time.monotonic())
        answer = next(self._answers, None)
        if answer is None:
            return "whole"
        if isinstance(answer, FetchFailed):
            raise answer
        self.size += answer
        raise FetchFailed("cut off", "the line broke", passing=True)


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server asks for is still waited for."""
    monkeypatch.setattr("curate.web.retries.FIRST_BACKOFF", 0.0)
    monkeypatch.setattr("curate.web.retries.JITTER", 0.0)


@pytest.mark.parametrize("attempts", [1, 2, ATTEMPTS])
def test_a_failure_that_may_pass_is_tried_so_often_and_no_more(attempts: int) -> None:
    line = Line([PASSING] * attempts)
    with pytest.raises(FetchFailed, match="503"):
        asyncio.run(patiently(line.ask, attempts))
    assert len(line.asked) == attempts
    assert asyncio.run(patiently(Line([PASSING] * (attempts - 1)).ask, attempts)) == "whole"


@pytest.mark.parametrize(
    "asked",
    [
        {"Retry-After": "999999999"}, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "999999999"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999"},
    ],
    ids=["seconds", "a date", "a limit's seconds", "a limit's date"],
)  # fmt: skip
def test_nobody_is_asked_to_come_back_in_a_century(asked: dict[str, str]) -> None:
    assert retry_after(httpx2.Response(503, headers=asked)) == 7 * 86_400


def test_a_lasting_failure_ends_it() -> None:
    line = Line([PASSING, LASTING])
    with pytest.raises(FetchFailed, match="404"):
        asyncio.run(patiently(line.ask))
    assert len(line.asked) == 2


def test_an_attempt_that_brought_something_does_not_count() -> None:
    line = Line([0, 0, 1] * 3 + [0] * (ATTEMPTS - 1))
    assert asyncio.run(patiently(line.ask, brought=lambda: line.size)) == "whole"
    line = Line([1] + [0] * ATTEMPTS)
    with pytest.raises(FetchFailed, match="broke"):
        asyncio.run(patiently(line.ask, brought=lambda: line.size))
    assert len(line.asked) == 1 + ATTEMPTS


def test_it_asks_no_sooner_than_it_is_told() -> None:
    line = Line([FetchFailed("rate limited", "429", passing=True, retry_after=0.3)] * 2)
    assert asyncio.run(patiently(line.ask)) == "whole"
    assert all(second - first >= 0.29 for first, second in pairwise(line.asked))


def test_a_wait_that_is_too_long_for_a_run_ends_it() -> None:
    line = Line([FetchFailed("rate limited", "429", passing=True, retry_after=7200)])
    with pytest.raises(FetchFailed, match="429"):
        asyncio.run(patiently(line.ask))
    assert len(line.asked) == 1


def test_the_waits_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.web.retries.FIRST_BACKOFF", 0.1)
    line = Line([PASSING] * 3)
    assert asyncio.run(patiently(line.ask)) == "whole"
    waits = [second - first for first, second in pairwise(line.asked)]
    assert [wait >= least for wait, least in zip(waits, (0.09, 0.19, 0.39), strict=True)] == [True] * 3
