"""The files of a split on disk: hard links where the file system allows, copies where not, and nothing stale.

The catalog records each file before it is made. So whatever a run was killed at, the next one knows what is ours.
"""

import errno
import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Catalog
from curate.catalog.check import REBUILD
from curate.catalog.pictures import Stamp
from curate.catalog.placements import enter_placed, placed_in
from curate.companions import contents_of
from curate.dataset import SPLITS, Dataset, open_dataset
from curate.defaults import DEFAULT_MODE, Mode
from curate.errors import UserError
from curate.file_names import marked
from curate.files.atomic import temporary_name
from curate.files.inside import inside, is_plain
from curate.files.moving import Outcome, move
from curate.files.ours import WorkFolder
from curate.files.reading import MAX_BYTES, sha256_of
from curate.progress import Progress, silent
from curate.split_names import split_named
from curate.splitting.assignment import Splits
from curate.splitting.cleanup import remove_stale
from curate.splitting.companion_files import companions_to_place, is_free_or_same
from curate.splitting.picture_table import NOWHERE, PictureTable, place_name
from curate.splitting.unfinished import belongs_to

_WORK = ".placing.florilegium"
"""The work folder in the output where copies are made before they are renamed to their place."""


@dataclass(frozen=True)
class Placement:
    """Pictures placed as hard links, as copies and as symbolic links; files that were there; stale ones removed, and
    those of them set aside in the quarantine because their bytes were nowhere else; companions that stand beside.
    """

    linked: int
    copied: int
    symlinked: int
    kept: int
    removed: int
    set_aside: int
    companions: int = 0


@dataclass(frozen=True, eq=False)
class OnDisk:
    """What lies in the split folders: picture `at[i]` of the table in split `split[i]`; int64 and int8, [k] each.

    A picture that lay in two splits would be in it twice.
    """

    at: NDArray[np.int64]
    split: NDArray[np.int8]


def check_output(dataset: Dataset, out: Path) -> Path:
    """The output folder, resolved. Raises `UserError` where its splits would lie among the dataset's own folders."""
    out, root, home = out.resolve(), dataset.root.resolve(), dataset.home.resolve()
    if out == root and dataset.layout != "flat" and not dataset.is_by_class:
        return out
    if out.is_file():
        raise UserError(f"{out} is a file: give --out a folder.")
    inside = next((folder for folder in (root, home) if out == folder or folder in out.parents), None)
    if inside or any(root.is_relative_to(out / split) for split in SPLITS):
        raise UserError(f"The output folder {out} and the dataset {inside or root} overlap: give --out another folder.")
    return out


@dataclass(frozen=True, eq=False)
class Adopted:
    """The splits that pictures have by where they lie, and the files (path → sha256) that are taken over for that."""

    splits: Splits
    files: dict[str, str]


def adopt(dataset: Dataset, catalog: Catalog, out: Path, table: PictureTable) -> Adopted:
    """Look at what lies in split folders: those of the dataset, or an output folder's that no record tells of.

    Files without a record are ours where the catalog was lost, or another tool's; either way they are taken over
    where they are pictures of this dataset, and the split furthest out counts where one lies in two. Raises
    `UserError` where a file there is of no picture of this dataset.
    """
    splits, files = table.split.copy(), dict[str, str]()
    if out == dataset.root.resolve():
        return Adopted(splits, files)
    recorded = _own_records(catalog, dataset, out)
    unknown = [path for path in _files_below(out) if path not in recorded]
    named = _by_name(dataset, table) if unknown else {}
    for path in unknown:
        split, name = path.split("/", 1)
        for at in named.get(name, ()):
            if _is_same(out / path, dataset.root / table.paths[at], table.digest(at)):
                splits[at] = max(splits[at], SPLITS.index(split))
                files[path] = table.digest(at)
                break
        else:
            raise UserError(
                f"{out} holds files that are not of this dataset, such as {path}: give --out another folder."
            )
    return Adopted(splits, files)


