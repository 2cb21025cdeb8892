"""Facts in Parquet: any tool reads them, and nobody is believed who writes others in."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from curate.catalog import Catalog
from curate.catalog.credits import CreditRow, credit_of, enter_credit
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.exporting import fact_table
from curate.exporting.fact_table import FACT_FIELDS, FACTS_VERSION
from curate.facts import FactsTaken, export_facts, import_facts
from curate.files.reading import sha256_of
from curate.inspect import inspect
from curate.lookalikes.method import facts_method
from curate.scan import scan
from tests.commanding import command
from tests.pictures import dataset, encoded, encoded_field, field, write
from tests.training_ground import LFS_POINTER

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six pictures of two classes, one flat and one credited, and one broken file."""
    root = tmp_path / "flowers"
    dataset(root / "raw", {"1": 3, "lily of Ünïcödé 百合": 2})
    write(root / "raw" / "1" / "flat.png", encoded(Image.new("RGB", (80, 60), (12, 200, 7)), "PNG"))
    write(root / "raw" / "1" / "broken.jpg", b"no picture")
    catalogued = open_dataset(root)
    with Catalog.open(catalogued.catalog_path) as catalog:
        scan(catalogued, catalog)
        sha256 = sha256_of(root / "raw" / "1" / "picture 0.jpg")
        with catalog.transaction():
            told = ("https://example.org/1", "openverse", "1", "", "A title", "A. Author", "by", "", "group")
            enter_credit(catalog, CreditRow(sha256, *told, "2026-01-01T00:00:00"))
    return root


def elsewhere(root: Path, to: Path) -> Path:
    """The same pictures on another disk: no catalog, and other inodes."""
    for file in root.glob("raw/*/*"):
        write(to / file.relative_to(root), file.read_bytes())
    return to


def known(root: Path) -> list[Any]:
    with Catalog.open(open_dataset(root).catalog_path) as catalog:
        return [(one.path, one.label, one.split, one.sha256, one.phash, one.fingerprint, one.scores, one.width)
                for one in catalog.intact()]  # fmt: skip


def test_any_tool_reads_them(root: Path, tmp_path: Path) -> None:
    written = export_facts(root, tmp_path / "facts")
    assert (written.pictures, written.files, written.out) == (7, 1, tmp_path / "facts")
    table = parquet.read_table(tmp_path / "facts")
    rows = {row["path"]: row for row in table.to_pylist()}
    assert list(rows) == sorted(rows)
    for path, row in rows.items():
        data = (root / path).read_bytes()
        facts, stat = inspect(data), (root / path).stat()
        assert (row["sha256"], row["width"], row["height"], row["format"]) == (
            facts.sha256, facts.width, facts.height, facts.format,
        )  # fmt: skip
        assert row["phash"] % 2**64 == facts.phash
        assert bool(row["broken"]) == path.endswith("broken.jpg")
        assert (row["size"], row["mtime_ns"], row["inode"]) == (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        assert row["label"] == path.split("/")[1]
        if not row["broken"]:
            scores = tuple(value for name, value in row.items() if name.endswith("_score"))
            assert scores == tuple(facts.scores)
    flat = rows["raw/1/flat.png"]
    assert (flat["flat_colour"], flat["windows"]) == (0x0CC807, None)
    hashes = rows["raw/1/picture 1.jpg"]["windows"]
    assert b"".join((one % 2**64).to_bytes(8, "big") for one in hashes) == inspect(encoded_field(field(1))).fingerprint
    (credit,) = rows["raw/1/picture 0.jpg"]["credits"]
    assert (credit["author"], credit["license"], credit["provenance_group"]) == ("A. Author", "by", "group")
    assert rows["raw/1/picture 1.jpg"]["credits"] == []


def test_the_schema_says_what_each_field_means_and_which_version_it_is(root: Path, tmp_path: Path) -> None:
    export_facts(root, tmp_path / "facts")
    schema = parquet.read_schema(next((tmp_path / "facts").iterdir()))
    assert schema.metadata[b"florilegium.facts"] == str(FACTS_VERSION).encode()
    assert schema.metadata[b"florilegium.method"] == facts_method().encode()
    described = {one.name: one.metadata[b"description"].decode() for one in schema}
    assert described == {one.name: one.means for one in FACT_FIELDS}
    unsigned = [one for one in schema if "uint" in str(one.type)]
    assert unsigned == []  # Spark knows none
    page = (Path(__file__).parent.parent / "docs" / "remote.md").read_text()
    assert all(f"`{one.name}`" in page or one.name.endswith("_score") for one in FACT_FIELDS)


def test_many_rows_are_parted_into_files(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fact_table, "_ROWS_OF_A_FILE", 3)
    monkeypatch.setattr(fact_table, "_ROWS_OF_A_GROUP", 2)
    assert export_facts(root, tmp_path / "facts").files == 3
    names = sorted(file.name for file in (tmp_path / "facts").iterdir())
    assert names == [f"facts-{number:05}-of-00003.parquet" for number in range(3)]
    assert parquet.read_table(tmp_path / "facts").num_rows == 7
    assert import_facts(elsewhere(root, tmp_path / "other"), tmp_path / "facts").taken == 6
    with pytest.raises(UserError, match="is there already"):
        export_facts(root, tmp_path / "facts")


def test_another_machine_decodes_nothing_of_what_is_proved_by_its_bytes(root: Path, tmp_path: Path) -> None:
    export_facts(root, tmp_path / "facts")
    other = elsewhere(root, tmp_path / "other")
    taken = import_facts(other, tmp_path / "facts")
    assert (taken.taken, taken.by_stamp, taken.decoded, taken.refused) == (6, 0, 6, [])
    assert known(other) == known(root)
    catalogued = open_dataset(other)
    with Catalog.open(catalogued.catalog_path) as catalog:
        assert scan(catalogued, catalog).read == 1  # the broken one: what is told of those is not believed
        sha256 = sha256_of(other / "raw" / "1" / "picture 0.jpg")
        assert credit_of(catalog, sha256)["author"] == "A. Author"
    again = import_facts(other, tmp_path / "facts")
    assert (again.taken, again.known) == (0, 6)


def test_a_lost_catalog_is_made_anew_by_stamps_alone(root: Path, tmp_path: Path) -> None:
    before = known(root)
    export_facts(root, tmp_path / "facts")
    (root / "catalog.sqlite").unlink()
    taken = import_facts(root, tmp_path / "facts")
    assert (taken.taken, taken.by_stamp) == (6, 6)
    assert known(root) == before


def changed(facts: Path, change: Callable[[dict[str, Any]], None], path: str = "raw/1/picture 1.jpg") -> None:
    """Write another thing into the row of one picture."""
    (file,) = facts.glob("*.parquet")
    table = parquet.read_table(file)
    rows = table.to_pylist()
    for row in rows:
        if row["path"] == path:
            change(row)
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=table.schema), file)


