"""The catalog brought up to date with its folder: what is new or changed is read, what is gone is marked."""

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from curate.catalog import Catalog, Picture
from curate.catalog.own_facts import forget_foreign
from curate.catalog.pictures import Stamp
from curate.dataset import ClassFolder, Dataset, Listing
from curate.deadly import crash_at
from curate.decoding.formats import readers
from curate.engine.engines import current_engine
from curate.errors import UserError
from curate.files.addresses import is_remote
from curate.files.reading import MAX_BYTES, NotAPlainFile, is_file_of_its_own, open_file, read_file
from curate.forked import map_isolated
from curate.inspect import Facts, import_decoders, inspect_many
from curate.lookalikes.method import facts_method
from curate.parallel import ordered_map, processors
from curate.progress import Progress, silent

# Pictures read at a time: many cost less each, and few large ones take long enough.
_FEWEST, _MOST, _BYTES = 4, 96, 4 << 20
_COMMIT_SECONDS = 0.2
_AT_ONCE = 16  # files beyond the disk, by each process


@dataclass(frozen=True)
class ScanReport:
    """What a scan did: pictures in the folder, of those newly read, rows whose file is gone. Beside them lie
    `companions`, files that belong to a picture, and `strangers`, which do not; neither are pictures. `checked` are the
    pictures that might have been others, and have the content that was known.
    """

    files: int
    read: int
    missing: int
    companions: int = 0
    strangers: int = 0
    checked: int = 0


def scan(dataset: Dataset, catalog: Catalog, progress: Progress = silent) -> ScanReport:
    """Bring the catalog up to date with the folder: read what is new or changed, mark what is gone.

    A file is taken as unchanged while its `Stamp` is, its row lacks no fact, and the catalog was written on this disk:
    what one from elsewhere says of a picture is not believed. One that bears another stamp and has the content that is
    known is not decoded again. What was read is
    committed several times a second, so a scan that was stopped goes on where it was. Raises `UserError` for a file
    that may not be read.
    """
    forget_foreign(catalog, facts_method())
    _forget_unreadable(catalog)
    files, missing, changed, companions, strangers = 0, 0, list[_File](), 0, 0
    for folder in dataset.folders():
        listing = dataset.listing(folder)
        gone, to_read = _compare(catalog, folder, listing)
        files += len(listing.pictures)
        companions += listing.companions
        strangers += listing.strangers
        missing += len(gone)
        changed += to_read
        if gone:
            with catalog.transaction():
                catalog.mark_missing(gone)
    missing += _mark_lost_folders(dataset, catalog)
    chunks = list(_chunks(changed))
    if chunks:
        import_decoders()
    checked = 0
    with (
        current_engine().results_of(
            partial(_read_chunk, dataset.root), chunks, partial(_read_apart, dataset.root), folders=[dataset.root]
        ) as results,
        progress("Reading pictures", len(changed)) as advance,
    ):
        for batch in _by_time(results, advance):
            with catalog.transaction():
                rows = [found.row for found in batch if found.row is not None]
                catalog.put(picture for picture in rows if picture.state == "present")
                catalog.mark_missing(picture.path for picture in rows if picture.state == "missing")
                checked += len(batch) - len(rows)
                catalog.enter_same(found.file.place for found in batch if found.row is None)
                catalog.stamp((found.file.path, found.file.stamp) for found in batch)
    return ScanReport(files, len(changed) - checked, missing, companions, strangers, checked)


class _File(NamedTuple):
    """A file to be read, what told it apart when it was listed, and the content that it had when it was read last."""

    path: str
    folder: ClassFolder
    stamp: Stamp
    known: str = ""

    @property
    def place(self) -> tuple[str, str, str, str]:
        """(path, class folder, label, split)."""
        return self.path, self.folder.path, self.folder.label, self.folder.split or ""

    def row(self, facts: Facts, state: str = "present") -> Picture:
        """Its row in the catalog."""
        return Picture.of(
            facts, path=self.path, folder=self.folder.path, label=self.folder.label, split=self.folder.split or "",
            size=self.stamp.size, mtime_ns=self.stamp.mtime_ns, state=state,
        )  # fmt: skip

    def broken(self, reason: str, sha256: str = "") -> Picture:
        """Its row, where there are no pixels."""
        return self.row(Facts(sha256, "", 0, 0, 0, reason))


class _Found(NamedTuple):
    """A file that was read, and its row; None where it has the content that is known."""

    file: _File
    row: Picture | None


