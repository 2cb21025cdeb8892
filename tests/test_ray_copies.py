"""A plan made on Ray is that of one machine: the same pairs, verdicts and keepers, whatever is killed meanwhile."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.catalog import Catalog
from curate.cleaning.clean_options import CleanOptions
from curate.cleaning.planning import CleaningPlan, make_plan
from curate.dataset import Dataset, open_dataset
from curate.engine import ray_copies, ray_join
from curate.engine.connecting import connected
from curate.engine.engines import on_engine
from curate.engine.process_tree import ProcessKey, children_of, with_descendants
from curate.engine.ray_engine import RayEngine
from curate.engine.ray_join import block_for, class_bits_for, join_on_ray, joined_between
from curate.lookalikes import cached_search
from curate.lookalikes.cached_search import find_neighbours
from curate.lookalikes.neighbours import Neighbours
from curate.lookalikes.pair_search import FoundPairs
from curate.lookalikes.second_look import COPY, NEAR
from curate.phash import Hashes, Pairs, pairs_between, pairs_within
from curate.scan import scan
from curate.splitting.picture_table import read_picture_table
from tests.pictures import encoded, labelled, write
from tests.raying import TWO_NODES, Place, place
from tests.test_phash import clumped, equal, planted, scattered
from tests.test_search import shelf

__all__ = ["place"]

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def engine() -> Iterator[RayEngine]:
    """One cluster for all tests here; `on_engine("ray")` finds it connected."""
    with connected(None), RayEngine(None) as engine:
        yield engine


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few thousand hashes take every path of a billion: several blocks, and tiles of parts of them."""
    monkeypatch.setattr(ray_join, "_LEAST_BLOCK", 4_000)
    monkeypatch.setattr(ray_join, "LONGEST_TILE", 300)
    monkeypatch.setattr(ray_join, "_MOST_ROWS", 100_000)


def flat(rng: np.random.Generator, n: int) -> Hashes:
    """Pictures with next to nothing on them: most have one of a few hashes, by the thousand, and the rest lie near."""
    return np.concatenate([equal(rng, n // 2), clumped(rng, n - n // 2)])


def check(found: Pairs, wanted: Pairs) -> None:
    for column in fields(Pairs):
        assert np.array_equal(getattr(found, column.name), getattr(wanted, column.name)), column.name


@pytest.mark.slow
@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("kind", "radius"), [(scattered, 8), (planted, 8), (planted, 12), (flat, 6)])
def test_the_join_finds_what_one_machine_finds(engine: RayEngine, kind: object, radius: int) -> None:
    assert callable(kind)
    hashes = kind(np.random.default_rng(4), 12_000)
    wanted = pairs_within(hashes, radius)
    found, cost = join_on_ray(engine, hashes, radius, hot_from=40)
    check(found, wanted)
    assert cost.hashes == len(wanted.unique)
    assert cost.pairs == len(wanted.first)
    assert cost.tasks > 12
    if kind is planted:  # none is hot: each hash lies once in each band, and under 64 keys and one more a band
        bands = 3 if radius == 8 else 5
        assert cost.rows == cost.hashes * (64 + bands)
        assert cost.held_bytes == cost.hashes * bands * 8
        assert cost.held_bytes < cost.fetched_bytes < 8 * cost.rows
    elif kind is flat:
        assert cost.rows < 67 * cost.hashes * 3 / 4, "what is hot lies under no key"


@pytest.mark.parametrize("hashes", [[], [7], [7, 7]], ids=["none", "one", "one twice"])
def test_too_few_for_a_pair_need_no_cluster(hashes: list[int]) -> None:
    with RayEngine("nobody:1") as nobody:
        found, cost = join_on_ray(nobody, np.array(hashes, np.uint64), 8)
    check(found, pairs_within(np.array(hashes, np.uint64), 8))
    assert (cost.tasks, cost.fetched_bytes) == (0, 0)


@pytest.mark.slow
@pytest.mark.usefixtures("small_pieces")
def test_a_few_and_many_are_held_against_each_other_as_on_one_machine(engine: RayEngine) -> None:
    rng = np.random.default_rng(9)
    many = planted(rng, 9_000)
    few = np.concatenate([many[:400], scattered(rng, 300), many[:20]])

    def listed(found: FoundPairs) -> list[tuple[int, ...]]:
        return sorted(row for part in found for row in zip(*(column.tolist() for column in part), strict=True))

    assert listed(joined_between(engine, few, many, 8)) == listed(pairs_between(few, many, 8))


@pytest.mark.slow
def test_other_arrays_are_refused(engine: RayEngine) -> None:
    signed = np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="uint64"):
        join_on_ray(engine, signed, 8)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="uint64"):
        list(joined_between(engine, signed, signed, 8))  # type: ignore[arg-type]


