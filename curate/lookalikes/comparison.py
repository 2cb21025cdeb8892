"""The comparison of two pictures that register: is any place of them different, and how does one lie in the other?

Two products of one bottle, two filled-in forms, two frames of one camera agree in all but a place, and no mean over the
picture tells them apart. So the tones of one are brought to those of the other, and the largest difference that hangs
together decides.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.bars import EDGE, LINE, LINE_OF_DRAWINGS, Beyond, bars_over, beyond
from curate.lookalikes.bearing_out import is_borne_out, is_part_borne_out
from curate.lookalikes.close_look import CLOSE_SIDE, CloseLook
from curate.lookalikes.colour import YCC
from curate.lookalikes.difference import EVEN_LEVELS, SMALL_DIFFERENCE, error_at_each_place
from curate.lookalikes.planes import Box, Floats, Mask, box_mean, exactly, halved
from curate.lookalikes.registration import overlap, refine, warp
from curate.lookalikes.tones import SAME_TONES, fit_tones

SMALL = 64
"""Pixels of the short side below which a picture has no detail to spare: its copy has its size, tones and pixels."""

NEAR_SHARE = 0.25
"""Of what both show, that may differ in two pictures of one thing."""

_RIM = 3 / CLOSE_SIDE
_GREY = 2.0  # mean distance of Cb and Cr from grey, in levels
_PARTS_STRETCH = 1.05  # by which a part of a drawing may be stretched; two bars of other lengths are no copies
_EVEN_SHARE = 0.85
_ENLARGED_BLUR = 1.0
_SURE = 0.5  # of the most that a copy may differ: below, refining is not needed
_HOPELESS = 8.0  # above, it is not tried
_WHOLE = (0.0, 1.0, 0.0, 1.0)
_LITTLE = 0.08  # of the frame, by which a guess may be wrong
_ROUNDS = 3  # of refining, while it gets better
_REFINE = (((1.4, 6.0), 2), ((0.7, 3.0), 3))


@dataclass(frozen=True)
class Comparison:
    """What was found of two registered pictures.

    `placement` is where the first lies in the second: (left, right, top, bottom), the second is 0…1. `difference` is
    the largest that hangs together, 1 being the most that a copy may have. `gain` and `offset` bring each channel of
    the first to the second's, in levels. `beyond_first` and `beyond_second` say what each has outside the other:
    nothing, a bar (border, caption), or more of the scene. `grey_first` and `grey_second` say which has no colours.
    `differing` is the share of what both show that differs by more than a copy may. `is_borne_out` says that there is
    detail which both have, and of a part, that the detail tells where in the whole it lies, both across and down.
    """

    placement: Box
    difference: float
    gain: tuple[float, float, float]
    offset: tuple[float, float, float]
    beyond_first: Beyond
    beyond_second: Beyond
    grey_first: bool
    grey_second: bool
    differing: float = 0.0
    is_borne_out: bool = True

    def is_near(self) -> bool:
        """Whether all but a small part of what both show is the same."""
        return self.differing <= NEAR_SHARE

    def is_copy(self) -> bool:
        """Whether nothing but the frame differs, and one of the two holds all of the scene that the other holds."""
        parts = (self.beyond_first, self.beyond_second).count("more")
        return self.difference < 1 and parts <= 1 and self.is_borne_out


def compare(first: CloseLook, second: CloseLook, placement: Box) -> Comparison:
    """Compare two pictures, the second turned as the first lies; `placement` is the guess of where it lies there.

    A copy fills its original's frame most often, so the guess is tried as it is; where it does not do, it is refined.
    """
    found = _compared(first, second, placement)
    if found.difference < _SURE or found.difference > _HOPELESS:
        return found
    for _ in range(_ROUNDS):
        refined = _compared(first, second, _refined(first, second, found.placement))
        if not refined.difference < found.difference:
            break
        found = refined
        if found.difference < _SURE:
            break
    if found.difference >= 1 and 0 < np.abs(np.array(found.placement) - _WHOLE).max() <= _LITTLE:
        # Clipped tones lead the registration astray; most copies fill the frame.
        found = min(found, _compared(first, second, _WHOLE), key=lambda it: it.difference)
    return found


def _refined(first: CloseLook, second: CloseLook, placement: Box) -> Box:
    a, b = (halved(look.pixels.astype(np.float32) @ YCC[0])[None] for look in (first, second))
    whole = np.array([[0, 1, 0, 1]], np.float32)
    left, right, top, bottom = refine(a, b, np.array([placement], np.float32), whole, _REFINE)[0].tolist()
    return left, right, top, bottom


def _compared(first: CloseLook, second: CloseLook, placement: Box) -> Comparison:
    columns, rows = (
        line[0] > 0
        for line in overlap(np.array([placement], np.float32), np.array([[0, 1, 0, 1]], np.float32), _RIM, CLOSE_SIDE)
    )
    overlapped: Mask = rows[:, None] & columns
    a, b = first.pixels.astype(np.float32), _warped(second.pixels, placement)
    grey = _is_grey(a), _is_grey(b)
    strict = _is_small(first) or _is_small(second) or (_is_graphic(first) and _is_graphic(second))
    if grey[0] != grey[1] and not strict:
        a, b = (np.repeat((x @ YCC[0])[:, :, None], 3, axis=2) for x in (a, b))
    tones = SAME_TONES if strict else fit_tones(a, b, overlapped, as_grey=grey[0] != grey[1])
    blur, small = _blur(first, second, placement), _is_small(first) and _is_small(second)
    error = error_at_each_place(*tones.equalled(a, b), overlapped, blur, small=small, drawn=strict)
    bars = bars_over(error, a, b, overlapped, LINE_OF_DRAWINGS if strict else LINE)
    difference = float(np.where(bars.mask, error, 0).max(initial=0))
    if small and (first.width, first.height) != (second.width, second.height):
        difference = np.inf
    if not overlapped.any() or (strict and _is_stretched_part(first, second, placement)):
        difference = np.inf
    over_black = _over_black(first, second, placement)
    if over_black is not None:
        small_ones = _is_small(first), _is_small(second)
        one, other = map(exactly, over_black)
        hidden = error_at_each_place(one, other, overlapped, blur, small=all(small_ones), drawn=any(small_ones))
        difference = max(difference, float(hidden.max(initial=0)))
    difference = max(difference, _later(first, second))
    outside = bars.first or beyond(first.pixels, _inverse(placement)), bars.second or beyond(second.pixels, placement)
    return Comparison(
        placement,
        difference,
        _three(tones.gain),
        _three(tones.offset),
        *outside,
        *grey,
        float(((error >= 1) & bars.mask).sum() / max(1, bars.mask.sum())),
        difference >= 1
        or (is_part_borne_out(a, b, bars.mask, blur) if "more" in outside else is_borne_out(a, b, bars.mask, blur))
        or ("more" not in outside and over_black is not None and is_borne_out(*over_black, overlapped, blur)),
    )


def _is_stretched_part(first: CloseLook, second: CloseLook, placement: Box) -> bool:
    """Whether one is a part of the other, of other proportions: only a whole picture may be squeezed."""
    left, right, top, bottom = placement
    stretch = (right - left) * second.width * first.height / ((bottom - top) * second.height * first.width)
    is_whole = np.abs(np.array(placement) - _WHOLE).max() <= 2 * EDGE
    return not is_whole and max(stretch, 1 / stretch) > _PARTS_STRETCH


def _warped(pixels: NDArray[np.uint8], placement: Box) -> Floats:
    planes = np.ascontiguousarray(np.moveaxis(pixels, 2, 0)).astype(np.float32)
    if placement == (0, 1, 0, 1):
        return np.moveaxis(planes, 0, 2)
    return np.ascontiguousarray(np.moveaxis(warp(planes, np.array([placement] * 3, np.float32)), 0, 2))


def _is_small(look: CloseLook) -> bool:
    return min(look.width, look.height) < SMALL


def _is_grey(pixels: Floats) -> bool:
    """Whether a picture, float32[256, 256, 3], has no colours."""
    return bool(np.abs(pixels[::4, ::4] @ YCC[1:].T).mean(axis=(0, 1)).max() < _GREY)


def _is_graphic(look: CloseLook) -> bool:
    """Whether a picture is drawn in few even colours, as flags, icons and forms are; then colours are what it shows."""
    pixels = look.pixels[:, :, 1].astype(np.int16)
    even = (np.abs(np.diff(pixels, axis=0))[:, 1:] <= EVEN_LEVELS) & (
        np.abs(np.diff(pixels, axis=1))[1:] <= EVEN_LEVELS
    )
    return bool(even.mean() > _EVEN_SHARE)


def _blur(first: CloseLook, second: CloseLook, placement: Box) -> float:
    """The width of the Gaussian, in pixels, that takes from both what the coarser of them cannot hold.

    That is the smaller one, and one of which a part is enlarged to the frame of the other.
    """
    left, right, top, bottom = placement
    enlarged = min(right - left, bottom - top) < 1 - EDGE
    return max(_ENLARGED_BLUR if enlarged else 0.0, first.blur, second.blur)


def _over_black(first: CloseLook, second: CloseLook, placement: Box) -> tuple[Floats, Floats] | None:
    """Both pictures over black, the second as the first lies; None where nothing in either is transparent."""
    if first.on_black is None and second.on_black is None:
        return None
    a, b = (look.pixels if look.on_black is None else look.on_black for look in (first, second))
    return a.astype(np.float32), _warped(b, placement)


def _later(first: CloseLook, second: CloseLook) -> float:
    """How far two animations differ after their first frame: not at all, or beyond measure where one is longer."""
    if first.further != second.further:
        return np.inf
    if not first.further:
        return 0.0
    apart = np.abs(first.frames.astype(np.float32) - second.frames.astype(np.float32)).max(axis=3)
    return max(float(box_mean(frame, 3).max()) for frame in apart) / SMALL_DIFFERENCE


def _inverse(placement: Box) -> Box:
    """Where the second lies in the first."""
    left, right, top, bottom = placement
    width, height = right - left, bottom - top
    return -left / width, (1 - left) / width, -top / height, (1 - top) / height


def _three(values: Floats) -> tuple[float, float, float]:
    red, green, blue = values.tolist()
    return red, green, blue