def materialize(
    dataset: Dataset,
    catalog: Catalog,
    out: Path,
    table: PictureTable,
    assigned: Splits,
    mode: Mode = DEFAULT_MODE,
    progress: Progress = silent,
) -> tuple[Placement, OnDisk]:
    """Make `<out>/<split>/<label>/` hold what was assigned, and nothing that an earlier split left there.

    Pictures that lie in a split folder of the dataset by themselves stay as they are. Stopped at any instant, a
    second run gives the same folder. To be called by the holder of the dataset's lock and that of `out`.
    """
    out = out.resolve()
    wanted = _targets(dataset, out, table, assigned)
    _refuse_links_into(out, (dataset.root / table.paths[at] for at in wanted.values()))
    records = _own_records(catalog, dataset, out)
    digests = {path: table.digest(at) for path, at in wanted.items()}
    beside = {
        path: one
        for path, one in companions_to_place(dataset, {path: table.paths[at] for path, at in wanted.items()}).items()
        if is_free_or_same(inside(out, path), dataset.root / one.source, one.sha256, records.get(path, ""))
    }
    digests |= {path: one.sha256 for path, one in beside.items()}
    stale = {path: sha256 for path, sha256 in records.items() if digests.get(path) != sha256}
    with catalog.transaction():
        enter_placed(catalog, place_name(dataset, out), digests.items())
    removed, set_aside = remove_stale(dataset, catalog, out, stale, digests, {*beside})
    made = Counter[str]()
    entries, touched = [], list[tuple[str, Stamp]]()
    with _Materializer(out, mode) as maker, progress("Placing pictures", len(wanted)) as advance:
        for path, at in wanted.items():
            source = dataset.root / table.paths[at]
            before = _require_unchanged(catalog, source, table.paths[at], table.digest(at))
            how = maker.make(source, path, table.digest(at))
            made[how] += 1
            if how != "kept":  # to give a file another name, or take one away, counts as a change of it
                touched += _touched(dataset.root, table.paths[at], before)
            if how != "kept":
                # A name that was taken got a mark, and lies as deep as it would have without one.
                folder = path.rsplit("/", dataset.below_class(table.paths[at]).count("/") + 1)[0]
                entries.append((path, folder, SPLITS[assigned[at]], table.paths[at]))
            advance(1)
        for path, one in beside.items():
            maker.make(dataset.root / one.source, path, one.sha256)
    in_place = out == dataset.root.resolve()
    if in_place:
        catalog.enter_copies(entries)
    with catalog.transaction():
        catalog.stamp(touched)
        catalog.stamp(_stamps(dataset.root, [path for path, *_ in entries] if in_place else []))
    placement = Placement(
        made["linked"], made["copied"], made["symlinked"], made["kept"], removed, set_aside, len(beside)
    )
    return placement, _on_disk(dataset, out, table, wanted)


def _stamps(root: Path, paths: Iterable[str]) -> Iterator[tuple[str, Stamp]]:
    """Which files lie under these paths now."""
    for path in paths:
        with suppress(OSError):
            yield path, Stamp.of((root / path).stat())


def _touched(root: Path, path: str, before: Stamp | None) -> Iterator[tuple[str, Stamp]]:
    """A picture's stamp after it was linked, where it is the same file that it was before."""
    for _, now in _stamps(root, [path]):
        if before is not None and now[:3] == before[:3]:
            yield path, now


def _require_unchanged(catalog: Catalog, source: Path, path: str, sha256: str) -> Stamp | None:
    """The stamp of a picture that is to be placed, None where it vanished. Raise `UserError` where a picture is no
    longer the file that was read: what was judged is what is placed.
    """
    try:
        status = source.stat()
    except OSError:
        return None  # it vanished, which shows when it is placed
    same = stat.S_ISREG(status.st_mode) and (
        catalog.is_as_read(path, status, sha256) or sha256_of(source, MAX_BYTES) == sha256
    )
    if not same:
        raise UserError(f"{source} has changed since it was read: run the same command again.")
    return Stamp.of(status)


