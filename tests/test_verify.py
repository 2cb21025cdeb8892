"""What `verify` finds: every change, every loss, every leak; and that it believes nothing it did not read."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from curate.catalog import Catalog
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.split import split
from curate.verify import Crossing, verify
from tests.pictures import dataset, encoded_field, field, labelled, placed, tree, write
from tests.without_rights import needs_rights, read_only, without_privileges

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset that is split in place and, by copies, in a folder beside it."""
    root = tmp_path / "data"
    dataset(root / "raw", {"1": 20, "2": 20})
    split(root)
    split(root, out=tmp_path / "out", mode="copy")
    return root


def one(out: Path, to: str) -> Path:
    return min((out / to).rglob("*.jpg"))


def test_all_is_in_order(root: Path) -> None:
    before = tree(root.parent)
    report = verify(root)
    assert report.in_order
    assert (report.files, report.placed) == (120, 80)  # in raw/, and twice in a split
    assert (report.changed, report.missing, report.new, report.broken) == ([], [], [], [])
    assert {proof.folder: proof.counts for proof in report.splits} == {
        root: {"train": 32, "valid": 4, "test": 4},
        root.parent / "out": {"train": 32, "valid": 4, "test": 4},
    }
    assert all(proof.crossings == [] for proof in report.splits)
    assert tree(root.parent) == before


def test_finds_bytes_that_changed_behind_size_and_time(root: Path) -> None:
    """One flipped bit, with size and modification time as they were: what no scan can see."""
    file = one(root.parent / "out", "train")
    stat = file.stat()
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    report = verify(root)
    assert report.changed == [os.path.relpath(file, root)]
    assert not report.in_order


def test_finds_what_is_missing_new_and_broken(root: Path) -> None:
    missing, broken = one(root.parent / "out", "test"), one(root.parent / "out", "valid")
    missing.unlink()
    broken.write_bytes(broken.read_bytes()[:500])
    write(root / "raw" / "1" / "new.jpg", encoded_field(field(900)))
    write(root.parent / "out" / "train" / "1" / "stranger.jpg", encoded_field(field(901)))
    report = verify(root)
    assert report.missing == [f"../out/{missing.relative_to(root.parent / 'out').as_posix()}"]
    assert sorted(report.new) == ["../out/train/1/stranger.jpg", "raw/1/new.jpg"]
    assert [damage.path for damage in report.broken] == [f"../out/{broken.relative_to(root.parent / 'out').as_posix()}"]
    assert "cut off" in report.broken[0].reason
    assert [damage.path for damage in report.broken] == report.changed


def test_finds_a_leak_that_the_catalog_does_not_know(root: Path) -> None:
    """A recompressed copy of a test picture, put into train by hand; the catalog's hashes are falsified besides."""
    victim = one(root, "test")
    label = victim.parent.name
    name = victim.relative_to(root).as_posix()
    original = next(number for number in range(40) if encoded_field(field(number)) == victim.read_bytes())
    write(root / "train" / label / "leak.jpg", encoded_field(field(original), 60))
    with sqlite3.connect(root / "catalog.sqlite") as db:
        db.execute("UPDATE pictures SET phash = random()")
    report = verify(root)
    (crossing,) = report.splits[0].leaks
    assert (crossing.first, crossing.second, crossing.kind) == (f"train/{label}/leak.jpg", name, "copies")
    assert 0 <= crossing.distance <= 8
    assert report.new == [f"train/{label}/leak.jpg"]
    assert not report.in_order


def test_finds_the_same_bytes_in_two_splits_under_any_label(root: Path) -> None:
    victim = one(root, "test")
    other = "2" if victim.parent.name == "1" else "1"
    shutil.copy(victim, root / "valid" / other / "twin.jpg")
    report = verify(root)
    assert report.splits[0].leaks == [
        Crossing(f"valid/{other}/twin.jpg", victim.relative_to(root).as_posix(), "copies", 0)
    ]


def test_finds_one_origin_in_two_splits(root: Path) -> None:
    with Catalog.open(open_dataset(root).catalog_path) as catalog:
        width = len(catalog.db.execute("PRAGMA table_info(credits)").fetchall())
        names = [row[1] for row in catalog.db.execute("PRAGMA table_info(credits)")]
        for to in ("train", "test"):
            path = one(root, to).relative_to(root).as_posix()
            (found,) = (found for found in catalog.pictures() if found.path == path)
            row = {"sha256": found.sha256, "url": to, "provenance_group": "one observation"}
            with catalog.transaction() as db:
                db.execute(
                    f"INSERT INTO credits VALUES ({', '.join('?' * width)})", [row.get(name, "") for name in names]
                )
    report = verify(root)
    assert [(leak.kind, leak.distance) for proof in report.splits for leak in proof.leaks] == [("origin", -1)] * 2


def test_what_is_near_is_counted_and_no_leak(root: Path) -> None:
    write(root / "train" / "1" / "red.jpg", labelled(900, "red"))
    write(root / "test" / "1" / "blue.jpg", labelled(900, "blue"))
    (proof, _) = verify(root).splits
    assert [(found.first, found.second, found.kind) for found in proof.crossings] == [
        ("train/1/red.jpg", "test/1/blue.jpg", "near")
    ]
    assert (proof.count("near"), proof.count("copies"), proof.leaks) == (1, 0, [])


def test_without_a_catalog_all_is_new_and_the_split_is_proved(tmp_path: Path) -> None:
    dataset(tmp_path / "train", {"1": 4, "2": 4})
    dataset(tmp_path / "test", {"1": 1, "2": 1})  # the same pictures as train's first
    before = tree(tmp_path)
    report = verify(tmp_path)
    assert len(report.new) == report.files == 10
    assert len(report.splits[0].leaks) == 2
    assert tree(tmp_path) == before
    assert not (tmp_path / "catalog.sqlite").exists()


