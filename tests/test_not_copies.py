"""What a person has said to be no copy is none: for clean, split, verify and compare, also with a catalog made anew."""

from pathlib import Path

import pytest

from curate.catalog import Catalog
from curate.clean import clean
from curate.compare import compare_datasets
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.files.reading import sha256_of
from curate.not_copies import file_of
from curate.split import split
from curate.verify import verify
from tests.commanding import command
from tests.pictures import save, scene

A, B = "raw/rose/a.jpg", "raw/rose/b.jpg"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten tulips and twelve roses, of which two are one picture saved twice."""
    for seed in range(10):
        save(scene(seed), tmp_path / "data" / "raw" / "rose" / f"{seed}.jpg")
        save(scene(60 + seed), tmp_path / "data" / "raw" / "tulip" / f"{seed}.jpg")
    save(scene(50), tmp_path / "data" / A, quality=95)
    save(scene(50), tmp_path / "data" / B, quality=40)
    return tmp_path / "data"


def leaving(root: Path) -> list[str]:
    return [decision.path for decision in clean(root, dry_run=True).plan.decisions]


def test_it_stays_said(root: Path) -> None:
    assert leaving(root) == [B]
    report = clean(root, not_copies=[(A, B)])
    assert (report.plan.decisions, report.moved, report.plan.near) == ([], 0, 1)
    assert leaving(root) == []
    (root / "plan.jsonl").unlink()
    assert clean(root, rebuild_catalog=True).plan.decisions == []
    (root / A).rename(root / "raw" / "rose" / "renamed.jpg")
    assert leaving(root) == []  # it is said of contents
    file_of(open_dataset(root)).unlink()
    assert leaving(root) == [B]


def test_a_line_by_hand_counts_and_so_does_its_removal(root: Path) -> None:
    file = file_of(open_dataset(root))
    assert clean(root, dry_run=True).plan.decisions
    file.write_text(f"{A},{B}\n")
    assert leaving(root) == []
    file.write_text(f"first,second\n{B},{A}\n\nraw/rose/gone.jpg,{A}\n")
    assert leaving(root) == []
    file.write_text("")
    assert leaving(root) == [B]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raw/rose/a.jpg\n", "line 1 is no pair"),
        ("first,second\na.jpg,../b.jpg\n", "line 2 names no two pictures"),
        ("a.jpg,b.jpg,abc,def\n", "64 hexadecimal digits"),
        ('"a.jpg,b.jpg\n', "is not CSV"),
    ],
)
def test_a_wrong_line_is_named(root: Path, text: str, words: str) -> None:
    file_of(open_dataset(root)).write_text(text)
    for stage in (clean, split, verify):
        with pytest.raises(UserError, match=words):
            stage(root)


def test_pictures_that_are_not_there_or_have_the_same_bytes_are_refused(root: Path) -> None:
    (root / "raw" / "rose" / "same.jpg").write_bytes((root / A).read_bytes())
    for pair, words in (((A, "raw/rose/same.jpg"), "same bytes"), ((A, "raw/rose/nowhere.jpg"), "cannot be read")):
        with pytest.raises(UserError, match=words):
            clean(root, not_copies=[(A, B), pair])
    assert not file_of(open_dataset(root)).exists()


def test_said_twice_it_is_written_once(root: Path) -> None:
    for pair in ((A, B), (B, A), (A, B)):
        clean(root, not_copies=[pair])
    assert len(file_of(open_dataset(root)).read_text().splitlines()) == 2


def test_two_labels_are_no_conflict_then(root: Path) -> None:
    (root / B).rename(root / "raw" / "tulip" / "b.jpg")
    assert len(leaving(root)) == 2
    assert clean(root, not_copies=[(A, "raw/tulip/b.jpg")]).plan.conflicts == []


def test_pictures_of_one_colour_are_told_apart_too(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(3):
        red = Image.new("RGB", (120 << number, 90 << number), (200, 30, 30))
        save(red, tmp_path / "data" / "rose" / f"{number}.png")
    root = tmp_path / "data"
    assert len(leaving(root)) == 2
    clean(root, dry_run=True, not_copies=[("rose/0.png", "rose/2.png"), ("rose/0.png", "rose/1.png")])
    assert len(leaving(root)) == 1


def test_split_and_verify_keep_them_and_call_it_no_leak(root: Path) -> None:
    for path, place in ((A, "train"), (B, "test")):
        (root / place / "rose").mkdir(parents=True)
        (root / path).rename(root / place / "rose" / Path(path).name)
    clean(root, dry_run=True)
    assert not verify(root).in_order
    clean(root, dry_run=True, not_copies=[("train/rose/a.jpg", "test/rose/b.jpg")])
    assert [crossing.kind for proof in verify(root).splits for crossing in proof.crossings] == ["near"]
    assert verify(root).in_order
    assert split(root, dry_run=True).proof.copies == 0
    with Catalog.open(open_dataset(root).catalog_path) as catalog:
        assert len(catalog.pictures()) == 22


def test_compare_honours_it(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "rose").mkdir(parents=True)
    (other / "rose" / "b.jpg").write_bytes((root / B).read_bytes())
    (root / B).unlink()
    assert compare_datasets(root, other).in_both == 1
    first, second = sha256_of(root / A), sha256_of(other / "rose" / "b.jpg")
    file_of(open_dataset(root)).write_text(f"{A},b.jpg,{first},{second}\n")
    report = compare_datasets(root, other)
    assert (report.in_both, report.near) == (0, 1)


def test_in_the_terminal(root: Path) -> None:
    assert command("clean", root, "--dry-run", "--not-a-copy", A, B).code == 0
    done = command("clean", root)
    assert done.code == 0
    assert "Nothing to set aside" in done.out


def test_exact_takes_the_same_bytes_alone(root: Path) -> None:
    (root / "raw" / "rose" / "same.jpg").write_bytes((root / "raw" / "rose" / "0.jpg").read_bytes())
    (decision,) = clean(root, only="exact", dry_run=True).plan.decisions
    assert (decision.path, decision.verdict) == ("raw/rose/same.jpg", "exact")
    verdicts = {decision.path: decision.verdict for decision in clean(root, dry_run=True).plan.decisions}
    assert verdicts == {"raw/rose/same.jpg": "exact", B: "copy"}
    with pytest.raises(UserError, match="kind of copy"):
        clean(root, only="some")  # type: ignore[arg-type]
    assert command("clean", root, "--only", "exact").code == 0
    assert (root / B).exists()
    assert not (root / "raw" / "rose" / "same.jpg").exists()
