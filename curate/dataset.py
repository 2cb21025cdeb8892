"""A dataset folder: which layout it has, and which pictures lie in it under which label."""

import errno
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from curate.companions import APPLE_DOUBLE, contents_of, is_hidden
from curate.errors import UserError
from curate.files.addresses import is_remote, located
from curate.files.atomic import remove_abandoned
from curate.files.disk import disk_in_words
from curate.files.inside import is_text
from curate.files.lock import locked
from curate.files.ours import CATALOG
from curate.files.shards import LABELS
from curate.folders import (
    OUR_ENDING,
    has_pictures_in,
    is_folder,
    is_hidden_folder,
    natural_key,
    subfolders,
)
from curate.labelling.arrangement import arranged_from
from curate.layout import SPLITS, UNLABELLED, LayoutKind, TopFolder, no_labels, read_layout, top_folders
from curate.progress import Progress, silent
from curate.undecodable import undecodable_in

__all__ = ["SPLITS", "UNLABELLED", "natural_key"]

_WITHOUT_MOVES = {"clean", "restore", "split", "export", "import-facts"}
"""What can be done with a dataset whose files stay as they lie."""


@dataclass(frozen=True, order=True)
class PictureFile:
    """One file in a class folder: a picture, or something that poses as one.

    `path` is posix and relative to the dataset's root; `label` is the class folder's name, or `UNLABELLED`; `split` is
    one of `SPLITS`, or None for a picture that is in no split (below `raw/`, or in a flat dataset).
    """

    path: str
    label: str
    split: str | None


