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

from curate.catalog import Catalog, Picture, Seen
from curate.catalog.own_facts import forget_foreign
from curate.dataset import ClassFolder, Dataset, Listing
from curate.decoding.formats import readers
from curate.errors import UserError
from curate.files.reading import MAX_BYTES, NotAPlainFile, open_file
from curate.forked import is_crash, map_isolated, results_of
from curate.inspect import Facts, import_decoders, inspect_many
from curate.lookalikes.method import facts_method
from curate.parallel import processors
from curate.progress import Progress, silent

# Pictures read at a time: many cost less each, and few large ones take long enough.
_FEWEST, _MOST, _BYTES = 4, 96, 4 << 20
_COMMIT_SECONDS = 0.2


@dataclass(frozen=True)
class ScanReport:
    """What a scan did: pictures in the folder, of those newly read, rows whose file is gone. Beside them lie
    `companions`, files that belong to a picture, and `strangers`, which do not; neither are pictures.
    """

    files: int
    read: int
    missing: int
    companions: int = 0
    strangers: int = 0


def scan(dataset: Dataset, catalog: Catalog, progress: Progress = silent) -> ScanReport:
    """Bring the catalog up to date with the folder: read what is new or changed, mark what is gone.

    A file is taken as unchanged while its size and modification time are, its row lacks no fact, and the catalog was
    written on this disk: what one from elsewhere says of a picture is not believed. What was read is
    committed several times a second, so a scan that was stopped goes on where it was. Raises `UserError` for a file
    that may not be read.
    """
    forget_foreign(catalog, facts_method())
    _forget_unreadable(catalog)
    files, missing, changed, companions, strangers = 0, 0, list[_File](), 0, 0
    for folder in dataset.class_folders():
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
    with (
        results_of(partial(_read_chunk, dataset.root), chunks, partial(_read_apart, dataset.root)) as results,
        progress("Reading pictures", len(changed)) as advance,
    ):
        for batch in _by_time(results, advance):
            with catalog.transaction():
                catalog.put(picture for picture in batch if picture.state == "present")
                catalog.mark_missing(picture.path for picture in batch if picture.state == "missing")
    return ScanReport(files, len(changed), missing, companions, strangers)


class _File(NamedTuple):
    """A file to be read, and its size and time as they were when it was listed."""

    path: str
    folder: ClassFolder
    size: int
    mtime_ns: int

    def row(self, facts: Facts, state: str = "present") -> Picture:
        """Its row in the catalog."""
        return Picture.of(
            facts, path=self.path, folder=self.folder.path, label=self.folder.label, split=self.folder.split or "",
            size=self.size, mtime_ns=self.mtime_ns, state=state,
        )  # fmt: skip

    def broken(self, reason: str, sha256: str = "") -> Picture:
        """Its row, where there are no pixels."""
        return self.row(Facts(sha256, "", 0, 0, 0, reason))


def _chunks(files: list[_File]) -> Iterator[list[_File]]:
    """Parts to be read at a time, smaller towards the end, so that those who read them come to it together."""
    start = 0
    while start < len(files):
        most = min(max((len(files) - start) // (2 * processors()), _FEWEST), _MOST)
        end, held = start, 0
        while end < min(start + most, len(files)) and held < _BYTES:
            held += files[end].size
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
        size, mtime_ns = (status.st_size, status.st_mtime_ns) if status else (0, 0)
        # Label and split are what the folder says: of a catalog from elsewhere nothing else would hold them to it.
        if seen != Seen(size, mtime_ns, "present", folder.label, folder.split or "", whole=1):
            to_read.append(_File(path, folder, size, mtime_ns))
    gone = [path for path, seen in known.items() if seen.state == "present"]
    return gone, to_read


def _mark_lost_folders(dataset: Dataset, catalog: Catalog) -> int:
    """Mark the rows of class folders that are no longer there."""
    there = {folder.path for folder in dataset.class_folders()}
    return catalog.mark_folders_missing(folder for folder in catalog.folders() if folder not in there)


def _read_chunk(root: Path, chunk: list[_File]) -> list[Picture]:
    """The row of each file; with the state "missing" for one that vanished since it was listed."""
    rows: dict[int, Picture] = {}
    opened: dict[int, _File] = {}

    def contents() -> Iterator[tuple[bytes, str]]:
        for place, file in enumerate(chunk):
            found = _read(root, file)
            if isinstance(found, Picture):
                rows[place] = found
            else:
                opened[place], data = found
                yield data, file.path

    everything = inspect_many(contents())
    rows.update((place, file.row(facts)) for (place, file), facts in zip(opened.items(), everything, strict=True))
    return [rows[place] for place in range(len(chunk))]


def _read_apart(root: Path, chunk: list[_File], _: int) -> list[Picture]:
    """`_read_chunk` after a process has ended at one of these files: each by itself, so that it is known at which.

    A file that crashes its decoder is broken. One whose process was killed from outside is not: raises `UserError`.
    """

    def deadly(file: _File, exit_code: int) -> list[Picture]:
        if not is_crash(exit_code):
            raise UserError(
                f"The process that read {root / file.path} was killed (exit code {exit_code}), as happens where memory "
                f"runs out: make some free and run the command again, which goes on from there."
            )
        found = _read(root, file)
        if isinstance(found, Picture):
            return [found]
        file, data = found
        return [file.broken("whatever decodes it crashes", hashlib.sha256(data).hexdigest())]

    alone = map_isolated(lambda file: _read_chunk(root, [file]), chunk, deadly)
    return [row for rows in alone for row in rows]


def _read(root: Path, file: _File) -> tuple[_File, bytes] | Picture:
    """The file as it is now and its bytes; or the row of one that is broken or gone before it is decoded."""
    path = root / file.path
    try:
        with open_file(path) as opened:
            # Size and time are of the very file that is read: one that changes meanwhile is read again next time.
            status = os.fstat(opened.fileno())
            file = file._replace(size=status.st_size, mtime_ns=status.st_mtime_ns)
            if status.st_size > MAX_BYTES:
                reason = f"{status.st_size:,} bytes are over the limit of {MAX_BYTES:,} bytes"
                return file.broken(reason)  # without a digest: a sparse file may claim to be of any size
            return file, opened.read(status.st_size + 1)  # read() of all would ask three times more
    except NotAPlainFile as error:
        return file.broken(str(error.strerror))
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            if path.is_symlink():
                return file.broken("a link that leads nowhere")
            return file.row(Facts("", "", 0, 0, 0, ""), state="missing")
        raise UserError(
            f"{path} cannot be read ({error.strerror}): give yourself the right to read it, or move it away."
        ) from error


def _by_time(results: Iterable[list[Picture]], advance: Callable[[int], None]) -> Iterator[list[Picture]]:
    """Gather what was read into batches, each of some time's work."""
    batch: list[Picture] = []
    started = time.monotonic()
    for chunk in results:
        advance(len(chunk))
        batch += chunk
        if time.monotonic() - started > _COMMIT_SECONDS:
            yield batch
            batch, started = [], time.monotonic()
    yield batch
