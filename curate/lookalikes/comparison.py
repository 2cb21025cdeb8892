"""The comparison of two pictures that register: is any place of them different, and how does one lie in the other?

Two products of one bottle, two filled-in forms, two frames of one camera agree in all but a place, and no mean over the
picture tells them apart. So the tones of one are brought to those of the other, and the largest difference that hangs
together decides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.close_look import CLOSE_SIDE, CloseLook
from curate.lookalikes.registration import overlap, refine, warp

MAX_DIFFERENCE = 8.0
"""Levels of luma, as the mean over 5 × 5 of 256 × 256 pixels: the largest difference that a copy may have.

Copies of 60 photographs made in 21 ways have 8 at most where their tones can be equalled, most of them below 4; a
scratch three of 640 pixels wide has 16.
"""

MAX_COLOUR_DIFFERENCE = 8.0
"""Levels of Cb or Cr, as the mean over 9 × 9 pixels."""

SMALL = 64
"""Pixels of the short side below which a picture has no detail to spare: its copy has its size, tones and pixels."""

SMALL_DIFFERENCE = 24.0
"""Levels in the place of both, for small pictures, whose every pixel recompression changes."""

NEAR_SHARE = 0.25
"""Of what both show, that may differ in two pictures of one thing."""

_GAINS = 0.28, 3.5  # what brightening and stretching the contrast do to a channel; more is another colour
_STEEP = 12.0  # the same where a channel has few tones, and all of them lie on one line
_STRAIGHT = 0.99  # correlation of a channel's tones that lie on a line; those of stretched copies have 0.999
_MOST = 0.8  # of the unclipped pixels, which have to lie on it
_GREY_GAINS = 0.6, 1.67  # the same between a picture and what is grey: white and red in one light are two colours
_CLIPPED = 5, 250
_RIM = 3 / CLOSE_SIDE
_GREY = 2.0  # mean distance of Cb and Cr from grey, in levels
_BAR = 0.5  # share of a strip's pixels that have its median colour, in a bar with words
_EVEN = 0.95  # the same in a border
_BAR_LEVELS = 16
_LINE = 0.15  # share of a bar's width along which another colour follows at once
_LINE_OF_DRAWINGS = 0.5  # the same in drawings, whose even ground ends at each stroke
_PARTS_STRETCH = 1.05  # by which a part of a drawing may be stretched; two bars of other lengths are no copies
_LATE = 10  # rows by which a bar may reach further than what differs under it
_WIDEST = round(0.22 * CLOSE_SIDE)  # pixels of a bar over the picture
_EDGE = 0.012  # of the frame: what registering may be wrong by, and no content
_EVEN_SHARE = 0.85
_ENOUGH = 200  # unclipped pixels to fit tones to
_NO_SPREAD = 4.0  # levels², of a channel that says nothing of gain
_FULL_BLUR = 0.8  # the blur of 192 pixels: what is smaller shows each error of compression larger
_ENLARGED_BLUR = 1.0
_SURE = 0.5  # of the most that a copy may differ: below, refining is not needed
_HOPELESS = 8.0  # above, it is not tried
_WHOLE = (0.0, 1.0, 0.0, 1.0)
_LITTLE = 0.08  # of the frame, by which a guess may be wrong
_ROUNDS = 3  # of refining, while it gets better
_BEARING = 1.0, 4.0  # band of the detail that bears out where a part lies: widths of two Gaussians in pixels
_BORNE_OUT = 0.5  # its correlation: that of crops, also halved and saved at quality 25, is above 0.85, of chance 0.02
_DETAIL = 0.3  # levels, root mean square of a band, below which there is nothing but rounding
_OCTAVES = 2  # bands of detail, the second four times as wide; what is wider still, a lens may have done
_CONTRADICTED = 0.25  # correlation of detail below which it is another's: that of JPEGs of quality 25 of noise is 0.3
_REFINE = (((1.4, 6.0), 2), ((0.7, 3.0), 3))

_EVEN_LEVELS = 2

_YCC = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], np.float32)

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
Beyond = Literal["", "bar", "more"]


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


class _Range(NamedTuple):
    """Between which values a plane or a picture is: two arrays of one shape, or one twice where all is known."""

    low: Floats
    high: Floats

    def seen(self, row: Floats) -> "_Range":
        """A row of `_YCC` of a picture float32[n, n, 3]: float32[n, n]."""
        if self.low is self.high:
            return _exactly(self.low @ row)
        more, less = np.maximum(row, 0), np.minimum(row, 0)
        return _Range(self.low @ more + self.high @ less, self.high @ more + self.low @ less)

    def each(self, function: Callable[[Floats], Floats]) -> "_Range":
        """The same of what a function that keeps order gives of either bound."""
        low = function(self.low)
        return _Range(low, low if self.low is self.high else function(self.high))


def _exactly(values: Floats) -> _Range:
    return _Range(values, values)


@dataclass(frozen=True)
class _Tones:
    """How the first picture's channels come to the second's: `gain` float32[3], `offset` float32[3] in levels."""

    gain: Floats
    offset: Floats

    def equalled(self, a: Floats, b: Floats) -> tuple[_Range, _Range]:
        """Both pictures, float32[256, 256, 3], in the wider range of the two, channel by channel.

        So what was clipped in one is clipped in the other, and no difference.
        """
        widens = self.gain >= 1
        wide_a = _stretched(a, np.where(widens, self.gain, 1), np.where(widens, self.offset, 0))
        back = 1 / self.gain
        wide_b = _stretched(b, np.where(widens, 1, back), np.where(widens, 0, -self.offset * back))
        return wide_a, wide_b


def _stretched(pixels: Floats, gain: Floats, offset: Floats) -> _Range:
    """Where a picture float32[n, n, 3] lies once its tones are stretched and clipped, channel by channel.

    The clipping came before the picture was reduced, and the mean of what was clipped is not the clipped mean: where
    the tones round a pixel reach beyond white or black, it may lie anywhere between the line and its chord.
    """
    if np.all(gain == 1) and not np.any(offset):
        return _exactly(pixels)
    line = (pixels * gain + offset).astype(np.float32)
    curve = np.clip(line, 0, 255)
    clipped = np.flatnonzero((np.abs(line - curve) > 1).any(axis=(0, 1)))
    if not len(clipped):
        return _exactly(curve)
    low, high = curve.copy(), curve.copy()
    for channel in clipped.tolist():
        plane = pixels[:, :, channel]
        ends = [_of_three(_of_three(plane, extreme), extreme) for extreme in (np.minimum, np.maximum)]
        dark, light = (np.clip(end * gain[channel] + offset[channel], 0, 255) for end in ends)
        chord = dark + (plane - ends[0]) * (light - dark) / np.maximum(ends[1] - ends[0], 1)
        np.minimum(low[:, :, channel], chord, out=low[:, :, channel])
        np.maximum(high[:, :, channel], chord, out=high[:, :, channel])
    return _Range(low, high)


_SAME_TONES = _Tones(np.ones(3, np.float32), np.zeros(3, np.float32))


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
    a, b = (_halved(look.pixels.astype(np.float32) @ _YCC[0])[None] for look in (first, second))
    whole = np.array([[0, 1, 0, 1]], np.float32)
    left, right, top, bottom = refine(a, b, np.array([placement], np.float32), whole, _REFINE)[0].tolist()
    return left, right, top, bottom


def _halved(plane: Floats) -> Floats:
    """The means of 2 × 2 pixels: float32[n, n, …] → float32[n / 2, n / 2, …]."""
    across = plane[:, ::2] + plane[:, 1::2]
    halved: Floats = (across[::2] + across[1::2]) * np.float32(0.25)
    return halved


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
        a, b = (np.repeat((x @ _YCC[0])[:, :, None], 3, axis=2) for x in (a, b))
    tones = _SAME_TONES if strict else _tones(a, b, overlapped, as_grey=grey[0] != grey[1])
    blur, small = _blur(first, second, placement), _is_small(first) and _is_small(second)
    error = _error(*tones.equalled(a, b), overlapped, blur, small=small, drawn=strict)
    bars = _bars(error, a, b, overlapped, _LINE_OF_DRAWINGS if strict else _LINE)
    difference = float(np.where(bars.mask, error, 0).max(initial=0))
    if small and (first.width, first.height) != (second.width, second.height):
        difference = np.inf
    if not overlapped.any() or (strict and _is_stretched_part(first, second, placement)):
        difference = np.inf
    over_black = _over_black(first, second, placement)
    if over_black is not None:
        small_ones = _is_small(first), _is_small(second)
        one, other = map(_exactly, over_black)
        hidden = _error(one, other, overlapped, blur, small=all(small_ones), drawn=any(small_ones))
        difference = max(difference, float(hidden.max(initial=0)))
    difference = max(difference, _later(first, second))
    beyond = bars.first or _beyond(first.pixels, _inverse(placement)), bars.second or _beyond(second.pixels, placement)
    return Comparison(
        placement,
        difference,
        _three(tones.gain),
        _three(tones.offset),
        *beyond,
        *grey,
        float(((error >= 1) & bars.mask).sum() / max(1, bars.mask.sum())),
        difference >= 1
        or (_is_part_borne_out(a, b, bars.mask, blur) if "more" in beyond else _is_borne_out(a, b, bars.mask, blur))
        or ("more" not in beyond and over_black is not None and _is_borne_out(*over_black, overlapped, blur)),
    )


def _is_stretched_part(first: CloseLook, second: CloseLook, placement: Box) -> bool:
    """Whether one is a part of the other, of other proportions: only a whole picture may be squeezed."""
    left, right, top, bottom = placement
    stretch = (right - left) * second.width * first.height / ((bottom - top) * second.height * first.width)
    is_whole = np.abs(np.array(placement) - _WHOLE).max() <= 2 * _EDGE
    return not is_whole and max(stretch, 1 / stretch) > _PARTS_STRETCH


def _is_borne_out(a: Floats, b: Floats, where: Mask, blur: float) -> bool:
    """Whether there is detail, fine or coarse, that both pictures have.

    Two fields of noise differ nowhere by more than their neighbouring pixels do, and two bare walls hardly at all:
    nothing in them tells a copy from another picture, unless the pixels are the same.
    """
    if np.array_equal(a, b):
        return True
    lumas, inside = [_levelled(x @ _YCC[0]) for x in (a, b)], where.astype(np.float32)
    for _ in range(_OCTAVES):
        fine, wide = max(_BEARING[0], blur), _BEARING[1]
        bands = [_smooth(luma, fine) - _smooth(luma, max(wide, 2 * fine)) for luma in lumas]
        x, y = (band[inside == 1] for band in bands)
        powers = float(x @ x), float(y @ y)
        if min(powers) >= len(x) * _DETAIL**2 > 0:
            agreement = float(x @ y) / float(np.sqrt(powers[0] * powers[1]))
            if agreement >= _BORNE_OUT or agreement < _CONTRADICTED:
                return agreement >= _BORNE_OUT
        lumas, inside, blur = [_halved(_halved(luma)) for luma in lumas], _halved(_halved(inside)), blur / 4
    return False


def _levelled(luma: Floats) -> Floats:
    """A luma float32[n, n] without the plane that fits it best: light that falls off is on any wall."""
    axis = np.linspace(-1, 1, len(luma), dtype=np.float32)
    slopes = 1 / float((axis**2).mean())
    down, across = (float(axis @ luma.mean(axis=1 - along)) / len(axis) * slopes for along in (0, 1))
    level: Floats = luma - luma.mean() - down * axis[:, None] - across * axis
    return level


def _is_part_borne_out(a: Floats, b: Floats, where: Mask, blur: float) -> bool:
    """Whether detail that changes across, and detail that changes down, is where it is in both pictures.

    Light that falls off over stripes fits any part of such a picture: along the stripes nothing tells where it lies.
    """
    fine, wide = max(_BEARING[0], blur), _BEARING[1]
    bands = [_smooth(luma, fine) - _smooth(luma, max(wide, 2 * fine)) for luma in (a @ _YCC[0], b @ _YCC[0])]
    for axis in (0, 1):
        changes = [np.diff(band if axis else band.T, axis=1) for band in bands]
        both = where if axis else where.T
        x, y = (change[both[:, 1:] & both[:, :-1]] for change in changes)
        if float(x @ y) < _BORNE_OUT * float(np.sqrt((x @ x) * (y @ y))) or not x.any():
            return False
    return True


def _warped(pixels: NDArray[np.uint8], placement: Box) -> Floats:
    planes = np.ascontiguousarray(np.moveaxis(pixels, 2, 0)).astype(np.float32)
    if placement == (0, 1, 0, 1):
        return np.moveaxis(planes, 0, 2)
    return np.ascontiguousarray(np.moveaxis(warp(planes, np.array([placement] * 3, np.float32)), 0, 2))


def _is_small(look: CloseLook) -> bool:
    return min(look.width, look.height) < SMALL


def _is_grey(pixels: Floats) -> bool:
    """Whether a picture, float32[256, 256, 3], has no colours."""
    return bool(np.abs(pixels[::4, ::4] @ _YCC[1:].T).mean(axis=(0, 1)).max() < _GREY)


def _is_graphic(look: CloseLook) -> bool:
    """Whether a picture is drawn in few even colours, as flags, icons and forms are; then colours are what it shows."""
    pixels = look.pixels[:, :, 1].astype(np.int16)
    even = (np.abs(np.diff(pixels, axis=0))[:, 1:] <= _EVEN_LEVELS) & (
        np.abs(np.diff(pixels, axis=1))[1:] <= _EVEN_LEVELS
    )
    return bool(even.mean() > _EVEN_SHARE)


def _tones(a: Floats, b: Floats, where: Mask, *, as_grey: bool) -> _Tones:
    """Fit gain and offset of each channel of float32[256, 256, 3], by least squares that leave out what fits ill.

    Clipped pixels say nothing, and what differs must not be fitted: so residuals far beyond the median are left out in
    turn (iterated trimming, Rousseeuw and Leroy 1987). A channel that is clipped throughout follows the others. What
    was made grey keeps its luma, so `as_grey` grants little gain.
    """
    low, high = _CLIPPED
    unclipped = where[:, :, None] & (np.minimum(a, b) > low) & (np.maximum(a, b) < high)
    # Of 4 × 4 pixels the mean, and whether all of them count.
    blurred = [_halved(_halved(x)) for x in (a, b)]
    clear, inside = (_halved(_halved(x.astype(np.float32))) == 1 for x in (unclipped, where))
    told = clear.sum(axis=(0, 1)) > _ENOUGH
    gain, offset = np.ones(3, np.float32), np.zeros(3, np.float32)
    for channel in range(3):
        x, y = (plane[:, :, channel] for plane in blurred)
        chosen = clear[:, :, channel] if told[channel] else inside
        gain[channel], offset[channel] = _line(x[chosen], y[chosen], as_grey=as_grey)
    if told.any():
        gain[~told], offset[~told] = gain[told].mean(), 0
    return _Tones(gain, offset)


def _line(x: Floats, y: Floats, *, as_grey: bool) -> tuple[float, float]:
    """Gain and offset of a channel. A gain beyond the usual is taken only where the tones lie on a line."""
    if as_grey:
        return _fit(x, y, _GREY_GAINS)[:2]
    gain, offset, kept = _fit(x, y, (1 / _STEEP, _STEEP))
    if _GAINS[0] <= gain <= _GAINS[1] or (kept.mean() >= _MOST and _are_straight(x[kept], y[kept])):
        return gain, offset
    return _fit(x, y, _GAINS)[:2]


def _fit(x: Floats, y: Floats, gains: tuple[float, float]) -> tuple[float, float, Mask]:
    """(gain, offset, which of the tones were fitted)."""
    gain, offset = 1.0, 0.0
    kept = np.ones(len(x), np.bool_)
    for _ in range(4):
        if not kept.any():
            break
        some, others = x[kept], y[kept]
        spread = float(some.var())
        gain = float(np.mean((some - some.mean()) * (others - others.mean()))) / spread if spread > _NO_SPREAD else 1.0
        gain = min(max(gain, gains[0]), gains[1])
        offset = float(others.mean() - gain * some.mean())
        residual = np.abs(gain * x + offset - y)
        kept = residual <= max(4.0, 2.5 * float(np.median(residual)))
    return gain, offset, kept


def _are_straight(x: Floats, y: Floats) -> bool:
    """Whether the tones of a channel lie on a line."""
    x, y = x - x.mean(), y - y.mean()
    return float(np.mean(x * y)) >= _STRAIGHT * float(np.sqrt(np.mean(x**2) * np.mean(y**2))) > 0


def _error(a: _Range, b: _Range, where: Mask, blur: float, *, small: bool, drawn: bool) -> Floats:
    """How far two pictures differ at each place, 1 being the most that a copy may: float32[256, 256].

    `small` says that they are below `SMALL`, `drawn` that an even colour of them compares as a colour.

    A pixel of one may lie anywhere between the least and the most of its 3 × 3 neighbours in the other, so what half a
    pixel of misplacement or another resampling filter does along an edge is no difference.
    """
    most = SMALL_DIFFERENCE if small else min(SMALL_DIFFERENCE, MAX_DIFFERENCE * max(1.0, blur / _FULL_BLUR))
    limit = np.full(where.shape, most, np.float32)
    if drawn:
        # Saving anew changes what lies along edges, and hardly an even colour.
        limit[_is_even(a.low) & _is_even(b.low)] = MAX_DIFFERENCE
    coarse_limit = np.maximum(limit[::2, ::2], limit[1::2, 1::2])
    luma = [x.seen(_YCC[0]).each(lambda plane: _smooth(plane, blur)) for x in (a, b)]
    error = _beyond_neighbours(luma[0], luma[1], where, 5) / limit
    small_where = where[::2, ::2] & where[1::2, 1::2]
    halves = [x.each(_halved) for x in (a, b)]
    coarse = np.zeros(small_where.shape, np.float32)
    for row in _YCC[1:]:
        soft = [x.seen(row).each(lambda plane: _smooth(plane, max(1.0, blur / 2))) for x in halves]
        coarse = np.maximum(coarse, _beyond_neighbours(soft[0], soft[1], small_where, 5))
    worst: Floats = np.maximum(error, np.repeat(np.repeat(coarse / coarse_limit, 2, axis=0), 2, axis=1))
    return worst


def _is_even(pixels: Floats) -> Mask:
    """Where a picture, float32[256, 256, 3], is of one colour for some pixels round: bool[256, 256]."""
    changes = np.zeros(pixels.shape[:2], np.float32)
    for channel in range(3):
        plane = pixels[:, :, channel]
        np.maximum(changes[1:], np.abs(np.diff(plane, axis=0)), out=changes[1:])
        np.maximum(changes[:, 1:], np.abs(np.diff(plane, axis=1)), out=changes[:, 1:])
    even: Mask = _of_three(_of_three(changes, np.maximum), np.maximum) <= _EVEN_LEVELS
    return even


def _smooth(plane: Floats, width: float) -> Floats:
    """A plane float32[n, n] under a Gaussian of that width in pixels, its edges continued."""
    reach = max(1, round(3 * width))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for _ in range(2):  # down, then across
        padded = np.pad(plane, ((reach, reach), (0, 0)), mode="edge")
        smooth = weights[0] * padded[: len(plane)]
        for at in range(1, len(weights)):
            smooth += weights[at] * padded[at : at + len(plane)]
        plane = np.ascontiguousarray(smooth.T)
    return plane


def _beyond_neighbours(a: _Range, b: _Range, where: Mask, side: int) -> Floats:
    """The mean over side × side pixels of how far either is outside the other's 3 × 3 neighbourhood, in levels."""
    beyond = np.zeros_like(a.low)
    for one, other in ((a, b), (b, a)):
        np.maximum(beyond, _of_three(one.low, np.minimum) - other.high, out=beyond)
        np.maximum(beyond, other.low - _of_three(one.high, np.maximum), out=beyond)
    return _box_mean(np.where(where, beyond, 0), side)


