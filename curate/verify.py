"""Trust, but read again: every file against the catalog, and the split proved anew from the pixels.

Nothing that `split` worked with is believed here but the credits, the user's groups and the pairs that it found to
show one scene: not the catalog's hashes, not its record of what lies where. Each file is read and hashed afresh, and
the pairs across splits are searched for among those hashes.
"""

import errno
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Literal

from curate.catalog import Picture
from curate.catalog.recorded import Recorded, read_recorded
from curate.companions import is_picture
from curate.dataset import SPLITS, Dataset, open_dataset
from curate.deadly import crash_at
from curate.decoding.formats import is_not_readable
from curate.defaults import DEFAULT_RADIUS, require_radius
from curate.duplicates import find_near_duplicates
from curate.engine.engines import current_engine
from curate.errors import UserError
from curate.files.reading import MAX_BYTES, NotAPlainFile, read_file, sha256_of
from curate.fixed.split_view import as_split
from curate.forked import map_isolated
from curate.image import BrokenPicture
from curate.inspect import Facts, import_decoders, inspect
from curate.not_copies import NotCopies, apart, read_not_copies
from curate.origins import origins_of
from curate.progress import Progress, silent
from curate.splitting.bonds import read_bonds
from curate.splitting.unfinished import unfinished_in
from curate.splitting.whereabouts import dataset_split_into

CrossingKind = Literal["copies", "near", "scene", "origin", "group"]

_CHUNK = 16


@dataclass(frozen=True)
class Crossing:
    """Two pictures in two splits that ought to be in one: `copies`, or of one `origin`, or of one `group` of those that
    the split was given; `near` ones show one thing, as those of a `scene` do, which features proposed, and neither are
    a leak. `distance` is in bits, -1 where hashes do not
    matter.
    """

    first: str
    second: str
    kind: CrossingKind
    distance: int


@dataclass(frozen=True)
class SplitProof:
    """What was found in one folder with `counts[split]` intact pictures, which was split by the groups `group_by`, and
    with the knowledge of `scenes` pairs of contents that show one scene.
    """

    folder: Path
    counts: dict[str, int]
    crossings: list[Crossing]
    group_by: str = ""
    scenes: int = 0

    @property
    def leaks(self) -> list[Crossing]:
        """The crossings that are more than near."""
        return [crossing for crossing in self.crossings if crossing.kind not in ("near", "scene")]

    def count(self, kind: CrossingKind) -> int:
        """How many crossings are of a kind."""
        return sum(crossing.kind == kind for crossing in self.crossings)


@dataclass(frozen=True)
class VerifyReport:
    """Paths are relative to the dataset's root. `changed`: other bytes than the catalog knows; `missing`: known and
    not there; `new`: there and not known; `broken`: without pixels, whether that was known or not. `no_catalog` says
    why nothing is known, where the catalog is missing or cannot be read, and is "" otherwise. `unreadable` may be
    whole, but nothing here reads them, so the proof knows nothing of them; `companions` counts files that belong to a
    picture. `unfinished` says of each split that was cut short which command finishes it. Of the `files`, `placed` are
    those that `split` has put into their places, by the catalog.
    """

    root: Path
    files: int
    changed: list[str]
    missing: list[str]
    new: list[str]
    broken: list[BrokenPicture]
    splits: list[SplitProof]
    no_catalog: str = ""
    unreadable: list[BrokenPicture] = field(default_factory=list)
    companions: int = 0
    unfinished: list[str] = field(default_factory=list)
    placed: int = 0

    @property
    def order_in_words(self) -> str:
        """What is said where all is in order: how many files are the dataset's own, and how many of its splits."""
        own = self.files - self.placed
        split = f", and so are the {self.placed:,} placed in its splits" if self.placed else ""
        return f"All {own:,} files of {self.root} are as the catalog says{split}."

    @property
    def in_order(self) -> bool:
        """Whether all is as the catalog says, intact, and without a leak."""
        leaks = any(proof.leaks for proof in self.splits)
        files = self.changed or self.missing or self.new or self.broken
        return not (self.no_catalog or files or leaks or self.unfinished)


