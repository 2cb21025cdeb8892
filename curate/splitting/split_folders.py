"""The draw of the library split-folders, with the traps of running it closed.

The library shuffles each class folder and cuts the list by ratio. It runs here on empty stand-ins in a folder of its
own, so nothing it does with files can touch a picture or leave one behind, and its answer is read off that folder.
Left alone it would reseed the global random generator, send a class of one to test, fill a test split whose share is
0 with what rounding leaves over, and part a group that lies under two labels.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.dataset import SPLITS
from curate.splitting.assignment import Rules, Splits
from curate.splitting.picture_table import NOWHERE, PictureTable


def draw_with_split_folders(table: PictureTable, unit: NDArray[np.int32], split: Splits, rules: Rules) -> Splits:
    """Let `splitfolders.ratio` draw every unit into the splits that are not frozen.

    What has a split already is not shown to the library. Its draw depends on all that it is shown, so one picture
    more moves many. A unit under several labels is drawn with the one that most of its pictures have.

    `unit` int32[n] numbers the unit of each picture; `split` and what is returned are int8[n], as in `Splits`.
    """
    drawn = split.copy()
    drawn[unit != NOWHERE] = SPLITS.index("train")
    open_ = [number for number, share in enumerate(rules.ratio) if share > 0 and number not in rules.frozen]
    total = sum(rules.ratio[number] for number in open_)
    shares = [rules.ratio[number] / total for number in open_]
    with TemporaryDirectory(prefix="florilegium-") as folder:
        stage = Path(folder)
        _set_up(stage / "in", table, unit, shares[0])
        if len(open_) > 1 and any((stage / "in").iterdir()):
            with _library() as library:
                library.ratio(
                    stage / "in", stage / "out", seed=rules.seed, ratio=tuple(shares), group=_by_unit, move=True
                )
            for its_name, number in zip(("train", "val", "test"), open_, strict=False):
                drawn[[int(file.name.split("-")[1]) for file in (stage / "out" / its_name).glob("*/*")]] = number
    return drawn


def _set_up(stage: Path, table: PictureTable, unit: NDArray[np.int32], train_share: float) -> None:
    """Make an empty file `<label>/<unit>-<position>` for each picture, but for labels that would leave train empty."""
    stage.mkdir()
    labels_of: dict[int, Counter[int]] = defaultdict(Counter)
    for position in np.flatnonzero(unit != NOWHERE).tolist():
        labels_of[int(unit[position])][int(table.label[position])] += 1
    label_of = {number: min(labels, key=lambda at: (-labels[at], at)) for number, labels in labels_of.items()}
    units_under = Counter(label_of.values())
    for label, count in units_under.items():
        if int(train_share * count):
            (stage / str(label)).mkdir()
    for position in np.flatnonzero(unit != NOWHERE).tolist():
        folder = stage / str(label_of[int(unit[position])])
        if folder.is_dir():
            (folder / f"{int(unit[position]):010d}-{position}").touch()


def _by_unit(files: list[Path]) -> list[tuple[Path, ...]]:
    """What split-folders calls with the files of one class: one tuple for each unit."""
    units: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(files):
        units[file.name.split("-")[0]].append(file)
    return [tuple(members) for members in units.values()]


@contextmanager
def _library() -> Iterator[Any]:
    """The library without its progress bar, and Python's global random generator as it was afterwards."""
    library: Any = import_module("splitfolders.split")
    state, bar = random.getstate(), library.use_tqdm
    library.use_tqdm = False
    try:
        yield library
    finally:
        random.setstate(state)
        library.use_tqdm = bar
