"""A dataset from the net carries a catalog: whatever it says, nothing outside the dataset is read, moved or written."""

import io
import os
import pickle
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.export import export
from curate.lookalikes.neighbours import NOTHING
from curate.lookalikes.second_look import COPY
from curate.quarantine import restore_files
from curate.split import split
from curate.verify import verify
from tests.pictures import dataset, paint, save, tree


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder: pictures of their own beside a dataset that was split, cleaned, and came from the net."""
    dataset(tmp_path / "data" / "raw", {"1": 12, "2": 12})
    for number in range(3):
        save(paint(100 + number), tmp_path / "mine" / "raw" / "1" / f"{number}.jpg")
    (tmp_path / "mine" / "notes.txt").write_text("mine alone")
    (tmp_path / "data" / "raw" / "1" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "data" / "raw" / "2" / "broken.jpg").write_bytes(b"no picture")
    split(tmp_path / "data")
    clean(tmp_path / "data", yes=True)
    return tmp_path


def tell(home: Path, *statements: str) -> None:
    """Have the catalog say something else."""
    with closing(sqlite3.connect(home / "data" / "catalog.sqlite")) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def give_back(root: Path) -> object:
    found = open_dataset(root)
    with Catalog.open(found.catalog_path) as catalog:
        return restore_files(found, catalog)


COMMANDS: dict[str, Callable[[Path], object]] = {
    "clean": partial(clean, yes=True),
    "restore": give_back,
    "split": lambda root: split(root, seed=5),
    "split elsewhere": lambda root: split(root, out=root.parent / "mine" / "split"),
    "export": lambda root: export(root, root.parent / "exported"),
    "verify": verify,
}


def outside(home: Path) -> dict[str, bytes]:
    """All that is the user's own."""
    return tree(home / "mine")


def bytes_of(home: Path) -> list[bytes]:
    """What lies in the dataset and what came out of it, wherever it is by now."""
    files = [file for file in home.rglob("*.jpg") if file.is_file() and not file.is_relative_to(home / "mine")]
    return sorted({file.read_bytes() for file in files})


def row(path: str, stored: str, state: str) -> str:
    return (
        "INSERT INTO quarantine (run, path, stored, sha256, reason, detail, keeper, distance, state) "
        f"VALUES ('r', {path}, {stored}, 'aa', 'broken', '', '', -1, '{state}')"
    )


