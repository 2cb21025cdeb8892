"""What `split` promises: nothing leaks, nothing moves, nothing is lost, and it says what it did."""

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.scan import scan
from curate.split import SplitReport, split
from tests.pictures import dataset, encoded_field, field, placed, three_classes, tree, write


@pytest.fixture
def garden(tmp_path: Path) -> Path:
    return three_classes(tmp_path / "a dataset")


def test_fills_the_splits_by_ratio_under_each_label(garden: Path) -> None:
    report = split(garden)
    assert report.counts == {
        "1": {"train": 32, "valid": 4, "test": 4},
        "10": {"train": 8, "valid": 1, "test": 1},
        "lily of Ünïcödé 百合": {"train": 16, "valid": 2, "test": 2},
    }
    assert Counter(placed(garden).values()) == {"train": 56, "valid": 7, "test": 7}
    assert (report.new, report.kept, report.too_small) == (70, 0, [])


def test_twice_gives_the_same_split(garden: Path) -> None:
    split(garden)
    before = tree(garden)
    again = split(garden)
    assert tree(garden) == before
    assert (again.new, again.kept) == (0, 70)
    assert again.placement is not None
    assert (again.placement.linked, again.placement.removed) == (0, 0)


def test_the_same_pictures_elsewhere_give_the_same_split(garden: Path, tmp_path: Path) -> None:
    """Neither the folder, nor the order in which files were made, nor the catalog decides."""
    other = tmp_path / "other"
    files = sorted((garden / "raw").rglob("*.jpg"))
    random.Random(3).shuffle(files)
    for file in files:
        write(other / file.relative_to(garden), file.read_bytes())
    split(garden)
    split(other)
    assert placed(other) == placed(garden)


def test_other_names_give_the_same_split(garden: Path, tmp_path: Path) -> None:
    """The draw is keyed by content: renaming every file, so that it is listed elsewhere, moves none."""
    renamed = tmp_path / "renamed"
    for number, file in enumerate(sorted((garden / "raw").rglob("*.jpg"), reverse=True)):
        write(renamed / "raw" / file.parent.name / f"{number}.jpg", file.read_bytes())
    split(garden)
    split(renamed)

    def by_content(root: Path) -> dict[bytes, str]:
        return {(root / to / name).read_bytes(): to for name, to in placed(root).items()}

    assert by_content(renamed) == by_content(garden)


def test_another_seed_gives_another_split_and_leaves_no_file_in_two(garden: Path) -> None:
    split(garden)
    first = placed(garden)
    split(garden, seed=2)
    second = placed(garden)  # which fails on a file in two splits
    assert first.keys() == second.keys()
    assert first != second
    split(garden)
    assert placed(garden) == first


def test_another_ratio_gives_another_split(garden: Path) -> None:
    """A split does not move, but the one that is asked for is another: what was remembered is of its own ratio."""
    split(garden)
    first = placed(garden)
    report = split(garden, ratio=(0.4, 0.3, 0.3))
    assert report.counts == {
        "1": {"train": 16, "valid": 12, "test": 12},
        "10": {"train": 4, "valid": 3, "test": 3},
        "lily of Ünïcödé 百合": {"train": 8, "valid": 6, "test": 6},
    }
    assert Counter(placed(garden).values()) == {"train": 28, "valid": 21, "test": 21}
    split(garden)
    assert placed(garden) == first


def test_adding_a_tenth_moves_no_old_picture(garden: Path) -> None:
    split(garden)
    before = placed(garden)
    dataset(garden / "raw", {"1": 4, "lily of Ünïcödé 百合": 2, "10": 1}, first=1000)
    report = split(garden)
    after = placed(garden)
    assert {name: after[name] for name in before} == before
    assert report.new == 7
    assert report.counts["1"] == {"train": 36, "valid": 4, "test": 4}


@pytest.mark.thorough
@pytest.mark.parametrize("added", range(3))
def test_adding_one_to_two_hundred_moves_none(tmp_path: Path, added: int) -> None:
    dataset(tmp_path / "raw", {"a": 100, "b": 100})
    split(tmp_path)
    before = placed(tmp_path)
    write(tmp_path / "raw" / "a" / "0 first of all.jpg", encoded_field(field(5000 + added)))
    split(tmp_path)
    after = placed(tmp_path)
    assert {name: after[name] for name in before} == before


def test_a_class_of_one_goes_to_train(garden: Path) -> None:
    dataset(garden / "raw", {"single": 1}, first=700)
    report = split(garden)
    assert report.counts["single"] == {"train": 1, "valid": 0, "test": 0}
    assert report.too_small == ["single"]


@pytest.mark.parametrize("count", range(2, 12))
def test_small_classes_are_held_out_where_they_can_be(tmp_path: Path, count: int) -> None:
    dataset(tmp_path / "raw", {"small": count, "large": 20})
    counts = split(tmp_path).counts["small"]
    assert sum(counts.values()) == count
    assert counts["train"] >= 1
    assert counts["valid"] >= 1
    assert count == 2 or counts["test"] >= 1