def _of_three(plane: Floats, extreme: np.ufunc) -> Floats:
    """The least or the most of the 3 × 3 pixels round each."""
    for axis in (0, 1):
        lines = plane if axis == 0 else plane.T
        widest = lines.copy()
        extreme(widest[1:], lines[:-1], out=widest[1:])
        extreme(widest[:-1], lines[1:], out=widest[:-1])
        plane = widest if axis == 0 else widest.T
    return plane


def _box_mean(plane: Floats, side: int) -> Floats:
    """The mean of side × side pixels round each, 0 beyond the edges."""
    sums = np.pad(plane, side // 2 + 1).astype(np.float64).cumsum(axis=0).cumsum(axis=1)
    n, m = plane.shape
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    mean: Floats = (total[:n, :m] / side**2).astype(np.float32)
    return mean


def _blur(first: CloseLook, second: CloseLook, placement: Box) -> float:
    """The width of the Gaussian, in pixels, that takes from both what the coarser of them cannot hold.

    That is the smaller one, and one of which a part is enlarged to the frame of the other.
    """
    left, right, top, bottom = placement
    enlarged = min(right - left, bottom - top) < 1 - _EDGE
    shortest = min(first.width, first.height, second.width, second.height)
    return max(_ENLARGED_BLUR if enlarged else 0.6, 0.6 * CLOSE_SIDE / shortest)


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
    return max(float(_box_mean(frame, 3).max()) for frame in apart) / SMALL_DIFFERENCE


class _Bars(NamedTuple):
    """Which pictures have a bar over an edge of what both show, and where the rest is."""

    first: Beyond
    second: Beyond
    mask: Mask


def _bars(error: Floats, a: Floats, b: Floats, where: Mask, line: float) -> _Bars:
    """Leave out a caption that lies over an edge of one picture: even but for its words, and set off by a line along so
    much of the edge.

    Where both have such a strip, as two forms do, what differs in it is no caption.
    """
    bad = (error >= 1) & where
    covered = [False, False]
    mask = where.copy()
    if not bad.any():
        return _Bars("", "", mask)
    for turns in range(4):  # the top, then each of the other edges in its place
        turned_bad, turned_mask = np.rot90(bad, turns), np.rot90(mask, turns)
        reach = np.flatnonzero(turned_bad[:_WIDEST].any(axis=1))
        if not len(reach) or turned_bad[_WIDEST : _WIDEST + 4].any():
            continue
        end = int(reach[-1]) + 1
        barred = [_is_bar(np.rot90(x, turns), end, line) for x in (a, b)]
        if barred[0] != barred[1]:
            covered = [covered[0] or barred[0], covered[1] or barred[1]]
            turned_mask[: end + 2] = False
    return _Bars("bar" if covered[0] else "", "bar" if covered[1] else "", mask)


def _is_bar(pixels: Floats, end: int, line: float) -> bool:
    """Whether the rows before `end`, or some rows more, are of one colour but for words, and a line ends them."""
    return any(_bar_before(pixels, at, line) for at in range(max(4, end - 4), end + _LATE))


def _bar_before(pixels: Floats, end: int, line: float) -> bool:
    strip = pixels[: max(1, end - 1)].reshape(-1, 3)
    colour = _median_colour(strip)
    return _share_of(strip, colour) >= _BAR and _ends(pixels, end, colour, line)


def _ends(pixels: Floats, end: int, colour: Floats, line: float = _LINE) -> bool:
    """Whether a strip of that colour ends at row `end` in a line: right after it, the rows are of another colour.

    A scene's own ground ends here and there too, and nowhere along a line.
    """
    near = _has_colour(pixels[max(0, end - 4) : end + 5], colour)
    before, after = near[: min(end, 4) - 1], near[min(end, 4) + 2 :]
    return len(before) > 0 and len(after) > 0 and bool((before.all(axis=0) & ~after.any(axis=0)).mean() >= line)


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


def _inverse(placement: Box) -> Box:
    """Where the second lies in the first."""
    left, right, top, bottom = placement
    width, height = right - left, bottom - top
    return -left / width, (1 - left) / width, -top / height, (1 - top) / height


def _beyond(pixels: NDArray[np.uint8], inner: Box) -> Beyond:
    """What a picture has outside a box in it: nothing, a bar round it or at an edge, or more of the scene."""
    left, right, top, bottom = inner
    strips = []
    for turns, width in ((0, top), (1, 1 - right), (2, 1 - bottom), (3, left)):
        if width > _EDGE:
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
    lines = sum(_ends(turned, end, colour) for (turned, end), colour in zip(strips, colours, strict=True))
    set_off = 2 * lines >= len(strips)
    return "bar" if even and set_off else "more"


def _three(values: Floats) -> tuple[float, float, float]:
    red, green, blue = values.tolist()
    return red, green, blue
