"""The review page's server with fifty thousand open questions: first screen, scrolling, decisions, memory.

    uv run python -m benchmarks.review [--questions 50000] [--folder PATH]

The dataset is synthetic: hard links to 200 drawn pictures, and a catalog that knows each as a content of its own. Half
of the questions are copies beside the picture that stays, a tenth lies under two labels, a fifth is blurred, and of a
fifth the audit says that it is mislabelled. The server is a process of its own, as `cli.py review` starts it; times
are those of a client on loopback with six connections, as a browser has them. A first screen is what it takes to show
one: the page, the state, the order of all questions, the first 200 in full, and thumbnails of 60, drawn for the first
time. The processor is shared with whatever else runs: the load is printed too.
"""

import argparse
import hashlib
import http.client
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

from benchmarks.drawn import scene
from curate.catalog import Catalog, Picture
from curate.catalog.own_facts import forget_foreign
from curate.catalog.pictures import Stamp
from curate.cleaning.audit_scores import AuditedPicture, write_scores
from curate.cleaning.plan import write_plan
from curate.dataset import open_dataset
from curate.lookalikes.edits import encode
from curate.lookalikes.fingerprint import VARIANTS
from curate.lookalikes.method import facts_method
from curate.quality import CHECKS
from curate.quarantine import Decision
from tests.reviewing import Served

CLASSES = 100
DRAWN = 200
CONNECTIONS = 6
THUMBNAILS = 60
OWN = 500
"""Of the first pictures, and of those that stay, so many are files of their own: only of these a thumbnail is kept."""
DECISIONS = 300
BLURRED = next(at for at, check in enumerate(CHECKS) if check.flag == "blurred")


def make(root: Path, questions: int) -> int:
    """The dataset, its catalog, a plan and an audit; how many pictures there are."""
    import numpy as np

    copies, disputed, blurred, wrong = (round(questions * share) for share in (0.5, 0.1, 0.2, 0.2))
    pictures = questions + copies // 2
    rng = np.random.default_rng(0)
    drawn = root.parent / "drawn"
    drawn.mkdir()
    for number in range(DRAWN):
        (drawn / f"{number}.jpg").write_bytes(encode(scene(rng), quality=88))
    paths, digests = list[tuple[str, str]](), list[str]()
    for number in range(pictures):
        label = f"class {number % CLASSES:02}"
        (root / "raw" / label).mkdir(parents=True, exist_ok=True)
        path = f"raw/{label}/{number:06}.jpg"
        if number < OWN or questions <= number < questions + OWN:
            content = (drawn / f"{number % DRAWN}.jpg").read_bytes() + str(number).encode()
            (root / path).write_bytes(content)
            digests.append(hashlib.sha256(content).hexdigest())
        else:
            os.link(drawn / f"{number % DRAWN}.jpg", root / path)
            digests.append(hashlib.sha256(path.encode()).hexdigest())
        paths.append((path, label))
    whole = (1.0,) * len(CHECKS)
    poor = tuple(0.05 if at == BLURRED else 1.0 for at in range(len(CHECKS)))
    first_blurred = copies + disputed

    def rows() -> Iterator[Picture]:
        hashes = rng.integers(0, 1 << 63, pictures, dtype=np.uint64).tolist()
        for number, ((path, label), digest) in enumerate(zip(paths, digests, strict=True)):
            scores = poor if first_blurred <= number < first_blurred + blurred else whole
            yield Picture(
                path=path, folder=f"raw/{label}", label=label, split="", size=0, mtime_ns=0, sha256=digest,
                format="JPEG", width=480, height=360, phash=hashes[number], broken="", state="present",
                fingerprint=bytes(8 * len(VARIANTS)), scores=scores,
            )  # fmt: skip

    def lines() -> Iterator[Decision]:
        for number in range(copies):
            keeper = paths[questions + number // 2 % (pictures - questions)][0]
            detail = f"the same picture as {keeper} (pHash 3 of 64 bits apart); that one stays: it is less compressed"
            yield Decision(paths[number][0], digests[number], "duplicate", detail, keeper, 3, "copy")
        for number in range(copies, copies + disputed):
            detail = "one picture under the labels “class 01” and “class 02”"
            yield Decision(paths[number][0], digests[number], "conflict", detail, "", 2, "copy")

    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        forget_foreign(catalog, facts_method())
        with catalog.transaction():
            catalog.put(rows())
            catalog.stamp((path, Stamp.of((root / path).stat())) for path, _ in paths)
        first_wrong = first_blurred + blurred
        write_scores(
            dataset.home / "audit.jsonl",
            (
                AuditedPicture(
                    path,
                    label,
                    0.1,
                    0.9,
                    "class 00" if label != "class 00" else "class 01",
                    0.2,
                    0.1,
                    0.1,
                    (paths[0][0],),
                    digest,
                )
                for (path, label), digest in list(zip(paths, digests, strict=True))[first_wrong : first_wrong + wrong]
            ),
            catalog,
        )
        write_plan(dataset.home / "plan.jsonl", list(lines()), catalog)
    return pictures


class Client:
    """One connection that stays open."""

    def __init__(self, served: Served) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=120)
        self.headers = {"authorization": f"Bearer {served.token}"}

    def ask(self, path: str, value: object = None) -> bytes:
        body = None if value is None else json.dumps(value).encode()
        headers = {**self.headers, "content-type": "application/json"} if body else self.headers
        self.connection.request("POST" if body else "GET", path, body, headers)
        answer = self.connection.getresponse()
        found = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {found[:200]!r}")
        return found

    def json(self, path: str, value: object = None) -> Any:
        return json.loads(self.ask(path, value))


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


