"""The local web: five picture services over one folder of class folders, on loopback, with every fault at hand."""

import argparse
import json
import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from curate.web.hosts import HostBudget
from curate.web.network import Network
from testing.fixtures import LICENSES, Offer, ServedPicture
from testing.hostile import FAULTS, ODD_RECORDS, odd_record
from testing.localapis import RECORDS, SERVICES, ServiceError
from testing.webserver import Reply, Request, Server, Visit


@dataclass
class Faults:
    """The switches. All off, the local web behaves as the services document; tests turn them while it runs.

    `limit_next`: service → seconds of the Retry-After with which its next call is answered (429).
    `limits`: service → (requests, seconds): more of them in so short a time are answered with 429.
    `changed`: services whose answers have another shape. `nonsense`: ones that answer with HTML.
    `odd`: ones whose every page begins with each of `testing.hostile.ODD_RECORDS`. `down`: ones that answer 503.
    `lagging`: calls that Wikimedia still answers with a maxlag error.
    `pictures`: picture number → fault of `testing.hostile` in its place.
    `flaky`: picture number → times it is still answered with 503. `same_bytes`: every picture is the first one.
    `robots`: the text of robots.txt; `robots_redirect`: where it redirects to instead; `robots_fails`: how often a 503
    comes first.
    """

    limit_next: dict[str, float] = field(default_factory=dict)
    limits: dict[str, tuple[int, float]] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    nonsense: set[str] = field(default_factory=set)
    odd: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    lagging: int = 0
    pictures: dict[int, str] = field(default_factory=dict)
    flaky: dict[int, int] = field(default_factory=dict)
    same_bytes: bool = False
    robots: str | None = None
    robots_redirect: str | None = None
    robots_fails: int = 0


