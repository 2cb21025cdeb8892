"""What failed on the way, whether it may pass, and how long to wait before asking again."""

import asyncio
import email.utils
import random
import re
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx2

T = TypeVar("T")

ATTEMPTS = 4
LONGEST_WAIT = 120.0
"""Seconds that one run waits for one answer; what a server asks for beyond that is left to a later run."""
_LONGEST_ASKED = 7 * 86400.0
"""Seconds: who asks for a century means something else."""
_A_TIME = 1e9
"""A number of seconds from here on is a time of this century, and no wait."""
FIRST_BACKOFF, JITTER = 0.25, 0.5
"""Seconds: the wait after a first failure, which each further one doubles, and the most that chance adds to it."""


class FetchFailed(Exception):
    """A transfer that brought nothing.

    `kind` is one of a few words to count by, `reason` the sentence, `passing` whether a later attempt may
    fare better, `retry_after` the seconds that the server asked for.
    """

    def __init__(self, kind: str, reason: str, *, passing: bool = False, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.passing = passing
        self.retry_after = retry_after


async def patiently(
    ask: Callable[[], Awaitable[T]], attempts: int = ATTEMPTS, brought: Callable[[], int] = lambda: 0
) -> T:
    """Call `ask` until it succeeds, fails for good, or has failed `attempts` times in a row for a passing reason.

    `brought` counts what has come so far: a failed attempt that brought something does not count. Between attempts:
    exponential backoff with jitter, and never less than the server's Retry-After. A Retry-After beyond LONGEST_WAIT
    ends it at once. Raises the last FetchFailed.
    """
    failures = 0
    while True:
        before = brought()
        try:
            return await ask()
        except FetchFailed as failed:
            failures = failures + 1 if brought() <= before else 0
            asked_for = failed.retry_after or 0.0
            if not failed.passing or failures >= attempts or asked_for > LONGEST_WAIT:
                raise
        backoff = FIRST_BACKOFF * 2 ** max(failures - 1, 0) + random.uniform(0.0, JITTER)
        await asyncio.sleep(max(asked_for, min(backoff, LONGEST_WAIT)))


def check_status(response: httpx2.Response, host: str) -> None:
    """Raise FetchFailed unless the answer is a 200."""
    status = response.status_code
    if status == 200:
        return
    wait = retry_after(response)
    if status == 429:
        reason = f"{host} answered 429: too many requests"
        raise FetchFailed("rate limited", reason, passing=True, retry_after=wait)
    if status in (408, 425) or status >= 500:
        raise FetchFailed("server error", f"{host} answered {status}", passing=True, retry_after=wait)
    raise FetchFailed(f"http {status}", f"{host} answered {status}")


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds of a Retry-After header, given as a number or as a date; where there is none, until the limit that is
    used up begins anew; None where neither is said.
    """
    text = response.headers.get("Retry-After", "").strip()
    if not text:
        return limit_reset(response)
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_ASKED)
    try:
        moment = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(moment - time.time(), 0.0), _LONGEST_ASKED)


def limit_reset(response: httpx2.Response) -> float | None:
    """Seconds until a limit that is used up begins anew, by `X-RateLimit-Reset`; None where that is not said.

    The header is a number of seconds with some services, and a time in seconds since 1970 with others.
    """
    left, text = (response.headers.get(f"X-RateLimit-{name}", "").strip() for name in ("Remaining", "Reset"))
    if left != "0" or not re.fullmatch(r"\d{1,12}", text, re.ASCII):
        return None
    number = float(text)
    return min(max(number - time.time(), 0.0) if number >= _A_TIME else number, _LONGEST_ASKED)


def transport_failure(error: httpx2.TransportError | TimeoutError, host: str) -> FetchFailed:
    """What the client ran into, in words that name the host."""
    why = str(error) or "it hung up"
    if isinstance(error, httpx2.ConnectTimeout):
        return FetchFailed("unreachable", f"{host} did not accept a connection in time", passing=True)
    if isinstance(error, httpx2.TimeoutException):
        return FetchFailed("too slow", f"{host} fell silent", passing=True)
    if isinstance(error, TimeoutError):
        return FetchFailed("too slow", f"the transfer from {host} took too long as a whole", passing=True)
    if isinstance(error, httpx2.ConnectError):
        return FetchFailed("unreachable", f"{host} could not be reached: {why}", passing=True)
    if isinstance(error, httpx2.RemoteProtocolError):
        return FetchFailed("cut off", f"{host} broke off or broke the protocol: {why}", passing=True)
    return FetchFailed("cut off", f"the connection to {host} broke: {why}", passing=True)