@dataclass(frozen=True)
class ClassFolder:
    """One folder of one class, as a path relative to the dataset's root; or of a split's pictures without a label."""

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
    may stand beside; `curate.layout` has the names that splits go by. `home` is where the catalog and the quarantine
    live: the root itself, or for a flat dataset the folder `<name>.florilegium` beside it, so that torchvision's
    `ImageFolder` never reads them as classes.
    """

    root: Path
    layout: LayoutKind
    home: Path

    @property
    def is_fixed(self) -> bool:
        """Whether its files stay as they lie, as `curate.fixed` has them: manifests say what leaves and is split."""
        return False

    @property
    def names_along(self) -> Mapping[str, str]:
        """Label → the name that came with the pictures; none for a folder, whose catalog and names file have them."""
        return {}

    @property
    def credits_along(self) -> Mapping[str, tuple[str, ...]]:
        """sha256 → the credit that came with a picture, as `curate.catalog.credits.FIELDS` has it; none likewise."""
        return {}

    @property
    def catalog_path(self) -> Path:
        """The catalog's file."""
        return self.home / CATALOG

    @property
    def split_home(self) -> Path:
        """The folder that holds what a split of its own was bound by."""
        return self.root

    @property
    def quarantine(self) -> Path:
        """The folder that holds what `clean` set aside, by reason."""
        return self.home / "quarantine"

    def class_folders(self) -> list[ClassFolder]:
        """Every class folder, raw ones first, then by split, each in natural order of the labels.

        A label is spelt as the first folder of its class is: another split may have it in another Unicode form.
        """
        return [folder for folder in self.folders() if folder.label != UNLABELLED]

    def folders(self) -> list[ClassFolder]:
        """The class folders, and those that hold a split's pictures without a label."""
        if self.layout == "flat":
            return [ClassFolder(name, name, None) for name in subfolders(self.root)]
        found = [
            ClassFolder(top.class_folder(label) if label else top.path, label, top.split)
            for top in self.tops()
            for label in self._labels_in(top)
        ]
        spelling: dict[str, str] = {}
        return [
            replace(folder, label=spelling.setdefault(unicodedata.normalize("NFC", folder.label), folder.label))
            for folder in found
        ]

    def tops(self) -> list[TopFolder]:
        """The folders that hold the class folders, `raw` first; none, where the root holds them itself."""
        return [] if self.layout == "flat" else top_folders(self.root)

    def _labels_in(self, top: TopFolder) -> list[str]:
        if not top.labelled:
            return [UNLABELLED]
        return [top.label] if top.label else subfolders(self.root / top.path)

    @property
    def is_by_class(self) -> bool:
        """Whether each folder holds one class of one split, as `trainA` or `cat/train` does."""
        return bool(self._by_class)

    def beside(self, path: str, label: str) -> str:
        """The folder of another class in the same split as a picture or class folder."""
        if top := self._pattern_of(path):
            return top.class_folder(label)
        return "/".join([*path.split("/")[: self.depth(path) - 1], label])

    def below_class(self, path: str) -> str:
        """A picture's path below its class folder: `raw/21/old/a.jpg` is `old/a.jpg`."""
        return path.split("/", self.depth(path))[-1]

    def depth(self, path: str) -> int:
        """Of how many names the path of the class folder consists in which a picture lies, or lay."""
        if self.layout == "flat":
            return 1
        if self._by_class:
            return self._by_class[0].path.count("/") + 1
        for top, depth in self._unusual_depths.items():
            if path.startswith(f"{top}/"):
                return depth
        return 2

    def label_in(self, path: str) -> str:
        """The name of the class folder in which a picture lies, or lay."""
        names = path.split("/")
        if top := self._pattern_of(path):
            folder = "/".join(names[: self.depth(path)])
            return folder[top.label_at : len(folder) - len(top.path) + top.label_at + len(top.label)]
        return names[min(len(names), self.depth(path)) - 1]

    def split_of(self, path: str) -> str | None:
        """The split in which a picture lies, or lay; None where that is none, or its folder is gone."""
        tops = sorted(self.tops(), key=lambda top: -len(top.path))
        return next((top.split for top in tops if path.startswith(f"{top.path}/")), None)

    @cached_property
    def _unusual_depths(self) -> dict[str, int]:
        """Top folder → names in the path of a class folder in it, where these are not two."""
        depths = {top.path: top.path.count("/") + 1 + top.labelled for top in self.tops()}
        return {top: depth for top, depth in depths.items() if depth != 2}

    @cached_property
    def _by_class(self) -> list[TopFolder]:
        return [top for top in self.tops() if top.label]

    def _pattern_of(self, path: str) -> TopFolder | None:
        """A folder of one class and split whose path is that of a picture's folder, but for the class's name."""
        folder = "/".join(path.split("/")[: self.depth(path)])
        for top in self._by_class:
            before, after = top.path[: top.label_at], top.path[top.label_at + len(top.label) :]
            if folder.startswith(before) and folder.endswith(after) and len(folder) > len(before) + len(after):
                return top
        return None

    def files(self) -> list[PictureFile]:
        """Every picture of every folder, folder by folder, sorted by path within each; those without a label, too."""
        return [
            PictureFile(path, folder.label, folder.split)
            for folder in self.folders()
            for path, _ in self.files_in(folder)
        ]

    def files_in(self, folder: ClassFolder) -> list[tuple[str, os.stat_result | None]]:
        """The pictures of one class folder and what `stat` says of each, as `listing` has them."""
        return self.listing(folder).pictures

    def listing(self, folder: ClassFolder) -> Listing:
        """What lies in one class folder. Whatever is called like a picture, or begins like one, is a picture here.

        Subfolders are walked as torchvision does; hidden files are passed over. A file that vanished in between,
        or a link that leads nowhere, has None for its stat. Names that are not text are passed over. Raises `UserError`
        for a folder that may not be read and a link to a folder.
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
    """Find out a folder's layout. A dataset that lies in it, in the one folder with pictures, is opened in its place,
    and so is the folder in which its pictures lie by their labels. An export in shards is a dataset, too.

    Raises `UserError` where there is no folder, or no class folder in it.
    """
    root = located(root)
    if _may_be_fixed(root):
        from curate.fixed.opening import open_fixed  # which is made of what stands here

        if (fixed := open_fixed(root)) is not None:
            return fixed
    try:
        if not root.exists():
            raise UserError(f"There is no folder {root}: give the folder that holds your class folders.")
        if not root.is_dir():
            raise UserError(f"{root} is a file: give the folder that holds your class folders.")
        arranged = arranged_from(root)
        layout = read_layout(arranged[0] if arranged else root)
        dataset = Dataset(layout.root, layout.kind, home_for(layout.root, layout.kind))
        folders = dataset.class_folders()
    except PermissionError as error:
        raise UserError(f"The folder {error.filename} cannot be read: give yourself the right to.") from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise UserError(f"No folder can have a name as long as {str(root)[:60]}…: give a shorter name.") from error
    if not folders:
        if has_pictures_in(root):
            raise no_labels(root, [root])
        if odd := str(undecodable_in(root, set())):
            raise UserError(f"{root} holds {odd}, whose names are not UTF-8, and no class folders: rename them.")
        raise UserError(
            f"{root} holds no class folders: put each class's pictures into a folder of their own, "
            f"{root}/<class>/ or {root}/raw/<class>/."
        )
    refuse_twins(folders)
    _ = dataset.is_by_class  # as it is now: a class may lose all its pictures
    return dataset


def _may_be_fixed(root: Path) -> bool:
    """Whether a place is worth a look for a dataset whose files stay as they lie."""
    try:
        return is_remote(root) or (root / LABELS).is_file()
    except (OSError, ValueError):  # whoever opens the folder says why
        return False


@contextmanager
def open_to_write(
    root: Path, doing: str, *, wait: float | None = 0.0, progress: Progress = silent
) -> Iterator[Dataset]:
    """Open a dataset with its lock, which every command takes that moves, places or writes files in it.

    `doing` names the command, for others to be told; `wait` is how long to wait for them, as `locked` has it. Raises
    `UserError` where another command is at work, and as `open_dataset` does; what fails inside because the folder was
    removed is said by `still_there`.
    """
    root = located(root)
    first = open_dataset(root)
    # A folder that was removed in this instant is not made again.
    make = first.home != first.root
    if first.is_fixed and doing not in _WITHOUT_MOVES:
        raise UserError(
            f"{root} stays as it is, so `{doing}` has no place for files there: give a folder, or unpack it into one."
        )
    with still_there(root), locked(first.home, f"{doing} {root}", wait=wait, progress=progress, make=make):
        dataset = open_dataset(root)  # once more: whoever was at work may have changed the layout
        remove_abandoned(dataset.home)
        yield dataset


@contextmanager
def still_there(root: Path) -> Iterator[None]:
    """Work in a dataset's folder: raises `UserError` where it is gone at the end, whatever has failed because of that.

    A file that fails while the folder is being removed is named, in a `UserError` too.
    """
    root = located(root)
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


def refuse_twins(folders: list[ClassFolder]) -> None:
    """Raise `UserError` where one class seems to be spelt in two ways.

    Two spellings that people cannot tell apart (é may be one code point or two) are one class in two splits, and are
    never meant side by side. Two that differ in capitals are, where they stand side by side, as "a" and "A" do among
    handwritten letters; not where one split has "Rose" and another has "rose".
    """
    spellings = defaultdict[str, dict[str, ClassFolder]](dict)
    side_by_side = {(folder.split, folder.label) for folder in folders}
    composed: dict[str, ClassFolder] = {}
    for folder in folders:
        label = unicodedata.normalize("NFC", folder.label)
        spellings[label.casefold()].setdefault(folder.label, folder)
        other = composed.setdefault(unicodedata.normalize("NFC", folder.path), folder)
        if other is not folder:
            raise _twins(other, folder, "in the Unicode form of their names")
    for first, *others in (list(variants.values()) for variants in spellings.values()):
        for other in others:
            if (first.split, other.label) not in side_by_side and (other.split, first.label) not in side_by_side:
                raise _twins(first, other, "in upper and lower case")


def _twins(first: ClassFolder, other: ClassFolder, how: str) -> UserError:
    return UserError(
        f"The class folders {first.path} and {other.path} differ only {how}: give them the same name, or names that "
        "differ in more."
    )


def home_for(root: Path, layout: LayoutKind) -> Path:
    """Where the catalog of a dataset belongs: in its folder, or for a flat one in a folder beside it.

    Raises `UserError` for a link, and for a file, in that folder's place.
    """
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


def _walk(root: Path, folder: str) -> Iterator[tuple[str, dict[str, os.stat_result | None]]]:
    """Each folder, from the given one down, and its files: name → what `stat` says, None where it says nothing."""
    open_folders = [folder]  # a list and no recursion: folders may be nested more deeply than calls can be
    while open_folders:
        folder = open_folders.pop()
        files: dict[str, os.stat_result | None] = {}
        for entry in _entries(root / folder):
            name = entry.name
            if is_hidden(name) or (is_hidden_folder(name) and not _is_apple_double(entry)) or not is_text(name):
                continue
            if not entry.is_file(follow_symlinks=False) and is_folder(entry):
                open_folders.append(f"{folder}/{name}")
                continue
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
