"""A dataset folder: which layout it has, and which pictures lie in it under which label."""

import errno
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from curate.companions import APPLE_DOUBLE, contents_of, is_hidden
from curate.errors import UserError
from curate.files.atomic import remove_abandoned
from curate.files.disk import disk_in_words
from curate.files.lock import locked
from curate.progress import Progress, silent

SPLITS = ("train", "valid", "test")

SPLIT_OF_FOLDER = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
_NOT_CLASSES = {"__macosx", "@eadir"}  # what archives and file servers leave beside the class folders

OUR_ENDING = ".florilegium"
"""How the folders end that we make: work under way, and what we keep about a dataset."""

Layout = Literal["flat", "raw", "split"]


@dataclass(frozen=True, order=True)
class PictureFile:
    """One file in a class folder: a picture, or something that poses as one.

    `path` is posix and relative to the dataset's root; `label` is the class folder's name; `split` is one of
    `SPLITS`, or None for a picture that is in no split (below `raw/`, or in a flat dataset).
    """

    path: str
    label: str
    split: str | None


@dataclass(frozen=True)
class ClassFolder:
    """One folder of one class, as a path relative to the dataset's root."""

    path: str
    label: str
    split: str | None


@dataclass(frozen=True)
class Listing:
    """What lies in one class folder: each picture's path and what `stat` says of it, sorted by path; how many files
    are companions of pictures, and how many are neither.
    """

    pictures: list[tuple[str, os.stat_result | None]]
    companions: int
    strangers: int


@dataclass(frozen=True)
class Dataset:
    """A folder of class folders in one of three layouts.

    `flat`: `<root>/<label>/`; `raw`: `<root>/raw/<label>/`; `split`: `<root>/train/<label>/` and so on, where `raw/`
    may stand beside; "val" and "validation" are "valid", and capitals do not matter. `home` is where the catalog and
    the quarantine live: the root itself, or for a flat dataset the folder `<name>.florilegium` beside it, so that
    torchvision's `ImageFolder` never reads them as classes.
    """

    root: Path
    layout: Layout
    home: Path

    @property
    def catalog_path(self) -> Path:
        """The catalog's file."""
        return self.home / "catalog.sqlite"

    @property
    def quarantine(self) -> Path:
        """The folder that holds what `clean` set aside, by reason."""
        return self.home / "quarantine"

    def class_folders(self) -> list[ClassFolder]:
        """Every class folder, raw ones first, then by split, each in natural order of the labels."""
        if self.layout == "flat":
            return [ClassFolder(name, name, None) for name in _subfolders(self.root)]
        return [
            ClassFolder(f"{folder}/{label}", label, split)
            for folder, split in _top_folders(self.root)
            for label in _subfolders(self.root / folder)
        ]

    def files(self) -> list[PictureFile]:
        """Every picture of every class folder, folder by folder, sorted by path within each."""
        return [
            PictureFile(path, folder.label, folder.split)
            for folder in self.class_folders()
            for path, _ in self.files_in(folder)
        ]

    def files_in(self, folder: ClassFolder) -> list[tuple[str, os.stat_result | None]]:
        """The pictures of one class folder and what `stat` says of each, as `listing` has them."""
        return self.listing(folder).pictures

    def listing(self, folder: ClassFolder) -> Listing:
        """What lies in one class folder. Whatever is called like a picture, or begins like one, is a picture here.

        Subfolders are walked as torchvision does; hidden files are passed over. A file that vanished in between,
        or a link that leads nowhere, has None for its stat. Raises `UserError` for a folder that may not be read,
        a link to a folder and a name that is not text.
        """
        pictures, companions, strangers = [], 0, 0
        for below, files in _walk(self.root, folder.path):
            contents = contents_of(self.root / below, files)
            pictures += [(f"{below}/{name}", files[name]) for name in contents.pictures]
            companions += len(contents.companions)
            strangers += len(contents.strangers)
        return Listing(sorted(pictures, key=lambda found: found[0]), companions, strangers)

    def labels(self) -> list[str]:
        """Every label that has a class folder, once, in natural order."""
        return sorted({folder.label for folder in self.class_folders()}, key=natural_key)


