"""Means over seeds, and intervals of paired differences: the same pictures, answered by two classifiers."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.ablating.report import MeanAccuracy, PairedDifference
from train.metrics import wilson_interval

Answers = NDArray[np.bool_]
"""Which pictures were answered right, (seeds, pictures)."""

_DRAWS: Final = 2000
_CELLS: Final = 1 << 22  # draws times groups that are held at once


def mean_accuracy(right: Answers) -> MeanAccuracy:
    """The mean over seeds, with Wilson's interval of as many pictures right, to the nearest whole one, of `n`.

    The interval is of the pictures alone: as many others of the same kind would give a figure in it.
    """
    mean, n = float(right.mean()), right.shape[1]
    interval = wilson_interval(round(mean * n), n)
    return MeanAccuracy(mean, min(interval.low, mean), max(interval.high, mean), n)


def paired_difference(with_step: Answers, without: Answers, groups: NDArray[np.int64], seed: int) -> PairedDifference:
    """Mean of `with_step` minus `without`, and its 95% interval by the bootstrap over groups and over seeds.

    Row s of both was fitted with the same seed, column p is the same picture. `groups` (pictures,) numbers what each
    picture belongs with: those of one group are no independent witnesses, so groups are drawn whole, with replacement,
    and their pictures weigh as many as they are (C. A. Field and A. H. Welsh, "Bootstrapping clustered data", Journal
    of the Royal Statistical Society B 69 (2007) 369-390). Seeds are drawn as well, independently, since other seeds
    would give other answers (A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007) 386-411).
    The interval lies between the percentiles 2.5 and 97.5 of 2,000 draws. One group alone tells nothing: its interval
    is -1 to 1. `seed` decides the draws.
    """
    difference = with_step.astype(np.float64) - without
    _, group = np.unique(groups, return_inverse=True)
    count, seeds = int(group.max()) + 1, len(difference)
    if count < 2:
        return PairedDifference(float(difference.mean()), -1.0, 1.0)
    sizes = np.bincount(group, minlength=count)
    sums = np.stack([np.bincount(group, weights=row, minlength=count) for row in difference])
    generator = np.random.default_rng(seed)
    found = []
    at_once = max(1, _CELLS // count)
    for start in range(0, _DRAWS, at_once):
        draws = min(at_once, _DRAWS - start)
        of_groups = generator.multinomial(count, np.full(count, 1 / count), size=draws)
        of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
        found.append(((of_seeds @ sums) * of_groups).sum(axis=1) / (seeds * (of_groups @ sizes)))
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
    return PairedDifference(float(difference.mean()), float(low), float(high))