class LocalWeb:
    """`with LocalWeb(folder) as web: scrape(..., network=web.network())`.

    The services lie under `/openverse`, `/wikimedia`, `/inaturalist`, `/gbif` and `/flickr`; each answers on
    the paths of the real one. `names` maps a class folder to (name, query); `divided` gives each picture to
    one service alone instead of to all; with `relayed`, iNaturalist, Wikimedia and Flickr have pictures of their
    own, of which Openverse and GBIF pass some on; with `strays`, iNaturalist and GBIF mix other taxa in, as a
    full-text match does; `licenses` go round among the pictures.
    """

    def __init__(
        self,
        folder: Path,
        names: Mapping[str, tuple[str, str]] | None = None,
        *,
        divided: bool = False,
        relayed: bool = False,
        strays: bool = False,
        licenses: Sequence[str] = LICENSES,
        port: int = 0,
        latency: float = 0.0,
    ) -> None:
        self.faults = Faults()
        self._starts: dict[str, deque[float]] = defaultdict(deque)
        self.offer = Offer(
            folder,
            names or {},
            divided=divided,
            relayed=relayed,
            strays=strays,
            licenses=licenses,
        )
        self._server = Server(self._answer, port=port, latency=latency)

    def __enter__(self) -> Self:
        self._server.__enter__()
        self.offer.base = self.url
        return self

    def __exit__(self, *trace: object) -> None:
        self._server.__exit__(*trace)

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`."""
        return self._server.url

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return self._server.port

    @property
    def latency(self) -> float:
        """Seconds before each answer."""
        return self._server.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._server.latency = seconds

    @property
    def log(self) -> list[Visit]:
        """Every request so far, in order of arrival."""
        return self._server.log

    @property
    def pictures(self) -> list[ServedPicture]:
        """All pictures on offer."""
        return self.offer.pictures

    def network(self, **changes: Any) -> Network:
        """The way to this web."""
        return network_to(self.port, **changes)

    def record(self, path: Path) -> None:
        """Append each request that is answered to a file, as a line of JSON, instead of keeping it in `log`."""
        self._server.recorder = path.open("a", encoding="utf-8", buffering=1)

    def visits(self, start: str) -> list[Visit]:
        """The requests whose path starts so."""
        return [visit for visit in self.log if visit.path.startswith(start)]

    def _answer(self, request: Request) -> Reply:
        service, _, path = request.path.removeprefix("/").partition("/")
        if service in SERVICES and not path.startswith("pictures/"):
            return self._service(service, request, f"/{path}")
        if request.path == "/robots.txt" and self.faults.robots_fails:
            self.faults.robots_fails -= 1
            return Reply(status=503)
        if request.path == "/robots.txt" and self.faults.robots_redirect is not None:
            return Reply(status=302, headers={"Location": self.faults.robots_redirect})
        if request.path == "/robots.txt" and self.faults.robots is not None:
            return Reply(self.faults.robots.encode(), "text/plain")
        if service == "hostile" and path in FAULTS:
            return FAULTS[path](self.pictures[0].path.read_bytes() if self.pictures else b"")
        if service in SERVICES:
            return self._picture(path)
        return Reply(b"nothing here", "text/plain", 404)

    def _service(self, service: str, request: Request, path: str) -> Reply:
        faults = self.faults
        seconds = faults.limit_next.pop(service, None)
        if seconds is not None:
            return Reply(b"{}", "application/json", 429, {"Retry-After": f"{seconds:g}"})
        if service in faults.limits:
            wait = self._over_limit(service, *faults.limits[service])
            if wait > 0:
                return Reply(b"{}", "application/json", 429, {"Retry-After": f"{math.ceil(wait)}"})
        if service in faults.down:
            return Reply(b"down", "text/plain", 503)
        if service in faults.nonsense:
            return Reply(b"<html>We have moved</html>", "text/html")
        if service == "wikimedia" and faults.lagging > 0:
            faults.lagging -= 1
            error = {"error": {"code": "maxlag", "info": "Waiting for a database server: 6 seconds lagged."}}
            return Reply(json.dumps(error).encode(), "application/json", headers={"Retry-After": "5"})
        try:
            answer, headers = SERVICES[service](self.offer, request, path)
        except ServiceError as error:
            return Reply(json.dumps(error.answer).encode(), "application/json", error.status)
        if service in faults.changed:
            answer = {"data": answer, "version": 2}
        body = _with_odd_records(service, answer) if service in faults.odd else json.dumps(answer)
        return Reply(body.encode(), "application/json", headers=headers)

    def _over_limit(self, service: str, requests: int, seconds: float) -> float:
        """Seconds until a service may be asked again; 0 where it may be now, and then this request counts."""
        now, starts = time.monotonic(), self._starts[service]
        while starts and starts[0] <= now - seconds:
            starts.popleft()
        if len(starts) >= requests:
            return starts[0] + seconds - now
        starts.append(now)
        return 0.0

    def _picture(self, path: str) -> Reply:
        """`pictures/<number>/<whatever size>.<extension>`: the file's own bytes, at every size."""
        number = path.split("/")[1]
        if not number.isdigit() or int(number) >= len(self.pictures):
            return Reply(b"no such picture", "text/plain", 404)
        picture = self.pictures[int(number)]
        data = (self.pictures[0] if self.faults.same_bytes else picture).path.read_bytes()
        fault = self.faults.pictures.get(picture.number)
        if fault is not None:
            return FAULTS[fault](data)
        if self.faults.flaky.get(picture.number, 0) > 0:
            self.faults.flaky[picture.number] -= 1
            return Reply(b"try again", "text/plain", 503)
        return Reply(data, picture.kind)


def _with_odd_records(service: str, answer: dict[str, Any]) -> str:
    """The answer as JSON, its list of pictures led by odd copies of the first one."""
    part: Any = answer
    for key in RECORDS[service]:
        part = part.get(key, {})
    if not part:
        return json.dumps(answer)
    first = part[0]
    part.insert(0, "@odd")
    return json.dumps(answer).replace('"@odd"', ",".join(odd_record(name, first) for name in ODD_RECORDS))


def network_to(port: int, **changes: Any) -> Network:
    """The way to a local web: its port opened, its services in the place of the real ones."""
    own = {
        "contact": "the local web",
        "loopback_ports": frozenset({port}),
        "services": {name: f"http://127.0.0.1:{port}/{name}" for name in SERVICES},
        "budgets": {"127.0.0.1": HostBudget(connections=16)},
    }
    return Network(**{**own, **changes})


def main() -> None:
    """Serve a folder until the process is ended: `python -m testing.localweb FOLDER --port 8000`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--log", type=Path, help="a file that gets a line of JSON for each request answered")
    chosen = parser.parse_args()
    with LocalWeb(chosen.folder, port=chosen.port, latency=chosen.latency) as web:
        if chosen.log is not None:
            web.record(chosen.log)
        print(f"{len(web.pictures)} pictures on {web.url}", flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    main()
