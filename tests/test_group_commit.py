"""Written files get their names in groups: all of one turn, each once, and a failure is that of its file alone."""

import asyncio
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from curate.files import atomic, group_commit
from curate.files.group_commit import GroupCommit
from curate.files.spool import HELD, Spool


async def name_all(folder: Path, count: int, *missing: int) -> list[BaseException | None]:
    """Write `count` files but the missing ones, and name them all at once."""
    for number in set(range(count)) - set(missing):
        (folder / f"{number}.part").write_bytes(bytes([number]))
    commits = GroupCommit()
    named = [commits.name(folder / f"{number}.part", folder / f"{number}.jpg") for number in range(count)]
    outcomes = await asyncio.gather(*named, return_exceptions=True)
    commits.close()
    return outcomes


def spooled(path: Path, content: bytes) -> Spool:
    """Written in parts, and closed."""
    spool = Spool(path)
    for at in range(0, len(content), 100_000):
        spool.write(content[at : at + 100_000])
    spool.close()
    return spool


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the groups that are brought to the disk."""
    sizes: list[int] = []
    bring = atomic.fsync_files

    def fsync_files(files: Sequence[Path]) -> list[OSError | None]:
        sizes.append(len(files))
        return bring(files)

    monkeypatch.setattr(group_commit, "fsync_files", fsync_files)
    return sizes


def test_what_is_written_while_a_group_is_under_way_is_the_next_group(tmp_path: Path, groups: list[int]) -> None:
    assert asyncio.run(name_all(tmp_path, 20)) == [None] * 20
    assert groups == [1, 19]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {f"{n}.jpg": bytes([n]) for n in range(20)}


@pytest.mark.parametrize("whole_file_system", [True, False], ids=["at once", "one by one"])
def test_a_file_that_cannot_be_brought_fails_alone(
    whole_file_system: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not whole_file_system:
        monkeypatch.setattr(atomic, "_syncfs", lambda: None)
    outcomes = asyncio.run(name_all(tmp_path, 6, 1, 4))
    failed = [number for number, outcome in enumerate(outcomes) if outcome is not None]
    assert failed == [1, 4]
    assert all(isinstance(outcomes[number], FileNotFoundError) for number in failed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.jpg", "2.jpg", "3.jpg", "5.jpg"]


def test_where_the_file_system_cannot_be_asked_each_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that fails, as on a disk with an error, is no answer: each file is asked for its own."""
    asked: list[int] = []
    real = os.fsync
    monkeypatch.setattr(atomic, "_syncfs", lambda: lambda _: -1)

    def fsync(descriptor: int) -> None:
        asked.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files = [tmp_path / str(number) for number in range(3)]
    for file in files:
        file.write_bytes(b"flower")
    assert atomic.fsync_files(files) == [None] * 3
    assert asked == [file.stat().st_ino for file in files]


def test_nobody_waits_for_a_file_that_was_given_up(tmp_path: Path) -> None:
    """A task that is stopped while its file is on its way takes no other with it."""

    async def work() -> None:
        commits = GroupCommit()
        for number in range(4):
            (tmp_path / f"{number}.part").write_bytes(b"flower")
        tasks = [
            asyncio.create_task(commits.name(tmp_path / f"{number}.part", tmp_path / f"{number}.jpg"))
            for number in range(4)
        ]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[2].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [True, False, True, False]
        commits.close()

    asyncio.run(work())
    assert {"1.jpg", "3.jpg"} <= {path.name for path in tmp_path.iterdir()}


def test_what_is_held_in_memory_is_written_with_its_group(tmp_path: Path) -> None:
    """To make a file waits for the disk: the thread of the group makes it. One that cannot be made fails alone."""

    async def work() -> list[Path | BaseException]:
        commits = GroupCommit()
        places = [tmp_path, tmp_path / "nowhere", tmp_path]
        named = [
            commits.store(spooled(place / f"{number}.part", bytes([number]) * 9), place.joinpath)
            for number, place in enumerate(places)
        ]
        outcomes = await asyncio.gather(*named, return_exceptions=True)
        commits.close()
        return outcomes

    first, lost, last = asyncio.run(work())
    assert isinstance(lost, FileNotFoundError)
    for path, content in ((first, bytes(9)), (last, b"\x02" * 9)):
        assert isinstance(path, Path)
        assert path.name == hashlib.sha256(content).hexdigest()
        assert path.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("size", [0, 1, HELD - 1, HELD, HELD + 1, 3 * HELD])
def test_a_spool_keeps_every_byte(tmp_path: Path, size: int) -> None:
    whole = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    spool = spooled(tmp_path / "part", whole)
    assert spool.path.exists() == (size > HELD)
    spool.finish()
    assert spool.path.read_bytes() == whole
    assert spool.sha256 == hashlib.sha256(whole).hexdigest()
