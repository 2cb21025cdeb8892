"""`restore` gives back the same bytes under the same names; what the system refuses is one sentence, nothing lost."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.files.moving import Outcome, move
from curate.quarantine import Decision, RestoreReport, pending, restore_files, set_aside, stored_files
from testing.killing import CONTEXT, kill_at_deed, list_deeds
from tests.pictures import contents, paint, save


def give_back(root: Path, reasons: list[str] | None = None, **chosen: object) -> RestoreReport:
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        return restore_files(dataset, catalog, reasons, **chosen)  # type: ignore[arg-type]


def plant(root: Path) -> Path:
    """Four pictures, and one fault of each kind: broken in rose, duplicate in tulip, conflict in both."""
    for number in range(4):
        save(paint(number), root / ("rose" if number < 2 else "tulip") / f"{number}.jpg")
    (root / "rose" / "broken.jpg").write_bytes(b"no picture")
    save(paint(2), root / "tulip" / "copy.jpg", quality=60)
    shutil.copy2(root / "rose" / "0.jpg", root / "tulip" / "also.jpg")
    return root


@pytest.fixture(params=["flat", "raw"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    plant(tmp_path / "data" / ("raw" if request.param == "raw" else ""))
    return tmp_path / "data"


def test_restore_gives_back_the_same_bytes_under_the_same_names(root: Path) -> None:
    before = contents(root)
    times = {path: (root / path).stat().st_mtime_ns for path in before}
    assert clean(root, yes=True).moved == 4
    assert len(contents(root)) == len(before) or open_dataset(root).layout == "flat"
    report = give_back(root)
    assert len(report.restored) == 4
    assert report.occupied == []
    assert contents(root) == before
    assert {path: (root / path).stat().st_mtime_ns for path in before} == times
    assert not open_dataset(root).quarantine.exists()
    assert give_back(root) == RestoreReport([], [])


def test_restore_works_without_the_catalog(root: Path) -> None:
    before = contents(root)
    clean(root, yes=True)
    shutil.rmtree(open_dataset(root).catalog_path, ignore_errors=True)
    for file in open_dataset(root).home.glob("catalog.sqlite*"):
        file.unlink()
    give_back(root)
    assert contents(root) == before


def test_a_name_that_left_twice_comes_back_without_the_catalog_too(root: Path) -> None:
    """Set aside, replaced by another broken file of that name, and set aside again."""
    dataset = open_dataset(root)
    broken = next(root.rglob("broken.jpg"))
    clean(root, yes=True)
    broken.write_bytes(b"another that is no picture")
    clean(root, yes=True)
    for file in dataset.home.glob("catalog.sqlite*"):
        file.unlink()
    report = give_back(root, ["broken"])
    name = broken.relative_to(root).as_posix()
    assert (report.restored, report.occupied) == ([name], [name])
    assert {file.name for file in broken.parent.iterdir()} <= {"0.jpg", "1.jpg", "broken.jpg"}
    assert broken.read_bytes() == b"another that is no picture", "the one that left last"
    assert [file.read_bytes() for file in dataset.quarantine.rglob("broken.jpg")] == [b"no picture"]


@pytest.mark.parametrize("known", [True, False], ids=["catalog", "no catalog"])
def test_restore_by_reason_label_and_picture(root: Path, known: bool) -> None:
    dataset = open_dataset(root)
    at = "raw/" if dataset.layout == "raw" else ""
    clean(root, yes=True)
    if not known:
        for file in dataset.home.glob("catalog.sqlite*"):
            file.unlink()
    assert give_back(root, ["duplicate"]).restored == [f"{at}tulip/copy.jpg"]
    assert give_back(root, ["conflict"], labels=["rose"]).restored == [f"{at}rose/0.jpg"]
    assert give_back(root, ["duplicate"]).restored == []
    assert give_back(root, paths=[f"{at}rose/broken.jpg"]).restored == [f"{at}rose/broken.jpg"]
    assert give_back(root, paths=[f"{at}rose/broken.jpg"]).restored == [], "a second time there is nothing to do"
    with pytest.raises(UserError, match=r"unheard\.jpg is not in the quarantine"):
        give_back(root, paths=[f"{at}tulip/also.jpg", f"{at}rose/unheard.jpg"])
    assert give_back(root).restored == [f"{at}tulip/also.jpg"], "a mistake in one path moved nothing"


def test_restore_by_run(root: Path) -> None:
    first = clean(root, yes=True).run
    again = next(root.rglob("1.jpg")).with_name("later.jpg")
    again.write_bytes(b"broken later")
    second = clean(root, yes=True).run
    assert first < second
    assert give_back(root, run=second).restored == [again.relative_to(root).as_posix()]
    assert len(give_back(root, run=first).restored) == 4


def test_the_quarantine_can_be_listed(root: Path) -> None:
    run = clean(root, yes=True).run
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        files = stored_files(dataset, catalog)
    assert {(file.reason, file.label) for file in files} == {
        ("broken", "rose"), ("duplicate", "tulip"), ("conflict", "rose"), ("conflict", "tulip"),
    }  # fmt: skip
    assert all(file.run == run and file.detail and (dataset.quarantine / file.stored).exists() for file in files)


def test_a_place_that_is_taken_meanwhile_is_left_and_reported(root: Path) -> None:
    clean(root, yes=True)
    place = next(root.rglob("1.jpg")).with_name("broken.jpg")
    save(paint(8), place)
    mine = place.read_bytes()
    report = give_back(root)
    assert report.occupied == [place.relative_to(root).as_posix()]
    assert len(report.restored) == 3
    assert place.read_bytes() == mine
    place.unlink()
    assert give_back(root).restored == report.occupied


def test_a_class_folder_that_became_a_file_is_a_place_taken(root: Path) -> None:
    clean(root, yes=True)
    tulip = next(root.rglob("3.jpg")).parent
    shutil.rmtree(tulip)
    tulip.write_bytes(b"notes")
    report = give_back(root)
    assert len(report.occupied) == 2
    assert tulip.read_bytes() == b"notes"


def test_a_class_folder_that_was_removed_comes_back(root: Path) -> None:
    clean(root, yes=True)
    tulip = next(root.rglob("3.jpg")).parent
    shutil.rmtree(tulip)
    assert len(give_back(root).restored) == 4
    assert sorted(file.name for file in tulip.iterdir()) == ["also.jpg", "copy.jpg"]


def test_what_came_back_is_not_read_again(root: Path) -> None:
    clean(root, yes=True)
    give_back(root)
    assert clean(root, dry_run=True).scan.read == 0


def test_moves_on_record_do_not_take_a_new_file_of_that_name(root: Path) -> None:
    """A killed run had moved a file and not said so; a person put another in its place."""
    dataset = open_dataset(root)
    place = next(root.rglob("broken.jpg"))
    path = place.relative_to(root).as_posix()
    decision = Decision(path, "0" * 64, "broken", "no picture")
    old = place.read_bytes()
    clean(root, dry_run=True)
    with Catalog.open(dataset.catalog_path) as catalog:
        catalog.db.execute(
            "INSERT INTO quarantine (run, path, stored, sha256, reason, detail, keeper, distance, state) "
            "VALUES ('', ?, ?, ?, 'broken', '', '', -1, 'moving')",
            (path, f"broken/{path}", decision.sha256),
        )
        target = dataset.quarantine / "broken" / path
        target.parent.mkdir(parents=True)
        place.rename(target)
        save(paint(8), place)
        new = place.read_bytes()
        assert set_aside(dataset, catalog, [], "now").moved == [path]
    assert (place.read_bytes(), target.read_bytes()) == (new, old)
    assert give_back(root, ["broken"]).occupied == [path]


names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda name: not name.startswith(".") and len(name.encode()) < 240
)


@pytest.mark.thorough
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(names, st.sampled_from(["broken", "duplicate", "conflict"]), min_size=1, max_size=5))
def test_every_name_goes_and_comes_back(files: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "data"
        save(paint(0), root / "raw" / "rose" / "0.jpg")
        rows = []
        for name, reason in files.items():
            file = root / "raw" / "rose" / f"{name}.jpg"
            if file.exists():  # names that differ in case or form, where the file system does not tell them apart
                continue
            file.write_bytes(name.encode())
            rows.append(Decision(f"raw/rose/{file.name}", "", reason, ""))
        before = contents(root)
        dataset = open_dataset(root)
        with Catalog.open(dataset.catalog_path) as catalog:
            clean(root, dry_run=True)
            rows = [Decision(row.path, before[row.path], row.reason, "") for row in rows]
            assert sorted(set_aside(dataset, catalog, rows, "run").moved) == sorted(row.path for row in rows)
            assert sorted(contents(root).values()) == sorted(before.values())
            assert len(restore_files(dataset, catalog).restored) == len(rows)
        assert contents(root) == before


# What the system refuses


def _report(work: Callable[[], object], before: Callable[[], object], result: Connection) -> None:
    before()
    try:
        work()
        result.send("")
    except UserError as error:
        result.send(str(error))


def refusal(work: Callable[[], object], before: Callable[[], object]) -> str:
    """The sentence that `work` ends with in a process of its own, after `before` took some right from it."""
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_report, args=(work, before, there))
    process.start()
    there.close()
    process.join(60)
    assert process.exitcode == 0, "another exception than UserError"
    return str(here.recv())


def become_nobody(warm: Path) -> None:
    # This imports what is imported late, perhaps from a home that nobody may read.
    clean(plant(warm / str(os.getpid()) / "raw").parent, yes=True)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


@pytest.fixture
def public() -> Iterator[Path]:
    """A place that another user can reach, which pytest's is not."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield plant(Path(place) / "data" / "raw").parent
        for folder, _, _ in os.walk(place):
            Path(folder).chmod(0o755)


