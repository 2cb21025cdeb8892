"""A scan keeps the catalog true to its folder, whatever happens to either."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import ImageFilter

from curate.catalog import Catalog, Picture
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.image import DecodedImage, decode
from curate.inspect import inspect
from curate.quality import CHECKS
from curate.scan import ScanReport, scan
from tests.test_inspect import encode, scene

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for label in "ab":
        (root / "raw" / label).mkdir(parents=True)
        for number in range(4):
            (root / f"raw/{label}/{number}.jpg").write_bytes(encode(scene(number + 10 * (label == "b"))))
    return root


def scanned(root: Path) -> tuple[ScanReport, dict[str, Picture]]:
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        report = scan(dataset, catalog)
        return report, {picture.path: picture for picture in [*catalog.pictures(), *catalog.absent()]}


def test_a_scan_reads_each_file_once(root: Path) -> None:
    report, rows = scanned(root)
    assert report == ScanReport(files=8, read=8, missing=0)
    facts = inspect((root / "raw/b/2.jpg").read_bytes())
    row, status = rows["raw/b/2.jpg"], (root / "raw/b/2.jpg").stat()
    assert (row.folder, row.label, row.split, row.state) == ("raw/b", "b", "", "present")
    assert (row.size, row.mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert (row.sha256, row.phash, row.scores) == (facts.sha256, facts.phash, facts.scores)
    assert scanned(root) == (ScanReport(files=8, read=0, missing=0), rows)


def test_a_scan_finds_what_is_new_changed_gone_and_renamed(root: Path) -> None:
    _, before = scanned(root)
    (root / "raw/a/new.png").write_bytes(encode(scene(99), "PNG"))
    (root / "raw/a/0.jpg").write_bytes(encode(scene(98)))
    (root / "raw/a/1.jpg").unlink()
    (root / "raw/a/2.jpg").rename(root / "raw/a/renamed.jpg")
    report, rows = scanned(root)
    assert report == ScanReport(files=8, read=3, missing=2)
    assert rows["raw/a/new.png"].format == "PNG"
    assert rows["raw/a/0.jpg"].sha256 != before["raw/a/0.jpg"].sha256
    assert [path for path, row in rows.items() if row.state == "missing"] == ["raw/a/1.jpg", "raw/a/2.jpg"]
    assert rows["raw/a/renamed.jpg"].sha256 == before["raw/a/2.jpg"].sha256
    assert scanned(root)[0] == ScanReport(files=8, read=0, missing=0)


def test_what_comes_back_is_present_again(root: Path) -> None:
    _, before = scanned(root)
    shutil.move(root / "raw/b", root / "elsewhere")
    report, rows = scanned(root)
    assert report == ScanReport(files=4, read=0, missing=4)
    assert {row.state for path, row in rows.items() if path.startswith("raw/b")} == {"missing"}
    shutil.move(root / "elsewhere", root / "raw/b")
    assert scanned(root) == (ScanReport(files=8, read=0, missing=0, checked=4), before)


def test_a_change_of_the_same_length_is_seen_by_its_time(root: Path) -> None:
    scanned(root)
    file = root / "raw/a/0.jpg"
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    report, rows = scanned(root)
    assert report.read == 1
    assert rows["raw/a/0.jpg"].sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("lost", [f"{CHECKS[0].column} = NULL", f"{CHECKS[-1].column} = NULL", "fingerprint = x''"])
def test_a_row_that_lacks_a_fact_is_read_again(root: Path, lost: str) -> None:
    """As of pictures that were scraped when a scrape kept no scores."""
    (root / "raw/a/page.jpg").write_bytes(b"<html>404</html>")
    _, rows = scanned(root)
    with Catalog.open(open_dataset(root).catalog_path) as catalog, catalog.transaction() as db:
        db.execute(f"UPDATE pictures SET {lost} WHERE label = 'b'")
    assert scanned(root) == (ScanReport(files=9, read=4, missing=0), rows)
    assert scanned(root) == (ScanReport(files=9, read=0, missing=0), rows)


def test_links_pipes_and_damage_are_broken_with_a_reason(root: Path) -> None:
    (root / "raw/a/dangling.jpg").symlink_to("nowhere.jpg")
    (root / "raw/a/good.jpg").symlink_to("0.jpg")
    (root / "raw/a/loop.jpg").symlink_to("loop.jpg")
    (root / "raw/a/page.jpg").write_bytes(b"<html>404</html>")
    (root / "raw/a/empty.jpg").touch()
    os.mkfifo(root / "raw/a/pipe.jpg")  # would block for ever whoever opens it like a file
    _, rows = scanned(root)
    broken = {path.removeprefix("raw/a/"): row.broken for path, row in rows.items() if row.broken}
    assert broken == {
        "dangling.jpg": "a link that leads nowhere",
        "loop.jpg": "a link that leads nowhere",
        "page.jpg": "a web page or other markup, not a picture",
        "empty.jpg": "the file is empty",
        "pipe.jpg": "not a file but a pipe, a device or a folder",
    }
    assert rows["raw/a/good.jpg"].sha256 == rows["raw/a/0.jpg"].sha256
    assert scanned(root)[0].read == 0
    (root / "raw/a/nowhere.jpg").write_bytes(encode(scene(5)))
    assert scanned(root)[1]["raw/a/dangling.jpg"].broken == ""


def test_a_file_too_large_to_be_a_photograph_is_not_held_in_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.scan.MAX_BYTES", 100_000)
    with (root / "raw/a/film.jpg").open("wb") as file:
        file.truncate(100_001)
    row = scanned(root)[1]["raw/a/film.jpg"]
    assert row.broken == "100,001 bytes are over the limit of 100,000 bytes"
    assert row.sha256 == "", "to read all of it may take for ever"


def test_a_folder_may_change_while_it_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that vanishes between listing and reading is missing, not broken, and not what it was before."""
    scanned(root)
    for name in ("0.jpg", "1.jpg", "unseen.jpg"):
        (root / "raw/a" / name).write_bytes(encode(scene(50)))

    def vanish(data: bytes, *, path: str, at_least: int, luma: bool) -> DecodedImage:
        for name in ("0.jpg", "1.jpg", "unseen.jpg"):
            (root / "raw/a" / name).unlink(missing_ok=True)
        return decode(data, path=path, at_least=at_least, luma=luma)

    monkeypatch.setattr("curate.inspect.decode", vanish)
    _, rows = scanned(root)
    assert rows["raw/a/0.jpg"].state == "present"  # it was read first
    assert rows["raw/a/1.jpg"].state == "missing"
    assert "raw/a/unseen.jpg" not in rows
    monkeypatch.undo()
    assert scanned(root)[1]["raw/a/0.jpg"].state == "missing"


