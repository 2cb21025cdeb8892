"""The bank's one file: the name it is found under, the mark it bears, what damage takes, and what takes nothing."""

import dataclasses
import os
import sqlite3
import sys
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch

from curate.errors import UserError
from tests.test_bank import KEY, sha
from train.features import bank as bank_module
from train.features import bank_file as bank_file_module
from train.features.bank import CLEAN, BankKey, FeatureBank, is_bank, is_key, reading, schema_of
from train.features.bank_file import PIXELS_VERSION

OLD_TEXT = (
    '{"architecture": "timm:net", "dim": 8, "format": 1, "pixels": PIXELS, "precision": "float32", '
    f'"preprocessing": {{"resize": 256}}, "weights_sha256": "{"00" * 32}"}}'
)


def filled(folder: Path, names: str = "abc") -> Path:
    """A bank with one row a name, all ones, and the file it is in."""
    with FeatureBank(folder, KEY) as bank:
        bank.put([(sha(name), CLEAN, torch.ones(8)) for name in names])
    return bank.file


def names_in(bank: FeatureBank, names: str = "abc") -> str:
    """Those of the pictures whose features are read, and are what was put."""
    features, there = bank.read([sha(name) for name in names], [CLEAN])
    assert torch.equal(features[:, 0], there.to(torch.float32).expand(-1, 8))
    return "".join(name for name, found in zip(names, there[:, 0].tolist(), strict=True) if found)


def edit(file: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        assert db.execute(statement, values).rowcount != 0


def spoil_features(file: Path) -> None:
    """Noise in place of the pages where the features begin, and their index."""
    with closing(sqlite3.connect(file)) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        roots = db.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'features'").fetchall()
    data = bytearray(file.read_bytes())
    for (page,) in roots:
        data[(page - 1) * size : page * size] = b"\xa5" * size
    file.write_bytes(data)


def test_banks_of_earlier_releases_are_found_again() -> None:
    """A key has the text, and its file the name, that they had; a version that is raised is to be raised here too."""
    text = OLD_TEXT.replace("PIXELS", str(PIXELS_VERSION))
    assert KEY.text() == text
    assert dataclasses.replace(KEY, compiled=True).text() == text.replace('"dim"', '"compiled": true, "dim"')


def test_a_banks_name_is_readable_and_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_file_module, "PIXELS_VERSION", 1)
    key = dataclasses.replace(KEY, architecture="timm:a/b_c-d.e+f", precision="bfloat16")
    assert key.file_name() == "timm_a_b_c-d.e_f-bfloat16-81fb65a6dfd074cf.sqlite"
    with pytest.raises(dataclasses.FrozenInstanceError):
        key.dim = 9  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        (OLD_TEXT.replace("PIXELS", "1"), True), (dataclasses.replace(KEY, compiled=True).text(), True),
        (OLD_TEXT.replace("PIXELS", "1").replace("format", "version"), False),
        ("", False), ("no JSON", False), ("{}", False), ("[]", False), ('"architecture"', False), ("7", False),
        ("[" * 100_000, False),
    ],
)  # fmt: skip
def test_a_key_of_ours_is_told_from_any_other_text(text: str, ours: bool) -> None:
    assert is_key(text) is ours


def test_a_bank_is_known_by_its_mark_where_nothing_else_is_left(tmp_path: Path) -> None:
    file = filled(tmp_path)
    file.write_bytes(file.read_bytes()[:100])
    assert file.read_bytes()[68:72] == b"FLOR"
    assert is_bank(file)
    with FeatureBank(tmp_path, KEY) as bank:
        assert bank.rebuilt
    assert not list(tmp_path.glob("*set-aside*"))
    for start, noise in ((0, b"SQLite format 4\0"), (68, b"FLOS")):
        data = bytearray(file.read_bytes()[:100])
        data[start : start + len(noise)] = noise
        file.write_bytes(data)
        assert not is_bank(file)