def _on_disk(dataset: Dataset, out: Path, table: PictureTable, wanted: Mapping[str, int]) -> OnDisk:
    """List the split folders anew, when all is placed. Raises `UserError` for a file that was not there before, and
    for one that is not there now: somebody else is at work.
    """
    known = dict(wanted)
    broken = set[str]()
    if out == dataset.root.resolve():
        arrived = np.flatnonzero(table.split != NOWHERE).tolist()
        known |= {table.paths[at]: at for at in arrived}
        broken = {*table.broken, *table.unreadable}
        there = {file.path: file.split for file in open_dataset(dataset.root).files() if file.split}
    else:
        there = {path: path.split("/", 1)[0] for path in _files_below(out)}
    strange = next((path for path in there if path not in known and path not in broken), None)
    missing = next((path for path in known if path not in there), None)
    if strange or missing:
        what = f"{out / strange} has appeared" if strange else f"{out / str(missing)} has gone"
        raise UserError(f"{what} while the split was made: see what else writes there, and run the same command again.")
    places = [(known[path], split) for path, split in there.items() if path in known]
    return OnDisk(
        np.array([at for at, _ in places], dtype=np.int64),
        np.array([SPLITS.index(split) for _, split in places], dtype=np.int8),
    )


def _targets(dataset: Dataset, out: Path, table: PictureTable, assigned: Splits) -> dict[str, int]:
    """Place relative to `out` → position of the picture that belongs there, but for those that are there already."""
    in_place = out == dataset.root.resolve()
    folders = _folders(dataset, table) if in_place else SPLITS
    there = {path for path, split in zip(table.paths, table.split.tolist(), strict=True) if split != NOWHERE}
    wanted: dict[str, int] = {}
    for at in sorted(range(len(table)), key=lambda at: table.split[at] == NOWHERE):  # those that arrived first
        if assigned[at] == NOWHERE or (in_place and table.split[at] != NOWHERE) or table.is_unlabelled(at):
            continue
        name = dataset.below_class(table.paths[at])
        path = f"{folders[assigned[at]]}/{table.labels[table.label[at]]}/{name}"
        # A scraped picture may bear the name of one that came in a split, and be put into that split.
        taken = path in wanted or (in_place and path in there)
        wanted[_with_mark(path, table.digest(at)) if taken else path] = at
    return wanted


def _refuse_links_into(out: Path, sources: Iterable[Path]) -> None:
    """A picture that is itself a link to a placed file would lose its bytes when that is placed anew."""
    for source in sources:
        if source.is_symlink() and any(source.resolve().is_relative_to(out / split) for split in SPLITS):
            raise UserError(f"{source} is a link into the output {out}: put the picture itself in its place.")


def _folders(dataset: Dataset, table: PictureTable) -> list[str]:
    """What a dataset itself calls its splits: one that came with `val` gets no `valid` beside it."""
    folders = list(SPLITS)
    for number in range(len(SPLITS)):
        arrived = (table.split == number) & table.arrived
        if arrived.any():
            path = table.paths[int(arrived.argmax())]
            folders[number] = "/".join(path.split("/")[: dataset.depth(path) - 1])
    return folders


def _by_name(dataset: Dataset, table: PictureTable) -> dict[str, list[int]]:
    """Every name that a picture may have below a split folder → positions."""
    named: dict[str, list[int]] = {}
    for at, path in enumerate(table.paths):
        name = f"{table.labels[table.label[at]]}/{dataset.below_class(path)}"
        named.setdefault(name, []).append(at)
        named.setdefault(_with_mark(name, table.digest(at)), []).append(at)
    return named


def _own_records(catalog: Catalog, dataset: Dataset, out: Path) -> dict[str, str]:
    """Path → sha256 of the files in `out` that a split of this dataset made.

    What a catalog says of a folder elsewhere counts only where that folder's own mark says it too. Raises `UserError`
    for a path that leads out of `out`, or where `split` puts nothing.
    """
    if out != dataset.root.resolve() and not belongs_to(out, catalog.identity()):
        return {}
    records = placed_in(catalog, place_name(dataset, out))
    own = {top.path.split("/")[0] for top in dataset.tops() if top.split} if out == dataset.root.resolve() else set()
    for path in records:  # split, class folder, name
        top = path.split("/", 1)[0]
        if not is_plain(path) or path.count("/") < 2 or (split_named(top) is None and top not in own):
            raise UserError(f"The catalog {catalog.path} says that `split` placed {path!a}: it is not used. {REBUILD}")
    return records


