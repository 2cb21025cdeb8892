"""Shots of one scene: what pixels call one, and that a split keeps together what features proposed, and remembers."""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.cluster.hierarchy import DisjointSet

from curate.catalog import Catalog
from curate.dataset import open_dataset
from curate.lookalikes import scene as looking
from curate.lookalikes.scene import are_one_scene, look_for_scene
from curate.scan import scan
from curate.split import SplitReport, split
from curate.splitting.bonds import RECORD, read_bonds
from curate.splitting.picture_table import read_picture_table
from curate.splitting.scenes import Alike, FindAlike, find_scenes
from curate.verify import verify
from tests.pictures import scene
from train.fold_assignment import near_duplicate_groups

SHOTS = 4
"""Scenes of which each has two shots, in one class."""


def shot(seed: int, *, second: bool = False, size: tuple[int, int] = (240, 160)) -> bytes:
    """One view of a scene: its middle; or what a camera sees that was moved by a tenth of the frame, in other light."""
    wide = scene(seed, 360, 240)
    left, top, right, bottom = (84, 56, 310, 206) if second else (60, 40, 300, 200)
    pixels = np.asarray(wide.crop((left, top, right, bottom)).resize(size, Image.Resampling.BICUBIC), float)
    pixels = pixels * (0.85 if second else 1) + np.random.default_rng([seed, second]).normal(0, 3, pixels.shape)
    stream = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def garden(tmp_path: Path) -> Path:
    """Two classes of four single pictures each, and four scenes of two shots: `one 0.jpg` and `two 0.jpg` and so on."""
    root = tmp_path / "garden"
    for number in range(8):
        put(root / "raw" / f"{number % 2}" / f"single {number}.jpg", shot(100 + number))
    for number in range(SHOTS):
        put(root / "raw" / f"{number % 2}" / f"one {number}.jpg", shot(number))
        put(root / "raw" / f"{number % 2}" / f"two {number}.jpg", shot(number, second=True))
    return root


def everything(sha256: NDArray[np.bytes_]) -> Alike:
    """Features that call each picture like any other: what binds then is what the pixels say."""
    return Alike(np.column_stack(np.triu_indices(len(sha256), 1)).astype(np.int32), "net", len(sha256))


def where(root: Path, names: Iterable[str] = ("one", "two")) -> list[list[str]]:
    """For each name, the split of its picture of each scene."""
    found = {path.stem: path.parent.parent.name for path in root.glob("*/*/*.jpg") if path.parent.parent.name != "raw"}
    return [[found[f"{name} {number}"] for number in range(SHOTS)] for name in names]


def divided(root: Path, alike: FindAlike | None = None, seed: int = 3) -> SplitReport:
    return split(root, ratio=(0.5, 0.25, 0.25), seed=seed, alike=alike)


def test_two_shots_of_one_scene_are_told_from_two_scenes() -> None:
    first, second = ([look_for_scene(shot(seed, second=second)) for seed in range(5)] for second in (False, True))
    for at, one in enumerate(first):
        assert [number for number, other in enumerate(second) if are_one_scene(one, other)] == [at]
        assert [number for number, other in enumerate(second) if are_one_scene(other, one)] == [at]
        assert not any(are_one_scene(one, other) for other in first[at + 1 :])


def test_neither_small_nor_drawn_pictures_are_called_one_scene() -> None:
    """Digits and codes fit each other's patches: a scene is told by the grain of a photograph."""
    tiny = [look_for_scene(shot(1, second=second, size=(96, 64))) for second in (False, True)]
    assert not are_one_scene(*tiny)
    stream = io.BytesIO()
    cells = np.random.default_rng(0).integers(0, 2, (29, 29), dtype=np.uint8) * 255
    Image.fromarray(cells).resize((290, 290), Image.Resampling.NEAREST).save(stream, "PNG")
    drawn = look_for_scene(stream.getvalue())
    assert looking.motion_between(drawn.luma, drawn.luma) is not None
    assert not are_one_scene(drawn, drawn)


def test_what_features_propose_and_pixels_confirm_stays_on_one_side(garden: Path) -> None:
    """Without features these very shots part; with them none does, and no stranger is bound."""
    without = divided(garden)
    one, two = where(garden)
    assert one != two
    assert (without.proof.found, without.proof.near, without.network) == (0, 0, "")
    for seed in (4, 5, 6):
        report = divided(garden, everything, seed=seed)
        one, two = where(garden)
        assert one == two
        assert (report.proof.scenes, report.proof.found) == (0, SHOTS)
        assert (report.network, report.featured) == ("net", (16, 16))


def test_features_that_are_gone_move_nothing_and_bind_as_before(garden: Path) -> None:
    first = divided(garden, everything)
    before = where(garden)
    again = divided(garden)
    assert where(garden) == before
    assert (again.new, again.proof.found, again.counts) == (0, SHOTS, first.counts)
    divided(garden, seed=11)
    one, two = where(garden)
    assert one == two