def test_what_is_not_there_is_no_bank(tmp_path: Path) -> None:
    assert not is_bank(tmp_path / "absent.sqlite")


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    assert filled(tmp_path / "models" / "deep" / "bank").is_file()
    assert filled(tmp_path / "models" / "deep" / "bank").is_file()


def test_a_closed_bank_lies_in_one_file(tmp_path: Path) -> None:
    """What SQLite keeps beside an open one is gone with the last process that has it open."""
    with FeatureBank(tmp_path, KEY) as bank:
        bank.put([(sha("a"), CLEAN, torch.ones(8))])
        assert len(list(tmp_path.iterdir())) > 1
    assert list(tmp_path.iterdir()) == [bank.file]


@pytest.mark.parametrize(
    "use",
    [
        lambda bank: bank.views_of([CLEAN]),
        lambda bank: bank.read([sha("a")], [CLEAN]),
        lambda bank: bank.put([(sha("d"), CLEAN, torch.ones(8))]),
    ],
    ids=["views_of", "read", "put"],
)
def test_what_was_put_stays_when_a_closed_bank_is_used(use: Callable[[FeatureBank], object], tmp_path: Path) -> None:
    """It is a slip of the caller's, not damage of the file."""
    bank = FeatureBank(tmp_path, KEY)
    bank.put([(sha("a"), CLEAN, torch.ones(8))])
    bank.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        use(bank)
    with FeatureBank(tmp_path, KEY) as again:
        assert not again.rebuilt
        assert names_in(again) == "a"


@pytest.mark.parametrize("block", [2, 4096])
def test_rows_that_are_damaged_go_and_no_others(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here one whose sum is wrong, and one whose sum is right and whose numbers are not, in one block or in two."""
    monkeypatch.setattr(bank_module, "_READ_AT_ONCE", block)
    file = filled(tmp_path, "abcde")
    numbers = torch.tensor([1.0] * 7 + [float("nan")]).numpy().tobytes()
    edit(file, "UPDATE features SET crc32 = crc32 + 1 WHERE sha256 = ?", bytes.fromhex(sha("b")))
    edit(file, "UPDATE features SET vector = ?, crc32 = ? WHERE sha256 = ?",
         numbers, zlib.crc32(numbers), bytes.fromhex(sha("d")))  # fmt: skip
    with FeatureBank(tmp_path, KEY) as bank:
        assert names_in(bank, "abcde") == "ace"
        assert bank.views_of([CLEAN]).keys() == {sha(name) for name in "ace"}
        bank.put([(sha(name), CLEAN, torch.ones(8)) for name in "bd"])
        # The new rows have the old ones' places in the table, and they are whole
        for _ in range(3):
            assert names_in(bank, "abcde") == "abcde"


@pytest.mark.parametrize("call", ["views_of", "read"])
def test_damage_that_is_met_while_reading_starts_the_bank_anew(call: str, tmp_path: Path) -> None:
    file = filled(tmp_path)
    spoil_features(file)
    with FeatureBank(tmp_path, KEY) as bank:
        assert not bank.rebuilt
        before = bank._db
        assert bank.views_of([CLEAN]) == {} if call == "views_of" else names_in(bank) == ""
        assert bank.rebuilt
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):  # where files are locked, an open one stays
            before.execute("SELECT 1")
        bank.put([(sha("a"), CLEAN, torch.ones(8))])
        assert names_in(bank) == "a"


def test_damage_that_is_met_while_writing_is_told(tmp_path: Path) -> None:
    spoil_features(filled(tmp_path))
    with FeatureBank(tmp_path, KEY) as bank, pytest.raises(UserError, match=r"is damaged \(.*\): delete it and run"):
        bank.put([(sha("a"), CLEAN, torch.ones(8))])


@pytest.mark.parametrize("call", ["views_of", "read"])
def test_what_is_no_damage_takes_nothing(call: str, tmp_path: Path) -> None:
    """Here a reading that is broken off: the user is told, and the bank stays as it is."""
    filled(tmp_path)
    with FeatureBank(tmp_path, KEY) as bank:
        bank.read([], [])  # its own table of what is wanted is there now
        bank._db.execute("DROP TABLE temp.wanted") if call == "read" else None
        bank._db.execute("CREATE TEMP VIEW features AS SELECT * FROM nowhere")
        with pytest.raises(UserError, match=r"The feature bank .* can't be read: no such table"):
            bank.views_of([CLEAN]) if call == "views_of" else bank.read([sha("a")], [CLEAN])
        assert not bank.rebuilt
    with FeatureBank(tmp_path, KEY) as again:
        assert names_in(again) == "abc"


def test_a_bank_that_another_process_holds_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap: taken for damaged, the features of days are removed because somebody is writing some more."""
    file = filled(tmp_path)
    monkeypatch.setattr(bank_module, "LOCK_SECONDS", 0.05)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match=r"can't be written: database is locked\.$"):
            FeatureBank(tmp_path, KEY)
    with FeatureBank(tmp_path, KEY) as bank:
        assert not bank.rebuilt
        assert names_in(bank) == "abc"


