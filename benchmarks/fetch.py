"""Fetches 2,000 pictures from the local web: ours, img2dataset and icrawler, each in an environment of its own.

    uv run benchmarks/fetch.py [--pictures N] [--latency S] [--connections 32,64,128] [--repeat N] [--server NAME]

The server stands in a process of its own, answers each request after 30 ms, and its log decides: the rate is that of
the pictures between the first request and the last answer, so no one's start-up counts. It shares the processors with
who asks, as no server of the web does: the local web, in Python, takes as long for a picture as we do and so bounds
all contenders; nginx (Debian's `nginx-light` and `libnginx-mod-http-echo`) takes a tenth of that, and is taken where
it is installed. CPU is user and system time of
all processes of a contender, memory the largest sum of their proportional set sizes (Linux). Each contender runs with
every number of connections in turn, all write the files as they come, undecoded; its best run counts. Ours checks
addresses, content type, first bytes and length, asks for robots.txt and computes SHA-256, as img2dataset does the last
of these. No run's files are deleted before the end: looking for a new inode, ext4 passes over every one that was freed
in the last minutes, which made up half of the processor time of whoever came next. A second table shows ours inside a
host budget.

`--only florilegium,pool,pool_anyio` compares our transport with httpcore2's pool, over our streams and over its own.
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.web.network import Network

ROOT = Path(__file__).resolve().parent.parent
OURS = ("httpx2[http2]==2.16.2", "httptools==0.9.0")
PACKAGES = {
    "florilegium": OURS,
    "pool": OURS,
    "pool_anyio": OURS,
    "img2dataset": ("img2dataset",),
    "icrawler": ("icrawler",),
}


def fetch_florilegium(urls: Path, out: Path, connections: int, budget: str) -> None:
    """Ours: over so many connections, or as many as the budget allows."""
    fetch_ours(urls, out, connections, budget)


def fetch_pool(urls: Path, out: Path, connections: int, budget: str) -> None:
    """Ours over httpcore2's pool in the place of our transport; each connection still goes to a checked address."""
    fetch_ours(urls, out, connections, budget, pooled=True)


def fetch_pool_anyio(urls: Path, out: Path, connections: int, budget: str) -> None:
    """The same over the pool's own streams in the place of ours."""
    sys.path.insert(0, str(ROOT))
    import httpcore2

    import curate.web.network

    stock = httpcore2.AnyIOBackend()
    vars(curate.web.network)["connect"] = stock.connect_tcp
    fetch_ours(urls, out, connections, budget, pooled=True)


def fetch_ours(urls: Path, out: Path, connections: int, budget: str, *, pooled: bool = False) -> None:
    sys.path.insert(0, str(ROOT))
    from curate.web.fetch import Fetcher
    from curate.web.hosts import HostBudget
    from curate.web.network import Network

    addresses = iter(list(enumerate(urls.read_text().splitlines())))
    port = int(urls.read_text().split("/")[2].split(":")[1])
    at_once, _, per_minute = budget.partition("/")
    allowed = HostBudget(int(at_once or connections), float(per_minute) if per_minute else None)
    network = Network(loopback_ports=frozenset({port}), connections=connections, budgets={"127.0.0.1": allowed})

    async def work() -> None:
        async with Fetcher(network) as fetcher:
            if pooled:
                fetcher.client._transport = pool_transport(network)

            async def worker() -> None:
                for number, url in addresses:
                    await fetcher.fetch(url, out, str(number))

            # A picture on its way to the disk holds no connection, so more may be under way than there are connections
            await asyncio.gather(*(worker() for _ in range(2 * connections)))

    asyncio.run(work())


def pool_transport(network: "Network") -> Any:
    import httpcore2
    import httpx2

    from curate.web.network import Body, Response, open_stream

    class Backend(httpcore2.AsyncNetworkBackend):
        async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
            return await open_stream(network, host, port)

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

    class Pooled(httpcore2.AsyncConnectionPool):
        async def send(self, url: httpx2.URL, request: httpcore2.Request) -> Response:
            answer = await self.handle_async_request(request)
            return Response(url, answer, Body(answer.stream, self.nothing))

        async def nothing(self, _whole: bool) -> None:
            """The pool sees by itself when a connection is free again."""

    return Pooled(
        ssl_context=httpcore2.default_ssl_context(),
        max_connections=network.connections,
        max_keepalive_connections=network.connections,
        keepalive_expiry=30.0,
        http2=True,
        network_backend=Backend(),
    )


