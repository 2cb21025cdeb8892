"""What belongs together, by its pixels or by where it comes from, is never parted by `split`."""

import random
import shutil
from collections import defaultdict
from itertools import combinations, pairwise
from pathlib import Path

import imagehash
import pytest
from PIL import Image

from curate.catalog import Catalog
from curate.dataset import open_dataset
from curate.phash import phash
from curate.split import split
from tests.pictures import bridge, dataset, encoded_field, field, field_picture, placed, three_classes, write

RADIUS = 8


@pytest.fixture
def garden(tmp_path: Path) -> Path:
    return three_classes(tmp_path / "a dataset")


def test_a_copy_of_an_old_picture_joins_its_split(garden: Path) -> None:
    split(garden)
    before = placed(garden)
    old = {to: name for name, to in before.items()}
    for to, name in old.items():
        with Image.open(garden / "raw" / name) as image:
            image.resize((80, 80)).save(garden / "raw" / "1" / f"copy of {to}.jpg", quality=85)
    report = split(garden)
    after = placed(garden)
    assert {to: after[f"1/copy of {to}.jpg"] for to in old} == {to: to for to in old}
    assert report.proof.near_duplicates == 0


@pytest.mark.thorough
def test_a_picture_that_bridges_two_splits_is_held_back(tmp_path: Path) -> None:
    tried = tmp_path.with_name(f"{tmp_path.name} tried")
    dataset(tmp_path / "raw", {"1": 30, "2": 30})
    bridges = [bridge(number, tried) for number in range(12)]
    for number, (a, b, _) in enumerate(bridges):
        write(tmp_path / "raw" / "1" / f"a{number}.jpg", encoded_field(a, 95))
        write(tmp_path / "raw" / "1" / f"b{number}.jpg", encoded_field(b, 95))
    split(tmp_path, ratio=(0.4, 0.3, 0.3))
    before = placed(tmp_path)
    for number, (_, _, middle) in enumerate(bridges):
        write(tmp_path / "raw" / "1" / f"middle{number}.jpg", encoded_field(middle, 95))
    report = split(tmp_path, ratio=(0.4, 0.3, 0.3))
    after = placed(tmp_path)
    assert {name: after[name] for name in before} == before
    apart = {number for number in range(12) if before[f"1/a{number}.jpg"] != before[f"1/b{number}.jpg"]}
    assert apart  # else the test shows nothing
    assert {held.path for held in report.held_back} == {f"raw/1/middle{number}.jpg" for number in apart}
    assert all("belongs together with pictures of" in held.reason for held in report.held_back)
    for number in set(range(12)) - apart:
        assert after[f"1/middle{number}.jpg"] == before[f"1/a{number}.jpg"]
    assert report.proof.near_duplicates == 0


@pytest.mark.thorough
def test_near_duplicates_never_part(garden: Path) -> None:
    """Each picture ten times, in other qualities and sizes, also under another label."""
    for number in range(12):
        for turn in range(6):
            image = field_picture(field(9000 + number), side=80 + 8 * turn)
            target = garden / "raw" / ("1" if turn % 3 else "10") / f"copy {number} {turn}.jpg"
            image.save(target, quality=70 + 4 * turn)
    report = split(garden, ratio=(0.4, 0.3, 0.3))
    where = placed(garden)
    homes = defaultdict(set)
    for name, to in where.items():
        if "copy" in name:
            homes[name.split()[1]].add(to)
    assert len(homes) == 12
    assert all(len(splits) == 1 for splits in homes.values())
    assert report.proof.near_duplicates == 0


def test_one_provenance_never_parts(garden: Path) -> None:
    """Pictures of one observation look different, and belong together all the same, also across labels."""
    with Catalog.open(open_dataset(garden).catalog_path):
        pass  # the catalog is there before any picture is read
    split(garden, dry_run=True)
    groups: dict[str, list[str]] = defaultdict(list)
    with Catalog.open(open_dataset(garden).catalog_path) as catalog:
        for number, found in enumerate(sorted(catalog.pictures(), key=lambda found: found.sha256)):
            group = f"observation {number // 5}"
            groups[group].append(found.path)
            credit(catalog, found.sha256, group)
    report = split(garden, ratio=(0.4, 0.3, 0.3))
    where = placed(garden)
    for paths in groups.values():
        assert len({where[path.removeprefix("raw/")] for path in paths}) == 1
    assert report.proof.origins == 0
    assert set(where.values()) == {"train", "valid", "test"}


