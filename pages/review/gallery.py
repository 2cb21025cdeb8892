"""The pictures that the page shows: those in the dataset, each once, and those in its quarantine."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from curate.catalog import Catalog
from curate.catalog.credits import origins_in_short
from curate.catalog.overview import Glance, glances
from curate.cleaning.placed_copies import part_placements
from curate.companions import COMPANION_OF, is_picture
from curate.dataset import SPLITS, Dataset, natural_key
from curate.decisions import PictureKey
from curate.quarantine import Stored, stored_files

NO_NUMBER: Final = -1

_UNKNOWN: Final = ("", "")


@dataclass(frozen=True)
class ReviewGallery:
    """All pictures by number, in natural order of their paths; first those of the dataset, then those set aside.

    A picture below raw/ and the copies of it that `split` has placed are one: its number is that of the one below raw/,
    `placed` has the paths of the copies by its path, and `split_of` says in which split it is. `stored` has what lies
    in the quarantine, by number.
    """

    dataset: Dataset
    pictures: Sequence[Glance]
    present: int
    placed: Mapping[str, Sequence[Glance]]
    stored: Mapping[int, Stored]
    origins: Mapping[str, tuple[str, str]] = field(repr=False)
    """sha256 → (source, licence)."""

    @classmethod
    def read(cls, dataset: Dataset, catalog: Catalog) -> "ReviewGallery":
        """As the catalog has it now."""
        everything = list(glances(catalog))
        sources, placed = part_placements(everything)
        sources.sort(key=lambda picture: natural_key(picture.path))
        known = {(picture.path, picture.sha256): picture for picture in glances(catalog, absent=True)}
        files = [
            file
            for file in stored_files(dataset, catalog)
            if not file.detail.startswith(COMPANION_OF) and (file.run or is_picture(dataset.quarantine / file.stored))
        ]
        aside = [_set_aside(dataset, file, known.get((file.path, file.sha256))) for file in files]
        numbered = dict(enumerate(files, start=len(sources)))
        return cls(dataset, [*sources, *aside], len(sources), placed, numbered, origins_in_short(catalog))

    def __len__(self) -> int:
        return len(self.pictures)

    @cached_property
    def ids(self) -> list[str]:
        """The identifier of each picture, which is the same for the same place and content: 16 hexadecimal digits."""
        return [
            _identifier(f"\0{self.stored[number].stored}" if number in self.stored else picture.path, picture.sha256)
            for number, picture in enumerate(self.pictures)
        ]

    @cached_property
    def by_id(self) -> Mapping[str, int]:
        """Identifier → number."""
        return {identifier: number for number, identifier in enumerate(self.ids)}

    @cached_property
    def number_at(self) -> Mapping[str, int]:
        """Path → the number of the picture that lies there, be it as a placed copy."""
        found = {self.pictures[number].path: number for number in range(self.present)}
        for path, copies in self.placed.items():
            found.update((copy.path, found[path]) for copy in copies)
        return found

    @cached_property
    def origin(self) -> Mapping[str, str]:
        """The path of a placed copy → that of the picture below raw/."""
        return {copy.path: path for path, copies in self.placed.items() for copy in copies}

    @cached_property
    def contents(self) -> Mapping[str, str]:
        """Path → sha256 of all that is present, placed copies too."""
        found = {picture.path: picture.sha256 for picture in self.pictures[: self.present]}
        return found | {copy.path: copy.sha256 for copies in self.placed.values() for copy in copies}

    def key(self, number: int) -> PictureKey:
        """What a decision on this picture is about."""
        picture = self.pictures[number]
        return PictureKey(picture.path, picture.sha256)

    def is_present(self, number: int) -> bool:
        """Whether it lies in the dataset, and not in the quarantine."""
        return number < self.present

    def split_of(self, number: int) -> str:
        """The split that a picture is in, by its own place or by its copy's; "" for none."""
        picture = self.pictures[number]
        copies = self.placed.get(picture.path, ()) if number < self.present else ()
        return picture.split or max((copy.split for copy in copies), key=SPLITS.index, default="")

    def source_of(self, number: int) -> str:
        """The name of the search that brought it; "" where that is unknown."""
        return self.origins.get(self.pictures[number].sha256, _UNKNOWN)[0].partition(", ")[0]

    def licence_of(self, number: int) -> str:
        """Its licence; "" where that is unknown."""
        return self.origins.get(self.pictures[number].sha256, _UNKNOWN)[1]


def _identifier(path: str, sha256: str) -> str:
    return hashlib.sha256(f"{path}\0{sha256}".encode()).hexdigest()[:16]


def _set_aside(dataset: Dataset, file: Stored, known: Glance | None) -> Glance:
    if known is not None:
        return known
    return Glance(file.path, "", file.label, dataset.split_of(file.path) or "", 0, file.sha256, "", 0, 0, "")