def fetch_img2dataset(urls: Path, out: Path, connections: int, _: str) -> None:
    """Two processes on two cores share the threads; nothing is resized or encoded again."""
    from img2dataset import download  # type: ignore[import-not-found]

    processes = os.cpu_count() or 1
    count = len(urls.read_text().splitlines())
    download(
        url_list=str(urls),
        output_folder=str(out),
        output_format="files",
        processes_count=processes,
        thread_count=max(1, connections // processes),
        number_sample_per_shard=-(-count // processes),
        resize_mode="no",
        disable_all_reencoding=True,
        extract_exif=False,
    )


def fetch_icrawler(urls: Path, out: Path, connections: int, _: str) -> None:
    """Its crawler for lists of URLs."""
    import logging

    from icrawler.builtin import UrlListCrawler  # type: ignore[import-not-found]

    count = len(urls.read_text().splitlines())
    crawler = UrlListCrawler(downloader_threads=connections, storage={"root_dir": str(out)}, log_level=logging.CRITICAL)
    crawler.crawl(str(urls), max_num=count + 1)


CONTENDERS = {
    "florilegium": fetch_florilegium,
    "pool": fetch_pool,
    "pool_anyio": fetch_pool_anyio,
    "img2dataset": fetch_img2dataset,
    "icrawler": fetch_icrawler,
}


@dataclass(frozen=True)
class Run:
    """One contender's run: pictures per second, CPU seconds, peak MiB, and the most requests the server saw at once."""

    name: str
    connections: int
    rate: float
    whole: float
    cpu: float
    memory: float
    at_once: int
    fetched: int


def contend(name: str, urls: Path, out: Path, connections: int, budget: str) -> None:
    """What runs in the environment of its own: fetch, then say how much processor it took."""
    CONTENDERS[name](urls, out, connections, budget)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"cpu": sum(usage.ru_utime + usage.ru_stime for usage in used)}))


def measure(name: str, urls: Path, stats: Path, connections: int, budget: str = "") -> Run:
    """Run one contender and read the server's log of it."""
    folder = tempfile.mkdtemp(dir=stats.parent)  # not deleted before the end: see above
    command = ["uv", "run", "--quiet", "--isolated", "--no-project", "--python", "3.11"]
    command += [part for package in PACKAGES[name] for part in ("--with", package)]
    command += ["python", str(Path(__file__)), "--contender", name, "--urls", str(urls), "--out", folder]
    command += ["--connections", str(connections), "--budget", budget]
    stats.write_text("")
    begun = time.monotonic()
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONPATH": ""}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    peaks = [0.0]
    watcher = threading.Thread(target=_watch, args=(process, peaks))
    watcher.start()
    output, errors = process.communicate(timeout=600)
    whole = time.monotonic() - begun
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{name} failed: {errors[-2000:]}")
    said: dict[str, Any] = json.loads(output.splitlines()[-1])
    visits = [json.loads(line) for line in stats.read_text().splitlines()]
    fetched = len({visit["path"] for visit in visits if visit["status"] == 200 and "/pictures/" in visit["path"]})
    files = sum(1 for path in Path(folder).rglob("*.jpg"))
    if min(fetched, files) < len(urls.read_text().splitlines()):
        raise RuntimeError(f"{name} fetched {fetched} and kept {files} pictures")
    for visit in visits:
        visit.setdefault("started", visit["finished"] - visit.get("took", 0.0))  # nginx says how long it took
    seconds = max(visit["finished"] for visit in visits) - min(visit["started"] for visit in visits)
    edges = sorted([(v["started"], 1) for v in visits] + [(v["finished"], -1) for v in visits])
    at_once, now = 0, 0
    for _, step in edges:
        now += step
        at_once = max(at_once, now)
    return Run(name, connections, fetched / seconds, whole, said["cpu"], max(peaks), at_once, fetched)


def _watch(process: "subprocess.Popen[str]", peaks: list[float]) -> None:
    """The largest sum of proportional set sizes of all processes below uv, in MiB."""
    while process.poll() is None:
        peaks.append(sum(_proportional(pid) for pid in _below(process.pid)) / 1024)
        time.sleep(0.02)


def _below(pid: int) -> list[int]:
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_below(int(child))]
    except OSError:
        pass
    return found


def _proportional(pid: int) -> int:
    """KiB; pages that forked processes share count once."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


@contextmanager
def local_web(folder: Path, latency: float, stats: Path) -> Iterator[str]:
    """The server in a process of its own; its base URL."""
    command = [sys.executable, "-m", "testing.localweb", str(folder), "--latency", str(latency), "--log", str(stats)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def nginx(folder: Path, latency: float, stats: Path) -> Iterator[str]:
    """One process of nginx over the same folder, as quick an answer as there is; its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = stats.parent / "nginx.conf"
    configuration.write_text(NGINX.format(port=port, folder=folder, latency=latency, stats=stats, place=stats.parent))
    process = subprocess.Popen(["nginx", "-c", str(configuration)])
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


