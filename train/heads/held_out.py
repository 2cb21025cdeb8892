"""Whether several views of a picture answer better than its clean one: heads that never saw the picture are asked."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from train.optimising.layers import Head
from train.predict import mean_probabilities

MOST_ASKED: Final = 1_000
"""Held-out pictures that are looked at again: they tell half a point apart, in the time that their views take."""


@dataclass(frozen=True)
class ViewsGain:
    """What answers that are the mean of `views` views gain over those from the clean view, on the same pictures.

    `gain` is in the weighted share right, 0 to 1, and `error` its standard error where there is no difference:
    answers that both have right or both have wrong say nothing, and the others fall to either side by chance
    (Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12, 1947).
    """

    views: int
    gain: float
    error: float
    pictures: int

    @property
    def pays(self) -> bool:
        """Whether the gain is greater than its standard error: more views cost time, which luck is not worth.

        By that error a single picture never pays, whatever it weighs: its gain and its error are one number.
        """
        return self.gain > self.error

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, in plain types."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class HeldOutHeads:
    """The head that was chosen, fitted once without each fold: who asks about a picture asks the one without it."""

    heads: Mapping[int, Head]  # by fold: features (M, dim) → logits (M, classes)
    fold: NDArray[np.int64]  # (N,) of each picture; a negative one was never held out
    targets: NDArray[np.int64]  # (N,) class indices
    balance: float  # a picture weighs one part in n**balance, n being the pictures of its class

    def drawn(self, seed: int, most: int = MOST_ASKED) -> NDArray[np.int64]:
        """Places of at most so many held-out pictures, ascending: of each class as many, as far as it has them."""
        held = np.random.default_rng(seed).permutation(np.flatnonzero(self.fold >= 0))
        by_class = held[np.argsort(self.targets[held], kind="stable")]
        counts = np.bincount(self.targets[by_class])
        turn = np.arange(len(by_class)) - np.repeat(np.cumsum(counts) - counts, counts)
        # Of the last turn that not all classes have a part in, the seed says which have
        order = np.lexsort((np.random.default_rng(seed + 1).random(len(by_class)), turn))
        return np.sort(by_class[order[:most]])

    def gain(self, drawn: NDArray[np.int64], features: torch.Tensor) -> ViewsGain:
        """What the views in features (m, K, dim) of the pictures at `drawn` (m,) gain over the first, the clean one."""
        difference = np.zeros(len(drawn), np.int64)
        for fold, head in self.heads.items():
            at = np.flatnonzero(self.fold[drawn] == fold)
            if not len(at):
                continue
            own, truth = features[torch.from_numpy(at)], self.targets[drawn[at]]
            together, clean = (mean_probabilities(head, views).argmax(axis=1) == truth for views in (own, own[:, :1]))
            difference[at] = together.astype(np.int64) - clean.astype(np.int64)
        weights = self._weights(drawn)
        return ViewsGain(
            views=features.shape[1],
            gain=float((weights * difference).sum()),
            error=float(np.sqrt(((weights * difference) ** 2).sum())),
            pictures=len(drawn),
        )

    def _weights(self, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of the pictures at `drawn` (m,), summing to 1: a class weighs what all its held-out pictures do."""
        held = self.targets[self.fold >= 0]
        sizes = np.bincount(self.targets).astype(np.float64)
        of_class = np.bincount(held, minlength=len(sizes)) * np.maximum(sizes, 1) ** -self.balance
        labels = self.targets[drawn]
        weights = of_class[labels] / np.bincount(labels, minlength=len(sizes))[labels]
        return np.asarray(weights / weights.sum(), np.float64)
