"""A stranger's feature bank: two tables or no bank; what is not provably ours stays on the disk."""

import hashlib
import os
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest
import torch

from curate.errors import UserError
from tests.commanding import command
from tests.test_bank import CPU, KEY, run, sha
from tests.training_ground import TINY, grow
from train.backbones import Backbone, load_backbone
from train.features.bank import APPLICATION_ID, CLEAN, SCHEMA, FeatureBank, is_bank
from train.features.bank_shelf import clear_banks, list_banks, strangers_in
from train.features.extract import extract
from train.features.prepare import PictureRef

STRANGE = {
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON features BEGIN DELETE FROM features; END",
    "a trigger on the key": "CREATE TRIGGER t AFTER DELETE ON features BEGIN UPDATE about SET key = 'x'; END",
    "a view": "CREATE VIEW v AS SELECT * FROM features",
    "another table": "CREATE TABLE precious (x)",
    "an index that computes": "CREATE INDEX i ON features (hex(vector))",
    "a view for the features": (
        "ALTER TABLE features RENAME TO f; CREATE VIEW features AS SELECT * FROM f, "
        "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n)"
    ),
    "another column": "ALTER TABLE features ADD COLUMN more AS (hex(vector))",
    "no features": "DROP TABLE features",
    "no key": "DELETE FROM about",
    "two keys": "INSERT INTO about SELECT key FROM about",
    "another's key": "UPDATE about SET key = '{}'",
    "a key that is no text": "UPDATE about SET key = x'ff00ff'",
    "a key of 100 MB": "UPDATE about SET key = zeroblob(100000000)",
}


