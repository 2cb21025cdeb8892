"""The ledger survives kills, crowds and damage, and says in one sentence what it cannot survive."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.catalog import SCHEMA_VERSION, Catalog, Picture
from curate.catalog.credits import known_of_origins
from curate.catalog.origin_facts import origin_facts
from curate.errors import UserError
from curate.quality import CHECKS

REPOSITORY = Path(__file__).resolve().parent.parent
SCORES = tuple(round(number / (len(CHECKS) - 1), 3) for number in range(len(CHECKS)))


def picture(path: str = "raw/1/a.jpg", **changes: object) -> Picture:
    row = Picture(
        path=path, folder="raw/1", label="1", split="", size=10, mtime_ns=1_700_000_000_123_456_789, sha256="ab" * 32,
        format="JPEG", width=640, height=480, phash=0x8000000000000001, broken="", state="present", scores=SCORES,
    )  # fmt: skip
    return replace(row, **changes)  # type: ignore[arg-type]


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]


# -- rows


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(picture(), id="intact"),
        pytest.param(picture(phash=0), id="hash of zeros"),
        pytest.param(picture(phash=2**64 - 1), id="hash of ones"),
        pytest.param(picture(phash=2**63), id="the first hash that SQLite holds as negative"),
        pytest.param(picture(phash=2**63 - 1), id="the last that it does not"),
        pytest.param(picture(broken="cut off", format="", width=0, height=0, phash=0, scores=()), id="broken"),
        pytest.param(picture("raw/rosé 🌹/it's; DROP--/٣.jpg", label="rosé 🌹"), id="any name"),
        pytest.param(picture(size=2**40, mtime_ns=-1), id="large and before 1970"),
    ],
)
def test_a_row_comes_back_as_it_was(tmp_path: Path, row: Picture) -> None:
    file = tmp_path / "catalog.sqlite"
    with Catalog.open(file) as catalog:
        catalog.put([row])
    with Catalog.open(file) as catalog:
        assert catalog.pictures() == [row]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5))
def test_any_hash_comes_back_as_it_was(hashes: list[int]) -> None:
    with Catalog.open(Path(":memory:")) as catalog:
        catalog.put(picture(f"{number:03}", phash=value) for number, value in enumerate(hashes))
        assert [row.phash for row in catalog.pictures()] == hashes


def test_put_replaces_and_pictures_are_sorted(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "c") as catalog:
        catalog.put([picture("b"), picture("a"), picture("c", state="missing")])
        catalog.put([picture("b", size=99)])
        assert [(row.path, row.size) for row in catalog.pictures()] == [("a", 10), ("b", 99)]
        assert [row.path for row in catalog.absent()] == ["c"]
        catalog.set_state("a", "quarantined")
        assert [row.path for row in catalog.pictures()] == ["b"]


def test_credits_belong_to_the_content(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "c") as catalog:
        for sha256, url, author, group in (
            ("aa", "u1", "Ann", "obs 1"),
            ("bb", "u2", "", ""),
            ("cc", "u3", "", "obs 2"),
        ):
            row = (sha256, url, "inaturalist", "1", "page", "title", author, "", "", group, "2024-01-01T00:00:00Z")
            catalog.db.execute(f"INSERT INTO credits VALUES ({', '.join('?' * len(row))})", row)
        facts = {"aa": 3, "bb": 2, "cc": 2}  # an author, a page, a title
        assert known_of_origins(catalog) == [(sha256, known, "2024-01-01T00:00:00Z") for sha256, known in facts.items()]
        assert [(one.sha256, one.url, one.author, one.provenance_group) for one in origin_facts(catalog)] == [
            ("aa", "u1", "Ann", "obs 1"),
            ("bb", "u2", "", ""),
            ("cc", "u3", "", "obs 2"),
        ]


def test_scores_have_columns_of_their_own(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "c") as catalog:
        catalog.put([picture()])
        row = catalog.db.execute("SELECT blurred_score, unterminated_score FROM pictures").fetchone()
    assert row == (SCORES[0], SCORES[-1])


def test_a_new_check_gets_its_column_and_has_every_picture_read_again(tmp_path: Path) -> None:
    file = tmp_path / "c"
    with Catalog.open(file) as catalog:
        catalog.put([picture()])
    # What a later version with one more check does, in a process of its own: the table is read at import.
    code = """
        import sys
        from pathlib import Path
        import curate.quality as quality
        quality.CHECKS = (*quality.CHECKS, quality.Check("purple", 0.5, "", lambda view: 1.0))
        from curate.catalog import Catalog
        with Catalog.open(Path(sys.argv[1])) as catalog:
            row, = catalog.pictures()
            purple = catalog.db.execute("SELECT purple_score FROM pictures").fetchone()
            print(row.path, row.mtime_ns, row.scores, purple)
    """
    for _ in range(2):  # the second time there is nothing to add
        done = subprocess.run(python(code, file), cwd=REPOSITORY, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "raw/1/a.jpg -1 () (None,)"


# -- transactions


def test_a_catalog_gets_its_name_also_where_other_things_are_on_record_of_it(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "c") as catalog:
        assert catalog.about("readers") == ""
        for installed in ("heif", "heif jxl"):
            with catalog.transaction():
                catalog.note_about("readers", installed)
        assert catalog.about("identity") == ""
        name = catalog.identity()
        assert re.fullmatch(r"[0-9a-f]{32}", name)
    with Catalog.open_read_only(tmp_path / "c") as catalog:
        assert (catalog.identity(), catalog.about("readers")) == (name, "heif jxl")
    with Catalog.open(tmp_path / "d") as other:
        assert other.identity() != name


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "c") as catalog:
        with pytest.raises(sqlite3.IntegrityError), catalog.transaction():
            catalog.put([picture(), picture("b", label=None)])
        assert catalog.pictures() == []
        with catalog.transaction():
            catalog.put([picture()])
        assert len(catalog.pictures()) == 1


def test_a_mistake_in_our_own_sql_is_not_called_damage(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such column"), Catalog.open(tmp_path / "c") as catalog:
        catalog.db.execute("SELECT colour FROM pictures")
    with pytest.raises(sqlite3.IntegrityError), Catalog.open(tmp_path / "c") as catalog:
        catalog.put([picture(label=None)])


def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "c"
    with Catalog.open(file) as catalog:
        catalog.put([picture()])

    def fill() -> None:
        with Catalog.open(file) as catalog:
            pages = catalog.db.execute("PRAGMA page_count").fetchone()[0]
            catalog.db.execute(f"PRAGMA max_page_count = {pages}")  # fails as it does when the disk has no more
            with catalog.transaction():
                catalog.put(picture(f"{number:05}") for number in range(10_000))

    with pytest.raises(UserError, match=r"cannot be written \(.*full.*\): check the disk's free space"):
        fill()
    with Catalog.open(file) as catalog:
        assert catalog.pictures() == [picture()]


KILLED = """
    import sys
    from dataclasses import replace
    from pathlib import Path
    from curate.catalog import Catalog, Picture
    row = Picture("", "raw/1", "1", "", 1, 1, "00", "JPEG", 1, 1, 1, "", "present")
    with Catalog.open(Path(sys.argv[1])) as catalog:
        for batch in range(10**6):
            with catalog.transaction():
                for number in range(50):
                    catalog.put([replace(row, path=f"{batch:06}/{number:02}")])
            print(batch, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on Windows")
@pytest.mark.parametrize("seconds", [0.0, 0.013, 0.1])
def test_a_kill_leaves_whole_transactions(tmp_path: Path, seconds: float) -> None:
    file = tmp_path / "c"
    with subprocess.Popen(python(KILLED, file), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        committed = int(process.stdout.readline())
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        committed = max([committed, *(int(line) for line in process.stdout.read().splitlines() if line.isdigit())])
    with Catalog.open(file) as catalog:
        batches = catalog.db.execute("SELECT count(*) FROM pictures GROUP BY substr(path, 1, 6)").fetchall()
    assert set(batches) == {(50,)}
    assert len(batches) >= committed + 1


def test_many_processes_at_once(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from curate.catalog import Catalog, Picture
        who = sys.argv[2]
        sys.stdin.readline()
        with Catalog.open(Path(sys.argv[1])) as catalog:
            for number in range(20):
                with catalog.transaction():
                    row = Picture(f"{who}/{number}", who, who, "", 1, 1, "00", "JPEG", 1, 1, 1, "", "present")
                    catalog.put([row])
    """
    file = tmp_path / "new.florilegium" / "c"
    commands = [python(code, file, who) for who in range(6)]
    crowd = [
        subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    time.sleep(1)  # until all of them wait, so that they make the file at the same moment
    for process in crowd:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in crowd]
    assert errors == [""] * 6
    with Catalog.open(file) as catalog:
        assert len(catalog.pictures()) == 120


# -- files that are no catalog


def damaged(file: Path) -> None:
    with Catalog.open(file) as catalog:
        catalog.put(picture(f"{number:04}") for number in range(500))
    data = bytearray(file.read_bytes())
    data[5000:30000] = b"\xa5" * 25000
    file.write_bytes(data)


def newer(file: Path) -> None:
    with Catalog.open(file) as catalog:
        catalog.db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def foreign(file: Path) -> None:
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE pictures (id)")
    db.close()


def cut_off(file: Path) -> None:
    damaged(file)
    file.write_bytes(file.read_bytes()[:3000])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        pytest.param(
            lambda file: file.write_bytes(b"not a database" * 99), "is damaged .*--rebuild-catalog", id="noise"
        ),
        pytest.param(damaged, "is damaged .*--rebuild-catalog", id="damaged pages"),
        pytest.param(cut_off, "is damaged", id="cut off"),
        pytest.param(newer, r"newer version of florilegium \(schema 2, this one knows 1\): update", id="newer"),
        pytest.param(foreign, "is a database of another program: move it away", id="another program's"),
        pytest.param(Path.mkdir, "is not a file.*move it away", id="a folder"),
    ],
)
def test_what_is_no_catalog_is_told_and_left_alone(tmp_path: Path, make: object, sentence: str) -> None:
    file = tmp_path / "catalog.sqlite"
    assert callable(make)
    make(file)
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(UserError, match=sentence) as caught:
        Catalog.open(file)
    assert str(file) in str(caught.value)
    assert before is None or file.read_bytes() == before


def test_an_empty_file_becomes_a_catalog(tmp_path: Path) -> None:
    """What a kill between the making of the file and its first table leaves."""
    (tmp_path / "c").touch()
    with Catalog.open(tmp_path / "c") as catalog:
        assert catalog.pictures() == []


def test_damage_that_shows_later_is_told_too(tmp_path: Path) -> None:
    file = tmp_path / "c"
    with Catalog.open(file) as catalog:
        catalog.put(picture(f"{number:05}") for number in range(20_000))

    def read() -> None:
        with Catalog.open(file) as catalog:
            with file.open("r+b") as raw:
                raw.seek(8192)
                raw.write(b"\xa5" * 4_000_000)
            catalog.pictures()

    with pytest.raises(UserError, match="is damaged"):
        read()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"The catalog .*catalog.sqlite cannot be read \(Not a directory\)"):
        Catalog.open(tmp_path / "file" / "catalog.sqlite")


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs a second user")
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from curate.catalog import Catalog
        from curate.errors import UserError
        os.chdir(sys.argv[1])
        if os.getuid() == 0:
            os.setuid(65534)  # root may write anywhere
        try:
            Catalog.open(Path("catalog.sqlite"))
        except UserError as error:
            print(error)
    """
    with Catalog.open(tmp_path / "catalog.sqlite") as catalog:
        catalog.put([picture()])
    for file in (tmp_path / "catalog.sqlite", tmp_path):
        file.chmod(file.stat().st_mode & ~0o222 | 0o055)
    try:
        done = subprocess.run(python(code, tmp_path), cwd=REPOSITORY, capture_output=True, text=True)
        assert "cannot be written" in done.stdout, done.stderr
        assert "check the disk's free space and your rights" in done.stdout
    finally:
        tmp_path.chmod(0o700)