LIES = {
    "quarantined outside": [row("'../mine/taken.jpg'", "'broken/raw/1/broken.jpg'", "moved")],
    "stored outside": [row("'raw/1/x.jpg'", "'../../mine/raw/1/0.jpg'", "moved")],
    "moving from outside": [row("'../mine/raw/1/0.jpg'", "'broken/raw/1/0.jpg'", "moving")],
    "moving to outside": [row("'raw/1/picture 0.jpg'", "'../../mine/new.jpg'", "moving")],
    "absolute": [row("'raw/1/x.jpg'", "'/etc/hostname'", "moving")],
    "nul in a path": [row("'raw/1/x' || char(0) || '.jpg'", "'broken/x'", "moving")],
    "renamed on the way back": ["UPDATE quarantine SET path = '../mine/raw/1/0.jpg'"],
    "placed outside": [
        "INSERT INTO placements SELECT '.', '../mine/raw/1/0.jpg', sha256 FROM pictures LIMIT 1",
        "INSERT INTO placements SELECT '../mine/split', '../raw/1/0.jpg', sha256 FROM pictures LIMIT 1",
        "INSERT INTO placements SELECT '../mine', 'raw/1/0.jpg', sha256 FROM pictures LIMIT 1",
    ],
    "a label that is a path": ["UPDATE pictures SET label = '../../../mine/raw', state = 'present'"],
    "a picture that is outside": [
        "UPDATE OR REPLACE pictures SET path = REPLACE(path, 'raw/1/', '../mine/raw/1/') WHERE path LIKE 'raw/1/%'",
        "UPDATE OR REPLACE pictures SET path = '../mine/raw/1/' || sha256 WHERE path LIKE 'train/1/%'",
    ],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("lie", LIES)
def test_no_lie_leads_outside(home: Path, lie: str, command: str) -> None:
    before, pictures = outside(home), bytes_of(home)
    tell(home, *LIES[lie])
    with suppress(UserError):  # refused, or passed over
        COMMANDS[command](home / "data")
    shutil.rmtree(home / "mine" / "split", ignore_errors=True)  # what was asked for
    assert outside(home) == before
    assert bytes_of(home) == pictures, "nor is anything of the dataset itself lost"


@pytest.mark.parametrize("lie", ["quarantined outside", "moving from outside", "moving to outside", "absolute"])
def test_a_lie_is_told_to_the_user(home: Path, lie: str) -> None:
    tell(home, *LIES[lie])
    with pytest.raises(UserError, match="is no path inside"):
        COMMANDS["restore" if lie == "quarantined outside" else "clean"](home / "data")


def test_a_folder_that_was_not_split_into_by_us_loses_nothing(home: Path) -> None:
    """The catalog claims that an earlier split made the user's own split folder, whose pictures it has too."""
    theirs = home / "data_split"
    for split_, name in (("train", "a"), ("valid", "b")):
        target = theirs / split_ / "1" / f"{name}.jpg"
        target.parent.mkdir(parents=True)
        shutil.copy2(min((home / "data" / "raw" / "1").glob("*.jpg")), target)
        claim = f"SELECT '../data_split', '{split_}/1/{name}.jpg', sha256 FROM pictures LIMIT 1"
        tell(home, f"INSERT INTO placements {claim}")
    before = tree(theirs)
    with pytest.raises(UserError, match="holds files that are not of this dataset"):
        split(home / "data", out=theirs)
    assert tree(theirs).items() >= before.items()


@pytest.mark.thorough
@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(["CREATE TABLE secrets (a)"], id="a table"),
        pytest.param(
            ["DROP TABLE searches", "CREATE VIEW searches AS SELECT * FROM pictures"], id="a view in a table's place"
        ),
        pytest.param(
            ["CREATE TRIGGER t AFTER UPDATE ON pictures BEGIN DELETE FROM quarantine; END"], id="a trigger"
        ),
        pytest.param(
            ["DROP TABLE searches", "CREATE VIRTUAL TABLE searches USING fts5(radius, method, result)"],
            id="a virtual table",
        ),
        pytest.param(["ALTER TABLE credits ADD COLUMN x TEXT"], id="a column"),
        pytest.param(["ALTER TABLE credits ADD COLUMN x TEXT AS (hex(url))"], id="a computed column"),
        pytest.param(["DROP TABLE quarantine"], id="a missing table"),
        pytest.param(["ALTER TABLE pictures DROP COLUMN width"], id="a missing column"),
        pytest.param(
            ["DROP TABLE placements", "CREATE TABLE placements (out, path, sha256)"], id="a table without types"
        ),
        pytest.param(
            [
                "DROP TABLE placements",
                "CREATE TABLE placements (out TEXT, path TEXT, sha256 TEXT, PRIMARY KEY (out, path))",
                "INSERT INTO placements VALUES ('.', x'00ff', 7)",
            ],
            id="values of other types",
        ),
        pytest.param(
            ["UPDATE assignments SET split = 'exam'"],
            id="a split that is none",
        ),
    ],
)  # fmt: skip
def test_what_we_did_not_make_is_refused_and_can_be_rebuilt(home: Path, statements: list[str]) -> None:
    tell(home, *statements)
    pictures = bytes_of(home)
    with pytest.raises(UserError, match="--rebuild-catalog"):
        clean(home / "data", yes=True)
    assert bytes_of(home) == pictures
    clean(home / "data", rebuild_catalog=True, yes=True)
    assert len(list((home / "data").glob("catalog-*.sqlite"))) == 1, "the old one is put aside, not lost"
    assert len(give_back(home / "data").restored) == 2  # type: ignore[attr-defined]


