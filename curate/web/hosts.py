"""How often and how widely each host may be asked: budgets from the providers' documented limits."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from curate.web.retries import LONGEST_WAIT, FetchFailed


@dataclass(frozen=True)
class HostBudget:
    """What one provider allows: requests at once, requests a minute, bytes an hour; both a day. None: no limit.

    `per_hour` requests may start in any hour, at once if need be. `stated_for` is how many seconds the number in the
    host's `X-RateLimit-Limit` is for, where the header does not say so itself.
    """

    connections: int = 4
    per_minute: float | None = None
    bytes_per_hour: float | None = None
    per_day: int | None = None
    bytes_per_day: float | None = None
    per_hour: int | None = None
    stated_for: float | None = None


COURTESY = HostBudget(connections=4, per_minute=600)
"""For hosts that document nothing."""
GENTLE = 60.0
"""Requests a minute to hosts that document nothing and are no photo hosts: a herbarium's server, a museum's."""

DOCUMENTED: Mapping[str, HostBudget] = {
    # 20 a minute and 200 a day without a token; a token lifts the first (see sources/openverse.py).
    "api.openverse.org": HostBudget(connections=1, per_minute=20),
    # "In series", and anonymous callers "hundreds per hour".
    "commons.wikimedia.org": HostBudget(connections=1, per_minute=10),
    "upload.wikimedia.org": HostBudget(connections=2, per_minute=120),
    "api.inaturalist.org": HostBudget(connections=1, per_minute=60, per_day=10_000),
    # 5 GB an hour and 24 GB a day: the daily figure is 1 GB an hour, kept to throughout.
    "inaturalist-open-data.s3.amazonaws.com": HostBudget(
        connections=4, per_minute=600, bytes_per_hour=1e9, bytes_per_day=24e9
    ),
    "static.inaturalist.org": HostBudget(connections=4, per_minute=600, bytes_per_hour=1e9, bytes_per_day=24e9),
    "api.gbif.org": HostBudget(connections=2, per_minute=120),
    # 3,600 calls an hour.
    "api.flickr.com": HostBudget(connections=1, per_minute=60),
    "staticflickr.com": HostBudget(connections=4, per_minute=600),
    # 200 an hour and 20,000 a month; the header counts the month.
    "api.pexels.com": HostBudget(connections=1, per_minute=120, per_hour=200),
    # 100 a minute, for the pictures that it hands out as well.
    "pixabay.com": HostBudget(connections=2, per_minute=100, stated_for=60.0),
    # 50 an hour for a new application; an approved one has more, as the header says.
    "api.unsplash.com": HostBudget(connections=1, per_minute=120, per_hour=50, stated_for=3600.0),
    # 500 calls of the API in five minutes, for callers without a token.
    "huggingface.co": HostBudget(connections=4, per_minute=100),
}
"""By host; a domain covers its subdomains, which then share one budget."""


_DAY, _HOUR = 86_400.0, 3_600.0  # seconds


class _Provider:
    """One budget being spent."""

    def __init__(self, budget: HostBudget) -> None:
        self.budget = budget
        self.places = asyncio.Semaphore(budget.connections)
        self.next_start = 0.0
        self.paused_until = 0.0
        self.requests, self.bytes = 0, 0  # of today, those of earlier runs among them
        self.started = deque[float]()  # when the requests of the last hour started, in seconds of the clock on the wall

    def require_allowance(self, host: str) -> None:
        """Raise FetchFailed where what the host allows an hour or a day is used up."""
        budget, now = self.budget, time.time()
        while self.started and not now - _HOUR < self.started[0] <= now:
            self.started.popleft()
        if budget.per_hour is not None and len(self.started) >= budget.per_hour:
            wait = self.started[-budget.per_hour] + _HOUR - now
            said = f"{len(self.started):,} requests of {host} are this hour's allowance"
            raise FetchFailed("rate limited", said, passing=True, retry_after=max(wait, 1.0))
        if budget.per_day is not None and self.requests >= budget.per_day:
            said = f"{self.requests:,} requests"
        elif budget.bytes_per_day is not None and self.bytes >= budget.bytes_per_day:
            said = f"{self.bytes / 1e9:.1f} GB"
        else:
            self.requests += 1
            if budget.per_hour is not None:
                self.started.append(now)
            return
        raise FetchFailed("rate limited", f"{said} of {host} are today's allowance", passing=True, retry_after=_DAY)

    async def wait_for_start(self, host: str) -> None:
        """Take the next slot of the rate, then sit out whatever pause has been asked for meanwhile.

        Raises FetchFailed where that pause is longer than a run should wait.
        """
        clock = asyncio.get_running_loop().time
        start = max(clock(), self.next_start)
        self.next_start = start + (60.0 / self.budget.per_minute if self.budget.per_minute else 0.0)
        await asyncio.sleep(start - clock())
        while (pause := self.paused_until - clock()) > 0:
            if pause > LONGEST_WAIT:
                reason = f"{host} asks to be left alone for another {pause / 60:.0f} minutes"
                raise FetchFailed("rate limited", reason, passing=True, retry_after=pause)
            await asyncio.sleep(pause)


class Hosts:
    """Hands out turns: `async with hosts.turn("upload.wikimedia.org"): ...` is one request."""

    def __init__(
        self,
        connections: int,
        budgets: Mapping[str, HostBudget] = DOCUMENTED,
        otherwise: HostBudget = COURTESY,
    ) -> None:
        self._anywhere = asyncio.Semaphore(connections)
        self._budgets = dict(budgets)
        self._otherwise = otherwise
        self._providers: dict[str, _Provider] = {}

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Wait until the host may be asked once more, and hold one of its connections meanwhile.

        The host's own place is taken before one of the places that all share: many waiting for a slow
        host do not keep the others from being asked. Raises FetchFailed where the host has asked for
        a pause beyond LONGEST_WAIT.
        """
        provider = self._provider(host)
        async with provider.places:
            provider.require_allowance(host)
            await provider.wait_for_start(host)
            async with self._anywhere:
                yield

    def pause(self, host: str, seconds: float) -> None:
        """Ask nothing of this host for so long: its Retry-After, or an exhausted limit."""
        provider = self._provider(host)
        provider.paused_until = max(provider.paused_until, asyncio.get_running_loop().time() + seconds)

    def received(self, host: str, size: int) -> None:
        """Book the bytes of a transfer; the next request waits for as long as they use up the allowance."""
        provider = self._provider(host)
        provider.bytes += size
        if provider.budget.bytes_per_hour is not None:
            provider.next_start = max(provider.next_start, asyncio.get_running_loop().time())
            provider.next_start += size / provider.budget.bytes_per_hour * 3600

    def allow(self, host: str, per_minute: float) -> None:
        """Replace a host's rate by the one that its own answer has just documented."""
        provider = self._provider(host)
        provider.budget = replace(provider.budget, per_minute=per_minute)

    def allow_hourly(self, host: str, requests: int) -> None:
        """Replace the requests that a host allows an hour by what it has just said."""
        provider = self._provider(host)
        provider.budget = replace(provider.budget, per_hour=requests)

    def budget(self, host: str) -> HostBudget:
        """What a host allows, as far as it is known by now."""
        return self._provider(host).budget

    def slow_down(self, host: str, seconds: float) -> None:
        """Leave so long between two requests at least, as the host's robots.txt asks."""
        provider = self._provider(host)
        present = provider.budget.per_minute
        if seconds > 0 and (present is None or present > 60 / seconds):
            provider.budget = replace(provider.budget, per_minute=60 / seconds)

    def be_gentle(self, host: str) -> None:
        """Ask a host that documents nothing no more than `GENTLE` times a minute."""
        if self._name(host) not in self._budgets:
            self.slow_down(host, 60 / GENTLE)

    def spent(self) -> dict[str, tuple[int, int]]:
        """Host → (requests, bytes) of today, for those that set a limit a day."""
        limited = {name: it for name, it in self._providers.items() if it.budget.per_day or it.budget.bytes_per_day}
        return {name: (provider.requests, provider.bytes) for name, provider in limited.items()}

    def count(self, spent: Mapping[str, tuple[int, int]]) -> None:
        """Count what earlier runs of today have spent."""
        for name, (requests, size) in spent.items():
            provider = self._provider(name)
            provider.requests += requests
            provider.bytes += size

    def started(self) -> dict[str, list[float]]:
        """Host → when the requests of the last hour started, in seconds since 1970, for those that limit an hour."""
        limited = {name: it for name, it in self._providers.items() if it.budget.per_hour}
        return {name: list(provider.started) for name, provider in limited.items()}

    def recall(self, started: Mapping[str, Iterable[float]]) -> None:
        """Count the requests that earlier runs have started."""
        for name, moments in started.items():
            provider = self._provider(name)
            provider.started = deque(sorted([*moments, *provider.started]))

    def _name(self, host: str) -> str:
        """The domain whose budget a host shares, or its own name."""
        labels = host.lower().rstrip(".").split(".")
        domains = [".".join(labels[start:]) for start in range(len(labels))]
        return next((domain for domain in domains if domain in self._budgets), domains[0])

    def _provider(self, host: str) -> _Provider:
        name = self._name(host)
        if name not in self._providers:
            self._providers[name] = _Provider(self._budgets.get(name, self._otherwise))
        return self._providers[name]
