"""One way to read, one way to write, one way to tell what is ours and what lies inside."""

import multiprocessing
import os
import socket
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import UserError
from curate.files import atomic
from curate.files.atomic import remove_abandoned, temporary_name, write_whole, written_whole
from curate.files.inside import inside, is_plain
from curate.files.ours import MARK, WorkFolder, is_signed, signed, write_ours
from curate.files.reading import NotAPlainFile, open_file, read_file, sha256_of

REPOSITORY = Path(__file__).resolve().parent.parent

# -- reading


@pytest.fixture
def odd_files(tmp_path: Path) -> dict[str, Path]:
    files = {name: tmp_path / name for name in ("pipe", "zero", "folder", "ring", "socket")}
    os.mkfifo(files["pipe"])
    files["zero"].symlink_to("/dev/zero")
    files["folder"].mkdir()
    files["ring"].symlink_to("ring")
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(tmp_path)  # a socket's path may be no longer than 108 bytes
    try:
        server.bind("socket")
    finally:
        os.chdir(here)
        server.close()
    return files


@pytest.mark.parametrize("kind", ["pipe", "zero", "folder", "ring", "socket"])
@pytest.mark.parametrize("read", [read_file, open_file, sha256_of])
def test_what_is_no_file_is_refused_at_once(odd_files: dict[str, Path], kind: str, read: object) -> None:
    assert callable(read)
    with pytest.raises(OSError, match=r"not a file but a pipe, a device or a folder|symbolic links|Is a directory"):
        read(odd_files[kind])


def test_the_limit_is_in_bytes_and_inclusive(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    assert read_file(file, 5) == b"12345"
    with pytest.raises(NotAPlainFile, match="over the limit of 4 bytes"):
        read_file(file, 4)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_file_that_claims_no_size_is_read_whole(tmp_path: Path) -> None:
    """Such as those of /proc, and a file that grows while it is read."""
    text = read_file(Path("/proc/self/status"))
    assert len(text) > 100
    with pytest.raises(NotAPlainFile, match="over the limit"):
        read_file(Path("/proc/self/status"), 20)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_a_name_that_no_file_can_have_is_an_error_of_reading(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match=r"No such file|no file can have this name"):
        read_file(tmp_path / name)


# -- writing


def test_the_bytes_are_on_the_disk_before_the_name_is_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        kind = "folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file"
        there = (tmp_path / "a").read_bytes() if (tmp_path / "a").exists() else None
        deeds.append(f"fsync {kind} {there!r}")
        real_sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        deeds.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_whole(tmp_path / "a", "new")
    assert deeds == ["fsync file None", "rename", "fsync folder b'new'"]


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"old")

    def write_half() -> None:
        with written_whole(file) as stream:
            stream.write(b"half of the ne")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("a", b"old")]


def test_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"old")
    file.chmod(0o640)
    write_whole(file, "new")
    assert file.stat().st_mode & 0o777 == 0o640
    fresh = tmp_path / "b"
    write_whole(fresh, "new")
    plain = tmp_path / "c"
    plain.write_bytes(b"")
    assert fresh.stat().st_mode == plain.stat().st_mode


def write_often(file: Path, letter: str) -> None:
    for _ in range(200):
        write_whole(file, letter * 100_000)
    os._exit(0)


