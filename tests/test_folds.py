"""Folds: no group is parted, every class is spread, each picture is held out once, and valid and test stay shut."""

import hashlib
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curate.dataset import open_dataset
from curate.errors import UserError
from curate.not_copies import add_not_copies
from curate.split import split
from curate.splitting.bonds import Bonds, write_bonds
from tests.training_ground import TINY, grow, picture
from train.fold_assignment import NEVER, assign_folds, near_duplicate_groups
from train.folds import cross_validate, learning_set
from train.optimising.settings import FitSettings, Tuning
from train.training import TrainOptions

pytestmark = pytest.mark.usefixtures("one_thread")


def options(models: Path, **changes: object) -> TrainOptions:
    given: dict[str, object] = {
        "backbone": TINY, "weights": "none", "views": 1, "models": models, "device": "cpu",
        "head": FitSettings(epochs=8),
    }  # fmt: skip
    return TrainOptions(**{**given, **changes})  # type: ignore[arg-type]


@st.composite
def datasets(draw: st.DrawFn) -> tuple[list[str], list[int], dict[str, int]]:
    classes = draw(st.lists(st.integers(0, 4), min_size=1, max_size=60))
    sha256 = [f"{draw(st.integers(0, 10**9)):09d}{at:04d}" for at in range(len(classes))]
    grouped = draw(st.lists(st.tuples(st.sampled_from(sha256), st.integers(0, 12)), max_size=30))
    return sha256, classes, dict(grouped)


@given(datasets(), st.integers(2, 5), st.integers(0, 3))
def test_no_group_is_parted_and_no_class_goes_unlearnt(
    data: tuple[list[str], list[int], dict[str, int]], folds: int, seed: int
) -> None:
    sha256, classes, groups = data
    targets = np.array(classes)
    fold = assign_folds(sha256, targets, groups, folds=folds, seed=seed)
    assert set(fold.tolist()) <= {NEVER, *range(folds)}
    of_group: dict[int, set[int]] = {}
    for sha, own in zip(sha256, fold.tolist(), strict=True):
        if sha in groups:
            of_group.setdefault(groups[sha], set()).add(own)
    assert all(len(found) == 1 for found in of_group.values())
    for number in range(folds):
        held = fold == number
        assert set(targets[held].tolist()) <= set(targets[~held].tolist())
    # The order of a listing has no say
    order = np.argsort(sha256)
    again = assign_folds([sha256[at] for at in order], targets[order], groups, folds=folds, seed=seed)
    np.testing.assert_array_equal(again, fold[order])


