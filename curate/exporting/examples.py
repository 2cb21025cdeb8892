"""What an export is made of: the pictures of each split, with their labels and where they come from."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.catalog import Catalog, Picture
from curate.catalog.credits import FIELDS, author_pages, first_credits
from curate.catalog.placements import outs_elsewhere, placed_elsewhere
from curate.companions import read_contents
from curate.dataset import SPLITS, UNLABELLED, Dataset, open_dataset
from curate.errors import UserError
from curate.files.inside import inside
from curate.files.reading import is_file_of_its_own, read_file, readers_for
from curate.fixed.split_view import as_split
from curate.parallel import ordered_map
from curate.printable import printable
from curate.splitting.unfinished import belongs_to, require_finished
from curate.splitting.whereabouts import split_folder

SPLIT_NAMES = {"train": "train", "valid": "validation", "test": "test"}
"""What the tools that people use next call our splits."""


@dataclass(frozen=True, slots=True)
class Example:
    """One picture. `credit` are the values of `curate.catalog.credits.FIELDS`, "" each where nothing is known;
    `original` is the picture's own file, where `file` is one that was converted; `author_page` its author's, or "".
    """

    file: Path
    name: str
    label: int
    sha256: str
    format: str
    size: int
    credit: tuple[str, ...]
    original: Path | None = None
    author_page: str = ""

    @property
    def companions(self) -> tuple[Path, list[str]]:
        """The picture's own file in the dataset, and the names of its companions there."""
        own = self.original or self.file
        return own, read_contents(own.parent).of(own.name)

    def read(self) -> bytes:
        """The picture's bytes. Raises `UserError` where they are not those that the catalog knows."""
        try:
            data = read_file(self.file)
        except OSError as error:
            raise UserError(f"{self.file} cannot be read ({error.strerror}): run the same command again.") from error
        if len(data) != self.size:
            raise UserError(f"{self.file} changed while it was exported: run the same command again.")
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise UserError(f"{self.file} is not the picture that the catalog knows by this name: look with `verify`.")
        return data


@dataclass(frozen=True)
class Examples:
    """`splits` are in the order of `SPLITS`, those without pictures left out, and named for other tools. Examples
    are in order of their sha256: shuffled for good, for who reads a shard from its start sees all classes.

    `labels` are the class folders in natural order, which `Example.label` counts; `names` are theirs for people.
    """

    labels: list[str]
    names: list[str]
    splits: dict[str, list[Example]]

    def row(self, example: Example) -> dict[str, str]:
        """What is known of an example, in words: label, name, digest and credit."""
        known = {"label": self.labels[example.label], "name": self.names[example.label], "sha256": example.sha256}
        return known | dict(zip(FIELDS, example.credit, strict=True))


Whole = Callable[[Path], None]
"""Is told of each large file when it is whole."""

Writer = Callable[[Examples, Path, Callable[[int], None], Whole], None]
"""Writes all examples into an empty folder, and says how many were done, and which files are whole."""


def untold(_file: Path) -> None:
    """Nobody wants to know which files are whole."""


