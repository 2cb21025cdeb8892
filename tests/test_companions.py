"""Files beside pictures: they are never judged, and go where their picture goes, and back."""

from pathlib import Path

import pytest

from curate.catalog import Catalog
from curate.clean import clean
from curate.companions import owners_of, renamed
from curate.dataset import SPLITS, open_dataset, open_to_write
from curate.defaults import Mode
from curate.quarantine import Decision, finish_moves, restore_files, set_aside
from curate.restore import restore as restore_dataset
from curate.scan import scan
from curate.split import split
from curate.verify import verify
from tests.commanding import command
from tests.pictures import dataset, encoded_field, field, tree, write

BESIDE = ("{stem}.txt", "{stem}.json", "{stem}.MOV", "{name}.xmp", "{name}:Zone.Identifier", "._{name}")
STRANGERS = ("IMG_9.MOV", "labels.csv", "coco.yaml", "notes")
JUNK = ("Thumbs.db", "ehthumbs.db", "Icon\r", ".DS_Store", "desktop.ini")


def accompany(file: Path) -> set[str]:
    """Put a companion of every kind beside a picture; their names."""
    names = {one.format(stem=file.stem, name=file.name) for one in BESIDE}
    for name in names:
        write(file.with_name(name), f"{name} of {file}".encode())
    return names


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of six; in the first a copy, and beside all pictures companions, and files of nobody."""
    root = tmp_path / "data"
    dataset(root, {"1": 6, "2": 6})
    first = min((root / "1").iterdir())
    write(root / "1" / "zz copy.jpg", first.read_bytes())
    for file in sorted(root.glob("*/*.jpg")):
        accompany(file)
    for name in (*STRANGERS, *JUNK):
        write(root / "1" / name, b"of nobody")
    return root


@pytest.mark.parametrize(
    ("other", "owners"),
    [
        ("a.txt", ["a.jpg", "a.png"]),
        ("a.jpg.txt", ["a.jpg"]),
        ("a.jpg:Zone.Identifier", ["a.jpg"]),
        ("._a.png", ["a.png"]),
        ("a.b.txt", ["a.b.jpg"]),
        ("a.seg.json", ["a.jpg", "a.png"]),
        ("plain.txt", ["plain"]),
        ("ab.txt", []),
        ("a", []),
        ("._a", []),
        (".txt", []),
    ],
)
def test_whose_companion_a_file_is(other: str, owners: list[str]) -> None:
    pictures = ["a.jpg", "a.png", "a.b.jpg", "plain", "b.jpg"]
    assert owners_of([other], pictures) == ({other: owners} if owners else {})


@pytest.mark.parametrize(
    ("companion", "picture", "to", "name"),
    [
        ("a.txt", "a.jpg", "a~12345678.jpg", "a~12345678.txt"),
        ("a.jpg.txt", "a.jpg", "b.png", "b.png.txt"),
        ("a.jpg:Zone.Identifier", "a.jpg", "b.jpg", "b.jpg:Zone.Identifier"),
        ("._a.jpg", "a.jpg", "b.jpg", "._b.jpg"),
        ("plain.txt", "plain", "plain.jpg", "plain.txt"),
    ],
)
def test_it_takes_the_pictures_new_name(companion: str, picture: str, to: str, name: str) -> None:
    assert renamed(companion, picture, to) == name


def test_none_of_them_is_judged_and_one_line_counts_them(root: Path) -> None:
    report = clean(root, dry_run=True)
    assert [decision.path for decision in report.plan.decisions] == ["1/zz copy.jpg"]
    assert (report.scan.files, report.scan.companions, report.scan.strangers) == (13, 13 * len(BESIDE), len(STRANGERS))
    done = command("clean", root, "--yes")
    assert done.code == 0
    assert "78" in done.out
    assert "6 went with the pictures that left" in " ".join(done.out.split())
    assert ": 1 file." in " ".join(done.out.split())  # companions are no files that were judged


def test_they_go_with_their_picture_and_come_back(root: Path) -> None:
    before = tree(root)
    report = clean(root, yes=True)
    assert (report.moved, report.companions) == (1, len(BESIDE))
    names = {one.format(stem="zz copy", name="zz copy.jpg") for one in BESIDE}
    quarantine = open_dataset(root).quarantine / "duplicate" / "1"
    assert {file.name for file in quarantine.iterdir()} == names | {"zz copy.jpg"}
    assert not any((root / "1" / name).exists() for name in names)
    assert clean(root, yes=True).moved == 0  # what stays is nobody's business
    back = restore_dataset(root, pictures=["1/zz copy.jpg"])
    assert back is not None
    assert (back.restored, len(back.companions)) == (["1/zz copy.jpg"], len(BESIDE))
    assert tree(root) == before


def test_they_come_back_without_a_catalog(root: Path) -> None:
    before = tree(root)
    clean(root, yes=True)
    for file in open_dataset(root).home.glob("catalog.sqlite*"):
        file.unlink()
    back = restore_dataset(root)
    assert back is not None
    assert (back.restored, len(back.companions)) == (["1/zz copy.jpg"], len(BESIDE))
    assert tree(root) == before


def test_one_that_two_pictures_share_stays_while_one_of_them_does(tmp_path: Path) -> None:
    for number, name in enumerate(["1/a.jpg", "1/c.jpg", "2/b.jpg"]):
        write(tmp_path / "data" / name, encoded_field(field(number)))
    write(tmp_path / "data/1/a.png", b"\x89PNG\r\n\x1a\n broken")
    write(tmp_path / "data/1/a.txt", b"shared")
    assert clean(tmp_path / "data", yes=True).companions == 0
    assert (tmp_path / "data/1/a.txt").read_bytes() == b"shared"
    write(tmp_path / "data/1/a.jpg", b"now broken too")
    assert clean(tmp_path / "data", yes=True).companions == 1
    back = restore_dataset(tmp_path / "data", pictures=["1/a.jpg"])
    assert back is not None
    assert back.companions == ["1/a.txt"]


@pytest.mark.parametrize("done", [0, 1])
def test_intended_moves_are_carried_to_their_end(root: Path, done: int) -> None:
    """Killed after the intent, or after the picture alone: the next run brings the companions after it."""
    before = set(tree(root))
    with open_to_write(root, "clean") as data, Catalog.open(data.catalog_path) as catalog:
        scan(data, catalog)
        picture = next(one for one in catalog.pictures() if one.path == "1/zz copy.jpg")
        set_aside(data, catalog, [Decision(picture.path, picture.sha256, "duplicate", "")], "now")
        catalog.db.execute("UPDATE quarantine SET state = 'moving'")
        for stored, path, detail in catalog.db.execute("SELECT stored, path, detail FROM quarantine").fetchall():
            if detail or not done:  # as it was before these moved
                (data.quarantine / stored).rename(data.root / path)
        moves = finish_moves(data, catalog)
        assert (moves.moved, len(moves.companions), moves.unmoved) == (["1/zz copy.jpg"], len(BESIDE), [])
        restore_files(data, catalog)
    assert set(tree(root)) == before


def test_they_stay_with_a_picture_that_changed_before_it_moved(root: Path) -> None:
    with open_to_write(root, "clean") as data, Catalog.open(data.catalog_path) as catalog:
        scan(data, catalog)
        decision = Decision("1/zz copy.jpg", "0" * 64, "duplicate", "")
        write(root / "1" / "zz copy.jpg", encoded_field(field(77)))
        moves = set_aside(data, catalog, [decision], "now")
    assert (moves.moved, moves.companions, moves.unmoved) == ([], [], ["1/zz copy.jpg"])
    assert (root / "1" / "zz copy.txt").is_file()


@pytest.mark.thorough
@pytest.mark.parametrize("mode", ["link", "copy", "symlink"])
@pytest.mark.parametrize("layout", ["flat", "raw"])
def test_they_stand_beside_their_picture_in_the_split(tmp_path: Path, mode: Mode, layout: str) -> None:
    root = tmp_path / "data"
    pictures = root if layout == "flat" else root / "raw"
    dataset(pictures, {"1": 10, "2": 10})
    for file in sorted(pictures.glob("*/*.jpg")):
        accompany(file)
    report = split(root, mode=mode)
    assert report.placement is not None
    assert (report.companions, report.placement.companions) == (20 * len(BESIDE), 20 * len(BESIDE))
    assert sum((report.placement.linked, report.placement.copied, report.placement.symlinked)) == 20
    for label in ("1", "2"):
        for file in (pictures / label).iterdir():
            (there,) = (one for to in SPLITS for one in [report.out / to / label / file.name] if one.exists())
            assert there.read_bytes() == file.read_bytes()
    assert verify(root).in_order
    again = split(root, mode=mode)
    assert again.placement is not None
    assert (again.placement.kept, again.placement.removed, again.placement.set_aside) == (20, 0, 0)


@pytest.mark.parametrize("mode", ["link", "copy"])
def test_a_new_split_leaves_none_behind_and_keeps_what_was_edited(root: Path, mode: Mode) -> None:
    out = split(root, mode=mode).out
    caption = next(root.glob("1/*.txt"))
    caption.write_bytes(b"a better caption")
    clean(root, yes=True)
    split(root, mode=mode, seed=7)
    texts = list(out.glob(f"*/1/{caption.name}"))
    assert [file.read_bytes() for file in texts] == [b"a better caption"]
    assert not list(out.rglob("zz copy*"))
    assert len(list(out.rglob("*.txt"))) == len(list(out.rglob("[!.]*.jpg"))) == 12


def test_what_a_person_put_beside_placed_pictures_is_left_alone(root: Path) -> None:
    out = split(root, mode="copy").out
    placed = next(out.rglob("*.txt"))
    placed.write_bytes(b"edited where it stands")
    split(root, mode="copy")
    assert placed.read_bytes() == b"edited where it stands"
