"""Classes that are one: which are to be merged into which, and where each picture of theirs goes."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath

from curate.catalog import Catalog, Picture
from curate.catalog.class_moves import class_moves_done
from curate.companions import owners_of, read_contents, renamed
from curate.dataset import Dataset, natural_key
from curate.decoding.formats import is_named_as_picture
from curate.errors import UserError
from curate.quarantine import Decision

MERGE = "merge"
"""The reason of a decision by which a picture moves to another class."""


def merges_of(words: Sequence[str]) -> dict[str, str]:
    """Class → the class that it becomes, of words such as "c1=42".

    Raises `UserError` for a word that is no such pair, a class that is to become two, and one that is merged into a
    class which is merged itself.
    """
    merges: dict[str, str] = {}
    for word in words:
        label, equals, into = word.partition("=")
        if not (label and equals and into) or "=" in into or label == into:
            raise UserError(f"{word!r} names no two classes: give the one that ends and the one that stays, as c1=42.")
        if merges.setdefault(label, into) != into:
            raise UserError(f"The class {label} cannot become both {merges[label]} and {into}: give one of them.")
    for label, into in merges.items():
        if into in merges:
            raise UserError(
                f"{label} is to become {into}, which becomes {merges[into]} itself: give {label}={merges[into]}."
            )
    return merges


def require_classes(dataset: Dataset, catalog: Catalog, merges: Mapping[str, str]) -> None:
    """Raise `UserError` for a class that is not there, but for one that was merged before: the command is repeated."""
    if not merges:
        return
    labels = set(dataset.labels())
    known = labels | {dataset.label_in(moved.path) for moved in class_moves_done(catalog)}
    for label, into in merges.items():
        for wanted, among in ((label, known), (into, labels)):
            if wanted not in among:
                raise UserError(f"There is no class {wanted} in {dataset.root}, so {label}={into} merges nothing.")


def merged(picture: Picture, merges: Mapping[str, str]) -> Picture:
    """A picture under the label that it is to have."""
    return replace(picture, label=merges[picture.label]) if picture.label in merges else picture


def moves_between_classes(
    dataset: Dataset, staying: Sequence[Picture], merges: Mapping[str, str]
) -> Iterator[Decision]:
    """The decisions by which those that stay, of the classes that are merged, come to lie in their new class.

    A name that is taken there, or whose companions' names are, gets a number, the same in all splits: a picture and its
    placed copies bear one name.
    """
    by_name = defaultdict[tuple[str, str], list[Picture]](list)
    for picture in staying:
        if picture.label in merges:
            by_name[picture.label, picture.path.removeprefix(f"{picture.folder}/")].append(picture)
    target = _Target(dataset.root)
    for (label, name), pictures in sorted(by_name.items(), key=lambda item: natural_key("/".join(item[0]))):
        folders = [dataset.beside(picture.folder, merges[label]) for picture in pictures]
        paths = [picture.path for picture in pictures]
        places = next(
            places
            for number in range(1, len(by_name) + _MOST_TAKEN)
            if target.are_free(paths, places := [f"{folder}/{_numbered(name, number)}" for folder in folders])
        )
        target.take(paths, places)
        for picture, place in zip(pictures, places, strict=True):
            detail = f"its class {label} becomes {merges[label]}"
            yield Decision(picture.path, picture.sha256, MERGE, detail, move_to=place)


_MOST_TAKEN = 1_000_000  # names with a number that others may have taken


def _numbered(name: str, number: int) -> str:
    if number == 1:
        return name
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem} ({number}){path.suffix}"))


class _Target:
    """The places that pictures and their companions move to: which are free on the disk and of one another."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._taken: dict[str, str] = {}  # place, without regard to case → the file that goes there
        self._contents = cache(lambda folder: read_contents(root / folder))
        self._others = cache(
            lambda folder: [name for name in _names_in(root / folder) if not is_named_as_picture(name)]
        )

    def are_free(self, paths: Sequence[str], places: Sequence[str]) -> bool:
        """Whether the pictures at `paths` can go to `places`, with their companions and without getting another's."""
        return all(self._is_free(path, place) for path, place in zip(paths, places, strict=True))

    def take(self, paths: Sequence[str], places: Sequence[str]) -> None:
        """Have pictures and their companions go there."""
        for path, place in zip(paths, places, strict=True):
            self._taken.update((to.casefold(), source) for source, to in self._moves(path, place))

    def _is_free(self, path: str, place: str) -> bool:
        folder, _, name = place.rpartition("/")
        if owners_of(self._others(folder), [name]):  # such as a caption that another picture has left behind
            return False
        return all(
            self._taken.get(to.casefold(), source) == source and not os.path.lexists(self._root / to)
            for source, to in self._moves(path, place)
        )

    def _moves(self, path: str, place: str) -> Iterator[tuple[str, str]]:
        """(file, its place) for a picture and its companions."""
        yield path, place
        (folder, _, name), (to_folder, _, to_name) = path.rpartition("/"), place.rpartition("/")
        for companion in self._contents(folder).of(name):
            yield f"{folder}/{companion}", f"{to_folder}/{renamed(companion, name, to_name)}"


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 (names alone)
    except OSError:
        return []
