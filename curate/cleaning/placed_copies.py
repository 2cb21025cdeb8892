"""Which files are pictures proper, and which are copies of them that `split` has placed."""

from collections import defaultdict
from collections.abc import Sequence

from curate.catalog import Picture
from curate.dataset import natural_key


def part_placements(pictures: Sequence[Picture]) -> tuple[list[Picture], dict[str, list[Picture]]]:
    """Tell pictures from the copies of them that `split` has placed.

    An intact file in a split folder whose bytes and label are those of a picture below `raw/` is that picture once
    more, not a duplicate. Returns the pictures proper, and for each raw path the copies of it, where it is placed.
    """
    raw: dict[tuple[str, str], list[Picture]] = defaultdict(list)
    for picture in pictures:
        if not picture.split and not picture.broken:
            raw[picture.sha256, picture.label].append(picture)
    sources, placed = [], defaultdict(list)
    for picture in pictures:
        origins = raw.get((picture.sha256, picture.label)) if picture.split and not picture.broken else None
        if origins:
            placed[_origin(picture, origins).path].append(picture)
        else:
            sources.append(picture)
    return sources, dict(placed)


def _origin(copy: Picture, origins: Sequence[Picture]) -> Picture:
    """Of several raw files with the same bytes, the one of the same name: with it the copy comes and goes."""
    namesake = (origin for origin in origins if _name(origin) == _name(copy))
    return next(namesake, min(origins, key=lambda origin: natural_key(origin.path)))


def _name(picture: Picture) -> str:
    return picture.path.removeprefix(picture.folder)