def open_dataset(root: Path) -> Dataset:
    """Find out a folder's layout. Raises `UserError` where there is no folder, or no class folder in it."""
    root = Path(root)
    try:
        if not root.exists():
            raise UserError(f"There is no folder {root}: give the folder that holds your class folders.")
        if not root.is_dir():
            raise UserError(f"{root} is a file: give the folder that holds your class folders.")
        layout = _layout(root)
        dataset = Dataset(root, layout, _home(root, layout))
        folders = dataset.class_folders()
    except PermissionError as error:
        raise UserError(f"The folder {error.filename} cannot be read: give yourself the right to.") from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise UserError(f"No folder can have a name as long as {str(root)[:60]}…: give a shorter name.") from error
    if not folders:
        raise UserError(
            f"{root} holds no class folders: put each class's pictures into a folder of their own, "
            f"{root}/<class>/ or {root}/raw/<class>/."
        )
    _refuse_twins(folders)
    return dataset


@contextmanager
def open_to_write(
    root: Path, doing: str, *, wait: float | None = 0.0, progress: Progress = silent
) -> Iterator[Dataset]:
    """Open a dataset with its lock, which every command takes that moves, places or writes files in it.

    `doing` names the command, for others to be told; `wait` is how long to wait for them, as `locked` has it. Raises
    `UserError` where another command is at work, and as `open_dataset` does; what fails inside because the folder was
    removed is said by `still_there`.
    """
    with locked(open_dataset(root).home, f"{doing} {root}", wait=wait, progress=progress):
        dataset = open_dataset(root)  # once more: whoever was at work may have changed the layout
        remove_abandoned(dataset.home)
        with still_there(root):
            yield dataset


@contextmanager
def still_there(root: Path) -> Iterator[None]:
    """Work in a dataset's folder: raises `UserError` where it is gone at the end, whatever has failed because of that.

    A file that fails while the folder is being removed is named, in a `UserError` too.
    """
    failed: OSError | UserError | None = None
    try:
        with disk_in_words(root):
            yield
    except (OSError, UserError) as error:
        failed = error
    if not root.is_dir():
        raise UserError(f"The folder {root} is no longer there: it was removed or renamed meanwhile.") from failed
    if failed is not None:
        raise failed


