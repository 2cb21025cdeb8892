"""Facts of pictures in Parquet, written for other tools and machines; and taken over once they are proved."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from curate.catalog import Catalog
from curate.catalog.own_facts import forget_foreign
from curate.catalog.pictures import Seen, Stamp
from curate.catalog.shared_facts import KnownFile, count_present, credits_among, enter_proved, known_of_present
from curate.dataset import ClassFolder, Dataset, open_to_write
from curate.errors import UserError
from curate.exporting.fact_table import FactRow, fact_schema, placed_at, read_facts_of, write_facts
from curate.exporting.publishing import published, require_free
from curate.files.addresses import is_remote, located
from curate.files.reading import MAX_BYTES, open_file, read_file, readers_for, sha256_of
from curate.files.remote import list_below
from curate.image import BrokenPicture
from curate.inspect import inspect
from curate.lookalikes.method import facts_method
from curate.parallel import ordered_map
from curate.progress import Progress, silent
from curate.quarantine import finish_moves
from curate.scan import scan

_SAMPLE: Final = 8
"""Of a few thousand rows, how many pictures are decoded to see whether they have the facts that are told of them."""


@dataclass(frozen=True)
class FactsWritten:
    """`pictures` facts in `files` files below `out`."""

    out: Path
    files: int
    pictures: int


@dataclass(frozen=True)
class FactsTaken:
    """`taken` pictures need not be decoded any more; `known` were known here already.

    `refused` are those that are there with another content than the facts were told of, each with the reason, and
    `elsewhere` counts the rows of files that are not there. `by_stamp` of the taken ones were proved without a look
    into them, the others by their bytes; `decoded` were looked at as a sample, and had the facts that were told.
    """

    taken: int = 0
    known: int = 0
    by_stamp: int = 0
    decoded: int = 0
    elsewhere: int = 0
    refused: list[BrokenPicture] = field(default_factory=list)


def export_facts(root: Path, out: Path, *, wait: float | None = 0.0, progress: Progress = silent) -> FactsWritten:
    """Read what is new or changed in a dataset, and write what is known of its files into a new folder, in Parquet.

    `out` appears when it is complete. `wait` is how many seconds to wait for another command at work in the dataset,
    None for as long as it takes. Raises `UserError` for what the user can put right.
    """
    fact_schema()
    out = located(out).resolve()
    with open_to_write(root, "export", wait=wait, progress=progress) as dataset:
        require_free(dataset, out)
        with Catalog.open(dataset.catalog_path) as catalog:
            finish_moves(dataset, catalog)
            scan(dataset, catalog, progress)
            count = count_present(catalog)
            with progress("Writing facts", count) as advance, published(out, dataset.home) as publication:
                written = 0
                for file, rows in write_facts(_rows(catalog), count, publication.folder):
                    publication.send(file)
                    written += rows
                    advance(rows)
                files = publication.appear()
    return FactsWritten(out, files, written)


def _rows(catalog: Catalog) -> Iterator[list[FactRow]]:
    for part in known_of_present(catalog):
        told = credits_among(catalog, (file.picture.sha256 for file in part))
        yield [FactRow(file, told.get(file.picture.sha256, [])) for file in part]


def import_facts(root: Path, facts: Path, *, wait: float | None = 0.0, progress: Progress = silent) -> FactsTaken:
    """Take over what `export_facts` wrote of a dataset's files, here or on another machine: they are not decoded again.

    A row is taken where the file at its path is proved to be the one that it tells of: by its stamp (size, times and
    number on the disk, which no archive can foretell), or else by the sha256 of its bytes, which are read. What is
    told of files that give no pixels is never taken. Of each few thousand rows some pictures are decoded, and where one
    has other facts than were told nothing is taken at all.

    `facts` is a folder of Parquet files, or one of them. `wait` is as for `export_facts`. Raises `UserError` for files
    that hold no facts of this version, and for facts that are not true.
    """
    files = _files(located(facts))
    with (
        open_to_write(root, "import-facts", wait=wait, progress=progress) as dataset,
        Catalog.open(dataset.catalog_path) as catalog,
    ):
        finish_moves(dataset, catalog)
        forget_foreign(catalog, facts_method())
        importer = _Import(dataset, catalog)
        with catalog.transaction():
            for file in files:
                with open_file(file) as stream:
                    for rows in read_facts_of(stream, file):
                        importer.take(rows, progress)
        return importer.report()


def _files(facts: Path) -> list[Path]:
    """The Parquet files of a folder, in order of their names. Raises `UserError` where there are none."""
    try:
        if is_remote(facts):
            entries = list_below(facts) if facts.is_dir() else []
            files = [facts / entry.path for entry in entries if entry.path.endswith(".parquet")]
        else:
            files = sorted(facts.glob("*.parquet")) if facts.is_dir() else []
        files = files or ([facts] if facts.is_file() else [])
    except OSError as error:
        raise UserError(f"{facts} cannot be read ({error.strerror}): check your rights.") from error
    if not files:
        raise UserError(f"{facts} holds no facts: give the folder that `export --format facts` wrote.")
    return files


class _Import:
    """Takes rows, and counts what became of them."""

    def __init__(self, dataset: Dataset, catalog: Catalog) -> None:
        self._dataset, self._catalog = dataset, catalog
        self._there: dict[str, tuple[ClassFolder, Stamp]] = {}
        self._seen: dict[str, Seen] = {}
        self._settled: set[str] = set()  # paths of which no further row is wanted: a picture counts once
        for folder in dataset.folders():
            self._seen |= catalog.seen_in(folder.path)
            self._there |= {path: (folder, Stamp.of(stat)) for path, stat in dataset.files_in(folder) if stat}
        self._counts = dict.fromkeys(("taken", "known", "by_stamp", "decoded", "elsewhere"), 0)
        self._refused: dict[str, BrokenPicture] = {}
        self._readers = readers_for([dataset.root])
        self._draw = random.SystemRandom()  # whoever wrote the facts cannot know which are looked at

    def take(self, rows: Sequence[FactRow], progress: Progress) -> None:
        """Prove some rows, and enter what is true. Raises `UserError` where what is told of a picture is not true."""
        to_prove = [row for row in rows if self._is_wanted(row)]
        proved: list[tuple[FactRow, KnownFile]] = []
        with progress("Proving facts", len(to_prove)) as advance:
            for row, (why, stamp) in zip(
                to_prove, ordered_map(self._proof, to_prove, workers=self._readers), strict=True
            ):
                advance(1)
                path = row.file.picture.path
                if path in self._settled:  # by another row of these
                    continue
                if stamp is None:
                    self._refused[path] = BrokenPicture(path, why)
                    continue
                self._counts["by_stamp"] += why == "stamp"
                self._settled.add(path)
                self._refused.pop(path, None)
                folder = self._there[path][0]
                place = {"folder": folder.path, "label": folder.label, "split": folder.split or ""}
                proved.append((row, placed_at(row, **place, stamp=stamp)))
        sample = self._draw.sample(proved, min(_SAMPLE, len(proved)))
        for _ in ordered_map(partial(_require_true, self._dataset.root), [file for _, file in sample]):
            self._counts["decoded"] += 1
        enter_proved(self._catalog, [file for _, file in proved], [one for row, _ in proved for one in row.credits])
        self._counts["taken"] += len(proved)

    def report(self) -> FactsTaken:
        """What became of all rows."""
        return FactsTaken(**self._counts, refused=list(self._refused.values()))

    def _is_wanted(self, row: FactRow) -> bool:
        """Whether a row's file is there, and is not known as it is already."""
        path = row.file.picture.path
        if path not in self._there:
            self._counts["elsewhere"] += 1
            return False
        if path in self._settled:
            return False
        seen = self._seen.get(path)
        _, stamp = self._there[path]
        known = seen is not None and not seen.lacks_a_fact and (seen.stamp, seen.state) == (stamp, "present")
        if known:
            self._counts["known"] += 1
            self._settled.add(path)
        return not known

    def _proof(self, row: FactRow) -> tuple[str, Stamp | None]:
        """("stamp" or "content", the file's stamp) where a row is proved, (why it is not, None) otherwise."""
        picture, told = row.file
        _, there = self._there[picture.path]
        if there == told and told.inode and told.ctime_ns:
            return "stamp", there
        if there.size != picture.size:
            return f"it has {there.size:,} bytes, and not {picture.size:,}", None
        try:
            same = sha256_of(self._dataset.root / picture.path, MAX_BYTES) == picture.sha256
        except OSError as error:
            return f"it cannot be read ({error.strerror})", None
        return ("content", there) if same else ("its content is another one", None)


def _require_true(root: Path, file: KnownFile) -> None:
    """Raise `UserError` where a picture has other facts than are told of it."""
    picture = file.picture
    try:
        facts = inspect(read_file(root / picture.path), picture.path)
    except OSError as error:
        raise UserError(f"{root / picture.path} cannot be read ({error.strerror}): check your rights.") from error
    told = (picture.sha256, picture.format, picture.width, picture.height, picture.phash, picture.fingerprint)
    found = (facts.sha256, facts.format, facts.width, facts.height, facts.phash, facts.fingerprint)
    if told != found or tuple(picture.scores) != tuple(facts.scores):
        raise UserError(
            f"What is told of {picture.path} is not what its pixels say, so nothing was taken over: run `clean`, which "
            "reads the pictures themselves."
        )