def workers(name: str) -> set[ProcessKey]:
    """The processes in which a task of this name runs."""
    found = set()
    for process in with_descendants(children_of(os.getpid())):
        try:
            title = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if title.startswith(f"ray::{name}"):
            found.add(process)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("task", ["_cut", "_verify"])
def test_a_killed_task_runs_again_and_the_pairs_are_the_same(
    engine: RayEngine, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_join, "_LEAST_BLOCK", 60_000)
    hashes = planted(np.random.default_rng(1), 240_000)
    killed = list[int]()
    over = threading.Event()

    def kill() -> None:
        while not over.is_set() and len(killed) < 2:
            for process in sorted(workers(task))[:1]:
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
                over.wait(0.5)
            over.wait(0.001)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        found, _ = join_on_ray(engine, hashes, 8)
    finally:
        over.set()
        thread.join()
    assert killed
    check(found, pairs_within(hashes, 8))


NODE_KILLED = f"""
    {TWO_NODES}
    import json, threading
    from dataclasses import fields
    from pathlib import Path
    import numpy as np
    from curate.engine import ray_join
    from curate.engine.ray_engine import RayEngine
    from curate.phash import Pairs, pairs_within
    from tests.test_phash import planted

    ray_join._LEAST_BLOCK = 50_000
    hashes = planted(np.random.default_rng(1), 400_000)
    killed, over = [], threading.Event()

    def titles():
        for process in with_descendants(second):
            try:
                yield Path(f"/proc/{{process.pid}}/cmdline").read_bytes()
            except OSError:
                pass

    def watch():
        while not over.wait(0.002) and not killed:
            if any(title.startswith(b"ray::_verify") for title in titles()):
                kill(second)
                killed.append(True)

    with RayEngine(cluster.address) as engine:
        engine.ray()
        thread = threading.Thread(target=watch)
        thread.start()
        try:
            found, _ = ray_join.join_on_ray(engine, hashes, 8)
        finally:
            over.set()
            thread.join()
    cluster.shutdown()
    wanted = pairs_within(hashes, 8)
    same = [np.array_equal(getattr(found, it.name), getattr(wanted, it.name)) for it in fields(Pairs)]
    print(json.dumps([killed, same, len(wanted.first)]))
"""


@pytest.mark.slow
def test_a_node_that_is_killed_takes_parts_with_it_and_the_pairs_are_the_same(place: Place) -> None:
    killed, same, pairs = json.loads(place.run(NODE_KILLED).splitlines()[-1])
    assert killed == [True]
    assert same == [True] * 5
    assert pairs > 10_000
    assert place.processes() == []


# ---- the whole way


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Photographs with copies and crops, near ones, flat pictures and a crowd, as files."""
    root = tmp_path_factory.mktemp("data")
    near = [labelled(1, "red"), labelled(1, "blue")]
    flats = [encoded(Image.new("RGB", (side, side), "teal"), "PNG") for side in (60, 64, 68)]
    for number, data in enumerate([*(data for _, data in shelf().values()), *near, *flats]):
        kind = "png" if data.startswith(b"\x89PNG") else "jpg"
        write(root / "raw" / str(number % 3) / f"{number}.{kind}", data)
    return open_dataset(root)


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each search is made from scratch, and by tasks however few its hashes are."""
    monkeypatch.setattr(cached_search, "recall_search", lambda *_, **__: None)
    monkeypatch.setattr(ray_copies, "WORTH_SENDING", 0)


