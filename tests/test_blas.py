"""BLAS computes by one thread where processes share the processors out, and as before when they are done."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import scipy.linalg
from threadpoolctl import threadpool_info, threadpool_limits

from curate.blas import blas_by_one_thread
from curate.catalog import Catalog
from curate.cleaning.planning import make_plan
from curate.dataset import open_dataset
from curate.forked import map_isolated
from curate.lookalikes.alignment import Turn
from curate.lookalikes.comparison import Comparison
from curate.lookalikes.looks import Look, Looks
from curate.lookalikes.relation import CopyLooks, Relation, relate
from curate.scan import scan
from tests.pictures import save, scene

THREADS = 3


def threads() -> set[int]:
    """The threads of each BLAS that is loaded."""
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def several_threads() -> Iterator[None]:
    scipy.linalg.inv(np.ones((1, 1)))  # loads both
    with threadpool_limits(THREADS, "blas"):
        assert threads() == {THREADS}
        yield
        assert threads() == {THREADS}, "the number of before comes back"


def test_within_a_block_and_in_what_is_forked_there() -> None:
    with blas_by_one_thread():
        assert threads() == {1}
        assert map_isolated(lambda _: threads(), [0], lambda _, code: {code}) == [{1}]
    assert threads() == {THREADS}


def test_after_a_block_that_fails() -> None:
    with pytest.raises(KeyError), blas_by_one_thread():
        raise KeyError
    assert threads() == {THREADS}


def test_blocks_that_overlap_in_two_threads() -> None:
    """The number of before comes back, whichever is left last; while one goes on alone, it may have more."""
    entered, left = Event(), Event()

    def other() -> None:
        with blas_by_one_thread():
            entered.set()
            assert left.wait(20)

    with ThreadPoolExecutor(1) as pool:
        with blas_by_one_thread():
            task = pool.submit(other)
            assert entered.wait(20)
            assert threads() == {1}
        left.set()
        task.result()
    assert threads() == {THREADS}


def test_copies_are_compared_and_chosen_by_one_thread_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the Python API too, which does not tell BLAS so before numpy is imported, as the commands do."""
    for seed in range(4):
        save(scene(seed, 320, 240), tmp_path / "raw" / "rose" / f"{seed}.jpg", quality=95)
        save(scene(seed, 320, 240).resize((200, 150)), tmp_path / "raw" / "rose" / f"{seed} small.jpg")
    noted = tmp_path / "threads"
    coarse = Looks.coarse

    def note(what: str) -> None:
        with noted.open("a") as file:
            file.write(f"{what} {sorted(threads())} {os.getpid()}\n")

    def looked(self: Looks, at: int) -> Look | None:
        note("look")
        return coarse(self, at)

    def related(first: CopyLooks, second: CopyLooks, turn: Turn, comparison: Comparison) -> Relation:
        note("choice")
        return relate(first, second, turn, comparison)

    monkeypatch.setattr(Looks, "coarse", looked)
    monkeypatch.setattr("curate.lookalikes.clusters.relate", related)
    data = open_dataset(tmp_path)
    with Catalog.open(data.catalog_path) as catalog:
        scan(data, catalog)
        assert len(make_plan(data, catalog).decisions) == 4
    lines = [line.rsplit(" ", 1)[0] for line in noted.read_text().splitlines()]
    assert set(lines) == {"look [1]", "choice [1]"}