def test_two_writers_and_a_reader_see_whole_files_alone(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("a" * 100_000)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_often, args=(file, letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        text = file.read_text()
        assert text in ("a" * 100_000, "b" * 100_000)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_sweep_removes_what_the_dead_left_and_nothing_of_the_living(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
        import sys
        from pathlib import Path
        from curate.files.atomic import temporary_name
        print(temporary_name(Path(sys.argv[1]) / "a"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    dead, living = Path(done.stdout.strip()), temporary_name(tmp_path / "a")
    given_up = dead.with_suffix(".moving")
    foreign = tmp_path / ".something.partial"
    monkeypatch.setattr(atomic, "_machine", lambda: "0badcafe")
    elsewhere = temporary_name(tmp_path / "a")
    monkeypatch.undo()
    for file in (dead, living, given_up, foreign, elsewhere):
        file.write_bytes(b"half")
    remove_abandoned(tmp_path)
    assert not dead.exists()
    assert all(file.exists() for file in (living, given_up, foreign, elsewhere))


# -- inside

PARTS = ("a", "..", ".", "", "b c", "…", "...", "-", "~", "a\0", "\n", ".\n", "a\n")
pieces = st.lists(st.sampled_from(PARTS), min_size=1, max_size=6)


@given(pieces)
def test_a_plain_path_never_leads_up_or_away(parts: list[str]) -> None:
    path = "/".join(parts)
    plain = all(part not in ("", ".", "..") and "\0" not in part for part in parts)
    assert is_plain(path) == plain
    if plain:
        assert Path(os.path.normpath(Path("/root of all") / path)).is_relative_to("/root of all")


@pytest.mark.parametrize(
    "path", ["../a", "a/../../b", "/etc/passwd", "", ".", "a/", "a//b", "a/./b", "a\0b", "\ud800", "./a"]
)
def test_a_way_out_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UserError, match="is no path inside"):
        inside(tmp_path, path)


def test_a_link_on_the_way_is_followed_and_refused_where_it_leads_out(tmp_path: Path) -> None:
    root, outside = tmp_path / "data", tmp_path / "outside"
    (root / "real").mkdir(parents=True)
    outside.mkdir()
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to(root / "real")
    (root / "real" / "link.jpg").symlink_to(outside / "a.jpg")
    with pytest.raises(UserError, match=r"leads out of .* by a link"):
        inside(root, "out/a.jpg")
    assert inside(root, "in/a.jpg") == root / "in" / "a.jpg"
    assert inside(root, "real/link.jpg") == root / "real" / "link.jpg", "a link may be moved as what it is"
    assert inside(root, "new/folder/a.jpg") == root / "new" / "folder" / "a.jpg"
    (tmp_path / "data2").mkdir()
    (root / "sibling").symlink_to(tmp_path / "data2")
    with pytest.raises(UserError, match="leads out"):  # no prefix of a name is a folder
        inside(root, "sibling/a.jpg")
    (root / "ring").symlink_to("ring")
    with pytest.raises(UserError, match=r"cannot be followed|leads out"):
        inside(root, "ring/deep/a.jpg")


# -- ours


def test_a_work_folder_is_ours_by_its_mark_alone(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work")
    (work.make() / "deep" / "er").mkdir(parents=True)
    (work.path / "deep" / "er" / "a").write_bytes(b"ours")
    assert WorkFolder(work.path).make() == work.path
    work.remove()
    assert not work.path.exists()
    work.path.mkdir()
    (work.path / "a").write_bytes(b"the user's")
    with pytest.raises(UserError, match="holds files that this program did not write"):
        work.make()
    work.remove()
    assert (work.path / "a").read_bytes() == b"the user's"


def test_a_link_to_a_marked_folder_is_not_ours(tmp_path: Path) -> None:
    """A dataset from elsewhere cannot point at another work folder, to have it removed."""
    other = WorkFolder(tmp_path / "other")
    (other.make() / "a").write_bytes(b"another's")
    (tmp_path / "work").symlink_to(other.path)
    work = WorkFolder(tmp_path / "work")
    with pytest.raises(UserError, match="move it away"):
        work.make()
    work.remove()
    assert (other.path / "a").read_bytes() == b"another's"


def test_a_link_in_a_work_folder_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_bytes(b"the user's")
    work = WorkFolder(tmp_path / "work")
    (work.make() / "link").symlink_to(tmp_path / "mine")
    work.remove()
    assert (tmp_path / "mine" / "a").read_bytes() == b"the user's"


def test_a_work_folder_whose_making_was_cut_short_is_taken(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work")
    work.path.mkdir()
    temporary_name(work.path / MARK).write_bytes(b"Flor")
    assert work.make() == work.path


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_work_folder_killed_at_any_deed_is_still_removed(tmp_path: Path) -> None:
    from testing.killing import count_deeds, kill_at_deed

    work = partial(_make_and_remove, tmp_path / "work")
    for instant in range(count_deeds(work)):
        assert kill_at_deed(work, instant)
        WorkFolder(tmp_path / "work").remove()
        assert not list(tmp_path.iterdir()), instant


def _make_and_remove(place: Path) -> None:
    work = WorkFolder(place)
    (work.make() / "a").write_bytes(b"ours")
    work.remove()


def test_only_what_is_as_we_wrote_it_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a"
    known = write_ours(file, "one", known=None)
    assert known == sha256_of(file)
    known = write_ours(file, "two", known=known)
    file.write_text("two, and a word of the user's")
    with pytest.raises(UserError, match="is there already, and is not as this program wrote it"):
        write_ours(file, "three", known=known)
    assert file.read_text() == "two, and a word of the user's"
    write_ours(file, "three", known=None, force=True)
    assert file.read_text() == "three"


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_is_never_replaced(tmp_path: Path, force: bool) -> None:
    with pytest.raises(UserError, match="is a folder"):
        write_ours(tmp_path, "text", known=None, force=force)


@given(st.text())
def test_signed_text_is_known_again_until_it_is_touched(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.md"
        file.write_bytes(signed(text.encode(errors="replace").decode()).encode())
        assert is_signed(file)
        data = file.read_bytes()
        for other in (b" " + data, data[:-1], data + b"\n", data.replace(b"sha256:", b"sha256:0"), b""):
            file.write_bytes(other)
            assert not is_signed(file)