def test_progress_counts_every_file(root: Path) -> None:
    class Counter:
        total = done = 0
        description = ""

        def __call__(self, description: str, total: int) -> "Counter":
            self.description, self.total = description, total
            return self

        def __enter__(self) -> Any:
            return self.advance

        def __exit__(self, *_: object) -> None:
            pass

        def advance(self, done: int) -> None:
            self.done += done

    counter, dataset = Counter(), open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        scan(dataset, catalog, counter)
    assert (counter.description, counter.total, counter.done) == ("Reading pictures", 8, 8)


SCAN = """
    import sys
    from pathlib import Path
    from curate.catalog import Catalog
    from curate.dataset import open_dataset
    import curate.scan
    curate.scan._COMMIT_SECONDS = 0.05
    dataset = open_dataset(Path(sys.argv[1]))
    with Catalog.open(dataset.catalog_path) as catalog:
        print("started", flush=True)
        curate.scan.scan(dataset, catalog)
"""


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on Windows")
def test_a_killed_scan_goes_on_where_it_was(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "raw/a").mkdir(parents=True)
    data = encode(scene(0, 1600, 1200))
    for number in range(400):  # each with a tail of its own, which no decoder looks at
        (root / f"raw/a/{number}.jpg").write_bytes(data + b"%d" % number)
    command = [sys.executable, "-c", textwrap.dedent(SCAN), str(root)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        catalog = open_dataset(root).catalog_path
        for _ in range(1000):
            time.sleep(0.01)
            with Catalog.open(catalog) as seen:
                if seen.pictures():
                    break
        process.send_signal(signal.SIGKILL)
    with Catalog.open(catalog) as seen:
        kept = len(seen.pictures())
    assert 0 < kept < 400, "the kill came too late to mean anything"
    report, rows = scanned(root)
    assert report == ScanReport(files=400, read=400 - kept, missing=0)
    assert all(row.sha256 == hashlib.sha256((root / path).read_bytes()).hexdigest() for path, row in rows.items())


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs a second user")
@pytest.mark.parametrize("locked", ["raw/a/0.jpg", "raw/a", "raw"])
def test_what_may_not_be_read_is_told(open_folder: Path, locked: str) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from curate.catalog import Catalog
        from curate.dataset import open_dataset
        from curate.errors import UserError
        from curate.inspect import inspect
        from curate.scan import scan
        inspect(Path(sys.argv[1]).read_bytes())  # imports what the other user may not
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            dataset = open_dataset(Path(sys.argv[2]))
            with Catalog.open(Path(":memory:")) as catalog:
                scan(dataset, catalog)
        except UserError as error:
            print(error)
    """
    (open_folder / "raw/a").mkdir(parents=True)
    picture = open_folder / "raw/a/0.jpg"
    picture.write_bytes(encode(scene(1)))
    sample = open_folder / "sample.jpg"
    shutil.copy(picture, sample)
    (open_folder / locked).chmod(0)
    command = [sys.executable, "-c", textwrap.dedent(code), str(sample), str(open_folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    (open_folder / locked).chmod(0o755)
    assert "cannot be read" in done.stdout, done.stderr
    assert str(open_folder / locked) in done.stdout
    assert "give yourself the right" in done.stdout


def test_an_unreadable_file_stops_the_scan_in_a_sentence(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("curate.scan.open_file", refuse)
    with pytest.raises(UserError, match=r"0\.jpg cannot be read \(Permission denied\): give yourself the right"):
        scanned(root)


def test_blur_is_seen_in_the_catalog(root: Path) -> None:
    (root / "raw/a/blurred.jpg").write_bytes(encode(scene(1).filter(ImageFilter.GaussianBlur(8))))
    scanned(root)
    with Catalog.open(open_dataset(root).catalog_path) as catalog:
        worst = catalog.db.execute("SELECT path FROM pictures ORDER BY blurred_score LIMIT 1").fetchone()
    assert worst == ("raw/a/blurred.jpg",)


CRASH = """
    import os, sys
    from pathlib import Path
    import curate.inspect
    from curate.catalog import Catalog
    from curate.dataset import open_dataset
    from curate.scan import scan

    ours, decode = os.getpid(), curate.inspect.decode

    def crash(data, *, path, **how):
        if path in sys.argv[3:]:
            assert os.getpid() != ours
            os.kill(os.getpid(), int(sys.argv[2]))
        return decode(data, path=path, **how)

    curate.inspect.decode = crash
    dataset = open_dataset(Path(sys.argv[1]))
    with Catalog.open(dataset.catalog_path) as catalog:
        scan(dataset, catalog)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks safely")
def test_a_picture_that_crashes_its_decoder_is_broken_and_the_others_are_read(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "raw/a").mkdir(parents=True)
    for number in range(120):
        (root / f"raw/a/{number}.jpg").write_bytes(encode(scene(number % 5)) + b"%d" % number)
    deadly = {"raw/a/17.jpg", "raw/a/18.jpg", "raw/a/99.jpg"}
    command = [sys.executable, "-c", textwrap.dedent(CRASH), str(root), str(int(signal.SIGSEGV)), *sorted(deadly)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    with Catalog.open(open_dataset(root).catalog_path) as catalog:
        rows = {row.path: row for row in catalog.pictures()}
    assert len(rows) == 120
    assert {path for path, row in rows.items() if row.broken} == deadly
    assert {rows[path].broken for path in deadly} == {"whatever decodes it crashes"}
    assert rows["raw/a/17.jpg"].sha256 == hashlib.sha256((root / "raw/a/17.jpg").read_bytes()).hexdigest()
    assert all(row.scores and row.fingerprint for path, row in rows.items() if path not in deadly)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks safely")
def test_a_picture_whose_reader_is_killed_from_outside_is_not_broken(tmp_path: Path) -> None:
    """The kernel kills what needs too much memory, whatever the file is like: that is said, and nothing is noted."""
    root = tmp_path / "data"
    (root / "raw/a").mkdir(parents=True)
    for number in range(120):
        (root / f"raw/a/{number}.jpg").write_bytes(encode(scene(number % 5)) + b"%d" % number)
    command = [sys.executable, "-c", textwrap.dedent(CRASH), str(root), str(int(signal.SIGKILL)), "raw/a/17.jpg"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert "17.jpg was killed (exit code -9), as happens where memory runs out" in done.stderr
    with Catalog.open(open_dataset(root).catalog_path) as catalog:
        assert not catalog.broken()
    assert scanned(root)[0].files == 120
    assert not [row for row in scanned(root)[1].values() if row.broken]