def test_a_trigger_does_not_fire_while_the_catalog_is_looked_at(home: Path) -> None:
    """`open` itself writes, when a check is new or the identity has no table yet."""
    tell(home, "DROP TABLE IF EXISTS about", "ALTER TABLE pictures DROP COLUMN dark_score")
    tell(home, "CREATE TRIGGER t AFTER UPDATE ON pictures BEGIN DELETE FROM quarantine; END")
    with pytest.raises(UserError, match="trigger"):
        clean(home / "data", yes=True)
    with closing(sqlite3.connect(home / "data" / "catalog.sqlite")) as db:
        assert db.execute("SELECT COUNT(*) FROM quarantine").fetchone() == (2,)


class _Shouts:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch shouted",)


def archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members.items():
            opened.writestr(f"{name}.npy", data)
    return stream.getvalue()


def arrays(**changes: object) -> bytes:
    columns = {**vars(NOTHING), **changes}
    stream = io.BytesIO()
    np.savez(stream, **columns)
    return stream.getvalue()


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(b"noise", id="noise"),
        pytest.param(pickle.dumps(_Shouts()), id="a pickle"),
        pytest.param(archive(sha256=b"\0" * 1000), id="an archive of noise"),
        pytest.param(arrays(first=np.array([7], "i4")), id="columns of other lengths"),
        pytest.param(
            arrays(
                first=np.array([7], "i4"),
                second=np.array([9], "i4"),
                distance=np.zeros(1, "u1"),
                verdict=np.full(1, COPY, "i1"),
                variant=np.zeros(1, "i1"),
                placement=np.array([[0, 1, 0, 1]], "f4"),
            ),
            id="contents that are not there",
        ),
        pytest.param(arrays(crowd=np.array([[0, -5]], "i4")), id="a negative content"),
        pytest.param(arrays(sha256=np.empty(0, "U64")), id="another type"),
    ],
)  # fmt: skip
def test_a_remembered_search_that_is_not_ours_is_made_anew(
    home: Path, result: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = split(home / "data", seed=5).counts
    with closing(sqlite3.connect(home / "data" / "catalog.sqlite")) as db:
        db.execute("UPDATE searches SET result = ?", (result,))
        db.commit()
    monkeypatch.chdir(home)
    assert split(home / "data", seed=5).counts == wanted
    assert not (home / "shouted").exists()


# -- links in the place of our own folders


def test_a_quarantine_that_is_a_link_to_the_users_folder_is_refused(home: Path) -> None:
    """`restore` would move what it finds there into the dataset."""
    before = outside(home)
    shutil.rmtree(home / "data" / "quarantine")
    (home / "data" / "quarantine").symlink_to(home / "mine")
    for command in ("restore", "clean"):
        (home / "data" / "raw" / "1" / "broken again.jpg").write_bytes(b"no picture")
        with pytest.raises(UserError, match=r"is a link to .*mine, which is no empty folder"):
            COMMANDS[command](home / "data")
    assert outside(home) == before


def test_a_quarantine_that_is_a_link_to_anothers_quarantine_is_refused(home: Path) -> None:
    (home / "other disk").mkdir()
    give_back(home / "data")
    (home / "data" / "quarantine").symlink_to(home / "other disk")
    clean(home / "data", yes=True)
    assert len(list((home / "other disk").rglob("*.jpg"))) == 2
    dataset(home / "stranger" / "raw", {"1": 3, "2": 3})
    (home / "stranger" / "quarantine").symlink_to(home / "other disk")
    with pytest.raises(UserError, match="not marked as the quarantine of this dataset"):
        give_back(home / "stranger")
    assert len(give_back(home / "data").restored) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["train", "raw/3", "valid/1"])
def test_a_class_folder_that_is_a_link_is_refused(home: Path, name: str) -> None:
    place = home / "data" / name
    shutil.rmtree(place, ignore_errors=True)
    place.symlink_to(home / "mine" / "raw" / "1")
    before = outside(home)
    for command in ("clean", "split", "restore"):
        with suppress(UserError):
            COMMANDS[command](home / "data")
    assert outside(home) == before


