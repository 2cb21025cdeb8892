"""Two datasets beside each other: the pictures that both have, those that leak between their splits, and which class of
the one is which of the other. Writes nothing.
"""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from curate.catalog import Catalog, Picture
from curate.catalog.own_facts import has_own_facts
from curate.cleaning.placed_copies import part_placements
from curate.credits import scraped_names
from curate.dataset import SPLITS, UNLABELLED, ClassFolder, Dataset, natural_key, open_dataset
from curate.defaults import DEFAULT_RADIUS, require_radius
from curate.duplicates import NearDuplicates, find_near_duplicates
from curate.errors import UserError
from curate.files.reading import MAX_BYTES, sha256_of
from curate.image import BrokenPicture
from curate.lookalikes.method import facts_method
from curate.names import names_for
from curate.not_copies import NotCopies, apart, read_not_copies
from curate.parallel import ordered_map
from curate.progress import Progress, silent
from curate.verify import read_facts

_FIRST, _SECOND = 0, 1


@dataclass(frozen=True)
class SharedPicture:
    """A picture of the first dataset, and its copy in the second: paths relative to each, labels, and splits, "" for
    none. `exact` says whether the bytes are the same, `distance` is that of the hashes in bits.
    """

    first: str
    second: str
    first_label: str
    second_label: str
    first_split: str
    second_split: str
    exact: bool
    distance: int

    @property
    def leaks(self) -> bool:
        """Whether the two lie in different splits, so that who trains on the one has seen what the other tests."""
        return bool(self.first_split and self.second_split and self.first_split != self.second_split)


@dataclass(frozen=True)
class ClassMatch:
    """A class of the first dataset, and one of the second that may be the same.

    `shared` counts the pictures of the first that have a copy in the second; `of_first` and `of_second` all pictures of
    each; `same_name` says whether folders or names are the same but for capitals and separators. A class that matches
    none stands alone, the other "".
    """

    first: str
    second: str
    first_name: str
    second_name: str
    shared: int
    of_first: int
    of_second: int
    same_name: bool


@dataclass(frozen=True)
class CompareReport:
    """What two datasets, `first` and `second`, have in common.

    `pictures` counts the pictures of each that give pixels, without the copies of them that `split` has placed, and
    `broken` names the files that give none. `shared` has a line for each picture of the first and each class and split
    of the second in which it has a copy. `classes` has each class of either at least once, those that share most first.
    `near` counts the pairs across the two that look alike and are no copies.
    """

    first: Path
    second: Path
    pictures: tuple[int, int]
    broken: tuple[list[BrokenPicture], list[BrokenPicture]]
    shared: list[SharedPicture]
    classes: list[ClassMatch]
    near: int

    @property
    def in_both(self) -> int:
        """How many pictures of the first have a copy in the second."""
        return len({picture.first for picture in self.shared})

    @property
    def leaks(self) -> list[SharedPicture]:
        """The shared pictures that lie in different splits."""
        return [picture for picture in self.shared if picture.leaks]

    def as_json(self) -> dict[str, Any]:
        """The whole report, of values that JSON has."""
        return {
            "first": str(self.first),
            "second": str(self.second),
            "pictures": list(self.pictures),
            "broken": [[broken.path for broken in side] for side in self.broken],
            "in_both": self.in_both,
            "leaks": len(self.leaks),
            "near": self.near,
            "classes": [asdict(match) for match in self.classes],
            "shared": [asdict(picture) | {"leaks": picture.leaks} for picture in self.shared],
        }


def compare_datasets(
    first: Path, second: Path, *, radius: int = DEFAULT_RADIUS, progress: Progress = silent
) -> CompareReport:
    """Find the pictures that two datasets share, and what that says of their splits and classes. Writes nothing.

    `radius` is in bits of the perceptual hash. A file whose content a catalog knows is not decoded again. What a person
    has said to be no copy, in either dataset, is none. Raises `UserError` for what the user can put right.
    """
    require_radius(radius)
    datasets = [open_dataset(root) for root in (first, second)]
    if first.samefile(second):
        raise UserError(f"{first} and {second} are one folder: give two datasets.")
    sides = [_read(dataset, progress) for dataset in datasets]
    pictures = [*sides[_FIRST].pictures, *sides[_SECOND].pictures]
    told = NotCopies(sides[_FIRST].told.pairs | sides[_SECOND].told.pairs)
    found = apart(find_near_duplicates(Path("/"), pictures, radius, progress), pictures, told)
    border = len(sides[_FIRST].pictures)
    pairs = list(_copies_across(found, pictures, border))
    return CompareReport(
        first=first,
        second=second,
        pictures=(border, len(pictures) - border),
        broken=(sides[_FIRST].broken, sides[_SECOND].broken),
        shared=[
            _shared(pictures[a], pictures[b], distance, sides[_FIRST].root, sides[_SECOND].root)
            for a, b, distance in pairs
        ],
        classes=_classes(sides, pairs, pictures),
        near=_near_across(found, border),
    )


@dataclass(frozen=True)
class _Side:
    """One dataset: its intact pictures, with absolute paths and each in the split that it was placed in."""

    root: Path
    names: Mapping[str, str]
    pictures: list[Picture]
    broken: list[BrokenPicture]
    told: NotCopies