NGINX = """\
daemon off; master_process off; pid {place}/nginx.pid; error_log {place}/nginx.errors;
include /etc/nginx/modules-enabled/*.conf;
events {{ worker_connections 4096; }}
http {{
    log_format visit '{{"path": "$request_uri", "status": $status, "finished": $msec, "took": $request_time}}';
    access_log {stats} visit;
    sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type image/jpeg;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location /pictures/ {{ echo_sleep {latency}; echo_exec /flower$uri; }}
        location /flower/pictures/ {{ internal; alias {folder}/flower/; }}
        location / {{ return 404; }}
    }}
}}
"""


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


SERVERS = {
    "localweb": (local_web, "/openverse/pictures/{}/original.jpg"),
    "nginx": (nginx, "/pictures/{:05d}.jpg"),
}
"""Each server, and what it calls a picture of a number."""


def plant(folder: Path, count: int) -> None:
    """Real photographs where they are at hand, drawn pictures where not, under as many names as are wanted."""
    flowers = Path(os.environ.get("FLORILEGIUM_FLOWERS", ROOT.parent / "shared" / "flowers"))
    photographs = sorted(flowers.glob("train/*/*.jpg"))
    target = folder / "flower"
    target.mkdir(parents=True)
    if not photographs:
        from tests.pictures import draw

        for seed in range(200):
            (folder / f"{seed}.jpg").write_bytes(draw(seed, (500, 400), quality=92))
        photographs = sorted(folder.glob("*.jpg"))
    for number in range(count):
        (target / f"{number:05d}.jpg").write_bytes(photographs[number % len(photographs)].read_bytes())


def table(runs: list[Run]) -> None:
    print(f"{'':14}{'connections':>12}{'pictures/s':>12}{'CPU s':>9}{'peak MiB':>10}{'at once':>9}{'whole s':>9}")
    for run in runs:
        print(
            f"{run.name:14}{run.connections:12}{run.rate:12.0f}{run.cpu:9.2f}{run.memory:10.0f}{run.at_once:9}"
            f"{run.whole:9.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--latency", type=float, default=0.03)
    parser.add_argument("--connections", default="32,64,128")
    parser.add_argument("--repeat", type=int, default=3)
    known = "nginx" if shutil.which("nginx") else "localweb"
    parser.add_argument("--server", choices=sorted(SERVERS), default=known)
    parser.add_argument("--only", default="florilegium,img2dataset,icrawler")
    for hidden in ("--contender", "--budget"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    for hidden in ("--urls", "--out"):
        parser.add_argument(hidden, type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.contender:
        contend(chosen.contender, chosen.urls, chosen.out, int(chosen.connections), chosen.budget)
        return
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory(prefix="fetch-garden-") as scratch:
        plant(Path(scratch) / "garden", chosen.pictures)
        urls, stats = Path(scratch) / "urls.txt", Path(scratch) / "log.jsonl"
        serve, place = SERVERS[chosen.server]
        with serve(Path(scratch) / "garden", chosen.latency, stats) as base:
            lines = [f"{base}{place.format(number)}" for number in range(chosen.pictures)]
            urls.write_text("\n".join(lines) + "\n")
            compare(urls, stats, chosen)


def compare(urls: Path, stats: Path, chosen: argparse.Namespace) -> None:
    settings = [int(part) for part in chosen.connections.split(",")]
    runs: list[Run] = []
    for _ in range(chosen.repeat):
        for connections in settings:
            runs += [measure(name, urls, stats, connections) for name in chosen.only.split(",")]
    best = {name: max((r for r in runs if r.name == name), key=lambda r: r.rate) for name in chosen.only.split(",")}
    print(f"{chosen.pictures} pictures, {chosen.latency * 1000:g} ms latency by {chosen.server}, best of "
          f"{len(settings)} settings × {chosen.repeat} runs each\n")  # fmt: skip
    table(list(best.values()))
    ours = best.get("florilegium")
    peers = [run for name, run in best.items() if name != "florilegium"]
    if ours and peers:
        peer = max(peers, key=lambda run: run.rate)
        print(f"\n{ours.rate / peer.rate:.2f} times the faster peer ({peer.name}), "
              f"{ours.memory / peer.memory:.2f} of its memory")  # fmt: skip
        print("\nInside a budget of 4 connections, and of 4 connections and 6,000 requests a minute:\n")
        table([measure("florilegium", urls, stats, 32, budget) for budget in ("4", "4/6000")])


if __name__ == "__main__":
    main()
