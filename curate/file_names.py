"""Names that files can have on every disk: none too long, no two that only some disks tell apart."""

import hashlib
import unicodedata
from pathlib import PurePosixPath

LONGEST_NAME = 255
"""Bytes of a file's or folder's name, on all file systems in use."""

_MARK = 8  # characters of a digest that tell names apart


def folded(name: str) -> str:
    """The same text for all names that some disk takes for one: capitals and Unicode forms do not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def shortened(name: str, room: int = 0) -> str:
    """The name, if it is not too long; else its beginning, a digest of it and its suffix. `room` bytes stay free."""
    if len(name.encode()) <= LONGEST_NAME - room:
        return name
    return marked(name, hashlib.sha256(name.encode()).hexdigest()[:_MARK], room)


def numbered(path: str, number: int) -> str:
    """The path for 1, and for more than that one like it: `a/rose.jpg` → `a/rose~2.jpg`."""
    folder, slash, name = path.rpartition("/")
    return path if number == 1 else f"{folder}{slash}{marked(name, str(number))}"


class FreeNames:
    """Hands out names in one folder, each distinct from all before it on every disk."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str, digest: str, room: int = 0) -> str:
        """The name or, where it is taken or too long, one like it that bears the beginning of a digest.

        `room` bytes stay free, for what others add to the name.
        """
        free, number = shortened(name, room), 1
        while folded(free) in self._taken:
            free = marked(name, digest[:_MARK] if number == 1 else f"{digest[:_MARK]}-{number}", room)
            number += 1
        self._taken.add(folded(free))
        return free


def marked(name: str, mark: str, room: int = 0) -> str:
    """`rose.jpg` → `rose~mark.jpg`, cut so that it is not too long and leaves `room` bytes free."""
    path = PurePosixPath(name)
    suffix = path.suffix if len(path.suffix.encode()) <= 16 else ""
    stem = name.removesuffix(suffix) if suffix else name
    ending = f"~{mark}{suffix}"
    return stem.encode()[: max(0, LONGEST_NAME - room - len(ending.encode()))].decode("utf-8", "ignore") + ending