LIES: dict[str, dict[str, Any]] = {
    "another hash": {"phash": 7},
    "other windows": {"windows": [1] * 23},
    "a better score": {"blurred_score": 0.875},
    "another size": {"width": 4_000},
    "flat": {"windows": None, "flat_colour": 0},
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_not_true_of_the_pixels_takes_nothing_over(root: Path, tmp_path: Path, lie: str) -> None:
    """Two pictures with hashes of one's choice would be copies, and one of them would leave."""
    export_facts(root, tmp_path / "facts")
    values = LIES[lie]
    if values.get("windows"):
        values = {"windows": [1] * len(parquet.read_table(tmp_path / "facts").to_pylist()[2]["windows"])}
    changed(tmp_path / "facts", lambda row: row.update(values))
    other = elsewhere(root, tmp_path / "other")
    with pytest.raises(
        UserError, match=r"told of raw/1/picture 1\.jpg is not what its pixels say, so nothing was taken"
    ):
        import_facts(other, tmp_path / "facts")
    assert known(other) == []


@pytest.mark.parametrize("same_size", [True, False])
def test_a_file_that_is_another_one_is_refused(root: Path, tmp_path: Path, same_size: bool) -> None:
    export_facts(root, tmp_path / "facts")
    other = elsewhere(root, tmp_path / "other")
    file = other / "raw" / "1" / "picture 1.jpg"
    size = file.stat().st_size
    another = encoded_field(field(99))
    file.write_bytes(another[:size] + b"\0" * (size - len(another)) if same_size else another + b"\0" * size)
    taken = import_facts(other, tmp_path / "facts")
    assert taken.taken == 5
    (refused,) = taken.refused
    assert refused.path == "raw/1/picture 1.jpg"
    assert "another one" in refused.reason if same_size else "bytes, and not" in refused.reason


def test_a_forged_stamp_proves_nothing(root: Path, tmp_path: Path) -> None:
    """No archive can know inode and times of change; size and time of a file it can choose."""
    export_facts(root, tmp_path / "facts")
    file = root / "raw" / "1" / "picture 1.jpg"
    stat, size = file.stat(), file.stat().st_size
    file.write_bytes(encoded_field(field(98))[:size].ljust(size, b"\0"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (root / "catalog.sqlite").unlink()
    assert [one.path for one in import_facts(root, tmp_path / "facts").refused] == ["raw/1/picture 1.jpg"]


def test_label_and_split_are_what_the_folders_say(root: Path, tmp_path: Path) -> None:
    export_facts(root, tmp_path / "facts")
    changed(tmp_path / "facts", lambda row: row.update(label="2", split="test"))
    other = elsewhere(root, tmp_path / "other")
    import_facts(other, tmp_path / "facts")
    assert known(other) == known(root)


def test_rows_of_files_that_are_not_there_are_counted(root: Path, tmp_path: Path) -> None:
    export_facts(root, tmp_path / "facts")
    other = elsewhere(root, tmp_path / "other")
    shutil.rmtree(other / "raw" / "lily of Ünïcödé 百合")
    (other / "raw" / "2").mkdir()
    write(other / "raw" / "2" / "new.jpg", encoded_field(field(50)))
    assert import_facts(other, tmp_path / "facts") == FactsTaken(taken=4, decoded=4, elsewhere=2)


@pytest.mark.parametrize("in_one_file", [True, False])
def test_a_picture_that_is_told_of_twice_counts_once(root: Path, tmp_path: Path, in_one_file: bool) -> None:
    """Whether the rows stand in one file or in two, as where two exports lie in one folder."""
    export_facts(root, tmp_path / "facts")
    (file,) = (tmp_path / "facts").iterdir()
    if in_one_file:
        table = parquet.read_table(file)
        parquet.write_table(pyarrow.concat_tables([table, table]), file)
    else:
        shutil.copy(file, file.with_name("once more.parquet"))
    other = elsewhere(root, tmp_path / "other")
    assert import_facts(other, tmp_path / "facts") == FactsTaken(taken=6, decoded=6)
    assert import_facts(other, tmp_path / "facts") == FactsTaken(known=6)
    assert known(other) == known(root)


@pytest.mark.parametrize("values", [
    {"path": "../../etc/passwd"}, {"sha256": "x"}, {"blurred_score": 7.0}, {"format": "JPEG\x1b[2J"}, {"size": -1},
    {"windows": [1, 2]}, {"width": None}, {"blurred_score": None}, {"flat_colour": 1 << 30, "windows": None},
    {"credits": None}, {"credits": [{"url": None}]},
], ids=str)  # fmt: skip
def test_values_that_no_picture_has_are_a_sentence(root: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    export_facts(root, tmp_path / "facts")
    changed(tmp_path / "facts", lambda row: row.update(values))
    with pytest.raises(UserError, match="that no picture can have: export the facts again"):
        import_facts(elsewhere(root, tmp_path / "other"), tmp_path / "facts")


def other_metadata(file: Path, **values: str) -> None:
    table = parquet.read_table(file)
    about = {**table.schema.metadata, **{f"florilegium.{name}".encode(): text for name, text in values.items()}}
    parquet.write_table(table.replace_schema_metadata(about), file)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "another version": (lambda file: other_metadata(file, facts="99"), "no facts of version 1"),
    "another method": (lambda file: other_metadata(file, method="hash 0"), "another version of the program"),
    "no facts": (lambda file: parquet.write_table(pyarrow.table({"a": [1]}), file), "no facts of version 1"),
    "other columns": (
        lambda file: parquet.write_table(parquet.read_table(file).drop_columns(["phash"]), file), "has other columns"
    ),
    "no Parquet": (lambda file: file.write_text("path,label\n"), "is no Parquet file, or is cut short"),
    "a pointer of Git LFS": (lambda file: file.write_bytes(LFS_POINTER), "is no Parquet file, or is cut short"),
    "cut short": (lambda file: os.truncate(file, 300), "is no Parquet file, or is cut short"),
    "gone": (lambda file: file.unlink(), "holds no facts: give the folder"),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_files_that_hold_no_such_facts_are_a_sentence(root: Path, tmp_path: Path, fault: str) -> None:
    export_facts(root, tmp_path / "facts")
    spoil, said = WRONG[fault]
    spoil(next((tmp_path / "facts").iterdir()))
    with pytest.raises(UserError, match=said):
        import_facts(elsewhere(root, tmp_path / "other"), tmp_path / "facts")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_not_waited_for(root: Path, tmp_path: Path) -> None:
    (tmp_path / "facts").mkdir()
    os.mkfifo(tmp_path / "facts" / "facts-00000-of-00001.parquet")
    assert command("import-facts", root, "--from", tmp_path / "facts").sentence.count("pipe")


def test_the_commands_say_what_they_did(root: Path, tmp_path: Path) -> None:
    written = command("export", root, "--format", "facts")
    assert written.code == 0, written.err
    assert f"Wrote the facts of 7 files to {root}_facts: 1 Parquet file." in written.out
    other = elsewhere(root, tmp_path / "other")
    taken = command("import-facts", other, "--from", f"{root}_facts")
    assert "Took the facts of 6 pictures (0 proved by their stamps, 6 decoded as a sample)." in taken.out
    assert f"clean {other} --dry-run" in taken.out


def test_without_pyarrow_the_extra_is_named(root: Path, tmp_path: Path, not_installed: Callable[..., None]) -> None:
    not_installed("pyarrow")
    with pytest.raises(UserError, match="uv sync --extra parquet"):
        export_facts(root, tmp_path / "facts")
    assert not (tmp_path / "facts").exists()
