"""Captions and borders: bars that were laid over a picture or round it, and are no more of its scene."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.close_look import CLOSE_SIDE
from curate.lookalikes.planes import Box, Floats, Mask

_BAR = 0.5  # share of a strip's pixels that have its median colour, in a bar with words
_EVEN = 0.95  # the same in a border
_BAR_LEVELS = 16  # of each channel, by which a colour may vary in a bar
LINE = 0.15  # share of a bar's width along which another colour follows at once
LINE_OF_DRAWINGS = 0.5  # the same in drawings, whose even ground ends at each stroke
_LONGER = 2  # times, that the line of a bar is longer than that of what it covers
_LATE = 10  # rows by which a bar may reach further than what differs under it
_WIDEST = round(0.22 * CLOSE_SIDE)  # pixels of a bar over the picture
EDGE = 0.012  # of the frame: what registering may be wrong by, and no content

Beyond = Literal["", "bar", "more"]


class Bars(NamedTuple):
    """Which pictures have a bar over an edge of what both show, and where the rest is."""

    first: Beyond
    second: Beyond
    mask: Mask


def bars_over(error: Floats, a: Floats, b: Floats, where: Mask, line: float) -> Bars:
    """Leave out a caption that lies over an edge of one picture: even but for its words, and set off by a line along so
    much of the edge.

    Where both have such a strip, as two forms do, what differs in it is no caption; unless the line of one is that much
    longer, as that of a black bar over the shadow at the edge of a photograph.
    """
    bad = (error >= 1) & where
    covered = [False, False]
    mask = where.copy()
    if not bad.any():
        return Bars("", "", mask)
    for turns in range(4):  # the top, then each of the other edges in its place
        turned_bad, turned_mask = np.rot90(bad, turns), np.rot90(mask, turns)
        reach = np.flatnonzero(turned_bad[:_WIDEST].any(axis=1))
        if not len(reach) or turned_bad[_WIDEST : _WIDEST + 4].any():
            continue
        end = int(reach[-1]) + 1
        lines = [_lines_of_bar(np.rot90(x, turns), end) for x in (a, b)]
        barred = [_has_bar(mine, other, line) for mine, other in (lines, lines[::-1])]
        if any(barred):
            covered = [covered[0] or barred[0], covered[1] or barred[1]]
            turned_mask[: end + 2] = False
    return Bars("bar" if covered[0] else "", "bar" if covered[1] else "", mask)


def _has_bar(mine: Floats, other: Floats, line: float) -> bool:
    """Whether the lines in one of two pictures, float32[n], are those of a bar that the other has not."""
    if other.max() < line:
        return bool(mine.max() >= line)
    return bool(other.max() < LINE_OF_DRAWINGS and ((mine >= line) & (other < mine / _LONGER)).any())


def _lines_of_bar(pixels: Floats, end: int) -> Floats:
    """Along which share of the width a line ends the rows before `end`, and before each of some rows round it, where
    these are of one colour but for words; 0 where they are not: float32[n].
    """
    return np.array([_line_before(pixels, at) for at in range(max(4, end - 4), end + _LATE)], np.float32)


def _line_before(pixels: Floats, end: int) -> float:
    strip = pixels[: max(1, end - 1)].reshape(-1, 3)
    colour = _median_colour(strip)
    return _line_at(pixels, end, colour) if _share_of(strip, colour) >= _BAR else 0.0


def _line_at(pixels: Floats, end: int, colour: Floats) -> float:
    """Along which share of the width a strip of that colour ends at row `end` in a line: right after it, the rows are
    of another colour.

    A scene's own ground ends here and there too, and nowhere along a line.
    """
    near = _has_colour(pixels[max(0, end - 4) : end + 5], colour)
    before, after = near[: min(end, 4) - 1], near[min(end, 4) + 2 :]
    return float((before.all(axis=0) & ~after.any(axis=0)).mean()) if len(before) and len(after) else 0.0


def _share_of(pixels: Floats, colour: Floats) -> float:
    """The share of pixels [n, 3] within 16 levels of a colour."""
    return float(_has_colour(pixels, colour).mean()) if len(pixels) else 0.0


def _has_colour(pixels: Floats, colour: Floats) -> Mask:
    """Which pixels [..., 3] are within 16 levels of a colour: by channel, as a maximum over three is slow."""
    red, green, blue = (np.abs(pixels[..., channel] - colour[channel]) <= _BAR_LEVELS for channel in range(3))
    all_three: Mask = red & green & blue
    return all_three


def _median_colour(pixels: Floats) -> Floats:
    """The median of each channel of pixels [n, 3]."""
    return np.asarray(np.median(np.ascontiguousarray(pixels.T), axis=1), np.float32)


def beyond(pixels: NDArray[np.uint8], inner: Box) -> Beyond:
    """What a picture has outside a box in it: nothing, a bar round it or at an edge, or more of the scene."""
    left, right, top, bottom = inner
    strips = []
    for turns, width in ((0, top), (1, 1 - right), (2, 1 - bottom), (3, left)):
        if width > EDGE:
            strips.append((np.rot90(pixels, turns).astype(np.float32), max(1, round(width * CLOSE_SIDE) - 1)))
    if not strips:
        return ""
    colours = [_median_colour(turned[:end].reshape(-1, 3)) for turned, end in strips]
    # A border goes round the picture and is even; a caption is a bar along one edge, with words.
    share = _EVEN if len(strips) > 1 else _BAR
    even = all(
        _share_of(turned[:end].reshape(-1, 3), colour) >= share
        for (turned, end), colour in zip(strips, colours, strict=True)
    )
    # Without a line where it ends, an even strip is the scene's own ground.
    lines = sum(_line_at(turned, end, colour) >= LINE for (turned, end), colour in zip(strips, colours, strict=True))
    set_off = 2 * lines >= len(strips)
    return "bar" if even and set_off else "more"
