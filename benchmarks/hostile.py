"""What a stranger may hand us, kind by kind: how many were tried, and how many led to harm.

    uv run benchmarks/hostile.py

Each thing tried is one test: it is refused in a sentence, or passed over, and nothing outside is read, moved, written
or asked for, no memory is exhausted, and nothing hangs. A test that fails is something that escaped.
"""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from commands.console import say, table

REPOSITORY = Path(__file__).resolve().parent.parent

KINDS = {
    "catalogs": ("test_strangers_catalog.py", "test_scrape_ours.py", "test_catalog_read_only.py"),
    "plans": ("test_plan.py",),
    "feature banks": ("test_hostile_bank.py",),
    "checkpoints and weights": ("test_hostile_checkpoint.py",),
    "archives": ("test_unpack.py", "test_download.py"),
    "answers of services and servers": ("test_odd_records.py", "test_hostile.py", "test_robots.py"),
    "names, titles, paths": ("test_printable.py", "test_console.py", "test_shell.py", "test_export.py"),
    "pipes, devices, links, sizes": ("test_files.py", "test_no_plain_files.py", "test_lock.py"),
    "numbers and seeds": ("test_absurd_numbers.py",),
    "pictures": ("test_decoder_fuzz.py", "test_image.py"),
    "requests to a page": ("test_guard.py", "test_serve.py"),
}
"""FaultKind → the tests that try it."""


@dataclass(frozen=True)
class Tried:
    """How many were tried, how many could not be here, and the names of those that led to harm."""

    count: int
    skipped: int
    escaped: list[str]


def main() -> None:
    results = {kind: _try(files) for kind, files in KINDS.items()}
    rows = [(kind, one.count, one.skipped, len(one.escaped)) for kind, one in results.items()]
    total = ("all", *(sum(int(row[column]) for row in rows) for column in (1, 2, 3)))
    table("From strangers", ("kind", "tried", "not to be tried here", "escaped"), [*rows, total], last_is_total=True)
    for kind, one in results.items():
        for name in one.escaped:
            say(f"{kind}: {name}")


def _try(files: tuple[str, ...]) -> Tried:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        paths = [str(REPOSITORY / "tests" / file) for file in files]
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-m",
            "not slow",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            *paths,
        ]
        subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    skipped = sum(case.find("skipped") is not None for case in cases)
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    return Tried(len(cases) - skipped, skipped, [f"{case.get('classname')}::{case.get('name')}" for case in failed])


if __name__ == "__main__":
    main()
