"""The near-duplicates of a whole dataset, searched for once and remembered.

Looking at a million hashes takes half a minute, and at the pixels of all that look alike much longer; whether two
contents are one picture never changes, though. So the catalog keeps the last search of each kind: pictures that left
take their pairs with them, and for pictures that came only theirs are searched for.
"""

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.blas import blas_by_one_thread
from curate.catalog import Catalog, Picture
from curate.catalog.hashes import hashes_of_intact
from curate.catalog.searches import enter_search, recall_search
from curate.dataset import Dataset
from curate.duplicates import NearDuplicates, hashed_contents, in_pictures, path_of_contents
from curate.lookalikes.alignment import Alignment, turn_of
from curate.lookalikes.contents import Contents
from curate.lookalikes.flat import is_flat_copy
from curate.lookalikes.looks import Looks
from curate.lookalikes.method import search_method
from curate.lookalikes.neighbours import Neighbours
from curate.lookalikes.search import search
from curate.lookalikes.second_look import COPY, look_closer
from curate.parallel import ordered_map
from curate.progress import Progress, silent
from curate.splitting.picture_table import PictureTable

__all__ = ["Neighbours", "find_copies", "find_neighbours", "keep"]

_MOST_BYTES = 900 << 20  # what SQLite takes in one value is a little more


def find_neighbours(
    dataset: Dataset, catalog: Catalog, table: PictureTable, radius: int, progress: Progress = silent
) -> Neighbours:
    """What a search at this radius finds among the contents of a table: recalled, completed, and remembered."""
    first = np.unique(table.content, return_index=True)[1]

    def contents() -> Contents:
        return Contents.of(hashes_of_intact(catalog)).among(table.sha256)

    def path(content: int) -> Path:
        return dataset.root / table.paths[int(first[content])]

    return _found(catalog, table.sha256, contents, lambda _: path, radius, progress)


def find_copies(
    dataset: Dataset,
    catalog: Catalog,
    pictures: Sequence[Picture],
    radius: int,
    progress: Progress = silent,
    *,
    geometry: bool = False,
) -> NearDuplicates:
    """What `find_near_duplicates` finds among intact pictures of the catalog: recalled, completed, and remembered.

    By what this says pictures leave, and a catalog may come from elsewhere: so each copy that is recalled is looked at
    once more, and where one is none the search is made anew.
    """

    def path(contents: Contents) -> Callable[[int], Path]:
        of = path_of_contents(pictures, contents)
        return lambda content: dataset.root / of(content)

    found = _found(
        catalog,
        np.unique(np.array([picture.sha256 for picture in pictures], "S64")),
        lambda: hashed_contents(pictures),
        path,
        radius,
        progress,
        geometry=geometry,
        believing=False,
    )
    return in_pictures(found, pictures)


def _found(
    catalog: Catalog,
    sha256: NDArray[np.bytes_],
    contents: Callable[[], Contents],
    path: Callable[[Contents], Callable[[int], Path]],
    radius: int,
    progress: Progress,
    *,
    geometry: bool = False,
    believing: bool = True,
) -> Neighbours:
    """Among the contents of these digests, S64[c] ascending; `contents` are read only where they are needed."""
    known = _recall(catalog, radius, geometry=geometry)
    among = known.among(sha256) if known else None
    if among is not None and believing:
        return among
    there = contents()
    looks = Looks.at_files(path(there))
    if known and not believing and not _holds(known.onto(sha256).found, looks):
        known = among = None
    if among and not _groups_agree(among):
        among = None
    if among is None:
        among = search(there, looks, radius, geometry=geometry, known=known, progress=progress)
        # What could not be read was told apart from all, and is as good as new when it can be read again.
        read = np.delete(among.sha256, sorted(looks.unread))
        keep(catalog, among.onto(read).found if looks.unread else among, radius, geometry=geometry)
    return among


@blas_by_one_thread()
def _holds(known: Neighbours, looks: Looks) -> bool:
    """Whether all copies that a search is said to have found are copies."""

    def is_copy(pair: int) -> bool:
        left, right, top, bottom = known.placement[pair].tolist()
        guess = Alignment(turn_of(int(known.variant[pair])), (left, right, top, bottom))
        return look_closer(int(known.first[pair]), int(known.second[pair]), guess, looks)[0] == COPY

    def is_flat(row: tuple[int, int]) -> bool:
        return is_flat_copy(*row, looks)

    agreed = [(one, other) for one, other, agree in known.flat.tolist() if agree]
    return all(ordered_map(is_copy, np.flatnonzero(known.same).tolist())) and all(ordered_map(is_flat, agreed))


def _groups_agree(known: Neighbours) -> bool:
    """Whether each flat group consists of those that agreed with its first."""
    first = known.first_of_group()
    agreed = {(one, other) for one, other, agree in known.flat.tolist() if agree}
    grouped = {(int(first[content]), content) for content in known.crowd[:, 1].tolist() if first[content] != content}
    return grouped <= agreed


def keep(catalog: Catalog, neighbours: Neighbours, radius: int, *, geometry: bool = False) -> None:
    """Write a search down in place of the last one of its kind."""
    stream = io.BytesIO()
    np.savez(stream, **vars(neighbours))
    if stream.tell() < _MOST_BYTES:
        enter_search(catalog, radius, search_method(), stream.getbuffer(), geometry=geometry)


def _recall(catalog: Catalog, radius: int, *, geometry: bool) -> Neighbours | None:
    result = recall_search(catalog, radius, search_method(), geometry=geometry)
    if result is None:
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(result)) as stored:
            if any(member.compress_type != zipfile.ZIP_STORED for member in stored.infolist()):
                return None  # not ours, and it might unpack to more than the memory holds
        with np.load(io.BytesIO(result), allow_pickle=False) as arrays:
            known = Neighbours(**{field.name: arrays[field.name] for field in fields(Neighbours)})
            return known if known.is_sound() else None
    except Exception:  # what is in the catalog may be a stranger's: numpy raises whatever the bytes provoke
        return None