def natural_key(label: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts 2 before 10 and leaves words in alphabetical order."""
    parts = re.findall(r"[0-9]+|[^0-9]+", label)
    return tuple((0, int(part), part) if part[0] in "0123456789" else (1, 0, part) for part in parts)


def _refuse_twins(folders: list[ClassFolder]) -> None:
    """Raise `UserError` where one class seems to be spelt in two ways.

    Two spellings that people cannot tell apart (é may be one code point or two) are never meant. Two that differ in
    capitals are, where they stand side by side, as "a" and "A" do among handwritten letters; not where one split
    has "Rose" and another has "rose".
    """
    spellings = defaultdict[str, dict[str, ClassFolder]](dict)
    for folder in folders:
        spellings[unicodedata.normalize("NFC", folder.label).casefold()].setdefault(folder.label, folder)
    side_by_side = {(folder.split, folder.label) for folder in folders}
    for first, *others in (list(variants.values()) for variants in spellings.values()):
        for other in others:
            if unicodedata.normalize("NFC", first.label) == unicodedata.normalize("NFC", other.label):
                how = "in the Unicode form of their names"
            elif (first.split, other.label) in side_by_side or (other.split, first.label) in side_by_side:
                continue
            else:
                how = "in upper and lower case"
            raise UserError(
                f"The class folders {first.path} and {other.path} differ only {how}: give them the same name, or "
                f"names that differ in more."
            )


def _layout(root: Path) -> Layout:
    # A class may be called "train" in a flat dataset of vehicles: a split folder is one that holds folders.
    tops = [split for folder, split in _top_folders(root) if _subfolders(root / folder)]
    if any(tops):
        return "split"
    return "raw" if tops else "flat"


def _top_folders(root: Path) -> list[tuple[str, str | None]]:
    """The folders that hold the class folders, where the root itself does not: (name, split), `raw` first."""
    # Whatever else lies at the root is the user's own business, a link to a quarantine on another disk included.
    names = _subfolders(root, among={"raw", *SPLIT_OF_FOLDER})
    found = [(name, SPLIT_OF_FOLDER.get(name.lower())) for name in names]
    order = (None, *SPLITS)
    return sorted(found, key=lambda top: order.index(top[1]))


def _home(root: Path, layout: Layout) -> Path:
    if layout != "flat":
        return root
    resolved = root.resolve()
    home = resolved.parent / f"{resolved.name}{OUR_ENDING}"
    if home.is_symlink():
        # Whoever made the link decides where catalog and quarantine are: a dataset from elsewhere may bring one along.
        raise UserError(
            f"{home} is a link, and what is kept about {root} would lie where it leads: put the folder itself there. "
            "A link to another disk may stand in the place of the quarantine in it."
        )
    if os.path.lexists(home) and not home.is_dir():
        raise UserError(f"{home} is a file where the folder with the catalog of {root} belongs: move it away.")
    return home


def _subfolders(folder: Path, among: set[str] | None = None) -> list[str]:
    """The names of a folder's folders in natural order, or of those whose lower-case name is `among` some."""
    try:
        with os.scandir(folder) as entries:
            wanted = (entry for entry in entries if among is None or entry.name.lower() in among)
            names = [entry.name for entry in wanted if _is_folder(entry)]
    except (FileNotFoundError, NotADirectoryError):  # it was removed or replaced while we read
        return []
    return sorted(names, key=natural_key)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _NOT_CLASSES or name.endswith(OUR_ENDING)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder. Raises `UserError` for a link to one, and for a folder whose name is not text."""
    try:
        if not entry.is_dir() or _is_hidden(entry.name):
            return False
    except OSError:  # a link that leads round in a circle
        return False
    if entry.is_symlink():
        # Files behind it are not ours to move, and a link to a folder above has no end.
        raise UserError(
            f"{entry.path} is a link to another folder: put the folder itself there, or give the folder it leads to."
        )
    _refuse_no_text(entry)
    return True


def _refuse_no_text(entry: os.DirEntry[str]) -> None:
    try:
        entry.name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"The file name {entry.path!a} is not valid UTF-8: rename the file.") from error


def _walk(root: Path, folder: str) -> Iterator[tuple[str, dict[str, os.stat_result | None]]]:
    """Each folder, from the given one down, and its files: name → what `stat` says, None where it says nothing."""
    open_folders = [folder]  # a list and no recursion: folders may be nested more deeply than calls can be
    while open_folders:
        folder = open_folders.pop()
        files: dict[str, os.stat_result | None] = {}
        for entry in _entries(root / folder):
            name = entry.name
            if is_hidden(name) or (_is_hidden(name) and not _is_apple_double(entry)):
                continue
            if not entry.is_file(follow_symlinks=False) and _is_folder(entry):
                open_folders.append(f"{folder}/{name}")
                continue
            _refuse_no_text(entry)
            try:
                files[name] = entry.stat()
            except OSError:
                files[name] = None
        yield folder, files


def _is_apple_double(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(APPLE_DOUBLE) and entry.is_file(follow_symlinks=False)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):  # the folder was removed or replaced while we read
        return []
    except PermissionError as error:
        raise UserError(f"The folder {error.filename} cannot be read: give yourself the right to.") from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        start = folder.as_posix()[:80]
        raise UserError(
            f"The folders below {start}… are nested so deeply that the system takes no path of that length: bring "
            "their pictures further up."
        ) from error
