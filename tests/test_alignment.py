"""Placements: what is turned and put somewhere is found there, also backwards and through a third."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curate.lookalikes.alignment import Alignment, turned, unturned

TURNS = [None, *Image.Transpose]
edges = st.tuples(st.floats(-0.3, 0.3), st.floats(0.6, 1.4), st.floats(-0.3, 0.3), st.floats(0.6, 1.4))
placements = st.builds(Alignment, st.sampled_from(TURNS), edges)


def alike(one: Alignment, other: Alignment) -> bool:
    return one.turn == other.turn and np.allclose(one.box, other.box, atol=1e-6)


@given(placements)
def test_there_and_back_is_where_it_was(placement: Alignment) -> None:
    assert alike(placement.then(placement.inverse()), Alignment())
    assert alike(placement.inverse().inverse(), placement)


@given(placements, placements, placements)
def test_it_makes_no_difference_which_two_are_put_together_first(a: Alignment, b: Alignment, c: Alignment) -> None:
    assert alike(a.then(b).then(c), a.then(b.then(c)))


@pytest.mark.parametrize("one", TURNS)
@pytest.mark.parametrize("other", TURNS)
def test_turns_are_put_together_as_pictures_turn(one: Image.Transpose | None, other: Image.Transpose | None) -> None:
    """The first is the second turned, and that the third turned: then the first is the third, turned so."""
    third = np.arange(12, dtype=np.uint8).reshape(3, 4)
    first = turned(turned(third, other), one)
    assert np.array_equal(first, turned(third, Alignment(one).then(Alignment(other)).turn))
    assert np.array_equal(unturned(turned(third, one), one), third)


def test_a_part_of_a_part_lies_where_both_say() -> None:
    half = Alignment(box=(0.5, 1.0, 0.0, 1.0))
    assert alike(half.then(half), Alignment(box=(0.75, 1.0, 0.0, 1.0)))
    assert alike(half.inverse(), Alignment(box=(-1.0, 1.0, 0.0, 1.0)))