class _Materializer:
    """Puts pictures in their places. What an interrupted run had begun to copy goes with the work folder."""

    def __init__(self, out: Path, mode: Mode) -> None:
        self.out = out
        self.mode = mode
        self._work = WorkFolder(out / _WORK)

    def __enter__(self) -> Self:
        self._work.remove()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._work.remove()

    def make(self, source: Path, path: str, sha256: str) -> str:
        """Put one picture in its place; says how: "linked", "copied", "symlinked" or "kept"."""
        target = inside(self.out, path)
        # A symbolic link holds no bytes, so one that leads elsewhere may be made anew.
        if os.path.lexists(target) and not target.is_symlink() and not _is_same(target, source, sha256):
            raise UserError(f"{target} has changed since it was placed: move it away and run the same command again.")
        if self._is_as_asked(source, target):
            return "kept"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            return self._make(source.resolve(), target)
        except FileNotFoundError as error:
            raise UserError(f"{source} vanished while it was placed: run the same command again.") from error
        except OSError as error:
            raise UserError(
                f"{target} cannot be written ({error.strerror}): check the disk's free space and your rights, and run "
                "the same command again."
            ) from error

    def _is_as_asked(self, source: Path, target: Path) -> bool:
        """Whether a link or a copy is there as the mode wants it; where hard links cannot be, a copy will do."""
        if not target.exists():
            return False
        if target.is_symlink():
            return self.mode == "symlink" and target.resolve() == source.resolve()
        same = target.samefile(source)
        return not same if self.mode == "copy" else self.mode == "link" and (same or not _same_device(source, target))

    def _make(self, source: Path, target: Path) -> str:
        """A link is there at once or not at all; what takes the place of something grows beside it, as copies do."""
        if self.mode != "copy":
            replaces = os.path.lexists(target)
            place = self._partial() if replaces else target
            if how := self._link(source, target, place):
                if replaces:
                    place.replace(target)
                return how
        partial = self._partial()
        shutil.copy2(source, partial)
        if os.path.lexists(target):
            partial.replace(target)  # it was looked at before: the same picture, or a link
        elif move(partial, target) is not Outcome.MOVED:
            raise FileExistsError(errno.EEXIST, "a file has appeared there", str(target))
        return "copied"

    def _link(self, source: Path, target: Path, place: Path) -> str:
        """Make the link that belongs at `target`; returns "" where there cannot be one."""
        if self.mode == "symlink":
            place.symlink_to(os.path.relpath(source, target.parent.resolve()))
            return "symlinked"
        try:
            place.hardlink_to(source)
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError:  # another file system, one without hard links, or too many links to one file
            return ""
        return "linked"

    def _partial(self) -> Path:
        """A free place for what is not whole yet. Its name is short: the one it gets may be as long as names can be."""
        return temporary_name(self._work.make() / "picture")


def _same_device(source: Path, target: Path) -> bool:
    return source.stat().st_dev == target.stat().st_dev


def _is_same(target: Path, source: Path, sha256: str) -> bool:
    """Whether what lies in a place is the picture that belongs there."""
    try:
        there, own = target.stat(), source.stat()
    except FileNotFoundError:
        return False
    if os.path.samestat(there, own):
        return True
    return there.st_size == own.st_size and sha256_of(target) == sha256


def _with_mark(path: str, sha256: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{marked(name, sha256[:8])}"


def _files_below(out: Path) -> Iterator[str]:
    """The pictures in the split folders; other files there are companions of theirs, or none of ours."""
    for split in SPLITS:
        for folder, _, names in os.walk(out / split):
            for name in contents_of(Path(folder), names).pictures:
                yield (Path(folder) / name).relative_to(out).as_posix()