def verify(root: Path, *, radius: int = DEFAULT_RADIUS, progress: Progress = silent) -> VerifyReport:
    """Read every file of a dataset, and of the splits of it that lie elsewhere, and compare with the catalog.

    Writes nothing at all, so that a backup on a read-only disk can be verified. Without a catalog, or with a damaged
    one, all files are new, and the split is proved all the same. A folder in which another dataset's split lies has no
    catalog of its own: that dataset is verified. Raises `UserError` for what the user can put right.
    """
    require_radius(radius)
    dataset = open_dataset(root)
    if not dataset.catalog_path.exists() and (owner := dataset_split_into(dataset.root)):
        dataset = open_dataset(owner)
    dataset = as_split(dataset)
    files = [_File(file.path, file.label, file.split or "", ".") for file in dataset.files()]
    known = Recorded()
    no_catalog = ""
    try:
        known = read_recorded(dataset.catalog_path)
    except UserError as error:
        no_catalog = str(error)
    origins = origins_of(known.origins, known.observed)
    files += [file for out in known.outs for file in _files_in(dataset.root, out)]
    facts = _read(dataset.root, files, progress)
    there = {file.path for file in files}
    told = read_not_copies(dataset).of((file.path, fact.sha256) for file, fact in zip(files, facts, strict=True))
    damages = [BrokenPicture(file.path, fact.broken) for file, fact in zip(files, facts, strict=True) if fact.broken]
    return VerifyReport(
        root=dataset.root,
        files=len(files),
        changed=[
            file.path
            for file, fact in zip(files, facts, strict=True)
            if file.path in known.sha256 and known.sha256[file.path] != fact.sha256
        ],
        missing=sorted(path for path in known.sha256.keys() - there if not _is_companion(dataset.root, path)),
        new=[file.path for file in files if file.path not in known.sha256],
        broken=[damage for damage in damages if not is_not_readable(damage.reason)],
        splits=[
            _prove(dataset, out, pictures, radius, origins, told, progress)
            for out, pictures in _by_folder(files, facts).items()
        ],
        no_catalog=no_catalog,
        unreadable=[damage for damage in damages if is_not_readable(damage.reason)],
        companions=sum(dataset.listing(folder).companions for folder in dataset.folders()),
        placed=sum(file.out != "." or file.path in known.placed for file in files),
        unfinished=[said for out in (".", *known.outs) if (said := _unfinished(dataset.root, out))],
    )


@dataclass(frozen=True)
class _File:
    """`path` is relative to the dataset's root, also where `out`, the folder of a split, lies elsewhere."""

    path: str
    label: str
    split: str
    out: str


def _files_in(root: Path, out: str) -> Iterator[_File]:
    """The files of a split that lies elsewhere: none, where the folder is gone or no folder can have that name."""
    try:
        if not (root / out).is_dir():
            return
        files = Dataset(root / out, "split", root / out).files()
    except (OSError, ValueError):
        return
    for file in files:
        if file.split:
            yield _File(f"{out}/{file.path}", file.label, file.split, out)


def _unfinished(root: Path, out: str) -> str:
    """What there is to say of a split that was cut short; "" where it was not, or no folder can have that name."""
    try:
        return unfinished_in(Path(os.path.normpath(root / out)))
    except (OSError, ValueError):
        return ""


def _is_companion(root: Path, path: str) -> bool:
    """Whether a path on record is that of a file which `split` placed beside a picture."""
    try:
        return (root / path).is_file() and not is_picture(root / path)
    except (OSError, ValueError):  # no file can have that name
        return False


def _read(root: Path, files: Sequence[_File], progress: Progress) -> list[Facts]:
    """The facts of each file, from its bytes; those of several names of one file are read once."""
    first: dict[tuple[int, int], int] = {}
    read_as = []
    for at, file in enumerate(files):
        try:
            stat = (root / file.path).stat()
            read_as.append(first.setdefault((stat.st_dev, stat.st_ino), at))
        except OSError:
            read_as.append(at)
    wanted = sorted(set(read_as))
    named = [(at, files[at].path) for at in wanted]
    chunks = [named[start : start + _CHUNK] for start in range(0, len(named), _CHUNK)]
    if chunks:
        import_decoders()
    folders = [root / out for out in sorted({file.out for file in files})]
    facts: dict[int, Facts] = {}
    with (
        current_engine().results_of(
            partial(_read_chunk, root), chunks, partial(_read_apart, root), folders=folders
        ) as results,
        progress("Reading pictures again", len(wanted)) as advance,
    ):
        for found in results:
            facts.update(found)
            advance(len(found))
    return [facts[at] for at in read_as]


def _read_chunk(root: Path, chunk: Sequence[tuple[int, str]]) -> list[tuple[int, Facts]]:
    """(place, facts) of each of some files, (place, path)."""
    return [(at, read_facts(root / path)) for at, path in chunk]


