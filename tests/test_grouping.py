"""What belongs together, what must not, and the count of what parted: small cases whose answer can be read off."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from curate.catalog import Catalog
from curate.lookalikes.cached_search import Neighbours
from curate.lookalikes.second_look import COPY, NEAR
from curate.splitting.grouping import Group, Links, Proof, groups_of, links_of, prove
from curate.splitting.picture_table import NOWHERE, PictureTable
from tests.test_split_together import credit

TRAIN, VALID, TEST = range(3)


def pairs(*found: tuple[int, int]) -> NDArray[np.int32]:
    return np.array(found, dtype=np.int32).reshape(-1, 2)


def links(
    copies: NDArray[np.int32] | None = None,
    near: NDArray[np.int32] | None = None,
    origins: NDArray[np.int32] | None = None,
    groups: NDArray[np.int32] | None = None,
    scenes: NDArray[np.int32] | None = None,
) -> Links:
    """Links of the kinds that are given, and none of the others."""
    first, second, third, fourth, fifth = (
        pairs() if kind is None else kind for kind in (copies, near, origins, groups, scenes)
    )
    return Links(first, second, third, fourth, scenes=fifth)


def mask(count: int, **splits: list[int]) -> NDArray[np.uint8]:
    """The mask of so many contents, of which those listed lie in train, valid or test."""
    found = np.zeros(count, dtype=np.uint8)
    for number, name in enumerate(("train", "valid", "test")):
        found[splits.get(name, [])] |= 1 << number
    return found


def groups(found: Links, of: NDArray[np.uint8]) -> list[Group]:
    return sorted(groups_of(found, of), key=lambda group: group.contents)


def table(*content: int) -> PictureTable:
    """Pictures of these contents, all under one label."""
    count = len(content)
    return PictureTable(
        paths=[f"raw/1/{at}.jpg" for at in range(count)],
        labels=["1"],
        label=np.zeros(count, np.int32),
        sha256=np.array([f"{at:064d}" for at in range(max(content) + 1)], dtype="S64"),
        content=np.array(content, dtype=np.int32),
        split=np.full(count, NOWHERE, np.int8),
        arrived=np.zeros(count, np.bool_),
        orphaned=[],
        broken=[],
    )


def test_each_kind_of_link_makes_groups_and_what_has_none_makes_no_group() -> None:
    found = links(
        pairs((1, 0), (2, 1)), pairs((3, 4)), pairs((5, 0), (6, 0), (7, 1)), pairs((8, 0), (9, 0), (10, 1), (2, 1))
    )
    assert groups(found, mask(12)) == [Group([0, 1, 2, 10]), Group([3, 4]), Group([5, 6]), Group([7]), Group([8, 9])]


@pytest.mark.parametrize("kind", ["copies", "near", "scenes"])
@pytest.mark.parametrize("pair", [(0, 1), (1, 0)])
def test_a_near_duplicate_follows_the_one_that_has_a_split(pair: tuple[int, int], kind: str) -> None:
    assert groups(links(**{kind: pairs(pair)}), mask(2, test=[0])) == [Group([1], fixed={TEST})]
    assert groups(links(**{kind: pairs(pair)}), mask(2, test=[0], train=[1])) == []


@pytest.mark.parametrize("kind", ["origins", "groups"])
def test_an_origin_and_a_group_follow_their_pictures_that_have_a_split(kind: str) -> None:
    found = links(**{kind: pairs((0, 0), (1, 0), (2, 0), (3, 1))})
    assert groups(found, mask(4, valid=[0])) == [Group([1, 2], fixed={VALID}), Group([3])]
    assert groups(found, mask(4, valid=[0], test=[1])) == [Group([2], fixed={VALID, TEST}), Group([3])]
    assert groups(found, mask(4, valid=[0], test=[1], train=[2, 3])) == []


def test_what_has_a_split_joins_nothing() -> None:
    """A picture in train is near to two others, and these are strangers to each other."""
    assert groups(links(copies=pairs((0, 1), (0, 2))), mask(3, train=[0])) == [
        Group([1], fixed={TRAIN}),
        Group([2], fixed={TRAIN}),
    ]


@pytest.mark.parametrize("kind", ["copies", "near"])
def test_a_series_is_one_group_however_long(kind: str) -> None:
    """The frames of a fixed camera: each is near the next, so the first and the last must not part either."""
    chain = [(at, at + 1) for at in range(599)]
    (group,) = groups(links(**{kind: pairs(*chain)}), mask(600))
    assert group == Group([*range(600)])


def test_binding_copies_leaves_what_is_near_free() -> None:
    found = links(pairs((0, 1)), pairs((1, 2), (3, 4)), pairs((5, 0), (6, 0)), pairs((7, 0), (8, 0)))
    assert groups(found.bound("near"), mask(9)) == groups(found, mask(9))
    assert groups(found.bound("copies"), mask(9)) == [Group([0, 1]), Group([5, 6]), Group([7, 8])]


def test_a_group_knows_the_splits_of_all_that_joined_it() -> None:
    found = links(copies=pairs((0, 4), (1, 5), (4, 5)), near=pairs((2, 4)))
    assert groups(found, mask(6, train=[0], valid=[1], test=[2])) == [Group([4, 5], fixed={TRAIN, VALID, TEST})]


def test_the_proof_counts_each_pair_of_pictures_in_two_splits() -> None:
    """Two pictures of content 0 in train and one in valid, content 1 in test, content 2 nowhere."""
    pictures = table(0, 0, 0, 1, 2)
    split = np.array([TRAIN, TRAIN, VALID, TEST, NOWHERE], dtype=np.int8)
    assert prove(pictures, links(), split) == Proof(2, 0, 0, 0, 4)  # one content in two splits
    assert prove(pictures, links(copies=pairs((0, 1), (1, 2))), split) == Proof(2 + 3, 0, 0, 0, 4)
    assert prove(pictures, links(near=pairs((1, 0), (0, 2))), split) == Proof(2, 3, 0, 0, 4)
    assert prove(pictures, links(scenes=pairs((1, 0), (0, 2))), split) == Proof(2, 0, 0, 0, 4, scenes=3, found=2)
    # One origin: the two pictures of train with that of valid, and these three with that of test.
    together = pairs((0, 1), (1, 1), (2, 1), (2, 0))
    assert prove(pictures, links(origins=together), split) == Proof(2, 0, 2 + 3, 0, 4)
    assert prove(pictures, links(groups=together), split) == Proof(2, 0, 0, 2 + 3, 4)


def test_near_pictures_make_no_leak_and_all_else_that_crosses_does() -> None:
    assert Proof(0, 7, 0, 0, 9).leaks == 0
    assert [Proof(*counts, 9).leaks for counts in ((1, 0, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))] == [1, 1, 1]


def test_the_proof_of_files_counts_one_picture_in_two_places() -> None:
    pictures = table(0, 1)
    at, split = np.array([0, 0, 1]), np.array([TRAIN, TEST, TEST], dtype=np.int8)
    assert prove(pictures, links(copies=pairs((0, 1))), split, at) == Proof(1 + 1, 0, 0, 0, 3)


def test_links_are_what_pixels_hashes_and_credits_say(tmp_path: Path) -> None:
    pictures = table(0, 1, 2, 3, 4, 5)
    neighbours = Neighbours.of_pairs(
        pictures.sha256,
        np.array([0, 1], np.int32),
        np.array([1, 2], np.int32),
        np.array([3, 4], np.uint8),
        np.array([COPY, NEAR], np.int8),
        pairs((7, 5), (2, 4), (7, 3), (2, 2)),
    )
    with Catalog.open(tmp_path / "catalog.sqlite") as catalog:
        assert len(links_of(pictures, catalog, neighbours).origins) == 0
        for content, origin in ((0, "page"), (3, "page"), (2, "observation"), (4, "")):
            credit(catalog, pictures.digest(content), origin)
        credit(catalog, "f" * 64, "page")  # a picture that is not there
        found = links_of(pictures, catalog, neighbours)
    joined = sorted(group.contents for group in groups_of(links(copies=found.copies), mask(6)))
    assert joined == [[0, 1], [2, 4], [3, 5]]  # each crowd whole, and no crowd with another
    assert found.near.tolist() == [[1, 2]]
    assert sorted(map(sorted, found.together())) == [[0, 3], [2]]


def test_the_number_of_a_group_says_nothing_of_how_many_contents_there_are() -> None:
    split = np.array([TRAIN, VALID], np.int8)
    proof = prove(table(0, 1), links(groups=pairs((0, 9), (1, 9)), origins=pairs((0, 0), (1, 0))), split)
    assert (proof.groups, proof.origins) == (1, 1)
    assert prove(table(0, 1), links(groups=pairs((0, 9), (1, 8))), split).groups == 0
