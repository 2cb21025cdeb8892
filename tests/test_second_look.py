"""Second looks in parts: what belongs together is looked at together, and processes see what one does."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.catalog import Catalog
from curate.dataset import open_dataset
from curate.duplicates import NearDuplicates, find_near_duplicates
from curate.errors import UserError
from curate.lookalikes import search_engine, second_look
from curate.lookalikes.candidates import CandidatePairs
from curate.lookalikes.looks import Looks
from curate.lookalikes.second_look import Verdicts
from curate.parallel import processors
from curate.scan import scan
from tests.pictures import save, scene

can_fork = pytest.mark.skipif(sys.platform != "linux" or processors() < 2, reason="there is nothing to fork for")


@settings(deadline=None)
@given(
    guesses=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(-1, 5)), max_size=60, unique=True),
    size=st.integers(1, 20),
)
def test_all_guesses_of_a_pair_are_in_one_part_and_in_order(guesses: list[tuple[int, int, int]], size: int) -> None:
    kept = sorted((min(a, b), max(a, b), variant) for a, b, variant in guesses if a != b)
    first, second, variant = np.array(kept, np.int32).reshape(-1, 3).T
    n = len(kept)
    candidates = CandidatePairs(first, second, variant.astype(np.int8), np.zeros(n, np.bool_), np.zeros(n, np.uint8))
    parts = [part.tolist() for part in second_look._chunks(candidates, size)]
    assert sorted(at for part in parts for at in part) == list(range(n))
    of_pair: dict[tuple[int, int], set[int]] = {}
    for number, part in enumerate(parts):
        for at in part:
            of_pair.setdefault(kept[at][:2], set()).add(number)
        for pair in {kept[at][:2] for at in part}:
            mine = [at for at in part if kept[at][:2] == pair]
            assert mine == sorted(mine), "the nearest guess is looked at first"
    assert all(len(numbers) == 1 for numbers in of_pair.values())
    most = max((sum(one[:2] == pair for one in kept) for pair in of_pair), default=0)
    assert all(len(part) < size + most for part in parts)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Four candidates at once, and processes for them, also beside threads that other tests left."""
    monkeypatch.setattr(second_look, "CANDIDATES_AT_ONCE", 4)
    monkeypatch.setattr(second_look.look_again, "__kwdefaults__", {"looking": None, "at_once": 4})
    monkeypatch.setattr(search_engine, "CANDIDATES_AT_ONCE", 4)
    monkeypatch.setattr("curate.forked._may_fork", lambda: True)
    return monkeypatch


def found_in(root: Path) -> NearDuplicates:
    data = open_dataset(root)
    with Catalog.open(data.catalog_path) as catalog:
        scan(data, catalog)
        return find_near_duplicates(data.root, catalog.intact())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in range(6):
        picture = scene(seed, 320, 240)
        save(picture, tmp_path / "raw" / "rose" / f"{seed}.jpg", quality=95)
        save(picture.resize((200, 150)), tmp_path / "raw" / "rose" / f"{seed} small.jpg")
        save(picture.crop((16, 12, 304, 228)), tmp_path / "raw" / "rose" / f"{seed} part.jpg")
    return tmp_path


@pytest.mark.thorough
@can_fork
def test_processes_see_what_one_does(root: Path, small_parts: pytest.MonkeyPatch) -> None:
    here, looked = os.getpid(), second_look.look_at_part
    found = found_in(root)

    def elsewhere(candidates: CandidatePairs, looks: Looks, workers: int | None = None) -> Verdicts:
        assert os.getpid() != here
        assert len(candidates) < 30
        return looked(candidates, looks, workers)

    small_parts.setattr(search_engine, "look_at_part", elsewhere)
    again = found_in(root)
    small_parts.undo()
    whole = found_in(root)
    assert len(whole.first) >= 18
    for other in (found, again):
        for name in ("first", "second", "distance", "verdict", "variant"):
            assert np.array_equal(getattr(whole, name), getattr(other, name)), name
        np.testing.assert_allclose(other.placement, whole.placement, atol=1e-5)


@can_fork
def test_a_process_that_is_killed_is_a_sentence(root: Path, small_parts: pytest.MonkeyPatch) -> None:
    here = os.getpid()

    def killed(*_: object, **__: object) -> Verdicts:
        assert os.getpid() != here
        os.kill(os.getpid(), 9)
        raise AssertionError

    small_parts.setattr(search_engine, "look_at_part", killed)
    with pytest.raises(UserError, match="ended with exit code -9"):
        found_in(root)
