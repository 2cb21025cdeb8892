"""A demo removes what a demo has written, wherever it was carried meanwhile, and not one file besides."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.errors import UserError
from curate.files.ours import WorkFolder
from demo import garden
from demo.faults import FaultKind, plant_faults
from demo.garden import SPECIES, draw_garden
from demo.record import MARK, DemoRecord

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a short demo leaves: drawings, faults, a picture that was moved and one under a second name, figures."""
    monkeypatch.setattr(garden, "COUNTS", (2,) * len(SPECIES))
    folder = tmp_path / "garden"
    record = DemoRecord(folder)
    record.clear()
    record.begin()
    told = draw_garden(folder / "raw", 5, note=record.note)
    faults = plant_faults(folder / "raw", 5, {FaultKind.TRUNCATED: 1, FaultKind.EMPTY: 1}, note=record.note)
    moved = folder / "quarantine" / "broken" / "raw" / faults[0].path
    moved.parent.mkdir(parents=True)
    (folder / "raw" / faults[0].path).rename(moved)
    (folder / "train").mkdir()
    (folder / "train" / "again.jpg").hardlink_to(folder / "raw" / told.files[0])
    (folder / "models" / "bank").mkdir(parents=True)
    (folder / "models" / "model_90.00.pth").write_bytes(b"weights")
    (folder / "models" / "bank" / "a.sqlite").write_bytes(b"features")
    (folder / "catalog.sqlite").write_bytes(b"rows")
    (folder / "CREDITS.md").write_text("whose")
    WorkFolder(folder / "work").make()
    (folder / "work" / "half.jpg").write_bytes(b"half")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("ended", [True, False], ids=["at its end", "killed before its end"])
def test_all_that_a_demo_wrote_is_removed(drawn: Path, ended: bool) -> None:
    if ended:
        DemoRecord(drawn).end()
    DemoRecord(drawn).clear()
    assert list(drawn.iterdir()) == []


def a_picture(folder: Path) -> None:
    (folder / "raw" / SPECIES[0].name / "mine.jpg").write_bytes(b"mine")


def a_changed_drawing(folder: Path) -> None:
    file = min((folder / "raw").rglob("*.jpg"), key=lambda path: -path.stat().st_size)
    file.write_bytes(file.read_bytes() + b"touched up")


def a_checkpoint(folder: Path) -> None:
    (folder / "models" / "model_95.00.pth").write_bytes(b"trained by the user")


def changed_credits(folder: Path) -> None:
    (folder / "CREDITS.md").write_text("whose, and my notes")


def a_note(folder: Path) -> None:
    (folder / "notes.md").write_text("mine")


def an_empty_note(folder: Path) -> None:
    (folder / "raw" / "todo.txt").touch()


def a_link(folder: Path) -> None:
    (folder / "raw" / "link.jpg").symlink_to(folder / "CREDITS.md")


def a_link_to_a_folder(folder: Path) -> None:
    (folder / "models" / "elsewhere").symlink_to(folder.parent)


def a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "raw" / "x.jpg")


def a_picture_among_models(folder: Path) -> None:
    (folder / "models" / "mine.jpg").write_bytes(b"mine")


ADDED = [
    a_picture, a_changed_drawing, a_checkpoint, changed_credits, a_note, an_empty_note, a_link, a_link_to_a_folder,
    a_pipe, a_picture_among_models,
]  # fmt: skip


@pytest.mark.parametrize("add", ADDED)
def test_one_file_of_the_users_and_nothing_is_removed(drawn: Path, add: Callable[[Path], None]) -> None:
    DemoRecord(drawn).end()
    add(drawn)
    names = sorted(drawn.rglob("*"))
    with pytest.raises(UserError, match=r"holds files that no demo has written, such as .*: move them away, or give"):
        DemoRecord(drawn).clear()
    assert sorted(drawn.rglob("*")) == names


@pytest.mark.parametrize("add", [a_picture, a_changed_drawing, a_note, an_empty_note, a_link, a_picture_among_models])
def test_neither_after_a_demo_that_was_killed(drawn: Path, add: Callable[[Path], None]) -> None:
    add(drawn)
    names = sorted(drawn.rglob("*"))
    with pytest.raises(UserError, match="no demo has written"):
        DemoRecord(drawn).clear()
    assert sorted(drawn.rglob("*")) == names


def test_a_picture_that_the_user_put_there_while_it_ran_stays(drawn: Path) -> None:
    a_picture_among_models(drawn)
    DemoRecord(drawn).end()
    with pytest.raises(UserError, match=r"such as .*mine\.jpg"):
        DemoRecord(drawn).clear()


def test_a_folder_without_a_record_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(b"mine")
    with pytest.raises(UserError, match="no demo has written"):
        DemoRecord(tmp_path).clear()
    (tmp_path / MARK).touch()  # all that earlier versions wrote
    (tmp_path / "mine.jpg").write_bytes(b"mine")
    before = tree(tmp_path)
    with pytest.raises(UserError, match="no demo has written"):
        DemoRecord(tmp_path).clear()
    assert tree(tmp_path) == before


@pytest.mark.thorough
@pytest.mark.parametrize("seconds", [1.5, 4.0])
def test_a_demo_that_was_killed_is_drawn_anew(tmp_path: Path, seconds: float) -> None:
    command = [sys.executable, str(REPOSITORY / "cli.py"), "demo", "--folder", str(tmp_path / "garden")]
    demo = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started = time.monotonic()
    while time.monotonic() - started < 60 and not list((tmp_path / "garden").glob("web/*/*")):
        time.sleep(0.05)
    time.sleep(seconds)
    demo.send_signal(signal.SIGKILL)
    demo.wait()
    assert tree(tmp_path / "garden")
    DemoRecord(tmp_path / "garden").clear()
    assert set(tree(tmp_path / "garden")) <= {".florilegium.lock"}


@pytest.mark.thorough
def test_demo_refuses_a_garden_with_a_picture_of_the_users(drawn: Path) -> None:
    DemoRecord(drawn).end()
    a_picture(drawn)
    before = tree(drawn)
    command = [sys.executable, str(REPOSITORY / "cli.py"), "demo", "--folder", str(drawn)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "mine.jpg" in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(drawn) == before