def test_no_pair_is_looked_at_twice(garden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    divided(garden, everything)

    def fail(*_: object) -> bool:
        raise AssertionError("looked at again")

    monkeypatch.setattr("curate.splitting.scenes.are_one_scene", fail)
    assert divided(garden, everything).proof.found == SHOTS


def test_what_is_known_too_late_moves_nothing_and_is_counted(garden: Path) -> None:
    """Whether there were features when a split was drawn is chance: what has its split keeps it."""
    divided(garden)
    one, two = before = where(garden)
    parted = sum(first != second for first, second in zip(one, two, strict=True))
    assert parted
    report = divided(garden, everything)
    assert where(garden) == before
    assert (report.new, report.held_back) == (0, [])
    assert (report.proof.scenes, report.proof.found, report.proof.leaks) == (parted, SHOTS, 0)
    proved = verify(garden)
    assert [(proof.count("scene"), proof.scenes) for proof in proved.splits] == [(parted, SHOTS)]
    assert proved.in_order  # near pictures are no leak


@pytest.mark.thorough
def test_a_shot_that_is_added_follows_its_scene(garden: Path) -> None:
    later = list(garden.glob("raw/*/two *.jpg"))
    kept = {path: path.read_bytes() for path in later}
    for path in later:
        path.unlink()
    divided(garden, everything)
    (before,) = where(garden, ["one"])
    for path, data in kept.items():
        path.write_bytes(data)
    divided(garden, everything)
    one, two = where(garden)
    assert one == before == two


@pytest.mark.thorough
def test_the_splits_folder_and_the_folds_know_of_the_scenes(garden: Path) -> None:
    """Also where the catalog is gone: what proves the split and cuts it into folds lies in its folder."""
    divided(garden, everything)
    assert len(read_bonds(garden).scenes) == SHOTS
    for file in garden.glob("catalog.sqlite*"):
        file.unlink()
    assert [(proof.count("scene"), proof.scenes) for proof in verify(garden).splits] == [(0, SHOTS)]
    groups, notes = near_duplicate_groups(open_dataset(garden))
    pairs = [[groups[sha256] for sha256 in pair] for pair in read_bonds(garden).scenes]
    assert (notes, [len(set(pair)) for pair in pairs]) == ([], [1] * SHOTS)


@pytest.mark.thorough
def test_binding_copies_lets_scenes_part(garden: Path) -> None:
    divided(garden, everything)
    report = split(garden, ratio=(0.5, 0.25, 0.25), seed=3, bind="copies", alike=everything)
    assert (report.network, report.proof.found, read_bonds(garden).scenes) == ("", SHOTS, [])
    one, two = where(garden)
    assert one != two


def test_a_class_that_is_one_scene_is_said_to_be_undivided(tmp_path: Path) -> None:
    root = tmp_path / "garden"
    for number in range(12):
        put(root / "raw" / "1" / f"{number}.jpg", shot(100 + number))
    for number, second in ((0, False), (0, True)):
        put(root / "raw" / "2" / f"{number} {second}.jpg", shot(number, second=second))
    report = split(root, ratio=(0.5, 0.5, 0), alike=everything)
    assert [(one.label, one.pictures, one.groups, one.kind) for one in report.undivided] == [("2", 2, 1, "scenes")]


@pytest.mark.thorough
def test_a_record_of_scenes_in_the_catalog_of_another_version_is_made_anew(garden: Path) -> None:
    divided(garden, everything)
    with Catalog.open(open_dataset(garden).catalog_path) as catalog:
        catalog.db.execute("DROP TABLE scenes")
        catalog.db.execute("CREATE TABLE scenes (first TEXT, second TEXT)")
    (garden / RECORD).unlink()
    assert divided(garden, everything).proof.found == SHOTS


def test_a_long_series_is_one_though_its_parts_do_not_meet(tmp_path: Path) -> None:
    """Of twelve shots each is nearest to three: four parts, which pairs that are less alike join."""
    root = tmp_path / "series"
    for number in range(12):
        rng = np.random.default_rng(number)
        left, top = int(rng.integers(36, 85)), int(rng.integers(24, 57))
        pixels = np.asarray(scene(1, 360, 240).crop((left, top, left + 240, top + 160)), np.float64)
        noisy: NDArray[np.float64] = pixels + rng.normal(0, 3, pixels.shape)
        stream = io.BytesIO()
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
        put(root / "raw" / "a" / f"series {number}.jpg", stream.getvalue())
    for number in range(8):
        put(root / "raw" / f"{'ab'[number % 2]}" / f"single {number}.jpg", shot(100 + number))
    place: dict[str, int] = {}
    for file in (root / "raw" / "a").glob("series *"):
        place[hashlib.sha256(file.read_bytes()).hexdigest()] = int(file.stem.split()[1])

    def parts(sha256: NDArray[np.bytes_]) -> Alike:
        series = {place[digest.decode()]: at for at, digest in enumerate(sha256) if digest.decode() in place}
        others = [at for at in range(len(sha256)) if at not in series.values()]
        near = [(series[a], series[b]) for b in range(12) for a in range(b) if a // 3 == b // 3]
        wider = [(series[a], series[b]) for b in range(12) for a in range(b)] + [(series[0], at) for at in others]
        return Alike(np.array(near, np.int32), "net", len(sha256), np.array(wider, np.int32))

    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        scan(dataset, catalog)
        table = read_picture_table(dataset, catalog)
        alike = parts(table.sha256)
        alone = find_scenes(dataset, catalog, table, replace(alike, wider=np.empty((0, 2), np.int32)))
        assert sorted(map(len, joined(alone))) == [3, 3, 3, 3]
        together = find_scenes(dataset, catalog, table, alike)
        assert list(map(len, joined(together))) == [12]
        assert len(together) <= len(alone) + 6  # a pair of each two of the four parts, and no more


def joined(pairs: NDArray[np.int32]) -> list[set[int]]:
    """The sets of what pairs hold together."""
    sets = DisjointSet(np.unique(pairs).tolist())
    for a, b in pairs.tolist():
        sets.merge(a, b)
    return [set(one) for one in sets.subsets()]
