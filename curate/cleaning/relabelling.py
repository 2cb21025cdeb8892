"""Pictures that get another label: where each of them goes, with its companions and its placed copies."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from curate.catalog import Picture
from curate.catalog.overview import Glance
from curate.companions import owners_of, read_contents, renamed
from curate.dataset import Dataset, natural_key
from curate.decoding.formats import is_named_as_picture
from curate.quarantine import Decision


@dataclass(frozen=True)
class Relabelling:
    """A picture, the class that it goes to, and why, in one word and in a clause."""

    picture: Picture | Glance
    into: str
    reason: str
    detail: str


def moves_to_classes(dataset: Dataset, wanted: Sequence[Relabelling]) -> Iterator[Decision]:
    """The decisions by which pictures come to lie in another class, each in the split that it is in.

    A name that is taken there, or whose companions' names are, gets a number, the same in all splits: a picture and its
    placed copies bear one name.
    """
    by_name = defaultdict[tuple[str, str, str], list[Relabelling]](list)
    for one in wanted:
        name = one.picture.path.removeprefix(f"{one.picture.folder}/")
        by_name[one.picture.label, name, one.into].append(one)
    target = _Target(dataset.root)
    for (_, name, into), together in sorted(by_name.items(), key=lambda item: natural_key("/".join(item[0]))):
        folders = [dataset.beside(one.picture.folder, into) for one in together]
        paths = [one.picture.path for one in together]
        places = next(
            places
            for number in range(1, len(by_name) + _MOST_TAKEN)
            if target.are_free(paths, places := [f"{folder}/{_numbered(name, number)}" for folder in folders])
        )
        target.take(paths, places)
        for one, place in zip(together, places, strict=True):
            yield Decision(one.picture.path, one.picture.sha256, one.reason, one.detail, move_to=place)


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
