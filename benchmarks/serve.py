"""`serve` under load, against a plain FastAPI handler with torchvision's transforms and the same network.

    uv run benchmarks/serve.py --checkpoint models/model_88.37.pth --flowers ../shared/flowers

Both servers run all the time and are asked in turn by a second process, at 1, 8 and 32 clients, so that what else the
machine does befalls both. Processor time an answer is the servers' own, whatever else is at work. FastAPI comes from a
folder of its own, which is thrown away. Of its two handlers, in threads and in the event loop, the faster is the peer.
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from commands.console import say, table

REPOSITORY = Path(__file__).resolve().parent.parent
CLIENTS = (1, 8, 32)


@contextmanager
def started(command: list[str], environment: dict[str, str], url: str = "") -> Iterator[tuple[str, int]]:
    """A server at work: the URL that it prints or that is known, and its process; it is ended afterwards."""
    with subprocess.Popen(
        command, cwd=REPOSITORY, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            while not url:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line, "the server ended at once"
                found = re.search(r"http://\S+/", line)
                url = found[0] if found else ""
            wait_for(f"{url}healthz")
            yield url, process.pid
        finally:
            process.terminate()


def wait_for(url: str) -> None:
    """Return as soon as the server answers."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(url)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def processor_seconds(pid: int) -> float:
    """What a process has taken of the processors so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def loaded(url: str, pid: int, flowers: Path, clients: int, seconds: float) -> dict[str, float]:
    """One measurement, from a process of its own."""
    before = processor_seconds(pid)
    command = [sys.executable, str(REPOSITORY / "benchmarks/load.py"), url, str(flowers), str(clients), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    figures["processor"] = 1000 * (processor_seconds(pid) - before) / figures["all"]
    return figures


def middle(figures: list[dict[str, float]], key: str) -> float:
    return statistics.median(one[key] for one in figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--flowers", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    options = parser.parse_args()
    checkpoint = str(options.checkpoint.resolve())
    ours = [sys.executable, "cli.py", "serve", "--checkpoint", checkpoint, "--no-token", "--no-open"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["uv", "pip", "install", "--quiet", "--python", sys.executable, "--target", folder, "fastapi[standard]"],
            check=True,
        )
        port = free_port()
        theirs = [sys.executable, "benchmarks/peers/fastapi_serve.py", checkpoint, str(port)]
        with (
            started(ours, {}) as (our_url, us),
            started(theirs, {"PYTHONPATH": folder}, f"http://127.0.0.1:{port}/") as (their_url, them),
        ):
            asked = {
                "ours": (f"{our_url}api/predict", us), "FastAPI, in threads": (f"{their_url}threads", them),
                "FastAPI, in its loop": (f"{their_url}loop", them),
            }  # fmt: skip
            found: dict[tuple[str, int], list[dict[str, float]]] = {}
            for _ in range(options.rounds):
                for clients in options.clients:
                    for name, (url, pid) in asked.items():
                        figures = loaded(url, pid, options.flowers, clients, options.seconds)
                        found.setdefault((name, clients), []).append(figures)
    rows = []
    for clients in options.clients:
        peer = max((name for name in asked if name != "ours"), key=lambda name: middle(found[name, clients], "rate"))
        for name in asked:
            runs = found[name, clients]
            ratio = middle(found["ours", clients], "rate") / middle(runs, "rate")
            told = "" if name == "ours" else f"{ratio:.1f} ×{' (peer)' if name == peer else ''}"
            rows.append((
                name, clients, f"{middle(runs, 'rate'):.1f}", f"{middle(runs, 'p50'):.0f}",
                f"{middle(runs, 'p99'):.0f}", f"{middle(runs, 'processor'):.1f}",
                int(sum(one["errors"] for one in runs)), told,
            ))  # fmt: skip
    table(
        "Answers", ("server", "clients", "a second", "p50 ms", "p99 ms", "processor ms each", "errors", "ours is"), rows
    )
    say(f"Load of the machine in the last minutes: {', '.join(f'{one:.1f}' for one in os.getloadavg())}.")


if __name__ == "__main__":
    main()
