"""Moves lose nothing, whoever else moves the same files, and whatever the disk offers."""

import errno
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from curate.files import exclusive_rename, moving
from curate.files.atomic import is_given_up, is_partial, temporary_name
from curate.files.exclusive_rename import rename_exclusively
from curate.files.moving import Outcome, end_cut_short, move

FILES = 400
CONTEXT = multiprocessing.get_context("fork")

Way = Literal["rename", "link", "copy"]
"""What the disk offers: an exclusive rename, hard links alone, or two disks."""


def refuse_exclusive_renames() -> None:
    exclusive_rename._system_call = lambda: None  # type: ignore[assignment]


def carry(sources: list[Path], targets: list[Path], way: Way, start: int) -> None:
    """One of several processes: every file once, each process beginning at another."""
    if way == "link":
        refuse_exclusive_renames()
    for place in range(len(sources)):
        at = (start + place) % len(sources)
        move(sources[at], targets[at])
    os._exit(0)


@pytest.fixture
def two_folders(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Path, Path]]:
    if request.node.callspec.params["way"] != "copy":
        yield tmp_path / "a", tmp_path / "b"
        return
    if not os.access("/dev/shm", os.W_OK) or Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no /dev/shm to be the other file system")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield tmp_path / "a", Path(folder) / "b"


def run(*works: tuple[list[Path], list[Path], Way, int]) -> None:
    processes = [CONTEXT.Process(target=carry, args=work) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def found(*folders: Path) -> list[bytes]:
    return sorted(file.read_bytes() for folder in folders if folder.exists() for file in folder.iterdir())


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["rename", "link", "copy"])
@pytest.mark.parametrize("back", [False, True], ids=["the same way", "to and fro"])
def test_two_processes_that_move_the_same_files_lose_none(two_folders: tuple[Path, Path], way: Way, back: bool) -> None:
    """Without any lock. Where one moves what the other brings back, a file may be left at either place, but at one."""
    one, other = two_folders
    one.mkdir()
    sources = [one / f"{number}" for number in range(FILES)]
    targets = [other / f"{number}" for number in range(FILES)]
    for number, source in enumerate(sources):
        source.write_bytes(b"%d " % number * 4000)
    before = found(one)
    second = (targets, sources, way, FILES // 3) if back else (sources, targets, way, 0)
    run((sources, targets, way, 0), second, (sources, targets, way, FILES // 2))
    assert found(one, other) == before, "none lost, none double, none under a name that nobody knows"
    if not back:
        assert found(other) == before


@pytest.mark.parametrize("way", ["rename", "link"])
def test_a_name_that_is_taken_is_never_given_to_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    if way == "link":
        monkeypatch.setattr(exclusive_rename, "_system_call", lambda: None)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"one")
    target.write_bytes(b"two")
    assert move(source, target) is Outcome.OCCUPIED
    assert (source.read_bytes(), target.read_bytes()) == (b"one", b"two")


def test_an_exclusive_rename_never_replaces(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"one")
    target.write_bytes(b"two")
    with pytest.raises(FileExistsError):
        rename_exclusively(source, target)
    target.unlink()
    rename_exclusively(source, target)
    assert (target.read_bytes(), source.exists()) == (b"one", False)
    with pytest.raises(FileNotFoundError):
        rename_exclusively(source, tmp_path / "c")


def test_a_removal_gives_way_where_the_other_name_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instant that lost files: both names are there, this process is about to remove one, and the other goes."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"the only bytes")
    target.hardlink_to(source)
    real = temporary_name

    def another_process_is_faster(file: Path, *, given_up: bool = False) -> Path:
        target.unlink(missing_ok=True)
        return real(file, given_up=given_up)

    monkeypatch.setattr(moving, "temporary_name", another_process_is_faster)
    move(source, target)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"the only bytes"]


def test_what_a_killed_move_gave_up_is_removed_only_if_it_is_elsewhere(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b" / "a"
    target.parent.mkdir()
    target.write_bytes(b"one")
    proved = temporary_name(source, given_up=True)
    proved.write_bytes(b"one")
    alone = temporary_name(source, given_up=True)
    alone.write_bytes(b"another picture, and nobody else has it")
    end_cut_short([(source, target)])
    assert not proved.exists()
    assert alone.exists()
    assert is_given_up(alone.name)
    assert not is_partial(alone.name)


def test_an_original_that_may_not_be_removed_gets_no_double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.errors import UserError

    monkeypatch.setattr(exclusive_rename, "_system_call", lambda: None)
    monkeypatch.setattr(os, "access", lambda *_: False)
    source = tmp_path / "a"
    source.write_bytes(b"one")
    with pytest.raises(UserError, match="cannot be moved"):
        move(source, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_an_unsupported_flag_is_told_from_a_wrong_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where the call is not there may a weaker way be taken."""
    (tmp_path / "a").write_bytes(b"one")
    with pytest.raises(OSError, match="File name too long") as caught:
        rename_exclusively(tmp_path / "a", tmp_path / ("b" * 300))
    assert caught.value.errno == errno.ENAMETOOLONG
    monkeypatch.setattr(exclusive_rename, "_system_call", lambda: None)
    with pytest.raises(OSError, match="not implemented"):
        rename_exclusively(tmp_path / "a", tmp_path / "b")