def test_classes_are_spread_evenly() -> None:
    targets = np.repeat(np.arange(6), [5, 6, 10, 23, 40, 7])
    sha256 = [f"{number * 7919 % 100_003:064x}" for number in range(len(targets))]
    fold = assign_folds(sha256, targets, {}, folds=5, seed=1)
    for target in range(6):
        counts = np.bincount(fold[targets == target], minlength=5)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(fold, minlength=5)
    assert sizes.max() - sizes.min() <= 2
    other = assign_folds(sha256, targets, {}, folds=5, seed=2)
    assert (other != fold).mean() > 0.5


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of ten; each "rose" has a recompressed, smaller copy."""
    root = grow(tmp_path_factory.mktemp("garden"), {"train": 10, "valid": 2, "test": 2})
    for path in list((root / "train" / "rose").iterdir()):
        with Image.open(path) as image:
            image.resize((176, 152)).save(path.with_name(f"{path.stem} again.jpg"), quality=70)
    return root


def test_near_duplicates_stay_in_one_fold(garden: Path, tmp_path: Path) -> None:
    data = learning_set(garden, options(tmp_path), folds=4)
    assert data.notes == []
    rose = data.labels.index("rose")
    assert Counter(data.targets.tolist()) == {0: 10, 1: 20, 2: 10}
    pairs = data.fold[data.targets == rose].reshape(10, 2)  # "picture 0 again.jpg", "picture 0.jpg", …
    np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])
    groups, notes = near_duplicate_groups(open_dataset(garden))
    assert notes == []
    assert len(groups) >= 20
    # Left to chance, ten pairs in four folds would stay together once in a million
    assert len(set(data.fold.tolist())) == 4


def test_what_a_person_told_apart_may_lie_in_two_folds(garden: Path, tmp_path: Path) -> None:
    """Where a split binds copies alone, what is said to be no copy binds nothing, in the folds as in the split."""
    root = shutil.copytree(garden, tmp_path / "data")
    dataset = open_dataset(root)
    write_bonds(root, Bonds(bind="copies"))
    first, second = sorted((root / "train" / "rose").glob("picture 0*"))
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second)}
    assert digests <= near_duplicate_groups(dataset)[0].keys()
    add_not_copies(dataset, [(first.relative_to(root).as_posix(), second.relative_to(root).as_posix())])
    assert not digests & near_duplicate_groups(dataset)[0].keys()


def test_groups_of_the_split_stay_in_one_fold(garden: Path, tmp_path: Path) -> None:
    """Five patients of two pictures in each class, by a table that is gone when the folds are cut."""
    root = shutil.copytree(garden, tmp_path / "data")
    table = tmp_path / "patients.csv"
    paths = [path for path in sorted((root / "train").rglob("*.jpg")) if path.parent.name != "rose"]
    rows = [f"{path.relative_to(root)},{path.parent.name} {number % 5}" for number, path in enumerate(paths)]
    table.write_text("\n".join(["path,patient", *rows]))
    split(root, group_by=str(table))
    table.unlink()
    groups, notes = near_duplicate_groups(open_dataset(root))
    number = [groups[hashlib.sha256(path.read_bytes()).hexdigest()] for path in paths]
    assert len(set(number)) == 10
    assert number[:5] == number[5:10]
    (root / "catalog.sqlite").write_bytes(b"no database" * 100)
    again, notes = near_duplicate_groups(open_dataset(root))
    assert len({again[hashlib.sha256(path.read_bytes()).hexdigest()] for path in paths}) == 10
    assert len(notes) == 1


def test_each_picture_is_held_out_once(garden: Path, tmp_path: Path) -> None:
    found = cross_validate(garden, options(tmp_path), folds=4)
    assert [fold.accuracy.n for fold in found.folds] == [10] * 4
    assert (found.held_out, found.pictures, found.pooled.n) == (40, 40, 40)
    assert found.pooled.correct == sum(fold.accuracy.correct for fold in found.folds) > 30
    shares = [fold.accuracy.correct / 10 for fold in found.folds]
    assert found.mean == pytest.approx(np.mean(shares))
    assert found.spread == pytest.approx(np.std(shares, ddof=1))
    again = cross_validate(garden, options(tmp_path), folds=4)
    assert again.pooled.to_dict() == found.pooled.to_dict()


def test_valid_and_test_have_no_say(garden: Path, tmp_path: Path) -> None:
    found = cross_validate(garden, options(tmp_path / "models"), folds=3)
    other = shutil.copytree(garden, tmp_path / "other")
    for to in ("valid", "test"):
        for number, path in enumerate(sorted((other / to).rglob("*.jpg"))):
            picture((0, 0, 0), number).save(path)
    again = cross_validate(other, options(tmp_path / "models"), folds=3)
    assert again.pooled.to_dict() == found.pooled.to_dict()
    assert not list(garden.rglob("*.opened.json"))


def test_a_picture_alone_in_its_class_is_learnt_from_in_every_fold(tmp_path: Path) -> None:
    root = grow(tmp_path / "data", {"train": 6, "valid": 1})
    for path in sorted((root / "train" / "iris").iterdir())[1:]:
        path.unlink()
    data = learning_set(root, options(tmp_path), folds=3)
    assert data.fold[data.targets == data.labels.index("iris")].tolist() == [NEVER]
    assert "only ones of their class" in data.notes[0]
    found = cross_validate(root, options(tmp_path), folds=3)
    assert (found.held_out, found.pictures) == (12, 13)


def test_what_cannot_be_folded_is_said(garden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--folds 1"):
        learning_set(garden, options(tmp_path), folds=1)
    with pytest.raises(UserError, match="leave --unfreeze out"):
        learning_set(garden, options(tmp_path, tuning=Tuning(unfreeze="all")), folds=3)
    with pytest.raises(UserError, match="too few training pictures for 50 folds"):
        learning_set(garden, options(tmp_path), folds=50)


def test_without_a_catalog_copies_alone_stay_together(garden: Path, tmp_path: Path) -> None:
    root = shutil.copytree(garden, tmp_path / "data")
    (root / "catalog.sqlite").unlink(missing_ok=True)
    (root / "catalog.sqlite").write_bytes(b"no database" * 100)
    data = learning_set(root, options(tmp_path), folds=3)
    assert "Near-duplicates may lie in different folds" in data.notes[0]
    assert len(data.fold) == 40
