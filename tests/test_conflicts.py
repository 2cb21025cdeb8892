"""One picture under several labels: who is paired with whom, and what remains within the labels."""

import numpy as np
import pytest

from curate.catalog import Picture
from curate.cleaning.conflicts import Conflict, counterparts, find_conflicts, within_labels
from curate.duplicates import NearDuplicates
from curate.lookalikes.second_look import COPY, NEAR


def picture(path: str, sha256: str = "", *, split: str = "", broken: str = "") -> Picture:
    """A row of the catalog, of which only these facts count here."""
    top, label, _ = path.split("/", 2)
    return Picture(
        path=path, folder=f"{top}/{label}", label=label, split=split, size=1, mtime_ns=0,
        sha256=sha256 or path, format="JPEG", width=10, height=10, phash=0, broken=broken, state="present",
    )  # fmt: skip


def found(
    contents: list[list[int]], *pairs: tuple[int, int, int], differ: tuple[int, ...] = (), view: tuple[int, ...] = ()
) -> NearDuplicates:
    """Pairs of contents as (first, second, distance), of which those numbered in `differ` only look alike by hash."""
    first, second, distance = np.array(pairs, dtype=np.int64).reshape(-1, 3).T
    verdict = np.array([NEAR if number in differ else COPY for number in range(len(pairs))], dtype=np.int8)
    return NearDuplicates(
        contents, first.astype(np.int32), second.astype(np.int32), distance.astype(np.uint8), verdict,
        np.array(view, np.int8),
    )  # fmt: skip


def labelled(labels: str) -> list[Picture]:
    """One picture for each letter, which is its label."""
    return [picture(f"raw/{label}/{at}.jpg") for at, label in enumerate(labels)]


def test_the_same_bytes_under_two_labels_are_a_conflict_at_distance_0() -> None:
    pictures = labelled("abab")
    assert find_conflicts(found([[0, 1], [2], [3]]), pictures) == [
        Conflict("raw/a/0.jpg", "a", "raw/b/1.jpg", "b", 0)
    ]  # fmt: skip
    assert find_conflicts(found([[0, 2], [1], [3]]), pictures) == []  # under one label they are none


def test_a_pair_is_named_once_and_a_pair_that_pixels_tell_apart_is_not_named() -> None:
    pictures = labelled("aabb")
    there = found([[2], [0], [1], [3]], (0, 1, 5), (1, 2, 3), (2, 3, 4), differ=(2,))
    assert find_conflicts(there, pictures) == [Conflict("raw/a/0.jpg", "a", "raw/b/2.jpg", "b", 5)]
    assert len({*find_conflicts(there, pictures), *find_conflicts(there, pictures)}) == 1


def test_all_copies_of_either_content_are_in_conflict() -> None:
    pictures = labelled("aabb")
    conflicts = find_conflicts(found([[0, 1], [2, 3]], (0, 1, 6)), pictures)
    named = {path for conflict in conflicts for path in (conflict.first, conflict.second)}
    assert named == {picture.path for picture in pictures}
    assert {conflict.distance for conflict in conflicts} == {6}


@pytest.mark.parametrize("labels", ["abcdef", "fedcba"])
def test_each_picture_is_paired_with_three_others_at_most(labels: str) -> None:
    """A notice "not available" lies under six labels."""
    of = dict.fromkeys(range(6), 0)
    for at, other, distance in counterparts(found([[*range(6)]]), lambda at: labels[at]):
        assert (labels[at] != labels[other], distance) == (True, 0)
        of[at] += 1
    assert set(of.values()) == {3}


def test_so_many_others_as_asked_for() -> None:
    there = found([[0, 1, 2], [3, 4]], (0, 1, 7))
    assert list(counterparts(there, lambda at: "ab"[at >= 3], most=1)) == [
        (0, 3, 7), (1, 3, 7), (2, 3, 7), (3, 0, 7), (4, 0, 7),
    ]  # fmt: skip


def test_pictures_without_a_kind_are_passed_over() -> None:
    there = found([[0, 1, 2], [3]], (0, 1, 7))
    kinds = [None, "train", "test", None]
    assert sorted(counterparts(there, lambda at: kinds[at])) == [(1, 2, 0), (2, 1, 0)]


def test_within_labels_no_pair_joins_two_and_the_others_stay_as_they_were() -> None:
    """Contents {0, 1 | 2} and {3 | 4}, the bar between labels, look alike; {5} is like both, under b alone."""
    pictures = labelled("aababb")
    there = found([[0, 1, 2], [3, 4], [5]], (0, 1, 4), (0, 2, 6), (1, 2, 8), differ=(2,), view=(1, -1, 2))
    inside = within_labels(there, pictures)
    assert sorted(map(sorted, inside.contents)) == [[0, 1], [2], [3], [4], [5]]
    listed = {
        (str(sorted([inside.contents[a], inside.contents[b]])), distance, same, view)
        for a, b, distance, same, view in zip(
            inside.first.tolist(), inside.second.tolist(), inside.distance.tolist(), inside.same.tolist(),
            inside.variant.tolist(), strict=True,
        )
    }  # fmt: skip
    assert listed == {
        ("[[0, 1], [3]]", 4, True, 1),
        ("[[2], [4]]", 4, True, 1),
        ("[[2], [5]]", 6, True, -1),
        ("[[4], [5]]", 8, False, 2),
    }
    assert len(inside.first) == 4
    for name in ("first", "second"):
        assert getattr(inside, name).dtype == np.int32


def test_within_labels_of_nothing_is_nothing() -> None:
    inside = within_labels(found([[0, 1]]), labelled("ab"))
    assert (inside.contents, len(inside.first), len(inside.variant)) == ([[0], [1]], 0, 0)
    unknown = within_labels(found([[0], [1]], (0, 1, 2)), labelled("aa"))  # views are unknown, and stay so
    assert (unknown.distance.tolist(), len(unknown.variant)) == ([2], 0)
