"""Pictures in rows with a title and a few words below each, as one picture to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

from curate.rendering import FAINT, INK, PAPER, fitted, font_for, thumbnail, wrapped

_MARGIN: Final = 8
_TEXT: Final = 13  # pixels; the first line a little larger than those after it
_SPACE: Final = 4
_LINES: Final = 3  # below each picture: its title, and up to two of text
_MOST_LINES: Final = 6  # of text
_MISSING: Final = (232, 232, 232)


@dataclass(frozen=True)
class Tile:
    """One place of a sheet. Without a picture a grey square stands in its place."""

    picture: Image.Image | None
    title: str
    text: str = ""
    frame: tuple[int, int, int] | None = None  # the colour of a frame around it


def contact_sheet(rows: Sequence[Sequence[Tile]], side: int = 192) -> Image.Image:
    """Every tile in a square of `side` pixels, at its own aspect, with its title and text below: an RGB picture.

    A text has two lines, or as many as the longest needs, up to six.
    """
    across = side + 2 * _MARGIN
    texts = [tile.text for row in rows for tile in row]
    needed = max((len(wrapped(text, font_for(text, _TEXT - 1), side, _MOST_LINES)) for text in texts), default=0)
    lines = 1 + max(_LINES - 1, needed)
    down = side + 2 * _MARGIN + lines * (_TEXT + _SPACE)
    columns = max((len(row) for row in rows), default=1)
    sheet = Image.new("RGB", (max(columns, 1) * across, max(len(rows), 1) * down), PAPER)
    for number, row in enumerate(rows):
        for column, tile in enumerate(row):
            _draw(sheet, tile, column * across + _MARGIN, number * down + _MARGIN, side, lines)
    return sheet


def _draw(sheet: Image.Image, tile: Tile, left: int, top: int, side: int, most: int) -> None:
    pen = ImageDraw.Draw(sheet)
    if tile.frame is not None:
        pen.rectangle((left - 4, top - 4, left + side + 3, top + side + 3), outline=tile.frame, width=3)
    if tile.picture is None:
        pen.rectangle((left, top, left + side - 1, top + side - 1), fill=_MISSING)
    else:
        small = thumbnail(tile.picture, side, side)
        sheet.paste(small, (left + (side - small.width) // 2, top + side - small.height))
    title, text = font_for(tile.title, _TEXT), font_for(tile.text, _TEXT - 1)
    lines = [(fitted(tile.title, title, side), title, INK)]
    lines += [(line, text, FAINT) for line in wrapped(tile.text, text, side, most - 1)]
    for number, (line, font, colour) in enumerate(lines):
        pen.text((left, top + side + _SPACE + number * (_TEXT + _SPACE)), line, fill=colour, font=font)
