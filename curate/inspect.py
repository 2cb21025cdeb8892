"""Every fact about a picture, in one read of its bytes; and the catalog brought up to date with its folder."""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.catalog import Catalog, Picture
from curate.dataset import ClassFolder, Dataset
from curate.errors import UserError
from curate.image import BrokenImage, decode
from curate.lookalikes.fingerprint import fingerprints, reduced
from curate.parallel import ordered_map
from curate.phash import phashes
from curate.progress import Progress, silent
from curate.quality import Scores, Views, measure

AT_LEAST = 56
"""Pixels of the short side at which a JPEG may be looked at: an eighth of the scale for most photographs.

It is enough because what is resampled from such pixels is exactly the box that the picture covers. The pHash of an
eighth is 0.3 bits from that of the whole on average, seldom 4; without the box it is 1.7, and often 6.
"""

MAX_BYTES = 1 << 30
"""A larger file is no photograph: it is not read into memory, but broken."""

_CHUNK = 16
_LOW_CONTRAST = 64  # levels: of 4,096 pixels that deviate by less than one level, none can deviate by more
_COMMIT_SECONDS = 1.0


@dataclass(frozen=True)
class Facts:
    """What one read of a file tells. `broken` is "" for an intact picture, else why there are no pixels.

    `phash` is unsigned, 64 bits; `width` and `height` are pixels of the upright picture at full scale; `fingerprint`
    is that of `curate.lookalikes.fingerprint`; `scores` are those of `curate.quality`, none for a broken file.
    """

    sha256: str
    format: str
    width: int
    height: int
    phash: int
    broken: str
    fingerprint: bytes = b""
    scores: Scores = ()


@dataclass(frozen=True)
class ScanReport:
    """What a scan did: files in the folder, of those newly read, rows whose file is gone."""

    files: int
    read: int
    missing: int


def inspect(data: bytes, path: str = "<bytes>") -> Facts:
    """All facts about one file's bytes. Never raises for what the bytes are: `broken` says it."""
    return inspect_many([(data, path)])[0]


def inspect_many(files: Iterable[tuple[bytes, str]]) -> list[Facts]:
    """`inspect` each of some files (their bytes and path), at less cost: what follows decoding is done for all at once.

    The files may be an iterator: of each only 5 kB stay in memory.
    """
    facts, seen = dict[int, Facts](), list[_Seen]()
    for place, (data, path) in enumerate(files):
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            seen.append(_see(place, sha256, data, path))
        except BrokenImage as error:
            facts[place] = Facts(sha256, "", 0, 0, 0, error.reason)
    if seen:
        lumas = np.stack([view.luma for view in seen])
        hashes = phashes(np.stack([view.small for view in seen]))
        prints = fingerprints([view.pixels for view in seen], lumas)
        sides = np.array([(view.width, view.height) for view in seen])
        scores = measure(Views(lumas, sides[:, 0], sides[:, 1]))
        for view, whole, windows, score in zip(seen, hashes, prints, scores, strict=True):
            facts[view.place] = Facts(
                view.sha256, view.format, view.width, view.height, whole, broken="", fingerprint=windows, scores=score
            )
    return [facts[place] for place in range(len(facts))]


class _Seen(NamedTuple):
    """Of one picture among several: what is known already, its luma at 32 × 32 and at 64 × 64, and reduced pixels."""

    place: int
    sha256: str
    format: str
    width: int
    height: int
    small: NDArray[np.uint8]
    luma: NDArray[np.uint8]
    pixels: Image.Image


def _see(place: int, sha256: str, data: bytes, path: str) -> _Seen:
    image = decode(data, path=path, at_least=AT_LEAST, luma=True)
    # imagehash resamples the whole of its pixels like this.
    small = np.asarray(image.pixels.resize((32, 32), Image.Resampling.LANCZOS, box=image.box))
    luma = reduced(image.pixels, image.box)
    pixels = image.pixels
    if luma.max() - luma.min() < _LOW_CONTRAST:  # a flat picture is told by its colour
        pixels = decode(data, path=path, at_least=AT_LEAST).pixels
    return _Seen(place, sha256, image.format, image.width, image.height, small, luma, pixels)


def scan(dataset: Dataset, catalog: Catalog, progress: Progress = silent) -> ScanReport:
    """Bring the catalog up to date with the folder: read what is new or changed, mark what is gone.

    A file is taken as unchanged while its size and modification time are. What was read is committed about every
    second, so a scan that was stopped goes on where it was. Raises `UserError` for a file that may not be read.
    """
    files, missing, changed = 0, 0, list[Picture]()
    for folder in dataset.class_folders():
        in_folder, gone, to_read = _compare(dataset, catalog, folder)
        files += in_folder
        missing += len(gone)
        changed += to_read
        with catalog.transaction() as db:
            db.executemany("UPDATE pictures SET state = 'missing' WHERE path = ?", [(path,) for path in gone])
    missing += _mark_lost_folders(dataset, catalog)
    chunks = [changed[start : start + _CHUNK] for start in range(0, len(changed), _CHUNK)]
    with progress("Reading pictures", len(changed)) as advance:
        for batch in _by_time(ordered_map(lambda chunk: _read_chunk(dataset.root, chunk), chunks), advance):
            with catalog.transaction() as db:
                catalog.put(picture for picture in batch if picture.state == "present")
                vanished = [(picture.path,) for picture in batch if picture.state == "missing"]
                db.executemany("UPDATE pictures SET state = 'missing' WHERE path = ?", vanished)
    return ScanReport(files, len(changed), missing)


