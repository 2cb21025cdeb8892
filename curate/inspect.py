"""Every fact about a picture, in one read of its bytes; and the catalog brought up to date with its folder."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from curate.catalog import Catalog, Picture
from curate.dataset import ClassFolder, Dataset
from curate.errors import UserError
from curate.fingerprint import fingerprint
from curate.image import BrokenImage, decode
from curate.parallel import ordered_map
from curate.phash import phash
from curate.progress import Progress, silent

AT_LEAST = 96
"""Pixels of the short side at which a JPEG may be looked at: three times what pHash resamples to."""

_CHUNK = 16
_COMMIT_SECONDS = 1.0


@dataclass(frozen=True)
class Facts:
    """What one read of a file tells. `broken` is "" for an intact picture, else why there are no pixels.

    `phash` is unsigned, 64 bits; `width` and `height` are pixels of the upright picture at full scale;
    `fingerprint` is that of `curate.fingerprint`.
    """

    sha256: str
    format: str
    width: int
    height: int
    phash: int
    broken: str
    fingerprint: bytes = b""


@dataclass(frozen=True)
class ScanReport:
    """What a scan did: files in the folder, of those newly read, rows whose file is gone."""

    files: int
    read: int
    missing: int


def inspect(data: bytes, path: str = "<bytes>") -> Facts:
    """All facts about one file's bytes. Never raises for what the bytes are: `broken` says it."""
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        image = decode(data, path=path, at_least=AT_LEAST)
    except BrokenImage as error:
        return Facts(sha256, "", 0, 0, 0, error.reason)
    grey = image.pixels.convert("L")
    found = fingerprint(image.pixels, grey)
    return Facts(sha256, image.format, image.width, image.height, phash(grey), "", found)


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
            with catalog.transaction():
                catalog.put(batch)
    return ScanReport(files, len(changed), missing)


def _compare(dataset: Dataset, catalog: Catalog, folder: ClassFolder) -> tuple[int, list[str], list[Picture]]:
    """(files in the folder, paths of rows whose file is gone, rows to be filled in by reading the file)."""
    rows = catalog.db.execute("SELECT path, size, mtime_ns, state FROM pictures WHERE folder = ?", (folder.path,))
    known = {path: (size, mtime_ns, state) for path, size, mtime_ns, state in rows}
    found = dataset.files_in(folder)
    to_read = []
    for path, stat in found:
        seen = known.pop(path, None)
        size, mtime_ns = (stat.st_size, stat.st_mtime_ns) if stat else (0, 0)
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


def _read_chunk(root: Path, chunk: list[Picture]) -> list[Picture | None]:
    return [_read(root, picture) for picture in chunk]


def _read(root: Path, picture: Picture) -> Picture | None:
    """The row with its facts filled in; None for a file that vanished since it was listed."""
    path = root / picture.path
    try:
        with path.open("rb") as file:
            # Size and time are of the very file that is read: one that changes meanwhile is read again next time.
            stat = os.fstat(file.fileno())
            data = file.read()
    except FileNotFoundError:
        if path.is_symlink():
            return replace(picture, broken="a link that leads nowhere")
        return None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): give yourself the right to read it, or move it away."
        ) from error
    facts = inspect(data, str(path))
    return replace(
        picture, size=stat.st_size, mtime_ns=stat.st_mtime_ns, sha256=facts.sha256, format=facts.format,
        width=facts.width, height=facts.height, phash=facts.phash, broken=facts.broken,
        fingerprint=facts.fingerprint,
    )  # fmt: skip


def _by_time(results: Iterable[list[Picture | None]], advance: Callable[[int], None]) -> Iterator[list[Picture]]:
    """Gather what was read into batches worth about a second of work each."""
    batch: list[Picture] = []
    started = time.monotonic()
    for chunk in results:
        advance(len(chunk))
        batch += [picture for picture in chunk if picture is not None]
        if time.monotonic() - started > _COMMIT_SECONDS:
            yield batch
            batch, started = [], time.monotonic()
    yield batch
