"""Files of a split: made as asked, none stale, none lost, and strangers left alone."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import Dataset, open_dataset
from curate.defaults import Mode
from curate.errors import UserError
from curate.files.atomic import temporary_name
from curate.files.ours import WorkFolder
from curate.progress import Progress, silent
from curate.quarantine import restore_files
from curate.scan import ScanReport, scan
from curate.split import split
from curate.splitting.materialize import Placement
from tests.pictures import dataset, encoded_field, field, placed, tree, write

MODES: list[Mode] = ["link", "copy", "symlink"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    dataset(tmp_path / "data" / "raw", {"1": 12, "2": 12})
    return tmp_path / "data"


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system than the temporary one."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm to be the other file system")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def pictures(out: Path) -> list[Path]:
    return [file for to in ("train", "valid", "test") for file in (out / to).rglob("*.jpg")]


def how(out: Path, raw: Path) -> set[str]:
    """In which ways the placed files were made."""
    found = set()
    for file in pictures(out):
        original = raw / file.parent.name / file.name
        assert file.read_bytes() == original.read_bytes()
        same = file.samefile(original)
        found.add("symlink" if file.is_symlink() else "link" if same else "copy")
    return found


@pytest.mark.parametrize("first", MODES)
@pytest.mark.parametrize("then", MODES)
def test_makes_what_is_asked_for_also_the_second_time(root: Path, tmp_path: Path, first: Mode, then: Mode) -> None:
    for mode in (first, then):
        for out in (root, tmp_path / "out"):
            split(root, out=out, mode=mode)
            assert how(out, root / "raw") == {mode}
            assert len(placed(out)) == 24


def test_copies_where_links_cannot_be(root: Path, elsewhere: Path) -> None:
    if elsewhere.stat().st_dev == root.stat().st_dev:
        pytest.skip("the temporary folder lies in /dev/shm itself")
    report = split(root, out=elsewhere / "out")
    assert report.placement == Placement(linked=0, copied=24, symlinked=0, kept=0, removed=0, set_aside=0)
    assert how(elsewhere / "out", root / "raw") == {"copy"}
    again = split(root, out=elsewhere / "out")
    assert again.placement == Placement(linked=0, copied=0, symlinked=0, kept=24, removed=0, set_aside=0)
    split(root, out=elsewhere / "out", seed=3)
    assert len(placed(elsewhere / "out")) == 24


def test_the_next_scan_reads_no_placed_file_again(root: Path) -> None:
    for mode in MODES:
        split(root, mode=mode)
        data = open_dataset(root)
        with Catalog.open(data.catalog_path) as catalog:
            report = scan(data, catalog)
        assert (report.files, report.read) == (48, 0)


def test_keeps_names_whatever_they_are(tmp_path: Path) -> None:
    names = [
        "with space.jpg",
        "ünïcödé 花.jpeg",
        "a\nb.jpg",
        "'quoted\".png",
        "-rf.jpg",
        "%s{}.jpg",
        "x" * 251 + ".jpg",
    ]
    for number, name in enumerate(names):
        write(tmp_path / "raw" / "a class of its own é" / name, encoded_field(field(number)))
        write(tmp_path / "raw" / "deep" / "sub" / "folder" / name, encoded_field(field(100 + number)))
    for mode in MODES:
        split(tmp_path, mode=mode)
        expected = {f"a class of its own é/{name}" for name in names} | {f"deep/sub/folder/{name}" for name in names}
        assert set(placed(tmp_path)) == expected


def test_two_pictures_of_one_name_both_stay(tmp_path: Path) -> None:
    """A new raw picture bears the name of one that arrived in train."""
    dataset(tmp_path / "train", {"1": 5, "2": 5})
    dataset(tmp_path / "raw", {"1": 5, "2": 5}, first=0)
    for number, file in enumerate(sorted((tmp_path / "raw").rglob("*.jpg"))):
        file.write_bytes(encoded_field(field(300 + number)))
    before = tree(tmp_path / "train")
    for _ in range(2):
        split(tmp_path, ratio=(1.0, 0.0, 0.0))
        after = tree(tmp_path / "train")
        assert {name: after[name] for name in before} == before
        assert len(after) == 20
    out = tmp_path.parent / f"{tmp_path.name} out"
    split(tmp_path, out=out, ratio=(1.0, 0.0, 0.0))
    assert sorted(tree(out).values()) == sorted(after.values())


def test_refuses_an_output_with_strangers_and_touches_nothing(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out / "valid" / "1" / "picture 0.jpg", encoded_field(field(999)))
    before = tree(tmp_path)
    with pytest.raises(UserError, match=r"not of this dataset, such as valid/1/picture 0\.jpg"):
        split(root, out=out)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("inside", ["data/raw", "data/raw/1", "data/new", "data/quarantine/x"])
def test_refuses_an_output_inside_the_dataset(root: Path, tmp_path: Path, inside: str) -> None:
    with pytest.raises(UserError, match="overlap"):
        split(root, out=tmp_path / inside)


def test_refuses_to_split_a_flat_dataset_into_itself(tmp_path: Path) -> None:
    flat = tmp_path / "train"
    dataset(flat, {"1": 5, "2": 5})
    for out in (flat, flat / "1", tmp_path, tmp_path / "train.florilegium"):
        with pytest.raises(UserError, match="overlap"):
            split(flat, out=out)


def test_refuses_a_file_for_an_output(root: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(UserError, match="is a file"):
        split(root, out=tmp_path / "out")


def test_a_placed_file_that_was_edited_is_not_overwritten(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    split(root, out=out, mode="copy")
    edited = pictures(out)[0]
    edited.write_bytes(b"the user's own work")
    with pytest.raises(UserError, match="has changed since it was placed"):
        split(root, out=out, mode="copy")
    assert edited.read_bytes() == b"the user's own work"


def test_an_edited_file_in_a_split_folder_is_a_picture_of_its_own(root: Path) -> None:
    split(root, mode="copy")
    edited = next(file for file in pictures(root) if file.is_relative_to(root / "test"))
    edited.write_bytes(encoded_field(field(999)))
    split(root, mode="copy", seed=4)
    assert edited.read_bytes() == encoded_field(field(999))


@pytest.mark.parametrize("mode", ["link", "copy"])
def test_the_last_copy_is_set_aside_and_can_be_restored(root: Path, tmp_path: Path, mode: Mode) -> None:
    out = tmp_path / "out"
    split(root, out=out, mode=mode)
    name = next(iter(placed(out)))
    data = (root / "raw" / name).read_bytes()
    (root / "raw" / name).unlink()
    for seed in (1, 2):
        report = split(root, out=out, mode=mode, seed=seed)
        assert report.placement is not None
        assert report.placement.set_aside == (seed == 1)
        assert name not in placed(out)
    dataset_ = open_dataset(root)
    with Catalog.open(dataset_.catalog_path) as catalog:
        assert restore_files(dataset_, catalog, ["orphaned"]).restored == [f"raw/{name}"]
    assert (root / "raw" / name).read_bytes() == data
    split(root, out=out, mode=mode)
    assert len(placed(out)) == 24


def test_a_dataset_that_moved_keeps_its_split(root: Path, tmp_path: Path) -> None:
    split(root)
    before = placed(root)
    moved = tmp_path / "moved here"
    root.rename(moved)
    report = split(moved)
    assert (report.kept, report.new, report.frozen) == (24, 0, ())
    split(moved, seed=5)
    assert placed(moved).keys() == before.keys()
    assert placed(moved) != before


def test_what_an_interrupted_copy_left_is_removed(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    work = WorkFolder(out / ".placing.florilegium").make()
    write(temporary_name(work / "picture"), b"half a pict")
    split(root, out=out, mode="copy")
    assert len(tree(out)) == 24
    assert not work.exists()


def test_a_folder_that_only_bears_the_name_of_a_work_folder_stays(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out / ".placing.florilegium" / "mine.txt", b"a note")
    write(out / ".partial" / "mine.txt", b"another")
    with pytest.raises(UserError, match=r"\.placing\.florilegium holds files that this program did not write"):
        split(root, out=out, mode="copy")
    assert (out / ".placing.florilegium" / "mine.txt").read_bytes() == b"a note"
    (out / ".placing.florilegium").rename(out / "notes")
    split(root, out=out, mode="copy")
    assert (out / ".partial" / "mine.txt").read_bytes() == b"another"


@pytest.mark.parametrize("out", ["data", "out"])
def test_refuses_pictures_that_are_links_into_the_output(root: Path, tmp_path: Path, out: str) -> None:
    """Their bytes lie only where the split would place them anew."""
    split(root, out=tmp_path / out, mode="copy")
    for file in pictures(tmp_path / out):
        original = root / "raw" / file.parent.name / file.name
        original.unlink()
        original.symlink_to(file)
    before = tree(tmp_path)
    for mode in MODES:
        with pytest.raises(UserError, match="is a link into the output"):
            split(root, out=tmp_path / out, mode=mode, seed=2)
        assert tree(tmp_path) == before


OPERATIONS = st.one_of(
    st.tuples(st.just("split"), st.integers(0, 2), st.sampled_from(MODES)),
    st.tuples(st.just("elsewhere"), st.integers(0, 2), st.sampled_from(MODES[:2])),
    st.tuples(st.just("add"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("delete"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("clean"), st.just(0), st.just(0)),
    st.tuples(st.just("forget"), st.just(0), st.just(0)),
)


def refused(root: Path, out: Path, seed: int, mode: object) -> str:
    """Split into `out`; why not, where that is refused."""
    try:
        split(root, out=out, seed=seed, mode=mode)  # type: ignore[arg-type]
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.thorough
@given(operations=st.lists(OPERATIONS, min_size=2, max_size=6))
@settings(max_examples=20, deadline=None, phases=set(Phase) - {Phase.explain})
def test_no_bytes_are_ever_lost(operations: list[tuple[str, int, object]]) -> None:
    """Whatever is split, cleaned, added, deleted from raw/ or forgotten in between: what split and clean were shown
    is still there afterwards, and no picture lies in two splits.
    """
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "data", Path(folder) / "out"
        dataset(root / "raw", {"1": 4, "2": 4})
        for turn, (operation, number, detail) in enumerate(operations):
            before = set(tree(Path(folder)).values())
            match operation:
                case "split":
                    split(root, seed=number, mode=detail)  # type: ignore[arg-type]
                    placed(root)
                case "elsewhere":
                    if refusal := refused(root, out, number, detail):
                        # A copy whose original was deleted and whose record was forgotten might be anybody's.
                        assert "holds files that are not of this dataset" in refusal
                        assert {"delete", "forget"} <= {name for name, _, _ in operations[:turn]}
                        assert before <= set(tree(Path(folder)).values())
                        return
                    placed(out)
                case "add":
                    write(root / "raw" / "1" / f"{turn}.jpg", encoded_field(field(number if detail else 50 + turn)))
                case "delete":
                    files = sorted((root / "raw").rglob("*.jpg"))
                    if len(files) > 4:
                        files[number % len(files)].unlink()
                    continue
                case "clean":
                    clean(root, yes=True)
                case "forget":
                    for file in root.glob("catalog.sqlite*"):
                        file.unlink()
            assert before <= set(tree(Path(folder)).values())


def test_a_vanished_original_is_a_sentence(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder changes between the scan and the placing."""

    def scan_then_lose(data: Dataset, catalog: Catalog, progress: Progress = silent) -> ScanReport:
        report = scan(data, catalog, progress)
        shutil.rmtree(root / "raw" / "2")
        return report

    monkeypatch.setattr("curate.split.scan", scan_then_lose)
    with pytest.raises(UserError, match="vanished while it was placed"):
        split(root)


@pytest.mark.parametrize("how", ["another picture", "more bytes", "a pipe"])
def test_what_changed_after_it_was_read_is_not_placed(root: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The proof would be of pictures that are no longer there."""
    changed = root / "raw" / "1" / "picture 3.jpg"

    def scan_then_change(of: Dataset, catalog: Catalog, progress: Progress = silent) -> ScanReport:
        report = scan(of, catalog, progress)
        data = changed.read_bytes()
        changed.unlink()  # the same name, another file
        if how == "a pipe":
            os.mkfifo(changed)
        else:
            changed.write_bytes(encoded_field(field(999)) if how == "another picture" else data + b"more")
        return report

    monkeypatch.setattr("curate.split.scan", scan_then_change)
    with pytest.raises(UserError, match=r"picture 3\.jpg has changed since it was read"):
        split(root)
    assert not [file for file in pictures(root) if file.name == "picture 3.jpg"]


@pytest.mark.parametrize("options", [{"method": "zz"}, {"seed": -1}, {"seed": 2**63}, {"ratio": ".8,.1,.1"}])
def test_an_option_that_is_none_is_a_sentence_from_python_too(root: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"There is no method|cannot be used|is text"):
        split(root, **options)
    assert pictures(root) == []