def test_two_that_begin_together_write_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one looks whether the file is new, no other may: both would find it empty, and write a key each."""
    others: list[FeatureBank | UserError] = []

    def meanwhile(db: sqlite3.Connection) -> list[tuple[str, str, str, str]]:
        monkeypatch.setattr(bank_module, "schema_of", schema_of)
        monkeypatch.setattr(bank_module, "LOCK_SECONDS", 0.05)
        found = schema_of(db)
        try:
            others.append(FeatureBank(tmp_path, KEY))
        except UserError as error:
            others.append(error)
        return found

    monkeypatch.setattr(bank_module, "schema_of", meanwhile)
    with FeatureBank(tmp_path, KEY) as bank:
        assert ["database is locked" in str(other) for other in others] == [True]
        assert not bank.rebuilt


def test_one_process_writes_while_another_reads(tmp_path: Path) -> None:
    filled(tmp_path)
    with FeatureBank(tmp_path, KEY) as bank, closing(sqlite3.connect(bank.file, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT COUNT(*) FROM features").fetchone() == (3,)
        bank._db.execute("PRAGMA busy_timeout = 10")
        bank.put([(sha("d"), CLEAN, torch.ones(8))])
        assert names_in(bank, "abcd") == "abcd"
        assert other.execute("SELECT COUNT(*) FROM features").fetchone() == (3,)  # what it began with


def test_a_strangers_tables_run_nothing(tmp_path: Path) -> None:
    """A view, an index or a trigger that is written in a file may call no function that SQLite does not vouch for."""
    file = filled(tmp_path)
    with reading(file) as db, FeatureBank(tmp_path, KEY) as bank:
        for one in (db, bank._db):
            assert one.execute("PRAGMA trusted_schema").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("DELETE FROM features")


def test_a_file_that_cannot_be_moved_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where another program holds it open, on a system that locks open files."""
    file = filled(tmp_path)
    file.write_bytes(b"no database at all" * 400)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(UserError, match=r"can't be moved away \(Permission denied\): check your rights"):
        FeatureBank(tmp_path, KEY)
    assert file.read_bytes() == b"no database at all" * 400


def test_a_disk_that_keeps_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_module, "keys_of", lambda _: [])  # what was just written is not there
    with pytest.raises(UserError, match="is damaged as soon as it is made: check the disk"):
        FeatureBank(tmp_path, KEY)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a folder where no file can be made")
def test_a_folder_that_takes_no_file_is_told() -> None:
    with pytest.raises(UserError, match=r"The feature bank /proc/.* can't be opened: unable to open"):
        FeatureBank(Path("/proc"), BankKey("x", "y", {}, "float32", 4))