def open_to_all(root: Path) -> None:
    for folder, _, files in os.walk(root):
        for name in [folder, *(os.path.join(folder, file) for file in files)]:  # noqa: PTH118
            Path(name).chmod(0o777)


@pytest.fixture
def warm(tmp_path: Path) -> Path:
    """Where a process may clean something before its rights are taken away."""
    return tmp_path / "warm"


@pytest.mark.thorough
def test_an_unreadable_picture_is_one_sentence(public: Path, warm: Path) -> None:
    open_to_all(public)
    (public / "raw" / "rose" / "1.jpg").chmod(0)
    sentence = refusal(partial(clean, public, yes=True), partial(become_nobody, warm))
    assert "raw/rose/1.jpg cannot be read" in sentence
    assert len([*public.rglob("*.jpg")]) == 7


def test_an_unreadable_class_folder_is_one_sentence(public: Path, warm: Path) -> None:
    open_to_all(public)
    (public / "raw" / "rose").chmod(0)
    sentence = refusal(partial(clean, public, yes=True), partial(become_nobody, warm))
    assert "raw/rose cannot be read" in sentence


def test_a_read_only_dataset_is_one_sentence_and_can_be_looked_at(public: Path, warm: Path) -> None:
    before = contents(public)
    sentence = refusal(partial(clean, public, yes=True), partial(become_nobody, warm))
    assert "cannot be written" in sentence
    assert refusal(partial(clean, public, dry_run=True), partial(become_nobody, warm)) == ""
    assert contents(public) == before
    assert not (public / "catalog.sqlite").exists()


