"""Flat pictures: which of them are one picture. Their hashes are noise, so colour and shape are compared."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.alignment import Alignment
from curate.lookalikes.bearing_out import may_be_borne_out
from curate.lookalikes.contents import Contents
from curate.lookalikes.looks import Looks
from curate.lookalikes.second_look import compared

_MOST_FLAT = 32  # flat pictures of one colour that are told from a leader, until none is looked at any more
_FEW_FLAT = 8  # that are looked at beside a leader, and remembered; of more, the detail of each is looked at first
_FLAT_COLOUR = 3  # levels by which the mean colours of two flat pictures may differ
_FLAT_ASPECT = 0.02  # and the relative difference of their aspect ratios


def group_flat(
    contents: Contents, looks: Looks, known: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Group flat pictures that agree in colour and shape, and in what a close look sees.

    What is flat in its luma may have colours that differ, and what is flat over white may be a drawing in white on
    nothing. `known` int32[f, 3] is what close looks have found before: (content, content, whether they agree).

    Returns (number of a group, content), int32[q, 2], of the groups of several, and all that close looks have found.
    """
    flat = contents.flat.tolist()
    colour = contents.colour.astype(np.int16)
    aspect = np.log(np.maximum(contents.width, 1) / np.maximum(contents.height, 1))[contents.flat]
    seen = {(one, other): bool(agree) for one, other, agree in known.tolist()}

    def agree(one: int, other: int) -> bool:
        if (one, other) not in seen:
            seen[one, other] = is_flat_copy(one, other, looks)
        return seen[one, other]

    def alike(leader: int, others: NDArray[np.intp]) -> NDArray[np.bool_]:
        near: NDArray[np.bool_] = np.abs(colour[others] - colour[leader]).max(axis=1, initial=0) <= _FLAT_COLOUR
        near &= np.abs(aspect[others] - aspect[leader]) <= _FLAT_ASPECT
        strange = np.array([at for at in np.flatnonzero(near) if (flat[leader], flat[others[at]]) not in seen], np.intp)
        if len(strange) > _FEW_FLAT:
            near[strange] = _may_agree(flat[leader], [flat[other] for other in others[strange].tolist()], looks)
        told_apart = 0
        for place in np.flatnonzero(near).tolist():
            pair = flat[leader], flat[int(others[place])]
            is_strange = pair not in seen
            near[place] = (told_apart < _MOST_FLAT or not is_strange) and agree(*pair)
            told_apart += is_strange and not near[place]
        return near

    groups = [group for group in _groups(len(flat), alike) if len(group) > 1]
    members = [(number, flat[at]) for number, group in enumerate(groups) for at in group]
    rows = [(one, other, int(agree)) for (one, other), agree in sorted(seen.items())]
    return np.array(members, np.int32).reshape(-1, 2), np.array(rows, np.int32).reshape(-1, 3)


def _may_agree(leader: int, others: list[int], looks: Looks) -> NDArray[np.bool_]:
    """Which of n others have to be looked at beside a leader, for all that is known of each alone: bool[n]."""
    may = np.ones(len(others), np.bool_)
    if looks.plain(leader) is not None or (detail := looks.detail(leader)) is None:
        return may
    known = [looks.detail(other) for other in others]
    at = [place for place, other in enumerate(known) if other is not None]
    may[at] = may_be_borne_out(detail, [other for other in known if other is not None])
    return may


def is_flat_copy(first: int, second: int, looks: Looks) -> bool:
    """Whether a close look sees one picture in two flat ones."""
    plain = looks.plain(first), looks.plain(second)
    if plain[0] is not None and plain[1] is not None:
        return plain[0].is_copy_of(plain[1])
    found = compared(first, second, Alignment(), looks)
    return found is not None and found.difference < 1 and found.is_borne_out


def _groups(n: int, alike: Callable[[int, NDArray[np.intp]], NDArray[np.bool_]]) -> list[list[int]]:
    """Group 0…n − 1 round leaders: the first that is left leads, and takes those that are like it. No chains."""
    left = np.arange(n)
    groups = []
    while len(left):
        leader, left = int(left[0]), left[1:]
        taken = alike(leader, left)
        groups.append([leader, *left[taken].tolist()])
        left = left[~taken]
    return groups
