"""The pictures that the arms of an ablation choose from: those of train, and those that cleaning has set aside."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.dataset import Dataset
from curate.names import composed
from curate.removals import SetAside
from train.pictures import LabelledPicture


@dataclass(frozen=True, eq=False)
class LearningPool:
    """`pictures` with, for each, its path relative to the dataset, its class index, and why it was set aside: "" for
    those that train has now. `belongs` is the content with which a picture that was set aside belongs: that of the copy
    that stayed, "" where none did. `sha256` is known once their features are.
    """

    pictures: list[LabelledPicture]
    paths: list[str]
    targets: NDArray[np.int64]
    aside: list[str]
    belongs: list[str]
    sha256: list[str]

    @property
    def present(self) -> NDArray[np.int64]:
        """The positions of what train has now."""
        return np.flatnonzero(np.array([not reason for reason in self.aside], dtype=bool))

    def having_features(self, kept: Sequence[int], sha256: Sequence[str]) -> "LearningPool":
        """Those that gave features, by their positions, with the content that was read."""
        return LearningPool(
            [self.pictures[at] for at in kept],
            [self.paths[at] for at in kept],
            self.targets[list(kept)],
            [self.aside[at] for at in kept],
            [self.belongs[at] for at in kept],
            list(sha256),
        )


def learning_pool(
    dataset: Dataset, train: Sequence[LabelledPicture], set_aside: Sequence[SetAside], labels: Sequence[str]
) -> tuple[LearningPool, list[str]]:
    """Train as it is now, then what was set aside and would lie in train today, and sentences on what would not.

    Back goes what lay in train, and what lay in no split and is no copy of a held-out picture: a split would have drawn
    that with its copy into valid or test. Files that give no pixels stay out, and those of classes that train lacks.
    """
    index = {composed(label): number for number, label in enumerate(labels)}
    back, out = list[SetAside](), Counter[str]()
    for one in set_aside:
        if one.reason == "broken":
            continue
        if one.split not in (None, "train"):
            out["lay in valid or test"] += 1
        elif one.held_out:
            out["would have been drawn into valid or test with their copies, as far as is known"] += 1
        elif composed(one.label) not in index:
            out["are of classes that train lacks"] += 1
        else:
            back.append(one)
    pictures = [*train, *(LabelledPicture(one.file, one.label, one.sha256 or None) for one in back)]
    pool = LearningPool(
        pictures,
        [one.path.relative_to(dataset.root).as_posix() for one in train] + [one.path for one in back],
        np.array([index[composed(one.label)] for one in pictures], dtype=np.int64),
        [""] * len(train) + [one.reason for one in back],
        [""] * len(train) + [one.kept for one in back],
        [],
    )
    return pool, [
        f"{count:,} pictures that were set aside {why}: no arm learns from them." for why, count in out.items()
    ]
