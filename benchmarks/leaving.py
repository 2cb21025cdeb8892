"""Which files each tool would have leave a folder, and for which that stays: ours by `clean`, peers by their own way.

A peer that does not choose keeps the first name of what it calls one picture.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import run
from curate.clean import clean
from curate.defaults import DEFAULT_RADIUS

HERE = Path(__file__).resolve().parent
PEERS = {
    "imagededup": (["imagededup==0.3.3.post2"], ""),
    "cleanvision": (["cleanvision==0.3.7"], ""),
    "imgcheck": (["imgcheck==0.2.1"], ""),
    "immaculate": (["immaculate[sscd]==0.3.0"], "3.12"),
}
"""Tool → its packages, and the Python that it needs. The last one is a neural copy detector, SSCD, whose weights it
brings along; its licence allows to install and run it.
"""

Leaving = dict[str, str]
"""Name of a file that leaves → name of the one that stays."""


@dataclass(frozen=True)
class Result:
    """By one tool: what leaves each folder, in the order that they were given in, and the seconds that all took."""

    tool: str
    leaving: list[Leaving]
    seconds: float


def ours(folders: Sequence[Path], name: str, *, radius: int = DEFAULT_RADIUS, geometry: bool = False) -> Result:
    """Plan `clean` for each folder, which is the one class folder of a dataset, and carry nothing out."""
    began = time.monotonic()
    leaving = []
    for folder in folders:
        plan = clean(folder.parent, dry_run=True, radius=radius, geometry=geometry).plan
        leaving.append({Path(decision.path).name: Path(decision.keeper).name for decision in plan.decisions})
    return Result(name, leaving, time.monotonic() - began)


def peer(tool: str, folders: Sequence[Path]) -> Result | None:
    """Run a peer in an environment of its own; None where that cannot be made, or where it fails."""
    packages, python = PEERS[tool]
    try:
        script, words = HERE / "peers" / "leaving_as_json.py", [tool, *map(str, folders)]
        answer = run(script, words, packages, python)
    except RuntimeError as error:
        print(f"{tool} did not run: {str(error).strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return Result(tool, [answer["leaving"][str(folder)] for folder in folders], answer["seconds"])
