"""Which files are pictures proper, and which are copies of them that `split` has placed."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol, TypeVar

from curate.dataset import natural_key


class _PictureRow(Protocol):
    """What of a picture's row is needed: `curate.catalog.Picture` has it, and so has a glance at one."""

    @property
    def path(self) -> str: ...
    @property
    def folder(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def broken(self) -> str: ...


Row = TypeVar("Row", bound=_PictureRow)


def part_placements(pictures: Sequence[Row]) -> tuple[list[Row], dict[str, list[Row]]]:
    """Tell pictures from the copies of them that `split` has placed.

    An intact file in a split folder whose bytes and label are those of a picture below `raw/` is that picture once
    more, not a duplicate. Returns the pictures proper, and for each raw path the copies of it, where it is placed.
    """
    raw: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for picture in pictures:
        if not picture.split and not picture.broken:
            raw[picture.sha256, picture.label].append(picture)
    sources, placed = list[Row](), defaultdict[str, list[Row]](list)
    for picture in pictures:
        origins = raw.get((picture.sha256, picture.label)) if picture.split and not picture.broken else None
        if origins:
            placed[_origin(picture, origins).path].append(picture)
        else:
            sources.append(picture)
    return sources, dict(placed)


def _origin(copy: Row, origins: Sequence[Row]) -> Row:
    """Of several raw files with the same bytes, the one of the same name: with it the copy comes and goes."""
    namesake = (origin for origin in origins if _name(origin) == _name(copy))
    return next(namesake, min(origins, key=lambda origin: natural_key(origin.path)))


def _name(picture: _PictureRow) -> str:
    return picture.path.removeprefix(picture.folder)