@pytest.mark.parametrize("strange", STRANGE)
def test_a_bank_that_holds_anything_else_is_not_used_and_not_lost(strange: str, tmp_path: Path) -> None:
    with FeatureBank(tmp_path, KEY) as bank:
        bank.put([(sha("a"), CLEAN, torch.ones(8))])
    with closing(sqlite3.connect(bank.file, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA application_id = 0")
        db.executescript(STRANGE[strange])
    ours = is_bank(bank.file)
    with FeatureBank(tmp_path, KEY) as again:
        assert again.rebuilt
        assert again.views_of([CLEAN]) == {}
        again.put([(sha("a"), CLEAN, torch.full((8,), 2.0))])
        features, there = again.read([sha("a")], [CLEAN])
        assert bool(there.all())
        assert features[0, 0].tolist() == [2.0] * 8
    assert ours is not (tmp_path / f"{bank.file.name}.set-aside-1").exists()


def test_a_users_own_database_under_a_banks_name_is_set_aside_whole(tmp_path: Path) -> None:
    file = tmp_path / KEY.file_name()
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TABLE precious (x)")
        db.execute("INSERT INTO precious VALUES ('mine')")
    before = file.read_bytes()
    for number in (1, 2):
        with FeatureBank(tmp_path, KEY) as bank:
            assert bank.rebuilt
        aside = tmp_path / f"{file.name}.set-aside-{number}"
        assert aside.read_bytes() == before
        file.write_bytes(before)


def test_a_link_to_a_users_own_database_is_refused(tmp_path: Path) -> None:
    """Through the link its tables would have been ours."""
    precious = tmp_path / "precious.sqlite"
    with closing(sqlite3.connect(precious)) as db, db:
        db.execute("CREATE TABLE precious (x)")
    before = precious.read_bytes()
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / KEY.file_name()).symlink_to(precious)
    with pytest.raises(UserError, match="is a link, a pipe or a folder"):
        FeatureBank(tmp_path / "bank", KEY)
    (tmp_path / "bank" / KEY.file_name()).unlink()
    os.mkfifo(tmp_path / "bank" / KEY.file_name())
    with pytest.raises(UserError, match="is a link, a pipe or a folder"):
        FeatureBank(tmp_path / "bank", KEY)
    assert precious.read_bytes() == before


@pytest.mark.parametrize(
    "row",
    [
        (bytes.fromhex(sha("a")), CLEAN, 7, 0),
        (bytes.fromhex(sha("a")), CLEAN, "text", 0),
        (bytes.fromhex(sha("a")), CLEAN, b"", 0),
        (bytes.fromhex(sha("a")), CLEAN, b"\0" * 50_000_000, zlib.crc32(b"\0" * 50_000_000)),
        (bytes.fromhex(sha("a")), CLEAN, b"\0\0\xc0\x7f" * 8, zlib.crc32(b"\0\0\xc0\x7f" * 8)),  # NaN
        (bytes.fromhex(sha("a")), CLEAN, b"\0\0\x80\x7f" * 8, zlib.crc32(b"\0\0\x80\x7f" * 8)),  # infinite
        (bytes.fromhex(sha("a")), CLEAN, b"\0" * 32, "crc"),
        (sha("a"), CLEAN, b"\0" * 32, zlib.crc32(b"\0" * 32)),
        (17, CLEAN, b"\0" * 32, zlib.crc32(b"\0" * 32)),
    ],
    ids=["a number", "a text", "nothing", "50 MB", "NaN", "infinite", "no sum", "a text's sha256", "a number's sha256"],
)
def test_a_row_that_is_no_feature_counts_as_missing(row: tuple[object, ...], tmp_path: Path) -> None:
    FeatureBank(tmp_path, KEY).close()
    with closing(sqlite3.connect(tmp_path / KEY.file_name())) as db, db:
        db.execute("INSERT INTO features VALUES (?, ?, ?, ?)", row)
    with FeatureBank(tmp_path, KEY) as bank:
        assert not bank.rebuilt
        bank.views_of([CLEAN])
        _, there = bank.read([sha("a")], [CLEAN])
        assert not there.any()
        bank.put([(sha("a"), CLEAN, torch.ones(8))])
        features, there = bank.read([sha("a")], [CLEAN])
        assert bool(there.all())
        assert features[0, 0].tolist() == [1.0] * 8


def test_features_of_a_poisoned_bank_are_computed_anew(tmp_path: Path) -> None:
    tiny: Backbone = load_backbone(TINY, "none")
    grow(tmp_path / "data", {"train": 2})
    refs = [PictureRef(path) for path in sorted((tmp_path / "data").rglob("*.jpg"))]
    right = run(tiny, refs, tmp_path / "bank").features
    (file,) = (tmp_path / "bank").glob("*.sqlite")
    poison = b"\0\0\xc0\x7f" * tiny.dim
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE features SET vector = ?, crc32 = ?", (poison, zlib.crc32(poison)))
    again = extract(tiny, refs, bank=tmp_path / "bank", device=CPU, precision="float32", batch=5)
    assert torch.equal(again.features, right)
    assert again.computed == len(refs)


def test_clearing_takes_banks_alone(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "bank"
    with FeatureBank(folder, KEY) as bank:
        bank.put([(sha("a"), CLEAN, torch.ones(8))])
    old = folder / "old.sqlite"  # as banks were before they bore a mark
    with closing(sqlite3.connect(old)) as db, db:
        db.executescript(SCHEMA)
        db.execute("INSERT INTO about VALUES (?)", (KEY.text(),))
    precious = [folder / name for name in ("photos.sqlite", "about.sqlite", "text.sqlite", "empty.sqlite")]
    with closing(sqlite3.connect(precious[0])) as db, db:
        db.execute("CREATE TABLE photos (x)")
    with closing(sqlite3.connect(precious[1])) as db, db:
        db.execute("CREATE TABLE about (key)")
        db.execute("INSERT INTO about VALUES ('{\"version\": 1}')")
    precious[2].write_text("not a database")
    precious[3].touch()
    (folder / "link.sqlite").symlink_to(bank.file)
    os.mkfifo(folder / "pipe.sqlite")
    before = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in precious}
    assert {one.file for one in list_banks(folder)} == {bank.file, old}
    done = command("bank", "--clear", "--models", tmp_path / "models")
    assert done.code == 0
    assert not bank.file.exists()
    assert not old.exists()
    assert {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in precious} == before
    assert set(strangers_in(folder)) >= {*precious, folder / "link.sqlite", folder / "pipe.sqlite"}
    for file in precious:
        assert f"Left alone: {file}" in done.out
    assert "Removed 2 banks" in done.out
    assert clear_banks(folder) == []


def test_a_bank_bears_our_mark(tmp_path: Path) -> None:
    FeatureBank(tmp_path, KEY).close()
    with closing(sqlite3.connect(tmp_path / KEY.file_name())) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


@pytest.mark.parametrize("keep", ["inf", "nan", "-1"])
def test_what_is_no_number_of_gigabytes_is_refused(keep: str, tmp_path: Path) -> None:
    assert "--keep" in command("bank", "--clear", "--keep", keep, "--models", tmp_path).sentence