def test_a_large_group_does_not_leave_a_split_empty(tmp_path: Path) -> None:
    """Two groups of four and one of two: none fits a quota of one, and each split gets one all the same."""
    dataset(tmp_path / "raw", {"other": 10})
    for number, size in enumerate((4, 4, 2)):
        for turn in range(size):
            write(
                tmp_path / "raw" / "grouped" / f"{number} {turn}.jpg", encoded_field(field(400 + number), 70 + 5 * turn)
            )
    counts = split(tmp_path).counts["grouped"]
    assert sorted(counts.values()) == [2, 4, 4]


@pytest.mark.parametrize("least", [0, 1, 3, 5])
def test_min_per_class(tmp_path: Path, least: int) -> None:
    dataset(tmp_path / "raw", {"12": 12, "20": 20, "7": 7})
    report = split(tmp_path, min_per_class=least)
    for label, counts in report.counts.items():
        floor = min(least, int(label) // 3)
        assert min(counts["valid"], counts["test"]) >= floor
        assert counts["train"] >= int(label) // 3
    assert report.too_small == {0: [], 1: [], 3: ["7"], 5: ["7", "12"]}[least]


def test_leaves_the_global_random_generators_alone(garden: Path) -> None:
    for method in ("stable", "split-folders"):
        random.seed(5)
        np.random.seed(5)
        state, numpy_state = random.getstate(), np.random.get_state()
        split(garden, method=method)
        assert random.getstate() == state
        assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy_state, strict=True))


def test_freezing_holds_for_a_split_of_ours(garden: Path) -> None:
    split(garden)
    before = placed(garden)
    dataset(garden / "raw", {"1": 30}, first=800)
    split(garden, freeze=["test"])
    after = Counter(placed(garden).values())
    assert after["test"] == Counter(before.values())["test"]
    assert after["valid"] > Counter(before.values())["valid"]