# -- a flat dataset, whose catalog and quarantine lie beside it


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    dataset(tmp_path / "flat", {"1": 6, "2": 6})
    (tmp_path / "flat" / "1" / "broken.jpg").write_bytes(b"no picture")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_home_that_is_a_link_is_refused(flat: Path, command: str) -> None:
    """It may lead to the user's own folders, or to the home of another dataset."""
    theirs = flat / "theirs" / "quarantine" / "work" / "2020"
    theirs.mkdir(parents=True)
    (theirs / "thesis.jpg").write_bytes(b"precious")
    (flat / "flat.florilegium").symlink_to(flat / "theirs")
    before, pictures = tree(flat / "theirs"), tree(flat / "flat")
    with pytest.raises(UserError, match=r"flat\.florilegium is a link"):
        COMMANDS[command](flat / "flat")
    assert tree(flat / "theirs") == before
    assert tree(flat / "flat") == pictures


def test_a_home_that_is_a_file_is_refused(flat: Path) -> None:
    (flat / "flat.florilegium").write_text("mine")
    with pytest.raises(UserError, match=r"flat\.florilegium is a file where"):
        clean(flat / "flat")
    assert (flat / "flat.florilegium").read_text() == "mine"


def test_a_default_output_that_is_a_link_is_refused_and_one_that_was_named_is_not(flat: Path) -> None:
    theirs = flat / "theirs"
    theirs.mkdir()
    (flat / "flat_split").symlink_to(theirs)
    with pytest.raises(UserError, match=r"flat_split is a link to .*--out"):
        split(flat / "flat")
    assert list(theirs.iterdir()) == []
    split(flat / "flat", out=flat / "flat_split")
    assert (theirs / "train").is_dir()


# -- what stands in the catalog's place


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-journal"])
@pytest.mark.parametrize("kind", ["a link to nowhere", "a link to a file", "another name", "a pipe", "a folder"])
def test_a_catalog_that_is_no_file_of_its_own_is_refused(home: Path, kind: str, name: str, command: str) -> None:
    file = home / "data" / name
    file.unlink(missing_ok=True)
    notes = home / "mine" / "notes.txt"
    match kind:
        case "a link to nowhere":
            file.symlink_to(home / "mine" / "made.sqlite")
        case "a link to a file":
            file.symlink_to(notes)
        case "another name":
            file.hardlink_to(notes)
        case "a pipe":
            os.mkfifo(file)
        case _:
            file.mkdir()
    before, pictures = outside(home), bytes_of(home)
    if command == "verify":
        assert not verify(home / "data").in_order, "it does without the catalog, and says so"
    else:
        with pytest.raises(UserError, match=r"move it away|put a copy"):
            COMMANDS[command](home / "data")
    assert outside(home) == before
    assert bytes_of(home) == pictures


def test_a_log_without_its_catalog_is_the_users(tmp_path: Path) -> None:
    """SQLite would remove it."""
    dataset(tmp_path / "data" / "raw", {"1": 3, "2": 3})
    for name in ("catalog.sqlite-journal", "catalog.sqlite-wal"):
        file = tmp_path / "data" / name
        file.write_text("mine")
        with pytest.raises(UserError, match="lies there without the catalog"):
            clean(tmp_path / "data", dry_run=True)
        assert file.read_text() == "mine"
        file.unlink()


def test_a_catalog_cannot_give_a_users_file_to_the_plan(home: Path) -> None:
    import hashlib

    own = home / "mine" / "raw" / "1" / "0.jpg"
    clean(home / "data", dry_run=True)  # for its table
    sha256 = hashlib.sha256(own.read_bytes()).hexdigest()
    tell(home, f"INSERT INTO written VALUES ('../mine/raw/1/0.jpg', '{sha256}')")
    before = outside(home)
    with pytest.raises(UserError, match="is not a plan"):
        clean(home / "data", dry_run=True, save_plan=own)
    assert outside(home) == before
    clean(home / "data", dry_run=True, save_plan=home / "plan elsewhere.jsonl")
    clean(home / "data", dry_run=True, save_plan=home / "plan elsewhere.jsonl")