def searched(data: Dataset, engine: str) -> Neighbours:
    """What the search finds that `split` and training ask for."""
    with Catalog.open(data.catalog_path) as catalog, on_engine(engine):
        scan(data, catalog)
        return find_neighbours(data, catalog, read_picture_table(data, catalog), 8)


@pytest.mark.slow
@pytest.mark.usefixtures("engine", "small_pieces", "anew")
def test_the_search_of_split_is_that_of_one_machine(data: Dataset) -> None:
    wanted = searched(data, "local")
    found = searched(data, "ray")
    assert set(wanted.verdict.tolist()) == {NEAR, COPY}
    assert int(wanted.gathered.max()) == 0, "a crowd was to be there"
    assert len(wanted.crowd), "and flat pictures that are one"
    for column in fields(Neighbours):
        assert np.array_equal(getattr(found, column.name), getattr(wanted, column.name)), column.name


@pytest.mark.slow
@pytest.mark.usefixtures("engine", "anew")
def test_a_file_that_cannot_be_read_is_known_to_the_driver(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the search would be remembered as if the picture had been told from all others."""
    kept = list[Neighbours]()
    monkeypatch.setattr(cached_search, "keep", lambda _, found, *__, **___: kept.append(found))
    with Catalog.open(data.catalog_path) as catalog:
        scan(data, catalog)
        table = read_picture_table(data, catalog)
        pair = find_neighbours(data, catalog, table, 8)
        gone = int(pair.first[np.flatnonzero(pair.gathered[pair.first] < 0)[0]])
        path = data.root / table.paths[int(np.flatnonzero(table.content == gone)[0])]
        content = path.read_bytes()
        path.unlink()
        try:
            with on_engine("ray"):
                find_neighbours(data, catalog, table, 8)
        finally:
            path.write_bytes(content)
    assert pair.sha256[gone] in kept[0].sha256
    assert pair.sha256[gone] not in kept[1].sha256
    assert len(kept[1].sha256) == len(kept[0].sha256) - 1


def planned(data: Dataset, engine: str, *, geometry: bool) -> CleaningPlan:
    with Catalog.open(data.catalog_path) as catalog, on_engine(engine):
        scan(data, catalog)
        return make_plan(data, catalog, CleanOptions(geometry=geometry))


@pytest.mark.slow
@pytest.mark.usefixtures("engine", "small_pieces", "anew")
@pytest.mark.parametrize("geometry", [False, True])
def test_the_plan_of_clean_is_that_of_one_machine(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, *, geometry: bool
) -> None:
    wanted = planned(data, "local", geometry=geometry)
    monkeypatch.setattr("curate.cleaning.choosing._CONTENTS", 2)
    monkeypatch.setattr(ray_copies, "CANDIDATES_AT_ONCE", 50)
    assert len(wanted.decisions) > 8
    assert planned(data, "ray", geometry=geometry) == wanted


# ---- how a join is cut


@pytest.mark.parametrize(("hashes", "processors"), [(10**5, 2), (10**6, 64), (10**8, 1600), (10**9, 1600)])
def test_a_join_is_cut_into_tasks_that_fit_in_memory_and_parts_that_ray_can_count(hashes: int, processors: int) -> None:
    bits = class_bits_for(hashes, processors, 3)
    pieces = 3 << bits
    assert hashes * 67 / pieces <= 1.1 * 2**25
    assert pieces >= processors, "each has something to do"
    blocks = -(-hashes // block_for(hashes, processors, pieces))
    assert blocks * pieces <= 2**18 + pieces
    assert block_for(hashes, processors, pieces) * 8 <= 256e6
