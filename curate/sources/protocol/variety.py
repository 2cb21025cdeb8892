"""In which order a source with everything at hand gives its pictures: of many authors, places and times first."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def nth_of_its_group(groups: Numbers, order: Numbers) -> Numbers:
    """For each member the number of those of its group that come before it in `order`, int64[n].

    `groups` is int64[n]; `order` names the members by their places, the first one first.
    """
    ordered = groups[order]
    by_group = np.argsort(ordered, kind="stable")
    begins = np.flatnonzero(np.diff(ordered[by_group], prepend=ordered[by_group[:1]] - 1))
    sizes = np.diff(np.append(begins, len(groups)))
    nth = np.empty(len(groups), np.int64)
    nth[order[by_group]] = np.arange(len(groups)) - np.repeat(begins, sizes)
    return nth


def spread(authors: Numbers, settings: Numbers, drawn: Numbers) -> Numbers:
    """The places of all members in an order that begins with one of each author, among these one of each setting.

    All three are int64[n]: who has made it, where and when it was made as one number, and a number that is drawn by
    lot. All that is left to chance is decided by `drawn`, so the order is the same in every run.
    """
    by_lot = np.argsort(drawn, kind="stable")
    nth_of_author = nth_of_its_group(authors, by_lot)
    by_author = np.lexsort((drawn, nth_of_author))
    return np.lexsort((drawn, nth_of_its_group(settings, by_author), nth_of_author))