def _read(dataset: Dataset, progress: Progress) -> _Side:
    root = dataset.root.absolute()
    listed = [(file, folder, status) for folder in dataset.folders() for file, status in dataset.files_in(folder)]
    known = _known(dataset)

    def picture(path: str, folder: ClassFolder, status: os.stat_result | None) -> Picture:
        row = known.get(path)
        if row and status and row.size == status.st_size and _has_content(root / path, row.sha256):
            return replace(row, folder=folder.path, label=folder.label, split=folder.split or "")
        facts = read_facts(root / path)
        return Picture.of(facts, path=path, label=folder.label, split=folder.split or "", folder=folder.path)

    read = []
    with progress(f"Reading {dataset.root.name}", len(listed)) as advance:
        for one in ordered_map(lambda found: picture(*found), listed):
            read.append(one)
            advance(1)
    sources, placed = part_placements(read)
    in_split = {origin: max((copy.split for copy in copies), key=SPLITS.index) for origin, copies in placed.items()}
    return _Side(
        root,
        names_for(dataset.root, dataset.labels(), recorded=scraped_names(dataset))[0],
        [
            replace(one, path=str(root / one.path), split=in_split.get(one.path, one.split))
            for one in sources
            if not one.broken
        ],
        [BrokenPicture(one.path, one.broken) for one in sources if one.broken],
        read_not_copies(dataset).of((one.path, one.sha256) for one in read),
    )


def _has_content(file: Path, sha256: str) -> bool:
    try:
        return sha256_of(file, MAX_BYTES) == sha256
    except OSError:  # whoever reads it whole says what is wrong with it
        return False


def _known(dataset: Dataset) -> dict[str, Picture]:
    """What the catalog knows of the files that it has read whole; nothing, where there is none that can be used, or
    that was not written on this disk.
    """
    try:
        with Catalog.open_read_only(dataset.catalog_path) as catalog:
            if not has_own_facts(catalog, facts_method()):
                return {}
            return {picture.path: picture for picture in catalog.intact() if picture.fingerprint}
    except UserError:
        return {}


def _copies_across(found: NearDuplicates, pictures: Sequence[Picture], border: int) -> Iterator[tuple[int, int, int]]:
    """(picture of the first, its copy in the second, distance): positions, in order; one copy of each class and split.

    So ten thousand copies of one notice in each dataset do not make a hundred million pairs.
    """
    best: dict[int, dict[tuple[str, str], tuple[int, int]]] = defaultdict(dict)

    def meet(some: Sequence[int], others: Sequence[int], distance: int) -> None:
        kinds: dict[tuple[str, str], int] = {}
        for b in others:
            if b >= border:
                kinds.setdefault((pictures[b].label, pictures[b].split), b)
        for a in some if kinds else ():
            if a < border:
                for kind, b in kinds.items():
                    if kind not in best[a] or distance < best[a][kind][1]:
                        best[a][kind] = (b, distance)

    for positions in found.contents:
        meet(positions, positions, 0)
    for one, other, distance in found.copies():
        meet(found.contents[one], found.contents[other], distance)
        meet(found.contents[other], found.contents[one], distance)
    for a in sorted(best):
        for b, distance in best[a].values():
            yield a, b, distance


def _near_across(found: NearDuplicates, border: int) -> int:
    """The pairs of contents that are near, one in the first dataset and one in the second."""
    lies = [
        (any(at < border for at in positions), any(at >= border for at in positions)) for positions in found.contents
    ]
    return sum(
        (lies[a][_FIRST] and lies[b][_SECOND]) or (lies[a][_SECOND] and lies[b][_FIRST]) for a, b in found.near()
    )


def _shared(a: Picture, b: Picture, distance: int, first: Path, second: Path) -> SharedPicture:
    return SharedPicture(
        Path(a.path).relative_to(first).as_posix(), Path(b.path).relative_to(second).as_posix(),
        a.label, b.label, a.split, b.split, a.sha256 == b.sha256, distance,
    )  # fmt: skip


def _classes(
    sides: Sequence[_Side], pairs: Sequence[tuple[int, int, int]], pictures: Sequence[Picture]
) -> list[ClassMatch]:
    """Which class of the first is which of the second, by the pictures that they share and by what they are called."""
    total = [Counter(picture.label for picture in side.pictures if picture.label != UNLABELLED) for side in sides]
    shared = defaultdict[tuple[str, str], set[int]](set)
    for a, b, _ in pairs:
        if UNLABELLED not in (pictures[a].label, pictures[b].label):
            shared[pictures[a].label, pictures[b].label].add(a)
    called = defaultdict[str, set[str]](set)
    for label, name in sides[_SECOND].names.items():
        for word in {_plain(label), _plain(name)}:
            called[word].add(label)
    namesakes = {
        (label, other)
        for label, name in sides[_FIRST].names.items()
        for word in {_plain(label), _plain(name)}
        for other in called.get(word, ())
    }

    def match(label: str, other: str) -> ClassMatch:
        return ClassMatch(
            label, other, sides[_FIRST].names.get(label, ""), sides[_SECOND].names.get(other, ""),
            len(shared.get((label, other), ())), total[_FIRST][label], total[_SECOND][other],
            (label, other) in namesakes,
        )  # fmt: skip

    together = {*shared, *namesakes}
    alone = [(label, "") for label in sides[_FIRST].names.keys() - {label for label, _ in together}]
    alone += [("", other) for other in sides[_SECOND].names.keys() - {other for _, other in together}]
    matches = [match(*labels) for labels in [*together, *alone]]
    return sorted(matches, key=lambda it: (-it.shared, not it.same_name, natural_key(it.first), natural_key(it.second)))


def _plain(name: str) -> str:
    """A class's name as people compare it: without capitals, and with a blank for whatever separates words."""
    return " ".join(_SEPARATORS.split(unicodedata.normalize("NFKC", name).casefold())).strip()


_SEPARATORS: Final = re.compile(r"[\W_]+")