def test_a_picture_with_two_credits_belongs_to_both_origins(garden: Path) -> None:
    split(garden, dry_run=True)
    with Catalog.open(open_dataset(garden).catalog_path) as catalog:
        chain = [found.sha256 for found in catalog.pictures() if found.label == "1"]
        names = {found.sha256: found.path.removeprefix("raw/") for found in catalog.pictures()}
        for number, (one, next_one) in enumerate(pairwise(chain)):
            credit(catalog, one, f"page {number}")
            credit(catalog, next_one, f"page {number}")
    split(garden, ratio=(0.4, 0.3, 0.3))
    where = placed(garden)
    assert len({where[names[sha256]] for sha256 in chain}) == 1


def test_a_credit_learnt_later_takes_a_picture_back_and_moves_none(garden: Path) -> None:
    split(garden)
    before = placed(garden)
    one = next(name for name, to in before.items() if to == "train")
    other = next(name for name, to in before.items() if to == "test")
    with Catalog.open(open_dataset(garden).catalog_path) as catalog:
        for name in (one, other):
            (found,) = (found for found in catalog.pictures() if found.path == f"raw/{name}")
            credit(catalog, found.sha256, "one observation")
    report = split(garden)
    assert report.held_back[0].path == f"raw/{one}"
    assert placed(garden) == {name: to for name, to in before.items() if name != one}
    assert report.proof.origins == 0


def credit(catalog: Catalog, sha256: str, group: str) -> None:
    columns = [row[1] for row in catalog.db.execute("PRAGMA table_info(credits)")]
    values = {"sha256": sha256, "url": f"https://example.org/{sha256}/{group}", "provenance_group": group}
    row = [values.get(column, "") for column in columns]
    with catalog.transaction() as db:
        db.execute(f"INSERT INTO credits VALUES ({', '.join('?' * len(row))})", row)


def crossing_pairs(out: Path) -> list[tuple[str, str]]:
    """Pairs within the radius that lie in two splits, by imagehash and by comparing all with all."""
    hashes = []
    for name, to in placed(out).items():
        with Image.open(out / to / name) as image:
            hashes.append((to, name, int(str(imagehash.phash(image)), 16)))
    return [
        (a, b)
        for (split_a, a, hash_a), (split_b, b, hash_b) in combinations(hashes, 2)
        if split_a != split_b and (hash_a ^ hash_b).bit_count() <= RADIUS
    ]


@pytest.mark.thorough
def test_no_real_pair_within_the_radius_crosses(flowers: Path, tmp_path: Path) -> None:
    """Photographs with recompressed copies planted, then a tenth more of both."""
    files = sorted((flowers / "train").rglob("*.jpg"))[:330]
    rng = random.Random(8)
    for file in files[:300]:
        link(file, tmp_path / "raw" / file.parent.name / file.name)
    plant_copies(tmp_path / "raw", files[:300], rng, 60)
    first = split(tmp_path)
    before = placed(tmp_path)
    assert first.proof.near_duplicates == 0
    assert crossing_pairs(tmp_path) == []
    for file in files[300:]:
        link(file, tmp_path / "raw" / file.parent.name / file.name)
    plant_copies(tmp_path / "raw", files, rng, 10)
    second = split(tmp_path)
    after = placed(tmp_path)
    assert {name: after[name] for name in before} == before
    assert second.proof.near_duplicates == 0
    assert crossing_pairs(tmp_path) == []


def link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(file)
    except OSError:
        shutil.copy(file, target)


def plant_copies(raw: Path, files: list[Path], rng: random.Random, count: int) -> None:
    """Recompressed copies, some under another label."""
    labels = [folder.name for folder in raw.iterdir()]
    for file in rng.sample(files, count):
        label = rng.choice([file.parent.name, rng.choice(labels)])
        with Image.open(file) as image:
            image.save(raw / label / f"{file.stem} {rng.getrandbits(40):x}.jpg", quality=70)


def test_hashes_of_drawn_pictures_are_far_apart() -> None:
    """What the other tests build on."""
    hashes = [phash(field_picture(field(number))) for number in range(200)]
    assert min((a ^ b).bit_count() for a, b in combinations(hashes, 2)) > RADIUS