def first_screen(clients: list[Client], queue: str) -> None:
    clients[0].ask("/static/base.css")
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        state = pool.submit(clients[0].ask, "/api/state")
        order = pool.submit(clients[1].json, f"/api/ids/{queue}?state=open")
        ids = order.result()["ids"]
        items = clients[2].json(f"/api/items?queue={queue}&ids={','.join(ids[:200])}")["items"]
        state.result()
        shown = [item["id"] for item in items[:THUMBNAILS]]
        list(
            pool.map(
                lambda place: [clients[place].ask(f"/thumb/{one}?size=160") for one in shown[place::CONNECTIONS]],
                range(CONNECTIONS),
            )
        )


def memory(served: Served, name: str) -> float:
    """Of the server, in MB: VmRSS for what it holds now, VmHWM for the most that it held."""
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


def measure(served: Served, say: Callable[[str, str], None]) -> None:
    clients = [Client(served) for _ in range(CONNECTIONS)]
    say("memory once it answers, MB", f"{memory(served, 'VmRSS'):,.0f}")
    for queue in ("proposals", "duplicate"):
        cold, warm = (timed(partial(first_screen, clients, queue)) for _ in range(2))
        say(f"first screen of “{queue}”, thumbnails to be drawn / kept, ms", f"{cold:,.0f} / {warm:,.0f}")
    one = clients[0]
    total = one.json("/api/queue/proposals?limit=1")["total"]
    say("open questions", f"{total:,}")
    places = [round(at * (total - 200) / 39) for at in range(40)]
    scrolled = [timed(partial(one.ask, f"/api/queue/proposals?offset={at}&limit=200")) for at in places]
    say("200 more while scrolling, median / most, ms", f"{statistics.median(scrolled):,.0f} / {max(scrolled):,.0f}")
    items = one.json("/api/queue/duplicate?limit=500")["items"]
    asked = [item for item in items if item["reason"]][:DECISIONS]
    answers = []
    for item in asked:
        value = {"ids": [item["id"]], "action": "keep", "queue": "duplicate", "seen": {}}
        answers.append(timed(partial(one.ask, "/api/decide", value)))
    answers.sort()
    say(
        f"a decision, median / 99% / most of {len(answers)}, ms",
        f"{statistics.median(answers):.1f} / {answers[round(0.99 * (len(answers) - 1))]:.1f} / {answers[-1]:.1f}",
    )
    counted = [timed(lambda: one.ask("/api/state")) for _ in range(20)]
    say("the state after a decision, median, ms", f"{statistics.median(counted):.1f}")
    ids = one.json("/api/ids/mislabelled?state=open")["ids"]
    batch: dict[str, Any] = {}

    def accept() -> None:
        batch.update(one.json("/api/decide", {"ids": ids, "action": "accept", "queue": "mislabelled", "seen": {}}))

    say(f"“accept all shown” of {len(ids):,}, s", f"{timed(accept) / 1000:.2f}")
    say("its undo, s", f"{timed(lambda: one.ask('/api/undo', {'batch': batch['batch']})) / 1000:.2f}")
    say("memory at the end / at most, MB", f"{memory(served, 'VmRSS'):,.0f} / {memory(served, 'VmHWM'):,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, help="where to make the dataset; on the disk that matters")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        root = Path(folder) / "data"
        pictures = make(root, args.questions)
        print(f"{pictures:,} pictures; {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start.\n")
        print("| | |\n|:---|---:|", flush=True)

        def say(what: str, figure: str) -> None:
            print(f"| {what} | {figure} |", flush=True)

        begun = time.perf_counter()
        served = Served.start(root)
        try:
            say("from the command to its address, s", f"{time.perf_counter() - begun:.1f}")
            measure(served, say)
        finally:
            served.stop()
        print(f"\nLoad at the end: {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