def _chunks(files: list[_File]) -> Iterator[list[_File]]:
    """Parts to be read at a time, smaller towards the end, so that those who read them come to it together."""
    start = 0
    while start < len(files):
        most = min(max((len(files) - start) // (2 * processors()), _FEWEST), _MOST)
        end, held = start, 0
        while end < min(start + most, len(files)) and held < _BYTES:
            held += files[end].stamp.size
            end += 1
        yield files[start:end]
        start = end


def _forget_unreadable(catalog: Catalog) -> None:
    """Have those files read again that could not be, once other packages are installed that decode pictures."""
    installed = readers()
    if catalog.about("readers") != installed:
        with catalog.transaction():
            catalog.have_unreadable_read()
            catalog.note_about("readers", installed)


def _compare(catalog: Catalog, folder: ClassFolder, listing: Listing) -> tuple[list[str], list[_File]]:
    """(paths of rows whose file is gone, files that are to be read)."""
    known = catalog.seen_in(folder.path)
    to_read = []
    for path, status in listing.pictures:
        seen = known.pop(path, None)
        stamp = Stamp.of(status) if status else Stamp(0, 0, 0, 0)
        # Label and split are what the folder says: of a catalog from elsewhere nothing else would hold them to it.
        place = ("present", folder.label, folder.split or "")
        if seen is None or (seen.stamp, seen.state, seen.label, seen.split) != (stamp, *place) or seen.lacks_a_fact:
            to_read.append(_File(path, folder, stamp, seen.sha256 if seen else ""))
    gone = [path for path, seen in known.items() if seen.state == "present"]
    return gone, to_read


def _mark_lost_folders(dataset: Dataset, catalog: Catalog) -> int:
    """Mark the rows of class folders that are no longer there."""
    there = {folder.path for folder in dataset.folders()}
    return catalog.mark_folders_missing(folder for folder in catalog.folders() if folder not in there)


def _read_chunk(root: Path, chunk: list[_File]) -> list[_Found]:
    """The row of each file; with the state "missing" for one that vanished since it was listed."""
    rows: dict[int, _Found] = {}
    opened: dict[int, _File] = {}

    def contents() -> Iterator[tuple[bytes, str]]:
        for place, (file, found) in enumerate(zip(chunk, _read_each(root, chunk), strict=True)):
            if isinstance(found, _Found):
                rows[place] = found
                continue
            now, data = found
            if file.known and hashlib.sha256(data).hexdigest() == file.known:
                rows[place] = _Found(now, None)
                continue
            opened[place] = now
            yield data, file.path

    everything = inspect_many(contents())
    rows.update(
        (at, _Found(file, file.row(facts))) for (at, file), facts in zip(opened.items(), everything, strict=True)
    )
    return [rows[place] for place in range(len(chunk))]


def _read_apart(root: Path, chunk: list[_File], _: int) -> list[_Found]:
    """`_read_chunk` after a process has ended at one of these files: each by itself, so that it is known at which.

    A file that crashes its decoder is broken. One whose process was killed from outside is not: raises `UserError`.
    """

    def deadly(file: _File, exit_code: int) -> list[_Found]:
        reason = crash_at(root / file.path, exit_code)
        found = _read(root, file)
        if isinstance(found, _Found):
            return [found]
        file, data = found
        return [_Found(file, file.broken(reason, hashlib.sha256(data).hexdigest()))]

    alone = map_isolated(lambda file: _read_chunk(root, [file]), chunk, deadly)
    return [row for rows in alone for row in rows]


def _read_each(root: Path, files: list[_File]) -> Iterator[tuple[_File, bytes] | _Found]:
    """`_read` each of some files; beyond the disk several at once, for each has to be waited for."""
    if is_remote(root):
        return ordered_map(partial(_read, root), files, workers=_AT_ONCE)
    return map(partial(_read, root), files)


def _read(root: Path, file: _File) -> tuple[_File, bytes] | _Found:
    """The file as it is now and its bytes; or the row of one that is broken or gone before it is decoded."""
    path = root / file.path
    try:
        if not is_file_of_its_own(path):  # what tells it apart is what its listing said
            return file, read_file(path)
        with open_file(path) as opened:
            # Size and time are of the very file that is read: one that changes meanwhile is read again next time.
            status = os.fstat(opened.fileno())
            file = file._replace(stamp=Stamp.of(status))
            if status.st_size > MAX_BYTES:
                reason = f"{status.st_size:,} bytes are over the limit of {MAX_BYTES:,} bytes"
                return _Found(file, file.broken(reason))  # without a digest: a sparse file may claim to be of any size
            return file, opened.read(status.st_size + 1)  # read() of all would ask three times more
    except NotAPlainFile as error:
        return _Found(file, file.broken(str(error.strerror)))
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            if path.is_symlink():
                return _Found(file, file.broken("a link that leads nowhere"))
            return _Found(file, file.row(Facts("", "", 0, 0, 0, ""), state="missing"))
        raise UserError(
            f"{path} cannot be read ({error.strerror}): give yourself the right to read it, or move it away."
        ) from error


def _by_time(results: Iterable[list[_Found]], advance: Callable[[int], None]) -> Iterator[list[_Found]]:
    """Gather what was read into batches, each of some time's work."""
    batch: list[_Found] = []
    started = time.monotonic()
    for chunk in results:
        advance(len(chunk))
        batch += chunk
        if time.monotonic() - started > _COMMIT_SECONDS:
            yield batch
            batch, started = [], time.monotonic()
    yield batch
