"""Downloads: resumed where they broke, checked against their digest, laid out as a dataset."""

import asyncio
import hashlib
import io
import json
import re
import signal
import subprocess
import sys
import tarfile
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image

from curate.download import FOLDER, PUBLIC, Downloaded, PublicSet, _lay_out, download
from curate.downloading import transfer
from curate.downloading.transfer import RemoteFile
from curate.errors import UserError
from curate.files.lock import LOCK, locked
from curate.files.ours import WorkFolder
from curate.progress import silent
from curate.web.network import Network, Timeouts
from testing.killing import count_deeds, kill_at_deed
from testing.webserver import Reply, Request, Server
from tests.pictures import draw, tree
from tests.raw_server import RawServer
from tests.test_unpack import tar, zipped

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Shelf:
    """A server of files with ranges and versions, which breaks off when told to."""

    files: dict[str, bytes] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    """Bytes after which the next answers break off."""
    busy: list[float] = field(default_factory=list)
    """Seconds of the Retry-After with which the next answers refuse (503)."""
    kind: str = "application/octet-stream"
    portal: int = 0
    """So many answers are still a portal's web page."""
    ranges: bool = True
    most: int = 1 << 30
    """Bytes of the largest part that it gives at once."""
    if_range: bool = True
    """Whether it looks at If-Range, as it should."""
    version: str = '"1"'
    pace: float = 0.0
    """Seconds per 16 KiB."""
    asked: list[str] = field(default_factory=list)
    server: Server = field(init=False)

    def __post_init__(self) -> None:
        self.server = Server(self.answer)

    def url(self, name: str) -> str:
        return f"{self.server.url}/{name}"

    @property
    def network(self) -> Network:
        return Network(loopback_ports=frozenset({self.server.port}))

    def answer(self, request: Request) -> Reply:
        self.asked.append(request.headers.get("range", ""))
        data = self.files.get(request.path.removeprefix("/"))
        if self.busy:
            return Reply(b"busy", "text/plain", 503, {"Retry-After": f"{self.busy.pop(0):g}"})
        if self.portal:
            self.portal -= 1
            return Reply(b"<html>Please agree</html>", "text/html")
        if data is None:
            return Reply(b"gone", "text/plain", 404)
        start, status, headers = 0, 200, {"ETag": self.version, "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        part = data
        if self.ranges and wanted and (not self.if_range or request.headers.get("if-range") == self.version):
            start, status = int(wanted[1]), 206
            part = data[start : start + self.most]
            headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        end = self.breaks.pop(0) if self.breaks else len(part)

        async def send(writer: asyncio.StreamWriter) -> None:
            for position in range(0, min(end, len(part)), 16384):
                writer.write(part[position : min(position + 16384, end)])
                await writer.drain()
                await asyncio.sleep(self.pace)

        headers["Content-Length"] = str(len(part))
        return Reply(kind=self.kind, status=status, headers=headers, raw=send)


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    made = Shelf()
    with made.server:
        yield made


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def split_archive(count: int = 4) -> bytes:
    members = {
        f"flower_data/{split}/{label}/image_{number}.jpg": draw(
            number + 10 * ord(split[0]) + 100 * ord(label), (60, 60)
        )
        for split in ("train", "valid", "test")
        for label in "12"
        for number in range(count)
    }
    return archive({**members, "flower_data/LICENSE.txt": b"free"})


def bring(shelf: Shelf, what: str, out: Path, **options: Any) -> Downloaded:
    return download(what, out, network=shelf.network, **options)


def files(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return found - {LOCK}


def test_an_archive_with_a_split_keeps_it(shelf: Shelf, tmp_path: Path) -> None:
    shelf.files["data.tar.gz"] = split_archive()
    done = bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out")
    assert done.counts == {"train": 8, "valid": 8, "test": 8}
    assert not done.drawn
    assert not done.verified
    expected = {f"{s}/{c}/image_{n}.jpg" for s in ("train", "valid", "test") for c in "12" for n in range(4)}
    assert files(tmp_path / "out") == expected | {"LICENSE.txt"}


def test_an_archive_without_a_split_gets_one(shelf: Shelf, tmp_path: Path) -> None:
    members = {f"photos/{label}/{n}.jpg": draw(n + 50 * k) for k, label in enumerate("ab") for n in range(10)}
    shelf.files["photos.zip"] = zipped(tmp_path / "x", members).read_bytes()
    done = bring(shelf, shelf.url("photos.zip"), tmp_path / "out")
    assert done.drawn
    assert sum(done.counts.values()) == 20
    assert min(done.counts.values()) >= 2
    assert len(files(tmp_path / "out" / "raw")) == 20


def test_a_broken_transfer_goes_on_where_it_broke(shelf: Shelf, tmp_path: Path) -> None:
    data = shelf.files["data.tar.gz"] = split_archive(20)
    shelf.breaks = [20_000, 20_000, 5_000]
    assert len(data) > 60_000
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    public = {"roses": PublicSet((RemoteFile(shelf.url("data.tar.gz"), digest),))}
    done = bring(shelf, "roses", tmp_path / "out", public=public)
    assert done.verified
    assert shelf.asked == ["", "bytes=20000-", "bytes=40000-", "bytes=45000-"]


def test_a_busy_server_is_asked_again_when_it_says_and_not_before(shelf: Shelf, tmp_path: Path) -> None:
    shelf.files["data.tar.gz"] = split_archive()
    shelf.busy = [1]
    begun = time.monotonic()
    assert bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out").counts["train"] == 8
    assert time.monotonic() - begun >= 1
    assert shelf.asked == ["", ""]


def test_a_server_that_is_busy_for_hours_is_left_alone(shelf: Shelf, tmp_path: Path) -> None:
    shelf.files["data.tar.gz"] = split_archive()
    shelf.busy = [7200]
    begun = time.monotonic()
    with pytest.raises(UserError, match="run the same command again"):
        bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out")
    assert time.monotonic() - begun < 60
    assert shelf.asked == [""]


@pytest.mark.thorough
def test_another_version_begins_anew(shelf: Shelf, tmp_path: Path) -> None:
    data = split_archive(20)
    shelf.files["data.tar.gz"] = bytes(len(data))
    shelf.breaks = [20_000] + [0] * 4  # more failures in a row than one run puts up with
    with pytest.raises(UserError, match="run the same command again"):
        bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out")
    shelf.files["data.tar.gz"], shelf.version = data, '"2"'
    assert bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out").counts["train"] == 40
    assert shelf.asked[-1] == "bytes=20000-"


def test_a_part_is_not_taken_for_all_of_the_rest(shelf: Shelf, tmp_path: Path) -> None:
    """A server may give less than was asked for, and says how much there is."""
    data = shelf.files["data.tar.gz"] = split_archive(20)
    shelf.breaks, shelf.most = [20_000], 20_000
    assert bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out").counts["train"] == 40
    assert shelf.asked == ["", *(f"bytes={start}-" for start in range(20_000, len(data), 20_000))]


def test_a_part_of_another_version_is_not_put_behind_the_first(shelf: Shelf, tmp_path: Path) -> None:
    """Even where the server does not look at If-Range, and so sends the rest of a file that begins otherwise."""
    data = split_archive(20)
    shelf.files["data.tar.gz"], shelf.if_range = bytes(len(data)), False
    shelf.breaks = [20_000] + [0] * 4
    with pytest.raises(UserError, match="run the same command again"):
        bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out")
    shelf.files["data.tar.gz"], shelf.version = data, '"2"'
    assert bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out").counts["train"] == 40


def test_a_server_that_gives_a_few_bytes_at_a_time_is_not_asked_for_ever(shelf: Shelf, tmp_path: Path) -> None:
    shelf.files["data.tar.gz"] = split_archive(20)
    shelf.breaks = [100] * 20
    with pytest.raises(UserError, match="run the same command again"):
        bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out")
    assert len(shelf.asked) <= 5


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nPK\3\4\5\r\n0\r\nX: "],
    ids=["head", "trailer"],
)
def test_a_line_that_comes_letter_by_letter_is_not_waited_for(
    said: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def speak(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(said)
        for _ in range(100):
            writer.write(b"x")
            await asyncio.sleep(0.1)
        writer.close()

    monkeypatch.setattr(transfer, "STALL_SECONDS", 0.5)
    with RawServer(speak) as server:
        network = Network(loopback_ports=frozenset({server.port}), timeouts=Timeouts(whole=0.5))
        begun = time.monotonic()
        with pytest.raises(UserError, match="could not be downloaded"):
            download(f"http://127.0.0.1:{server.port}/a.zip", tmp_path / "out", network=network)
        assert time.monotonic() - begun < 9
        assert len(server.asked) == 4


def test_a_server_without_ranges_is_asked_for_all_of_it(shelf: Shelf, tmp_path: Path) -> None:
    shelf.files["data.tar.gz"] = split_archive(20)
    shelf.ranges, shelf.breaks = False, [20_000]
    assert bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out").counts["train"] == 40


def test_a_wrong_digest_is_refused_and_begun_anew(shelf: Shelf, tmp_path: Path) -> None:
    good = split_archive()
    shelf.files["data.tar.gz"] = good[:-20] + bytes(20)
    digest = f"md5:{hashlib.md5(good, usedforsecurity=False).hexdigest()}"
    public = {"roses": PublicSet((RemoteFile(shelf.url("data.tar.gz"), digest),))}
    with pytest.raises(UserError, match="instead of the published"):
        bring(shelf, "roses", tmp_path / "out", public=public)
    assert not (tmp_path / "out" / "train").exists()
    shelf.files["data.tar.gz"] = good
    assert bring(shelf, "roses", tmp_path / "out", public=public).verified


def test_killed_in_the_middle_it_goes_on(shelf: Shelf, tmp_path: Path) -> None:
    data = shelf.files["data.tar.gz"] = split_archive(40)
    shelf.pace = 0.1
    command = [sys.executable, "-m", "tests.downloading", str(tmp_path / "out"), shelf.url("data.tar.gz")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    part = tmp_path / "out" / "download.florilegium" / "data.tar.gz.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 40_000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    have = part.stat().st_size
    assert have < len(data)
    shelf.pace = 0
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert again.stdout.strip() == "{'train': 80, 'valid': 80, 'test': 80}"
    assert shelf.asked == ["", f"bytes={have}-"]
    assert not (tmp_path / "out" / "download.florilegium").exists()


def oxford(shelf: Shelf, tmp_path: Path, last: int = 6) -> PublicSet:
    """Six pictures of three labels, with .mat files as Oxford's are."""
    labels, sets = tmp_path / "imagelabels.mat", tmp_path / "setid.mat"
    scipy.io.savemat(labels, {"labels": np.array([[3, 3, 1, 1, 2, 3]], dtype=np.uint8)})
    scipy.io.savemat(
        sets, {"trnid": np.array([[1, 3, 5]]), "valid": np.array([[2]]), "tstid": np.array([[4, last]], np.uint16)}
    )
    pictures = {f"jpg/image_{number:05d}.jpg": draw(number) for number in range(1, 7)}
    contents = {
        "102flowers.tgz": tar(tmp_path / "102flowers.tgz", pictures).read_bytes(),
        "imagelabels.mat": labels.read_bytes(),
        "setid.mat": sets.read_bytes(),
    }
    shelf.files.update(contents)
    remote = (
        RemoteFile(shelf.url(name), f"md5:{hashlib.md5(data, usedforsecurity=False).hexdigest()}")
        for name, data in contents.items()
    )
    return PublicSet(tuple(remote))


def test_oxford_is_laid_out_by_its_own_labels(shelf: Shelf, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = bring(shelf, "flowers102", out, public={"flowers102": oxford(shelf, tmp_path)})
    assert done.counts == {"train": 3, "valid": 1, "test": 2}
    assert done.verified
    assert files(out) == {
        "train/3/image_00001.jpg",
        "train/1/image_00003.jpg",
        "train/2/image_00005.jpg",
        "valid/3/image_00002.jpg",
        "test/1/image_00004.jpg",
        "test/3/image_00006.jpg",
    }
    assert (out / "train/2/image_00005.jpg").read_bytes() == draw(5)


def test_labels_that_do_not_fit_are_refused(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"setid\.mat names picture 7"):
        bring(shelf, "flowers102", tmp_path / "out", public={"flowers102": oxford(shelf, tmp_path, last=7)})


@pytest.mark.thorough
def test_mistakes_get_one_sentence(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no dataset 'tulips'"):
        bring(shelf, "tulips", tmp_path / "out")
    with pytest.raises(UserError, match="no split 'mine'"):
        bring(shelf, "flowers102", tmp_path / "out", split="mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        bring(shelf, shelf.url("data.tar.gz"), tmp_path / "full")
    with pytest.raises(UserError, match="404"):
        bring(shelf, shelf.url("nothing"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    shelf.files["half"], shelf.breaks = bytes(50_000), [20_000, 0, 0, 0, 0]
    with pytest.raises(UserError, match="run the same command again"):
        bring(shelf, shelf.url("half"), tmp_path / "out")
    with pytest.raises(UserError, match="is not finished"):
        bring(shelf, shelf.url("something else"), tmp_path / "out")
    shelf.files["page"] = b"<html>"
    with pytest.raises(UserError, match="was not unpacked"):
        bring(shelf, shelf.url("page"), tmp_path / "page")
    shelf.files["words"] = archive({"a/readme.txt": b"no pictures"})
    with pytest.raises(UserError, match="no class folders"):
        bring(shelf, shelf.url("words"), tmp_path / "words")
    for url in ("http://169.254.169.254/x.tgz", "file:///etc/passwd", "http://127.0.0.1:9/x.tgz"):
        with pytest.raises(UserError, match="could not be downloaded"):
            bring(shelf, url, tmp_path / "refused" / str(len(url)))


def test_a_folder_of_the_users_is_never_taken_for_ours(shelf: Shelf, tmp_path: Path) -> None:
    shelf.files["data.tar.gz"] = split_archive()
    for name in ("downloads", FOLDER):
        out = tmp_path / name
        (out / name).mkdir(parents=True)
        (out / name / "thesis.txt").write_text("mine")
        with pytest.raises(UserError, match="is not empty"):
            bring(shelf, shelf.url("data.tar.gz"), out)
        assert files(out) == {f"{name}/thesis.txt"}
        assert not (out / LOCK).exists()
    assert shelf.asked == []


def stopped(shelf: Shelf, out: Path, part: bytes) -> None:
    """What a download of data.tar.gz leaves when it is stopped."""
    work = WorkFolder(out / FOLDER).make()
    (work / "plan.json").write_text(json.dumps(f"{shelf.url('data.tar.gz')} official"))
    (work / "data.tar.gz.part").write_bytes(part)
    (work / "data.tar.gz.part.json").write_text(json.dumps({"version": shelf.version}))


def test_a_file_put_there_while_it_was_stopped_is_not_replaced(shelf: Shelf, tmp_path: Path) -> None:
    out = tmp_path / "out"
    data = shelf.files["data.tar.gz"] = split_archive(20)
    stopped(shelf, out, data[:20_000])
    (out / "train" / "1").mkdir(parents=True)
    (out / "train" / "1" / "image_0.jpg").write_bytes(b"mine")
    done = bring(shelf, shelf.url("data.tar.gz"), out)
    assert shelf.asked == ["bytes=20000-"]
    assert (out / "train" / "1" / "image_0.jpg").read_bytes() == b"mine"
    assert done.counts["train"] == 41
    (line,) = done.renamed
    assert line.startswith("train/1/image_0.jpg → train/1/image_0~")


def test_no_picture_takes_the_place_of_another(shelf: Shelf, tmp_path: Path) -> None:
    names = ["train/a/b-c.jpg", "train/a/b/c.jpg", "train/a/X.jpg", "train/a/x.jpg", "train/a/e\u0301.jpg"]
    names += ["train/a/\u00e9.jpg", f"train/a/{'l' * 200}/{'m' * 100}.jpg", "val/a/1.jpg", "validation/a/1.jpg"]
    names += ["valid/a/1.jpg", "test/a/1.jpg"]
    contents = {f"set/{name}": draw(number) for number, name in enumerate(names)}
    shelf.files["data.tar.gz"] = archive(contents)
    out = tmp_path / "out"
    done = bring(shelf, shelf.url("data.tar.gz"), out)
    assert done.counts == {"train": 7, "valid": 3, "test": 1}
    assert sorted((out / name).read_bytes() for name in files(out)) == sorted(contents.values())
    folds = [unicodedata.normalize("NFC", name).casefold() for name in files(out)]
    assert len(set(folds)) == len(folds)
    assert len(done.renamed) == 6
    for line in done.renamed:
        old, new = line.split(" → ")
        assert (out / new).read_bytes() == contents[f"set/{old}"]
        assert len(Path(new).name.encode()) <= 255
    again = bring(shelf, shelf.url("data.tar.gz"), tmp_path / "again")
    assert files(tmp_path / "again") == files(out)
    assert again.renamed == done.renamed


def encoded_as(kind: str, seed: int) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(draw(seed))) as image:
        image.save(buffer, kind)
    return buffer.getvalue()


def test_pictures_of_all_kinds_come_along_and_what_does_not_is_named(shelf: Shelf, tmp_path: Path) -> None:
    pictures = {
        "a/1.ppm": encoded_as("PPM", 1),
        "a/2.jp2": encoded_as("JPEG2000", 2),
        "a/3": draw(3),
        "b/4.photo": encoded_as("PNG", 4),
        "b/5.TIF": encoded_as("TIFF", 5),
    }
    others = {"a/notes.txt": b"words", "b/.hidden/6.jpg": draw(6), "7.jpg": draw(7)}
    readme = {"README.md": b"read me"}
    shelf.files["data.tar.gz"] = archive(
        {f"set/{split}/{name}": data for split in ("train", "test") for name, data in (pictures | others).items()}
        | {f"set/{name}": data for name, data in readme.items()}
    )
    done = bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out")
    assert done.counts == {"train": 5, "valid": 0, "test": 5}
    expected = {f"{split}/{name}" for split in ("train", "test") for name in pictures} | set(readme)
    assert files(tmp_path / "out") == expected
    assert sorted(done.dropped) == sorted(f"{split}/{name}" for split in ("train", "test") for name in others)
    assert done.renamed == []


def test_a_portals_page_in_the_place_of_the_archive_is_asked_past(shelf: Shelf, tmp_path: Path) -> None:
    shelf.files["data.tar.gz"] = split_archive()
    shelf.portal = 1
    assert bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out").counts["train"] == 8
    shelf.portal = 100
    with pytest.raises(UserError, match="answers with a web page; perhaps it wants a login"):
        bring(shelf, shelf.url("data.tar.gz"), tmp_path / "again")


@pytest.mark.thorough
def test_an_archive_that_is_called_a_web_page_is_one_by_its_bytes(shelf: Shelf, tmp_path: Path) -> None:
    shelf.kind = "text/html"
    shelf.files["data.tar.gz"], shelf.files["words.tar.gz"] = split_archive(), b"Please log in"
    shelf.breaks = [100]
    assert bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out").counts["train"] == 8
    assert shelf.asked == ["", "bytes=100-"], "and goes on where it broke off"
    with pytest.raises(UserError, match="answers with a web page; perhaps it wants a login"):
        bring(shelf, shelf.url("words.tar.gz"), tmp_path / "again")


@pytest.mark.thorough
def test_a_portals_page_writes_over_nothing_that_has_come(shelf: Shelf, tmp_path: Path) -> None:
    shelf.files["data.tar.gz"] = split_archive()
    shelf.breaks = [100] + [0] * 4
    with pytest.raises(UserError):
        bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out")
    shelf.portal = 1
    shelf.asked.clear()
    assert bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out").counts["train"] == 8
    assert shelf.asked[-2:] == ["bytes=100-", "bytes=100-"]


@pytest.mark.parametrize("bad", [b"<html>Please log in</html>", split_archive()[:-400], archive({"a/x.txt": b"words"})])
def test_a_bad_archive_does_not_stick(bad: bytes, shelf: Shelf, tmp_path: Path) -> None:
    shelf.files["data.tar.gz"] = bad
    out = tmp_path / "out"
    for _ in range(2):
        with pytest.raises(UserError, match=r"lies in .*data\.tar\.gz\.refused now; the same command fetches it anew"):
            bring(shelf, shelf.url("data.tar.gz"), out)
    assert (out / FOLDER / "data.tar.gz.refused").read_bytes() == bad
    shelf.files["data.tar.gz"] = split_archive()
    assert bring(shelf, shelf.url("data.tar.gz"), out).counts["train"] == 8
    assert not (out / FOLDER).exists()


@pytest.mark.parametrize("note", [b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b"7", b'{"version": 7}'])
def test_a_note_that_says_nothing_does_not_stick(note: bytes, shelf: Shelf, tmp_path: Path) -> None:
    data = shelf.files["data.tar.gz"] = split_archive(20)
    for name in ("plan.json", "data.tar.gz.part.json"):
        out = tmp_path / name
        stopped(shelf, out, data[:20_000])
        (out / FOLDER / name).write_bytes(note)
        assert bring(shelf, shelf.url("data.tar.gz"), out).counts["train"] == 40


def lay_out(archive: Path, out: Path) -> None:
    """The end of a download, whose archive has come; a copy of it, for a second try."""
    work = WorkFolder(out / FOLDER)
    work.make()
    _lay_out([archive], work.path, out, silent)
    work.remove()


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_killed_while_it_is_laid_out_it_ends_with_the_same(tmp_path: Path) -> None:
    names = ["train/a/b-c.jpg", "train/a/b/c.jpg", "val/a/1.jpg", "validation/a/1.jpg", "test/a/1.jpg"]
    packed = tmp_path / "data.tar.gz"
    packed.write_bytes(archive({f"set/{name}": draw(number) for number, name in enumerate(names)}))
    lay_out(packed, tmp_path / "whole")
    expected = tree(tmp_path / "whole")
    deeds = count_deeds(partial(lay_out, packed, tmp_path / "counted"))
    for number, instant in enumerate(range(0, deeds, max(1, deeds // 12))):
        out = tmp_path / str(number)
        assert kill_at_deed(partial(lay_out, packed, out), instant)
        lay_out(packed, out)
        assert tree(out) == expected


def test_another_download_at_work_is_named(shelf: Shelf, tmp_path: Path) -> None:
    shelf.files["data.tar.gz"], shelf.pace = split_archive(40), 0.1
    command = [sys.executable, "-m", "tests.downloading", str(tmp_path / "out"), shelf.url("data.tar.gz")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not shelf.asked:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(UserError, match=rf"`download http.*` \(process {process.pid}, since .* is at work"):
        bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out")
    shelf.pace = 0
    assert process.wait(60) == 0
    process.communicate()


def test_a_download_that_is_refused_touches_nothing_of_the_one_at_work(shelf: Shelf, tmp_path: Path) -> None:
    """Also before that has brought its first byte, when its folder looks like that of one which failed."""
    out = tmp_path / "out"
    with locked(out, "download elsewhere"):
        work = WorkFolder(out / FOLDER)
        work.make()
        before = tree(out)
        command = [sys.executable, "-m", "tests.downloading", str(out), shelf.url("data.tar.gz")]
        refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert "`download elsewhere`" in refused.stderr
        assert tree(out) == before


def test_every_public_set_can_be_named() -> None:
    assert {"flowers102", "flower-photos", "landmarks"} <= set(PUBLIC)
    for public in PUBLIC.values():
        for file in public.files:
            assert file.name
            assert re.fullmatch(r"(|md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})", file.digest)


def test_the_readme_of_the_folder_is_no_hindrance_and_stays(shelf: Shelf, tmp_path: Path) -> None:
    """The checkout has one in flower_data/, where `download` puts what it brings unless told otherwise."""
    readme = (ROOT / "flower_data" / "README.md").read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_bytes(readme)
    shelf.files["data.tar.gz"] = archive(
        {f"set/{label}/{n}.jpg": draw(n) for label in "ab" for n in range(3)} | {"set/README.md": b"theirs"}
    )
    done = bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out")
    assert sum(done.counts.values()) == 6
    assert (tmp_path / "out" / "README.md").read_bytes() == readme
    assert (tmp_path / "out" / "README~2.md").read_bytes() == b"theirs"
    assert done.renamed == ["README.md → README~2.md"]


@pytest.mark.parametrize("other", ["notes.md", "readme.txt", "1/a.jpg"])
def test_a_folder_with_anything_else_is_not_empty(other: str, shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "out" / other).parent.mkdir(parents=True)
    (tmp_path / "out" / other).touch()
    with pytest.raises(UserError, match="is not empty"):
        bring(shelf, shelf.url("data.tar.gz"), tmp_path / "out")
    assert shelf.asked == []