def test_a_split_that_lies_beside_its_dataset_is_verified_by_that_ones_catalog(tmp_path: Path) -> None:
    dataset(tmp_path / "flat", {"1": 8, "2": 8})
    beside = split(tmp_path / "flat", mode="copy").out
    report = verify(beside)
    assert report.root == tmp_path / "flat"
    assert report.in_order
    one(beside, "train").write_bytes(encoded_field(field(99)))
    assert len(verify(beside).changed) == 1
    moved = (tmp_path / "flat").rename(tmp_path / "moved")
    assert verify(beside).no_catalog, "nobody knows where the dataset is"
    mark = beside / ".florilegium.split"
    mark.write_text(mark.read_text(encoding="utf-8").replace("../flat", "../moved"), encoding="utf-8")
    split(moved, out=tmp_path / "elsewhere")
    assert verify(beside).root == beside, "the catalog there names another folder"


def test_a_link_that_leads_nowhere_is_broken(root: Path, tmp_path: Path) -> None:
    split(root, out=tmp_path / "links", mode="symlink")
    name, to = next(iter(placed(tmp_path / "links").items()))
    (root / "raw" / name).unlink()
    report = verify(root)
    assert f"raw/{name}" in report.missing
    assert [(damage.path, damage.reason) for damage in report.broken] == [
        (f"../links/{to}/{name}", "a link that leads nowhere")
    ]


def test_says_what_is_wrong_with_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no folder"):
        verify(tmp_path / "nowhere")


@pytest.mark.thorough
def test_proves_the_split_of_real_pictures(flowers: Path) -> None:
    """The photographs' own split, straight from the folder, where nothing may be written."""
    dataset_ = open_dataset(flowers)
    if dataset_.catalog_path.exists():
        pytest.skip("this folder has a catalog already")
    report = verify(flowers)
    assert report.broken == []
    assert report.splits[0].leaks == []
    assert not dataset_.catalog_path.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_is_broken_and_holds_nothing_up(root: Path) -> None:
    os.mkfifo(root / "train" / "1" / "pipe.jpg")
    (root / "train" / "1" / "endless.jpg").symlink_to("/dev/zero")
    (root / "train" / "1" / "round.jpg").symlink_to("round.jpg")
    (root / "train" / "1" / "folder.jpg").mkdir()
    damages = {damage.path: damage.reason for damage in verify(root).broken}
    assert damages == {
        "train/1/pipe.jpg": "not a file but a pipe, a device or a folder",
        "train/1/endless.jpg": "not a file but a pipe, a device or a folder",
        "train/1/round.jpg": "a link that leads nowhere",
    }


@pytest.mark.thorough
@needs_rights
@pytest.mark.parametrize("killed", [False, True])
def test_a_backup_on_a_read_only_disk_is_verified(root: Path, killed: bool) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom curate.catalog import Catalog\n"
        "with Catalog.open(Path(sys.argv[1])) as catalog:\n"
        "    catalog.set_state('raw/1/picture 0.jpg', 'present')\n    os._exit(0)"
    )
    if killed:
        subprocess.run([sys.executable, "-c", code, str(root / "catalog.sqlite")], cwd=REPOSITORY, check=True)
        assert (root / "catalog.sqlite-wal").exists()
    before = tree(root)
    with read_only(root):
        command = without_privileges([sys.executable, str(REPOSITORY / "cli.py"), "verify", str(root)])
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"All 40 files of {root} are as the catalog says, and so are the 80 placed in its splits." in done.stdout
    assert tree(root) == before


def no_tables(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.executescript("DROP TABLE placements; DROP TABLE credits")


def numbers_for_paths(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.executescript(
            "CREATE TABLE lax AS SELECT * FROM pictures; DROP TABLE pictures; ALTER TABLE lax RENAME TO pictures;"
            "UPDATE pictures SET path = x'00ff' WHERE path = 'raw/1/picture 0.jpg'"
        )


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda file: file.write_bytes(b"no database" * 1000), id="noise"),
        pytest.param(lambda file: file.write_bytes(file.read_bytes()[:5000]), id="cut off"),
        pytest.param(lambda file: file.write_bytes(b""), id="empty"),
        pytest.param(Path.unlink, id="gone"),
        no_tables,
        numbers_for_paths,
    ],
)
def test_without_a_usable_catalog_the_split_is_proved_all_the_same(
    root: Path, damage: Callable[[Path], object]
) -> None:
    damage(root / "catalog.sqlite")
    before = tree(root)
    report = verify(root)
    assert "catalog.sqlite" in report.no_catalog
    assert len(report.new) == report.files == 80
    assert report.splits[0].counts == {"train": 32, "valid": 4, "test": 4}
    assert report.splits[0].leaks == []
    assert not report.in_order
    assert tree(root) == before


def test_a_folder_of_a_split_that_no_folder_can_be_is_passed_over(root: Path) -> None:
    with closing(sqlite3.connect(root / "catalog.sqlite")) as db:
        rows = [(out, "train/1/a.jpg", "0" * 64) for out in ("../" + "x" * 300, "../loop", "../no\0where", "../pipe")]
        db.executemany("INSERT INTO placements VALUES (?, ?, ?)", rows)
        db.commit()
    (root.parent / "loop").symlink_to("loop")
    os.mkfifo(root.parent / "pipe")
    report = verify(root)
    assert (len(report.missing) == 4) != bool(report.no_catalog)