def test_a_flat_dataset_is_split_beside_itself(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    dataset(root, {"1": 10, "2": 10})
    before = tree(root)
    report = split(root)
    assert report.out == tmp_path / "pictures_split"
    assert tree(root) == before
    assert len(placed(report.out)) == 20


def test_a_dry_run_places_and_remembers_nothing(garden: Path) -> None:
    before = tree(garden)
    dry = split(garden, dry_run=True)
    assert tree(garden) == before
    assert dry.placement is None
    wet = split(garden)
    assert (wet.new, wet.counts) == (70, dry.counts)


def test_a_lost_catalog_moves_nothing(tmp_path: Path) -> None:
    """Neither in the dataset itself nor in a folder beside it: what lies there is taken over."""
    for root in (tmp_path / "flat", tmp_path / "with raw" / "raw"):
        dataset(root, {"1": 30, "2": 30})
    for root in (tmp_path / "flat", tmp_path / "with raw"):
        out = split(root).out
        before = placed(out)
        dataset_ = open_dataset(root)
        for file in dataset_.home.glob("catalog.sqlite*"):
            file.unlink()
        dataset(root / "raw" if root.name == "with raw" else root, {"1": 3}, first=900)
        split(root)
        after = placed(out)
        assert {name: after[name] for name in before} == before
        assert len(after) == 63


def test_takes_over_what_another_tool_left_in_two_splits(tmp_path: Path) -> None:
    root, out = tmp_path / "pictures", tmp_path / "out"
    dataset(root, {"1": 20, "2": 20})
    for seed in (1, 2):
        rng = random.Random(seed)
        for file in sorted(root.rglob("*.jpg")):
            target = out / rng.choice(["train", "valid", "test"]) / file.parent.name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    report = split(root, out=out)
    assert len(placed(out)) == 40  # which fails on a file in two splits
    assert report.kept == 40


def test_nothing_stale_remains_after_clean_took_a_picture(garden: Path) -> None:
    for number in range(5):
        shutil.copy(garden / "raw" / "1" / f"picture {number}.jpg", garden / "raw" / "1" / f"twin {number}.jpg")
    out = garden.parent / "out"
    split(garden)
    split(garden, out=out)
    assert len(placed(garden)) == len(placed(out)) == 75
    gone = {decision.path for decision in clean(garden, yes=True).plan.decisions}
    assert len([path for path in gone if path.startswith("raw/")]) == 5
    split(garden)
    split(garden, out=out)
    assert placed(garden) == placed(out)
    assert len(placed(garden)) == 70


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: None, "There is no folder"),
        (lambda root: root.mkdir(), "holds no class folders"),
        (lambda root: (root / "raw" / "1").mkdir(parents=True), "holds no intact picture"),
        (lambda root: write(root / "raw" / "1" / "a.jpg", b"no picture"), "holds no intact picture"),
        (lambda root: dataset(root / "raw", {"lily": 5}), "one class only, “lily”"),
        (lambda root: write(root, b""), "is a file"),
    ],
)
def test_says_what_is_wrong_with_a_dataset(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    make(tmp_path / "dataset")
    with pytest.raises(UserError, match=words):
        split(tmp_path / "dataset")


@pytest.mark.parametrize(
    "ratio",
    [(0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5), (float("nan"), 0.5, 0.5), (0.9, 0.1), (80, 10, 10)],
)
def test_says_what_is_wrong_with_a_ratio(garden: Path, ratio: tuple[float, float, float]) -> None:
    with pytest.raises(UserError, match="add up to 1"):
        split(garden, ratio=ratio)


def test_says_what_cannot_be_frozen(garden: Path) -> None:
    with pytest.raises(UserError, match="'train' cannot be frozen"):
        split(garden, freeze=["train"])


def split_of(report: SplitReport) -> dict[str, int]:
    return {to: sum(counts[to] for counts in report.counts.values()) for to in ("train", "valid", "test")}


@pytest.mark.parametrize("ratio", [(0.8, 0.2, 0.0), (0.8, 0.0, 0.2), (1.0, 0.0, 0.0)])
@pytest.mark.parametrize("method", ["stable", "split-folders"])
def test_a_share_of_nothing_gets_nothing(garden: Path, ratio: tuple[float, float, float], method: str) -> None:
    dataset(garden / "raw", {"odd": 7, "two": 2, "one": 1}, first=500)
    counts = split_of(split(garden, ratio=ratio, method=method))  # type: ignore[arg-type]
    for to, share in zip(counts, ratio, strict=True):
        assert bool(counts[to]) == bool(share)


def test_split_folders_keeps_groups_whole_and_leaves_nothing_behind(garden: Path) -> None:
    for number in range(8):
        for quality in (70, 80, 90):
            label = "1" if quality > 70 else "10"
            write(garden / "raw" / label / f"copy {number} {quality}.jpg", encoded_field(field(600 + number), quality))
    dataset(garden / "raw", {"single": 1}, first=700)
    for seed in (1, 2):
        report = split(garden, method="split-folders", seed=seed, ratio=(0.4, 0.3, 0.3))
        where = placed(garden)
        assert len(where) == 95
        assert report.proof.near_duplicates == 0
        assert where["single/picture 700.jpg"] == "train"
        for number in range(8):
            assert len({to for name, to in where.items() if f"copy {number} " in name}) == 1


def test_split_folders_is_the_library_itself(tmp_path: Path) -> None:
    """Without groups, and with names that sort as the contents do, its own run gives the same split."""
    import splitfolders

    root = tmp_path / "pictures"
    from hashlib import sha256

    for label, count in (("a", 31), ("b", 17)):
        for number in range(count):
            data = encoded_field(field(number + 100 * count))
            write(root / label / f"{sha256(data).hexdigest()}.jpg", data)
    report = split(root, method="split-folders", seed=7)
    state = random.getstate()
    splitfolders.ratio(root, tmp_path / "theirs", seed=7, ratio=(0.8, 0.1, 0.1))
    random.setstate(state)
    (tmp_path / "theirs" / "val").rename(tmp_path / "theirs" / "valid")
    assert placed(report.out) == placed(tmp_path / "theirs")


def test_orphans_are_kept_and_named(garden: Path) -> None:
    """A placed copy whose original was deleted is the only one left."""
    split(garden, mode="copy")
    before = placed(garden)
    name = next(name for name, to in before.items() if to == "test")
    (garden / "raw" / name).unlink()
    report = split(garden, mode="copy", seed=2)
    assert report.orphaned == [f"test/{name}"]
    assert placed(garden)[name] == "test"
    assert report.frozen == ()


def test_a_relabelled_picture_leaves_its_old_class(garden: Path) -> None:
    split(garden)
    (garden / "raw" / "1" / "picture 0.jpg").rename(garden / "raw" / "10" / "moved.jpg")
    split(garden)
    where = placed(garden)
    assert "1/picture 0.jpg" not in where
    assert "10/moved.jpg" in where


def test_a_dry_run_leaves_an_interrupted_clean_alone(garden: Path) -> None:
    """What is about to leave is not split, and does not leave by a dry run either."""
    shutil.copy(garden / "raw" / "1" / "picture 0.jpg", garden / "raw" / "1" / "twin.jpg")
    data = open_dataset(garden)
    with Catalog.open(data.catalog_path) as catalog:
        scan(data, catalog)
        (twin,) = (found for found in catalog.pictures() if found.path == "raw/1/twin.jpg")
        with catalog.transaction() as db:
            db.execute(
                "INSERT INTO quarantine (run, path, stored, sha256, reason, detail, keeper, distance, state) "
                "VALUES ('', ?, ?, ?, 'duplicate', '', '', -1, 'moving')",
                (twin.path, f"duplicate/{twin.path}", twin.sha256),
            )
    assert split_of(split(garden, dry_run=True)) == {"train": 56, "valid": 7, "test": 7}
    assert (garden / twin.path).exists()
    split(garden)
    assert not (garden / twin.path).exists()
    assert "1/twin.jpg" not in placed(garden)