def read_examples(dataset: Dataset, catalog: Catalog, labels: Sequence[str], names: Sequence[str]) -> Examples:
    """The intact pictures with labels of the splits in the dataset or, where it has none or an older one, of the one
    that `split` placed elsewhere; where there is no split at all, everything is train. Of the labels those are kept
    that have a picture in one of the splits. Raises `UserError` where several were placed.
    """
    credit_of, pages = {**dataset.credits_along, **first_credits(catalog)}, author_pages(catalog)
    found: dict[str, list[Example]] = {SPLIT_NAMES[split]: [] for split in SPLITS}
    pictures = [picture for picture in catalog.intact() if picture.label != UNLABELLED]
    places = _in_view(dataset, pictures) if dataset.is_fixed else _in_splits(dataset, pictures)
    if not dataset.is_fixed and (not places or split_folder(dataset) is not None):
        places = _placed(dataset, catalog, pictures) or places or _all(dataset, pictures)
    # A class without any picture is none: it could be learnt nowhere, and torchvision refuses its empty folder.
    used = {place.label for place in places}
    named = [(label, name) for label, name in zip(labels, names, strict=True) if label in used]
    number = {label: at for at, (label, _) in enumerate(named)}
    for place in places:
        sha256 = place.picture.sha256
        credit = credit_of.get(sha256, ("",) * len(FIELDS))
        facts = (sha256, place.picture.format, place.picture.size, credit)
        page = pages.get((sha256, credit[FIELDS.index("url")]), "")
        example = Example(place.file, place.name, number[place.label], *facts, author_page=page)
        found[SPLIT_NAMES[place.split]].append(example)
    for examples in found.values():
        examples.sort(key=lambda example: (example.sha256, example.label, example.name))
    shown = [printable(name) for _, name in named]
    return Examples(
        [label for label, _ in named], shown, {split: examples for split, examples in found.items() if examples}
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a picture lies: its split, label, name below the class folder, and file."""

    split: str
    label: str
    name: str
    file: Path
    picture: Picture


def contents_in_turn(examples: Sequence[Example]) -> Iterator[bytes]:
    """The bytes of each example, in order; beyond the disk some are read ahead. Raises as `Example.read` does."""
    readers = readers_for([example.file for example in examples[:1]])
    is_waited_for = bool(examples) and not is_file_of_its_own(examples[0].file)
    yield from ordered_map(Example.read, examples, workers=readers) if is_waited_for else map(Example.read, examples)


def plan_shards(sizes: Sequence[int], most: int) -> list[range]:
    """Consecutive ranges whose sizes sum up to at most `most`, as long as can be; what is larger stands alone."""
    shards, start, held = [], 0, 0
    for at, size in enumerate(sizes):
        if at > start and held + size > most:
            shards.append(range(start, at))
            start, held = at, 0
        held += size
    return [*shards, range(start, len(sizes))] if sizes else []


def _in_splits(dataset: Dataset, pictures: Sequence[Picture]) -> list[_Place]:
    return [place for place in _all(dataset, pictures, "") if place.split]


def _in_view(dataset: Dataset, pictures: Sequence[Picture]) -> list[_Place]:
    """The pictures of a dataset whose files stay as they lie, by the split of its manifest, where it has one."""
    view = as_split(dataset)
    places = [
        _Place(
            view.split_of(one.path) or "", dataset.label_in(one.path), dataset.below_class(one.path),
            inside(dataset.root, one.path), one,
        )
        for one in pictures
    ]  # fmt: skip
    return [one for one in places if one.split] or [replace(one, split="train") for one in places]


def _all(dataset: Dataset, pictures: Sequence[Picture], unsplit: str = "train") -> list[_Place]:
    """Every picture, by the class folder that it lies in: what else the catalog says of it, others may have written."""
    folders = {folder.path: folder for folder in dataset.class_folders()}
    places = []
    for picture in pictures:
        folder = folders.get(picture.folder)
        if folder is None or not picture.path.startswith(f"{folder.path}/"):
            raise UserError(f"{picture.path!a} lies in no class folder, whatever the catalog says: look with `verify`.")
        name, file = picture.path.removeprefix(f"{folder.path}/"), inside(dataset.root, picture.path)
        places.append(_Place(folder.split or unsplit, folder.label, name, file, picture))
    return places


def _placed(dataset: Dataset, catalog: Catalog, pictures: Sequence[Picture]) -> list[_Place]:
    """The files of the one split that lies elsewhere."""
    outs = outs_elsewhere(catalog)
    if len(outs) > 1:
        raise UserError(f"This dataset was split into {len(outs)} folders, {', '.join(outs)}: export one of those.")
    for out in outs:
        if not belongs_to(dataset.root / out, catalog.identity()):
            raise UserError(
                f"{dataset.root / out} is no split of this dataset, whatever its catalog says: run `split` with --out."
            )
        require_finished(open_dataset(dataset.root / out))
    known = {picture.sha256: picture for picture in pictures}
    labels = {folder.label for folder in dataset.class_folders()}
    places = []
    for out, path, sha256 in placed_elsewhere(catalog):
        split, _, rest = str(path).partition("/")
        label, _, name = rest.partition("/")
        file = inside(dataset.root / out, path)
        if split not in SPLITS or label not in labels or not name:
            raise UserError(f"{path!a} is no place of a split, whatever the catalog says: run `split` again.")
        if sha256 in known:
            places.append(_Place(split, label, name, file, known[sha256]))
    return places