def _compare(dataset: Dataset, catalog: Catalog, folder: ClassFolder) -> tuple[int, list[str], list[Picture]]:
    """(files in the folder, paths of rows whose file is gone, rows to be filled in by reading the file)."""
    rows = catalog.db.execute("SELECT path, size, mtime_ns, state FROM pictures WHERE folder = ?", (folder.path,))
    known = {path: (size, mtime_ns, state) for path, size, mtime_ns, state in rows}
    found = dataset.files_in(folder)
    to_read = []
    for path, status in found:
        seen = known.pop(path, None)
        size, mtime_ns = (status.st_size, status.st_mtime_ns) if status else (0, 0)
        if seen != (size, mtime_ns, "present"):
            to_read.append(_unread(path, folder, size, mtime_ns))
    gone = [path for path, (_, _, state) in known.items() if state == "present"]
    return len(found), gone, to_read


def _unread(path: str, folder: ClassFolder, size: int, mtime_ns: int) -> Picture:
    return Picture(
        path=path, folder=folder.path, label=folder.label, split=folder.split or "", size=size, mtime_ns=mtime_ns,
        sha256="", format="", width=0, height=0, phash=0, broken="", state="present",
    )  # fmt: skip


def _mark_lost_folders(dataset: Dataset, catalog: Catalog) -> int:
    """Mark the rows of class folders that are no longer there."""
    there = {folder.path for folder in dataset.class_folders()}
    listed = [folder for (folder,) in catalog.db.execute("SELECT DISTINCT folder FROM pictures")]
    lost = [(folder,) for folder in listed if folder not in there]
    with catalog.transaction() as db:
        return db.executemany(
            "UPDATE pictures SET state = 'missing' WHERE folder = ? AND state = 'present'", lost
        ).rowcount if lost else 0  # fmt: skip


def _read_chunk(root: Path, chunk: list[Picture]) -> list[Picture]:
    """The rows with their facts filled in; with the state "missing" for a file that vanished since it was listed."""
    rows, opened = list[Picture](), list[int]()

    def contents() -> Iterator[tuple[bytes, str]]:
        for picture in chunk:
            row, data = _read(root, picture)
            rows.append(row)
            if data is not None:
                opened.append(len(rows) - 1)
                yield data, row.path

    for place, facts in zip(opened, inspect_many(contents()), strict=True):
        rows[place] = replace(
            rows[place], sha256=facts.sha256, format=facts.format, width=facts.width, height=facts.height,
            phash=facts.phash, broken=facts.broken, fingerprint=facts.fingerprint, scores=facts.scores,
        )  # fmt: skip
    return rows


def _read(root: Path, picture: Picture) -> tuple[Picture, bytes | None]:
    """The row with size and time filled in, and the file's bytes; None for one that is broken before it is decoded."""
    path = root / picture.path
    try:
        # Not to wait, should it be a pipe that nobody writes to.
        with open(path, "rb", buffering=0, opener=_open_without_waiting) as file:
            # Size and time are of the very file that is read: one that changes meanwhile is read again next time.
            status = os.fstat(file.fileno())
            if (status.st_size, status.st_mtime_ns) != (picture.size, picture.mtime_ns):
                picture = replace(picture, size=status.st_size, mtime_ns=status.st_mtime_ns)
            if not stat.S_ISREG(status.st_mode):
                return replace(picture, broken="not a file but a pipe, a device or a folder"), None
            if status.st_size > MAX_BYTES:
                reason = f"{status.st_size:,} bytes are over the limit of {MAX_BYTES:,} bytes"
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                return replace(picture, sha256=sha256, broken=reason), None
            return picture, file.readall()
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            if path.is_symlink():
                return replace(picture, broken="a link that leads nowhere"), None
            return replace(picture, state="missing"), None
        raise UserError(
            f"{path} cannot be read ({error.strerror}): give yourself the right to read it, or move it away."
        ) from error


def _open_without_waiting(path: str, how: int) -> int:
    return os.open(path, how | getattr(os, "O_NONBLOCK", 0))


def _by_time(results: Iterable[list[Picture]], advance: Callable[[int], None]) -> Iterator[list[Picture]]:
    """Gather what was read into batches worth about a second of work each."""
    batch: list[Picture] = []
    started = time.monotonic()
    for chunk in results:
        advance(len(chunk))
        batch += chunk
        if time.monotonic() - started > _COMMIT_SECONDS:
            yield batch
            batch, started = [], time.monotonic()
    yield batch
