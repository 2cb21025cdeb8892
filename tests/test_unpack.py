"""Archives from strangers: what is honest comes out whole, what is not leaves nothing behind."""

import io
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.downloading.unpack import Limits, unpack
from curate.errors import UserError

HONEST = {"set/train/rose/1.jpg": b"one", "set/train/iris/2.jpg": b"two", "set/LICENSE.txt": b"free"}


def tar(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def special(path: Path, kind: bytes, name: str = "set/odd", link: str = "/etc/passwd") -> Path:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        archive.addfile(info)
    return path


def zipped(path: Path, members: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_an_honest_archive_comes_out_whole(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    junk = {"__MACOSX/set/._1.jpg": b"x", "set/.DS_Store": b"x", "set/train/rose/._1.jpg": b"x"}
    archive = zipped(path, HONEST | junk) if kind == "zip" else tar(path, HONEST | junk, kind)
    assert unpack(archive, tmp_path / "out") == 3
    assert contents(tmp_path / "out") == HONEST


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "tar with ..": lambda p: tar(p, {"set/../../escaped": b"x"}),
    "tar with absolute path": lambda p: tar(p, {"/nowhere/escaped": b"x"}),
    "tar with backslash": lambda p: tar(p, {"set\\..\\..\\escaped": b"x"}),
    "tar with drive": lambda p: tar(p, {"C:/escaped": b"x"}),
    "tar with control sign": lambda p: tar(p, {"set/a\nb": b"x"}),
    "tar with symbolic link": lambda p: special(p, tarfile.SYMTYPE),
    "tar with hard link": lambda p: special(p, tarfile.LNKTYPE),
    "tar with device": lambda p: special(p, tarfile.CHRTYPE),
    "tar with pipe": lambda p: special(p, tarfile.FIFOTYPE),
    "tar with one name twice": lambda p: tar(p, {"set/a": b"x", "set/./a": b"y"}),
    "tar with file and folder": lambda p: tar(p, {"set/a": b"x", "set/a/b": b"y"}),
    "zip with ..": lambda p: zipped(p, {"../escaped": b"x"}),
    "zip with absolute path": lambda p: zipped(p, {"/nowhere/escaped": b"x"}),
    "zip with symbolic link": lambda p: zipped(p, {"set/odd": b"/etc/passwd"}, stat.S_IFLNK | 0o777),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_leaves_nothing(name: str, tmp_path: Path) -> None:
    archive = HOSTILE[name](tmp_path / "archive")
    with pytest.raises(UserError, match=r"was not unpacked: "):
        unpack(archive, tmp_path / "deep" / "out")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive]
    assert not Path("/nowhere/escaped").exists()


@pytest.mark.parametrize("make", [tar, zipped])
def test_size_and_count_are_limited(make: Callable[..., Path], tmp_path: Path) -> None:
    bomb = make(tmp_path / "bomb", {"set/a": bytes(30 << 20)})
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(UserError, match="unpacks to more than"):
        unpack(bomb, tmp_path / "out", Limits(size=20 << 20))
    many = make(tmp_path / "many", {f"set/{number}": b"" for number in range(101)})
    with pytest.raises(UserError, match="more than 100 entries"):
        unpack(many, tmp_path / "out", Limits(entries=100))
    assert not (tmp_path / "out").exists()


def test_a_zip_that_lies_about_its_sizes_is_caught_by_what_comes(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "liar.zip", {"set/a": bytes(5 << 20)})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # the uncompressed size, in both headers
        position = data.index(signature) + offset
        data[position : position + 4] = (10).to_bytes(4, "little")
    archive.write_bytes(data)
    with pytest.raises(UserError, match="was not unpacked"):
        unpack(archive, tmp_path / "out", Limits(size=1 << 20))


def test_a_header_that_claims_gigabytes_allocates_none(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 3 << 30
    (tmp_path / "bomb.tar").write_bytes(info.tobuf() + bytes(4096))
    tracemalloc.start()
    with pytest.raises(UserError, match="headers is far too long"):
        unpack(tmp_path / "bomb.tar", tmp_path / "out")
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_damage_is_one_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    members = {f"set/{number}": bytes(range(256)) * 40 for number in range(50)}
    archive = zipped(path, members) if kind == "zip" else tar(path, members, kind)
    data = archive.read_bytes()
    for broken in (
        data[: len(data) // 2],
        b"",
        b"<html>404</html>",
        b"\x1f\x8b" + bytes(100),
        b"PK\x03\x04" + bytes(99),
    ):
        path.write_bytes(broken)
        with pytest.raises(UserError, match="was not unpacked"):
            unpack(path, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_two_folders_that_are_one_on_this_disk_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tar(tmp_path / "archive", {"set/a/1.jpg": b"a", "set/A/2.jpg": b"A", "set/A/b/3.jpg": b"B"})
    assert unpack(archive, tmp_path / "here") == 3
    monkeypatch.setattr(Path, "samefile", lambda *_: True)  # as on a disk that does not tell capitals apart
    with pytest.raises(UserError, match="its folders set/a and set/A are one on this disk"):
        unpack(archive, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_name_too_long_for_the_disk_is_one_sentence(tmp_path: Path) -> None:
    archive = tar(tmp_path / "archive", {f"set/{'n' * 300}.jpg": b"x"})
    with pytest.raises(UserError, match=r"was not unpacked: File name too long at n+\."):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