def test_a_class_folder_that_may_not_be_written_keeps_its_pictures(public: Path, warm: Path) -> None:
    open_to_all(public)
    (public / "raw" / "tulip").chmod(0o555)
    before = contents(public)
    sentence = refusal(partial(clean, public, yes=True), partial(become_nobody, warm))
    assert "cannot be moved" in sentence
    assert "run the same command again" in sentence
    assert sorted(contents(public).values()) == sorted(before.values()), "none lost, none double"
    (public / "raw" / "tulip").chmod(0o777)
    assert refusal(partial(clean, public, yes=True), partial(become_nobody, warm)) == ""
    assert not (public / "raw" / "tulip" / "copy.jpg").exists()
    assert sorted(contents(public).values()) == sorted(before.values())


def limit_file_size(warm: Path, size: int) -> None:
    clean(plant(warm / str(os.getpid()) / "raw").parent, yes=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.thorough
@pytest.mark.parametrize("size", [0, 5_000, 40_000, 70_000])
def test_a_file_that_may_not_grow_is_one_sentence(root: Path, warm: Path, size: int) -> None:
    """As where a quota is used up: the catalog cannot be written."""
    before = contents(root.parent / "data")
    sentence = refusal(partial(clean, root, yes=True), partial(limit_file_size, warm, size))
    assert sentence == "" or "check the disk's free space" in sentence or "catalog" in sentence
    assert sentence or size > 40_000
    everything = contents(root.parent)
    clean(root, yes=True)
    assert set(before.values()) <= set(everything.values())
    give_back(root)
    assert contents(root) == before


@pytest.fixture
def mount() -> Iterator[Callable[[Path], Path]]:
    """Lays a file system of one megabyte over a folder."""
    mounted = []

    def lay(place: Path) -> Path:
        place.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
        if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("a disk of its own needs root on Linux")
        mounted.append(place)
        return place

    yield lay
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("scanned", [False, True])
def test_a_full_disk_is_one_sentence_and_loses_nothing(
    tmp_path: Path, mount: Callable[[Path], Path], scanned: bool
) -> None:
    small_disk = mount(tmp_path / "disk")
    root = plant(small_disk / "data" / "raw").parent
    before = contents(root)
    if scanned:
        clean(root, dry_run=True)
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    filler.write_bytes(bytes(free.f_bavail * free.f_bsize))
    with pytest.raises(UserError, match="free space"):
        clean(root, yes=True)
    assert contents(root) == before
    filler.unlink()
    assert clean(root, yes=True).moved + len(before) == len(before) + 4
    give_back(root)
    assert contents(root) == before


def test_a_disk_that_fills_while_files_are_copied_to_it(tmp_path: Path, mount: Callable[[Path], Path]) -> None:
    """The quarantine is a disk of its own, which has no room."""
    root = plant(tmp_path / "data" / "raw").parent
    before = contents(root)
    disk = mount(root / "quarantine")
    filler = disk / "filler"
    filler.write_bytes(bytes(1_040_000))
    with pytest.raises(UserError, match=r"cannot be moved .* \(No space left on device\)"):
        clean(root, yes=True)
    filler.unlink()
    assert sorted(contents(root).values()) == sorted(before.values()), "none lost, none double, no half copy left"
    clean(root, yes=True)
    assert sorted(contents(root).values()) == sorted(before.values())
    assert len(contents(disk)) == 4
    give_back(root)
    assert contents(root) == before


def test_a_full_quarantine_does_not_keep_what_is_in_it(tmp_path: Path, mount: Callable[[Path], Path]) -> None:
    """What an interrupted run has yet to move there is called off, and the rest comes back."""
    root = plant(tmp_path / "data" / "raw").parent
    before = contents(root)
    disk = mount(root / "quarantine")
    (disk / "filler").write_bytes(bytes(1_040_000))
    with pytest.raises(UserError, match="No space left on device"):
        clean(root, yes=True)
    report = give_back(root)
    (disk / "filler").unlink()
    assert report.called_off
    assert contents(root) == before
    with Catalog.open(root / "catalog.sqlite") as catalog:
        assert pending(catalog) == []


def test_a_run_that_is_called_off_is_called_off_in_part_on_request(tmp_path: Path) -> None:
    root = plant(tmp_path / "data" / "raw").parent
    decisions = clean(root, dry_run=True).plan.decisions
    reasons = {decision.reason for decision in decisions}
    assert len(reasons) > 1
    chosen = min(reasons)
    with Catalog.open(root / "catalog.sqlite") as catalog:
        for number, decision in enumerate(decisions):
            catalog.db.execute(
                "INSERT INTO quarantine (run, path, stored, sha256, reason, detail, keeper, distance, state) "
                "VALUES ('r', ?, ?, ?, ?, '', '', -1, 'moving')",
                (decision.path, f"{decision.reason}/{number}/{decision.path}", decision.sha256, decision.reason),
            )
    assert sorted(give_back(root, [chosen]).called_off) == sorted(d.path for d in decisions if d.reason == chosen)
    with Catalog.open(root / "catalog.sqlite") as catalog:
        assert {decision.reason for decision in pending(catalog)} == reasons - {chosen}


@pytest.mark.thorough
def test_a_quarantine_on_another_disk_survives_a_kill(tmp_path: Path, mount: Callable[[Path], Path]) -> None:
    """Files are copied there and back: none may be left behind, left out or left half."""
    root = plant(tmp_path / "data" / "raw").parent
    before = contents(root)
    disk = mount(root / "quarantine")
    total = len(list_deeds(partial(clean, root, yes=True)))
    give_back(root)
    for instant in range(0, total, max(1, total // 12)):
        kill_at_deed(partial(clean, root, yes=True), instant)
        assert set(contents(root).values()) >= set(before.values())
        clean(root, yes=True)
        assert len(contents(disk)) == 4
        assert sorted(contents(root).values()) == sorted(before.values()), "none lost, none double"
        kill_at_deed(partial(give_back, root), instant)
        give_back(root)
        assert contents(root) == before


# One move


def test_a_move_never_takes_the_place_of_another_file(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "deep" / "b"
    source.write_bytes(b"one")
    target.parent.mkdir()
    target.write_bytes(b"two")
    assert move(source, target) is Outcome.OCCUPIED
    assert (source.read_bytes(), target.read_bytes()) == (b"one", b"two")
    target.unlink()
    assert move(source, target) is Outcome.MOVED
    assert move(source, target) is Outcome.MOVED, "repeated, to no effect"
    target.unlink()
    assert move(source, target) is Outcome.GONE


def test_a_move_on_a_disk_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"one")
    assert move(source, target) is Outcome.MOVED
    assert target.read_bytes() == b"one"
    assert not source.exists()


@pytest.mark.parametrize("path", ["/etc/passwd", ".", "raw", "raw/rose/", "../data"])
def test_what_is_no_picture_cannot_be_asked_for(tmp_path: Path, path: str) -> None:
    root = plant(tmp_path / "data" / "raw").parent
    clean(root, yes=True)
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog, pytest.raises(UserError, match="is not in the quarantine"):
        restore_files(dataset, catalog, paths=[path])


def test_a_folder_that_became_a_link_while_files_move_gives_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = plant(tmp_path / "data" / "raw").parent
    decisions = clean(root, dry_run=True).plan.decisions
    folder = (root / decisions[0].path).parent
    outside = tmp_path / "outside"

    def put_a_link(*_: object) -> bool:
        if not folder.is_symlink():
            folder.rename(outside)
            folder.symlink_to(outside)
        return True

    monkeypatch.setattr("curate.quarantine.is_unchanged", put_a_link)
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        moves = set_aside(dataset, catalog, decisions, "a run")
    here = {decision.path for decision in decisions if (root / decision.path).parent == folder}
    assert set(moves.unmoved) >= here
    assert len(list(outside.iterdir())) >= len(here)
