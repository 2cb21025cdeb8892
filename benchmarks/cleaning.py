"""What `clean` finds of the faults planted in real photographs, what it takes wrongly, and what `restore` gives back.

uv run benchmarks/cleaning.py --flowers ../shared/flowers
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from commands.console import say, table
from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import open_dataset
from curate.quarantine import restore_files
from demo.faults import BROKEN, PLANTED, Fault, FaultKind, plant_faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--flowers", type=Path, required=True, help="a dataset with train/: it is copied, not touched")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--times", type=int, default=4, help="how many times the demo's number of faults is planted")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "data"
        copy_writable(arguments.flowers, data)
        measure(data, arguments.seed, arguments.times)


def copy_writable(flowers: Path, data: Path) -> None:
    """Copy a dataset without its catalog and quarantine, into folders that may be written though it may not."""
    shutil.copytree(flowers, data, ignore=shutil.ignore_patterns("catalog.sqlite*", "quarantine"))
    for folder in (data, *(place for place in data.rglob("*") if place.is_dir())):
        folder.chmod(0o755)


def measure(data: Path, seed: int, times: int) -> None:
    known = clean(data, dry_run=True)
    began = {decision.path for decision in known.plan.decisions}
    faults = plant_faults(data / "train", seed, {kind: times * number for kind, number in PLANTED.items()})
    planted = contents(data)
    start = time.perf_counter()
    report = clean(data, yes=True)
    seconds = time.perf_counter() - start
    reasons = {decision.path: decision.reason for decision in report.plan.decisions}
    found, explained = compare(faults, reasons)
    count = Counter(fault.kind for fault in faults)
    table(
        f"{known.scan.files:,} real photographs, {len(faults)} planted faults, seed {seed}",
        ("fault", "planted", "found", "share"),
        [(kind.value, count[kind], found[kind], f"{found[kind] / count[kind]:.1%}") for kind in FaultKind]
        + [("all", len(faults), sum(found.values()), f"{sum(found.values()) / len(faults):.1%}")],
        last_is_total=True,
    )
    wrong = sorted(reasons.keys() - explained - began)
    say(f"Leaving before anything was planted: {len(began)}. False positives: {len(wrong)} {wrong[:5]}".rstrip(" []"))
    kept = Counter(
        "the original" if f"train/{fault.path}" in reasons else "the planted copy"
        for fault in faults
        if fault.of and fault.kind not in BROKEN and fault.kind is not FaultKind.TWO_LABELS
    )
    say("Of an original and its copy stayed: " + ", ".join(f"{name} {number}" for name, number in kept.items()) + ".")
    after = Counter(contents(data).values())
    say(f"Contents lost by clean: {len(set(planted.values()) - set(after))}. Run time {seconds:.2f} s for "
        f"{report.scan.files:,} files, of which {report.scan.read:,} were read.")  # fmt: skip
    with Catalog.open(open_dataset(data).catalog_path) as catalog:
        back = restore_files(open_dataset(data), catalog)
    same = contents(data) == planted
    say(f"restore brought back {len(back.restored):,} of {report.moved:,}; every byte under its old name: {same}.")


def compare(faults: list[Fault], reasons: dict[str, str]) -> tuple[Counter[FaultKind], set[str]]:
    """Faults found for what they are, by kind, and all paths that may rightly leave.

    Of a picture and its copy exactly one has to leave, whichever; of one picture under two labels, both.
    """
    found: Counter[FaultKind] = Counter()
    explained = set()
    for fault in faults:
        of = [fault.of] if fault.of and fault.kind not in BROKEN else []
        members = [f"train/{path}" for path in (fault.path, *of)]
        wanted = ["broken"] if fault.kind in BROKEN else ["duplicate"]
        if fault.kind is FaultKind.TWO_LABELS:
            wanted = ["conflict", "conflict"]
        # A copy of a picture that was in another split all along leaks.
        seen = [reasons[member].replace("leak", "duplicate") for member in members if member in reasons]
        found[fault.kind] += seen == wanted
        explained.update(members)
    return found, explained


def contents(data: Path) -> dict[str, str]:
    """Every file's path → sha256, without the catalog and the plan."""
    ours = ("catalog.sqlite", "plan.jsonl")
    files = (file for file in data.rglob("*") if file.is_file() and not file.name.startswith(ours))
    return {file.relative_to(data).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


if __name__ == "__main__":
    main()
