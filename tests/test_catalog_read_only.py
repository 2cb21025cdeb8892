"""A catalog that is only looked at stays as it is, to the last byte beside it, on a disk that takes nothing too."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.catalog import Catalog
from curate.errors import UserError
from tests.test_catalog import REPOSITORY, damaged, foreign, newer, picture, python
from tests.without_rights import needs_rights, read_only, without_privileges

KILLED = """
    import os, sys
    from pathlib import Path
    from curate.catalog import Catalog
    from tests.test_catalog import picture
    with Catalog.open(Path(sys.argv[1])) as catalog:
        catalog.put([picture("only in the log")])
        os._exit(0)
"""
LOOK = """
    import sys
    from pathlib import Path
    from curate.catalog import Catalog
    from curate.errors import UserError
    try:
        with Catalog.open_read_only(Path(sys.argv[1])) as catalog:
            print([picture.path for picture in catalog.pictures()])
    except UserError as error:
        print(error)
"""


def made(file: Path) -> Path:
    with Catalog.open(file) as catalog:
        catalog.put([picture("raw/1/a.jpg")])
    return file


def killed(file: Path) -> Path:
    """A catalog whose last row is in the log alone."""
    made(file)
    subprocess.run(python(KILLED, file), cwd=REPOSITORY, check=True)
    assert file.with_name("catalog.sqlite-wal").stat().st_size > 0
    return file


def looked_at(file: Path) -> str:
    """What a process sees in it that is not root's."""
    command = without_privileges(python(LOOK, file))
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_looking_leaves_no_trace(tmp_path: Path) -> None:
    file = made(tmp_path / "catalog.sqlite")
    before = contents(tmp_path)
    with Catalog.open_read_only(file) as catalog:
        assert [row.path for row in catalog.pictures()] == ["raw/1/a.jpg"]
        assert contents(tmp_path) == before
    assert contents(tmp_path) == before


@pytest.mark.thorough
@pytest.mark.parametrize("lost", [(), ("-shm",)], ids=["log and index", "log alone"])
def test_a_log_that_a_killed_process_left_is_read(tmp_path: Path, lost: tuple[str, ...]) -> None:
    file = killed(tmp_path / "catalog.sqlite")
    for suffix in lost:
        file.with_name(file.name + suffix).unlink()
    names = sorted(contents(tmp_path))
    with Catalog.open_read_only(file) as catalog:
        assert [row.path for row in catalog.pictures()] == ["only in the log", "raw/1/a.jpg"]
    assert sorted(contents(tmp_path)) == names


@pytest.mark.thorough
@needs_rights
@pytest.mark.parametrize("lost", [(), ("-shm",), ("-wal", "-shm")], ids=["log and index", "log alone", "no log"])
def test_a_read_only_disk_is_no_obstacle(tmp_path: Path, lost: tuple[str, ...]) -> None:
    file = killed(tmp_path / "catalog.sqlite") if "-wal" not in lost else made(tmp_path / "catalog.sqlite")
    for suffix in lost:
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    before = contents(tmp_path)
    seen = ["raw/1/a.jpg"] if "-wal" in lost else ["only in the log", "raw/1/a.jpg"]
    with read_only(tmp_path):
        assert looked_at(file) == repr(seen)
        assert contents(tmp_path) == before


@needs_rights
def test_one_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    file = made(tmp_path / "catalog.sqlite")
    file.chmod(0o200)
    assert looked_at(file).startswith(f"The catalog {file} cannot be read (")


def test_nothing_can_be_written_through_it(tmp_path: Path) -> None:
    file = made(tmp_path / "catalog.sqlite")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="cannot be written"), Catalog.open_read_only(file) as catalog:
        catalog.put([picture("raw/1/b.jpg")])
    assert contents(tmp_path) == before


@pytest.mark.thorough
def test_it_is_whole_while_another_process_writes(tmp_path: Path) -> None:
    """Each of the writer's transactions has a hundred rows; the log comes and goes as it opens and closes."""
    file = made(tmp_path / "catalog.sqlite")
    code = """
        import sys
        from pathlib import Path
        from curate.catalog import Catalog
        from tests.test_catalog import picture
        for turn in range(10_000):
            with Catalog.open(Path(sys.argv[1])) as catalog, catalog.transaction():
                catalog.put(picture(f"{turn % 300:03}/{number:02}") for number in range(100))
    """
    writer = subprocess.Popen(python(code, file), cwd=REPOSITORY)
    try:
        seen = set[int]()
        end = time.monotonic() + 60
        while len(seen) < 20 and time.monotonic() < end:
            with Catalog.open_read_only(file) as catalog:
                rows = len(catalog.pictures()) - 1
            assert rows % 100 == 0
            seen.add(rows)
        assert writer.poll() is None
        assert len(seen) >= 5, "it wrote while it was read"
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        pytest.param(lambda _: None, "There is no catalog", id="nothing"),
        pytest.param(lambda file: file.touch(), "is empty", id="empty"),
        pytest.param(lambda file: file.write_bytes(b"not a database" * 99), "is damaged", id="noise"),
        pytest.param(damaged, "is damaged", id="damaged pages"),
        pytest.param(newer, "newer version", id="newer"),
        pytest.param(foreign, "another program", id="another program's"),
        pytest.param(os.mkfifo, "is not a file.*move it away", id="a pipe"),
        pytest.param(Path.mkdir, "is not a file.*move it away", id="a folder"),
    ],
)
def test_what_is_no_catalog_is_told_and_left_alone(
    tmp_path: Path, make: Callable[[Path], object], sentence: str
) -> None:
    file = tmp_path / "cat#alog ?%41.sqlite"
    make(file)
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(UserError, match=sentence):
        Catalog.open_read_only(file)
    assert before is None or contents(tmp_path) == {file.name: before}


def test_a_name_with_signs_of_its_own_is_no_option_of_the_connection(tmp_path: Path) -> None:
    file = made(tmp_path / "cat#alog ?mode=memory&%41.sqlite")
    with Catalog.open_read_only(file) as catalog:
        assert len(catalog.pictures()) == 1
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            catalog.db.execute("DELETE FROM pictures")
