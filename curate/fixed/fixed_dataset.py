"""A dataset whose files stay as they lie: it is known by a list of its pictures, which somebody has read elsewhere."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from curate.dataset import SPLITS, ClassFolder, Dataset, Listing, natural_key
from curate.folders import OUR_ENDING
from curate.layout import TopFolder

_LONGEST_NAME = 60  # characters of an address's last part, in the name of the folder that is kept about it


@dataclass(frozen=True, slots=True)
class FixedPicture:
    """One picture as it was listed. `path` is where it is read, relative to the dataset's root; `folder` the class
    folder that the catalog knows it in, and `name` its name below a class folder. `stat` is None where nothing tells
    whether it has changed.
    """

    path: str
    folder: str
    label: str
    split: str | None
    name: str
    stat: os.stat_result | None = None


@dataclass(frozen=True)
class FixedDataset(Dataset):
    """A dataset that is listed and read, and in which nothing is moved: what leaves it, and its split, are manifests.

    `strangers` counts the files that are no pictures by their names. `names` and `credits` are what `names_along` and
    `credits_along` give.
    """

    pictures: Sequence[FixedPicture] = field(default=(), repr=False, compare=False)
    strangers: int = field(default=0, compare=False)
    names: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    credits: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_fixed(self) -> bool:
        """It is."""
        return True

    @property
    def split_home(self) -> Path:
        """Where the manifests are."""
        return self.home

    @property
    def quarantine(self) -> Path:
        """The manifest of what `clean` set aside."""
        return self.home / "quarantine.parquet"

    @property
    def split_manifest(self) -> Path:
        """The manifest of the split."""
        return self.home / "split.parquet"

    @property
    def names_along(self) -> Mapping[str, str]:
        """The names that came with the pictures."""
        return self.names

    @property
    def credits_along(self) -> Mapping[str, tuple[str, ...]]:
        """The credits that came with the pictures."""
        return self.credits

    def folders(self) -> list[ClassFolder]:
        """The class folders of the listed pictures, raw ones first, then by split."""
        return list(self._in_folders)

    def tops(self) -> list[TopFolder]:
        """None: nothing is ever placed in them."""
        return []

    def depth(self, path: str) -> int:
        """Of how many names the path of the class folder consists in which a picture lies."""
        one = self._by_path.get(path)
        return path.removesuffix(f"/{one.name}").count("/") + 1 if one else path.count("/")

    def label_in(self, path: str) -> str:
        """The label of a picture that is listed, or of one that lay in a folder of that name."""
        one = self._by_path.get(path)
        return one.label if one else path.rpartition("/")[0].rpartition("/")[2]

    def below_class(self, path: str) -> str:
        """A picture's name below its class folder."""
        one = self._by_path.get(path)
        return one.name if one else path.rpartition("/")[2]

    def split_of(self, path: str) -> str | None:
        """The split of a picture that is listed."""
        one = self._by_path.get(path)
        return one.split if one else None

    def listing(self, folder: ClassFolder) -> Listing:
        """The listed pictures of one class folder, in order of their names below it."""
        found = self._in_folders.get(folder, [])
        is_first = folder == next(iter(self._in_folders), None)  # the files that belong nowhere count once
        return Listing([(one.path, one.stat) for one in found], 0, self.strangers if is_first else 0)

    @cached_property
    def _by_path(self) -> dict[str, FixedPicture]:
        return {one.path: one for one in self.pictures}

    @cached_property
    def _in_folders(self) -> dict[ClassFolder, list[FixedPicture]]:
        found: dict[ClassFolder, list[FixedPicture]] = {}
        for one in sorted(self.pictures, key=lambda one: (one.name, one.path)):
            found.setdefault(ClassFolder(one.folder, one.label, one.split), []).append(one)
        order: Sequence[str | None] = (None, *SPLITS)
        folders = sorted(found, key=lambda folder: (order.index(folder.split), natural_key(folder.label)))
        return {folder: found[folder] for folder in folders}


def stat_of(size: int, mtime_ns: int, number: int, ctime_ns: int) -> os.stat_result:
    """What `stat` would say of something that is no file of this disk's: a size, two times and a number of its own."""
    seconds = mtime_ns // 10**9, ctime_ns // 10**9
    plain = (0o100644, number, 0, 1, 0, 0, size, seconds[0], *seconds)
    return os.stat_result(plain, {"st_mtime_ns": mtime_ns, "st_ctime_ns": ctime_ns, "st_atime_ns": mtime_ns})


def home_of_address(root: Path) -> Path:
    """Where what is kept about a dataset beyond the disk lies: in the folder in which the command runs.

    Two addresses never share one.
    """
    mark = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    return Path.cwd() / f"{root.name[:_LONGEST_NAME]}-{mark}{OUR_ENDING}"