def _read_apart(root: Path, chunk: Sequence[tuple[int, str]], _: int) -> list[tuple[int, Facts]]:
    """`_read_chunk` after a process has ended at one of these files: each by itself, so that it is known at which."""

    def deadly(file: tuple[int, str], exit_code: int) -> list[tuple[int, Facts]]:
        at, path = file
        reason = crash_at(root / path, exit_code)
        return [(at, replace(inspect(b""), sha256=sha256_of(root / path, MAX_BYTES), broken=reason))]

    alone = map_isolated(lambda file: _read_chunk(root, [file]), chunk, deadly)
    return [found for one in alone for found in one]


def read_facts(path: Path) -> Facts:
    """The facts of one file as it is now. Never raises for what the file is: `broken` says it."""
    try:
        data = read_file(path)
    except NotAPlainFile as error:
        return replace(inspect(b""), sha256="", broken=str(error.strerror))
    except OSError as error:
        nowhere = isinstance(error, FileNotFoundError) or error.errno == errno.ELOOP
        reason = "a link that leads nowhere" if nowhere else f"cannot be read ({error.strerror})"
        return replace(inspect(b""), sha256="", broken=reason)
    return inspect(data, str(path))


def _by_folder(files: Sequence[_File], facts: Sequence[Facts]) -> dict[str, list[Picture]]:
    """The intact pictures in each split folder, as rows made of nothing but what was read just now."""
    found: dict[str, list[Picture]] = defaultdict(list)
    for file, fact in zip(files, facts, strict=True):
        if file.split and not fact.broken:
            found[file.out].append(Picture.of(fact, path=file.path, label=file.label, split=file.split))
    return found


def _prove(
    dataset: Dataset,
    out: str,
    pictures: list[Picture],
    radius: int,
    origins: Sequence[tuple[str, str]],
    told: NotCopies,
    progress: Progress,
) -> SplitProof:
    counts = Counter(picture.split for picture in pictures)
    root, in_place = dataset.root, out == "."
    bonds = read_bonds(dataset.split_home if in_place else root / out)
    groups = ((sha256, name) for name, group in bonds.groups.items() for sha256 in group)
    there = {picture.sha256 for picture in pictures}
    scenes = [pair for pair in bonds.scenes if there.issuperset(pair)]
    crossings = [
        *_near_duplicates(root, pictures, radius, told, progress),
        *_together(pictures, ((sha256, str(at)) for at, pair in enumerate(scenes) for sha256 in pair), "scene"),
        *_together(pictures, origins, "origin"),
        *_together(pictures, groups, "group"),
    ]
    return SplitProof(
        folder=root if in_place else Path(os.path.normpath(root / out)),
        counts={split: counts[split] for split in SPLITS},
        crossings=sorted(crossings, key=lambda crossing: (crossing.kind, crossing.first, crossing.second)),
        group_by=bonds.group_by,
        scenes=len(scenes),
    )


def _near_duplicates(
    root: Path, pictures: list[Picture], radius: int, told: NotCopies, progress: Progress
) -> Iterator[Crossing]:
    found = apart(find_near_duplicates(root, pictures, radius, progress), pictures, told)
    for positions in found.contents:
        for a, b in combinations(positions, 2):
            if pictures[a].split != pictures[b].split:
                yield _crossing(pictures[a], pictures[b], "copies", (pictures[a].phash ^ pictures[b].phash).bit_count())
    for first, second, distance, same in zip(
        found.first.tolist(), found.second.tolist(), found.distance.tolist(), found.same.tolist(), strict=True
    ):
        for a, b in product(found.contents[first], found.contents[second]):
            if pictures[a].split != pictures[b].split:
                yield _crossing(pictures[a], pictures[b], "copies" if same else "near", distance)


def _together(pictures: list[Picture], named: Iterable[tuple[str, str]], kind: CrossingKind) -> Iterator[Crossing]:
    """Pairs of pictures in two splits that have one name in common, from (sha256, name of its origin or group)."""
    by_sha256: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        by_sha256[picture.sha256].append(picture)
    members: dict[str, dict[str, Picture]] = defaultdict(dict)
    for sha256, name in named:
        if name:
            members[name].update((picture.path, picture) for picture in by_sha256.get(sha256, ()))
    for group in members.values():
        for a, b in combinations(group.values(), 2):
            if a.split != b.split:
                yield _crossing(a, b, kind, -1)


def _crossing(a: Picture, b: Picture, kind: CrossingKind, distance: int) -> Crossing:
    first, second = sorted((a, b), key=lambda picture: (SPLITS.index(picture.split), picture.path))
    return Crossing(first.path, second.path, kind, distance)
