"""Files beside a picture that are no pictures and belong to it: a caption, an annotation, a phone's film, a stream.

A companion bears its picture's name: `rose.txt`, `rose.jpg.txt`, `rose.seg.json`, `rose.MOV`,
`rose.jpg:Zone.Identifier` and `._rose.jpg` belong to `rose.jpg`. It stays with its picture wherever that goes. One
that belongs to several pictures, as `rose.txt` to `rose.jpg` and `rose.png`, stays as long as one of them does. What
belongs to none is a stranger: it is passed over. Neither is ever judged, for only what is a picture by its name or by
its first bytes is.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from curate.decoding.formats import HEAD, begins_as_picture, is_named_as_picture
from curate.files.inside import is_text
from curate.files.reading import open_file

APPLE_DOUBLE = "._"
"""How the files begin in which macOS keeps what other disks have no room for; the picture's name follows."""

COMPANION_OF = "companion of "
"""How the record of a companion's move begins to say why it is made; the path of its picture follows."""

_JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
"""What file managers leave in a folder, for no picture of it."""

_DIVIDERS = ".:"


@dataclass(frozen=True)
class FolderContents:
    """The names of the files in one folder: pictures, companions with the pictures they belong to, and strangers."""

    pictures: list[str]
    companions: dict[str, list[str]]
    strangers: list[str]

    def of(self, picture: str) -> list[str]:
        """The names of one picture's companions."""
        return [name for name, owners in self.companions.items() if picture in owners]


def is_picture(file: Path) -> bool:
    """Whether a file is a picture, or poses as one: by its name or else by its first bytes.

    One that may not be read is taken for a picture, so that whoever reads it says so.
    """
    if file.name.startswith(APPLE_DOUBLE):
        return False
    if is_named_as_picture(file.name):
        return True
    try:
        with open_file(file) as opened:
            return begins_as_picture(opened.read(HEAD))
    except PermissionError:
        return True
    except OSError:  # no plain file, or gone
        return False


def is_hidden(name: str) -> bool:
    """Whether a file is passed over and counts for nothing; those of AppleDouble are hidden, and may be companions."""
    return (name.startswith(".") and not name.startswith(APPLE_DOUBLE)) or name.lower() in _JUNK


def contents_of(folder: Path, names: Iterable[str]) -> FolderContents:
    """Tell the files of a folder apart, whose names are given. Of AppleDouble only what is a companion counts."""
    pictures, others = list[str](), list[str]()
    for name in names:
        if not is_hidden(name):
            (pictures if is_picture(folder / name) else others).append(name)
    owners = owners_of(others, pictures)
    strangers = [name for name in others if name not in owners and not name.startswith(APPLE_DOUBLE)]
    return FolderContents(pictures, owners, strangers)


def read_contents(folder: Path) -> FolderContents:
    """`contents_of` a folder as it is on the disk, with plain files alone for companions; of one that is gone, nothing.

    A link is a companion where it leads to a file beside that of a linked picture, as in a split of symbolic links.
    """
    try:
        with os.scandir(folder) as entries:
            plain = {
                entry.name: entry.is_file(follow_symlinks=False)
                for entry in entries
                if not leads_to_folder(entry) and is_text(entry.name)
            }
    except (FileNotFoundError, NotADirectoryError):
        return FolderContents([], {}, [])
    found = contents_of(folder, sorted(plain))
    companions = {
        name: owners
        for name, owners in found.companions.items()
        if plain[name] or any(_lead_side_by_side(folder / name, folder / owner) for owner in owners)
    }
    return replace(found, companions=companions)


def owners_of(others: Iterable[str], pictures: Iterable[str]) -> dict[str, list[str]]:
    """Each name among `others` that is a companion, and the names of the pictures that it belongs to."""
    named = _by_key(pictures)
    found = {name: named[key] for name in others if (key := _key(name, named)) is not None}
    return {name: list(owners) for name, owners in found.items()}


def renamed(companion: str, picture: str, to: str) -> str:
    """What a companion of a picture is called once the picture is called `to`."""
    if companion.startswith(APPLE_DOUBLE):
        return f"{APPLE_DOUBLE}{to}"
    stem = _stem(picture)
    if picture != stem and companion.startswith(picture):
        return f"{to}{companion.removeprefix(picture)}"
    return f"{_stem(to)}{companion.removeprefix(stem)}"


def _lead_side_by_side(one: Path, other: Path) -> bool:
    try:
        return one.is_file() and other.is_symlink() and one.resolve().parent == other.resolve().parent
    except (OSError, RuntimeError):  # a link that leads round in a circle
        return False


def leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link that leads to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle
        return False


def _by_key(pictures: Iterable[str]) -> Mapping[str, list[str]]:
    named = defaultdict[str, list[str]](list)
    for picture in pictures:
        named[picture].append(picture)
        if (stem := _stem(picture)) != picture:
            named[stem].append(picture)
    return named


def _key(name: str, named: Mapping[str, list[str]]) -> str | None:
    """The longest beginning of the name that is a picture's name or stem: `a.b.txt` is of a.b.jpg before a.jpg."""
    if name.startswith(APPLE_DOUBLE):
        whole = name.removeprefix(APPLE_DOUBLE)
        return whole if whole in named.get(whole, ()) else None
    return next((beginning for beginning in _beginnings(name) if beginning in named), None)


def _beginnings(name: str) -> Iterator[str]:
    return (name[:at] for at in range(len(name) - 1, 0, -1) if name[at] in _DIVIDERS)


def _stem(name: str) -> str:
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name
