"""One process at a time: the lock says who has it, ends with its process, and does not pass to children."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from curate.errors import UserError
from curate.files import lock as locking
from curate.files.lock import LOCK, locked
from curate.progress import Progress

REPOSITORY = Path(__file__).resolve().parent.parent

HOLDER = """
    import sys, time
    from pathlib import Path
    from curate.files.lock import locked
    with locked(Path(sys.argv[1]), "clean roses"):
        print("held", flush=True)
        {then}
"""


def holder(folder: Path, then: str = "time.sleep(60)") -> subprocess.Popen[str]:
    """A process that has the lock by the time this returns."""
    code = textwrap.dedent(HOLDER).format(then=then)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_is_at_work_and_since_when(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        sentence = r"`clean roses` \(process \d+, since 20..-.*\) is at work in"
        with pytest.raises(UserError, match=sentence) as caught, locked(tmp_path, "split roses"):
            pass
        assert f"process {process.pid}," in str(caught.value)
        process.kill()
    with locked(tmp_path, "split roses"):
        pass


def test_a_killed_holder_has_no_lock_though_its_children_live(tmp_path: Path) -> None:
    """A forked reader that outlives the command for a moment must not keep everybody out."""
    then = "\n    ".join(
        ("import os", "child = os.fork()", "if not child: time.sleep(60)", "print(child, flush=True)", "time.sleep(60)")
    )
    with holder(tmp_path, then) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        try:
            process.kill()
            process.wait()
            with locked(tmp_path, "split", wait=5):
                pass
            os.kill(child, 0)  # it does live
        finally:
            os.kill(child, signal.SIGKILL)


def test_waiting_ends_when_the_holder_does_and_says_for_whom(tmp_path: Path) -> None:
    said: list[str] = []

    class Spy:
        def __call__(self, description: str, total: int) -> "Spy":
            assert total > 0, "a bar without an end is not drawn"
            said.append(description)
            return self

        def __enter__(self) -> object:
            return lambda _: None

        def __exit__(self, *_: object) -> None:
            return None

    spy: Progress = Spy()  # type: ignore[assignment]
    with holder(tmp_path, "time.sleep(0.7)"):
        began = time.monotonic()
        with locked(tmp_path, "split", wait=None, progress=spy):
            assert time.monotonic() - began > 0.2
    assert len(said) == 1
    assert said[0].startswith("Waiting for `clean roses` (process ")


def test_waiting_for_a_time_ends_with_the_time(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        began = time.monotonic()
        with pytest.raises(UserError, match="is at work"), locked(tmp_path, "split", wait=0.5):
            pass
        assert time.monotonic() - began >= 0.5
        process.kill()


def test_a_thread_may_take_its_lock_again_and_another_may_not(tmp_path: Path) -> None:
    refused: list[str] = []

    def other() -> None:
        try:
            with locked(tmp_path, "b"):
                pass
        except UserError as error:
            refused.append(str(error))

    with locked(tmp_path, "a"):
        with locked(tmp_path, "a again"):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
    with locked(tmp_path, "c"):  # the inner one has not let go of it for good, nor kept it
        pass


def test_a_link_to_the_folder_is_the_same_lock(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "also").symlink_to(folder)
    with holder(folder) as process:
        with pytest.raises(UserError, match="is at work"), locked(tmp_path / "also", "split"):
            pass
        process.kill()


def test_a_disk_without_locks_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError, match=r"offers no locks .*NFS without `nolock`"), locked(tmp_path, "clean"):
        pass


def test_who_needs_no_lock_goes_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    done = []
    with locked(tmp_path, "train", wait=None, required=False):
        done.append(1)
    with pytest.raises(OSError, match="of its own"), locked(tmp_path, "train", wait=None, required=False):
        raise OSError("of its own")
    assert done == [1]


def test_who_needs_no_lock_still_waits_for_anothers(tmp_path: Path) -> None:
    with holder(tmp_path, "time.sleep(1)"):
        with pytest.raises(UserError, match="is at work in"), locked(tmp_path, "train", required=False):
            pass
        with locked(tmp_path, "train", wait=None, required=False):
            pass


@pytest.mark.parametrize("kind", ["pipe", "link", "hard link", "folder"])
def test_a_strangers_lock_file_overwrites_nothing_and_hangs_nothing(tmp_path: Path, kind: str) -> None:
    """A dataset from elsewhere may carry any file under that name."""
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(b"bytes of a picture")
    folder = tmp_path / "data"
    folder.mkdir()
    file = folder / LOCK
    match kind:
        case "pipe":
            os.mkfifo(file)
        case "link":
            file.symlink_to(picture)
        case "hard link":
            file.hardlink_to(picture)
        case _:
            file.mkdir()
    with suppress(UserError), locked(folder, "clean"):
        pass
    assert picture.read_bytes() == b"bytes of a picture"


def test_a_strangers_words_in_the_lock_file_are_no_error(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        for words in (b"", b"[" * 60000, b'{"doing": 1}', b"\xff\xfe", b"null"):
            (tmp_path / LOCK).write_bytes(words)
            with pytest.raises(UserError, match="is at work"), locked(tmp_path, "split"):
                pass
        process.kill()
    assert locking.LOCK.startswith("."), "torchvision must not see it"
