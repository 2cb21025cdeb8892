"""Several copies of one photograph together: which stays, how many stay, and whether a stranger leaves.

    uv run python -m benchmarks.groups [--flowers DIR] [--originals 400] [--seed 0] [--ours]

All photographs of the folder lie in one class folder; some of them with five copies each, by five edits that are drawn
out of fifteen. Names are drawn too, so that no original wins by its name. Ours is `clean --geometry`, planned and not
carried out; the peers are those of `benchmarks/leaving.py`.
"""

import argparse
import hashlib
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

from benchmarks.leaving import PEERS, Leaving, Result, ours, peer
from curate.image import load_pixels
from curate.lookalikes.edits import EDITS, FURTHER_EDITS, Edit
from curate.parallel import ordered_map

SAME_AS_ANOTHER = {"image_07309", "image_05733"}
"""Photographs of Oxford-102 that are another one of its photographs once more: they are left out."""

KINDS = (
    ("recompressed, quality 25",), ("halved",), ("reduced to a third",), ("re-encoded as PNG",),
    ("re-encoded as WebP",), ("grey",), ("brighter by 30%",), ("contrast stretched",),
    ("turned by EXIF", "turned by EXIF, saved anew"), ("cropped by 3% a side",), ("cropped by 8% a side",),
    ("white border of 4%",), ("caption bar over 10%", "caption bar below, 8%"), ("mirrored",), ("stretched by 20%",),
)  # fmt: skip
"""The fifteen edits by name; where one has two forms, which of them is drawn too."""

EACH = 5
ORIGINAL = "original"


@dataclass(frozen=True)
class Planted:
    """A file of the set: the photograph that it was made from, and the edit that it was made by, or "original"."""

    photograph: str
    edit: str


def plant(flowers: Path, folder: Path, originals: int, seed: int) -> dict[str, Planted]:
    """Fill the folder; tell of each file by its name what it is."""
    paths = [path for path in sorted(flowers.glob("*/*/*.jpg")) if path.stem not in SAME_AS_ANOTHER]
    rng = np.random.default_rng(seed)
    chosen = set(rng.permutation(len(paths))[:originals].tolist())
    by_name = {edit.name: edit for edit in (*EDITS, *FURTHER_EDITS)}
    work: list[tuple[Path, list[Edit]]] = []
    for at, path in enumerate(paths):
        kinds = [KINDS[number] for number in rng.permutation(len(KINDS))[:EACH]] if at in chosen else []
        work.append((path, [by_name[kind[rng.integers(len(kind))]] for kind in kinds]))

    def files(task: tuple[Path, list[Edit]]) -> list[tuple[str, Planted]]:
        path, edits = task
        written = [_write(folder, path.read_bytes(), Planted(path.stem, ORIGINAL), seed)]
        if edits:
            picture = load_pixels(path)
            written += [_write(folder, edit.make(picture), Planted(path.stem, edit.name), seed) for edit in edits]
        return written

    folder.mkdir(parents=True)
    return dict(pair for written in ordered_map(files, work) for pair in written)


def _write(folder: Path, data: bytes, planted: Planted, seed: int) -> tuple[str, Planted]:
    suffix = {"re-encoded as PNG": "png", "re-encoded as WebP": "webp"}.get(planted.edit, "jpg")
    digest = hashlib.sha256(f"{seed}/{planted.photograph}/{planted.edit}".encode()).hexdigest()
    file = folder / f"{digest[:12]}.{suffix}"
    file.write_bytes(data)
    return file.name, planted


def staying(leaving: Leaving, planted: dict[str, Planted]) -> dict[str, list[str]]:
    """For each photograph that has copies: by which edits the files were made that stay."""
    crowded = Counter(file.photograph for file in planted.values())
    stay: dict[str, list[str]] = {photograph: [] for photograph, files in crowded.items() if files > 1}
    for name, file in planted.items():
        if file.photograph in stay and name not in leaving:
            stay[file.photograph].append(file.edit)
    return stay


def strangers(leaving: Leaving, planted: dict[str, Planted]) -> list[tuple[str, str]]:
    """(name, name) of the files that leave for one of another photograph."""
    return sorted(
        (name, keeper)
        for name, keeper in leaving.items()
        if keeper not in planted or planted[name].photograph != planted[keeper].photograph
    )


def table(results: Sequence[Result], planted: dict[str, Planted]) -> None:
    groups = [staying(result.leaving[0], planted) for result in results]
    copies = Counter(file.edit for file in planted.values() if file.edit != ORIGINAL)
    print(f"{len(planted):,} files, {len(groups[0]):,} photographs with {EACH} copies each\n")
    _row("", [result.tool for result in results])
    _row("exactly one stays", [_of(sum(len(stay) == 1 for stay in group.values()), len(group)) for group in groups])
    _row("the original stays", [_of(sum(ORIGINAL in stay for stay in group.values()), len(group)) for group in groups])
    alone = [Counter(stay[0] for stay in group.values() if len(stay) == 1) for group in groups]
    _row("the original stays alone", [_of(one[ORIGINAL], len(group)) for one, group in zip(alone, groups, strict=True)])
    _row("strangers that left", [f"{len(strangers(result.leaving[0], planted)):,}" for result in results])
    _row("seconds", [f"{result.seconds:.1f}" for result in results])
    print("\nEach edit: copies that left; that stay in place of the original, alone; that stay beside another file")
    for edit, count in copies.items():
        cells = []
        for group, one in zip(groups, alone, strict=True):
            stays = sum(edit in stay for stay in group.values())
            cells.append(f"{(count - stays) / count:.3f} {one[edit]:5} {stays - one[edit]:5}")
        _row(f"{edit} ({count})", cells)


def _of(count: int, total: int) -> str:
    return f"{count} ({count / total:.1%})"


def _row(name: str, cells: Sequence[str]) -> None:
    print(f"{name:36}" + "".join(f"{cell:>20}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, default=HERE.parent.parent.parent / "shared" / "flowers")
    parser.add_argument("--originals", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "planted" / "flowers"
        planted = plant(options.flowers, folder, options.originals, options.seed)
        results: list[Result | None] = [ours([folder], "florilegium", geometry=True)]
        if not options.ours:
            results += [peer(tool, [folder]) for tool in PEERS]
        ran = [result for result in results if result]
    table(ran, planted)
    for name, keeper in strangers(ran[0].leaving[0], planted)[:20]:
        print(f"{planted[name]} left for {planted.get(keeper, keeper)}")


if __name__ == "__main__":
    main()
