"""The tones of two pictures of a close look, and how those of one are brought to those of the other.

Whoever brightens a copy or stretches its contrast changes each channel along a line, which is clipped at its ends.
"""

from dataclasses import dataclass

import numpy as np

from curate.lookalikes.planes import Floats, Mask, Range, exactly, halved, of_three

_GAINS = 0.28, 3.5  # what brightening and stretching the contrast do to a channel; more is another colour
_STEEP = 12.0  # the same where a channel has few tones, and all of them lie on one line
_STRAIGHT = 0.99  # correlation of a channel's tones that lie on a line; those of stretched copies have 0.999
_MOST = 0.8  # of the unclipped pixels, which have to lie on it
_GREY_GAINS = 0.6, 1.67  # the same between a picture and what is grey: white and red in one light are two colours
_CLIPPED = 5, 250
_ENOUGH = 200  # unclipped pixels to fit tones to
_NO_SPREAD = 4.0  # levels², of a channel that says nothing of gain


@dataclass(frozen=True)
class Tones:
    """How the first picture's channels come to the second's: `gain` float32[3], `offset` float32[3] in levels."""

    gain: Floats
    offset: Floats

    def equalled(self, a: Floats, b: Floats) -> tuple[Range, Range]:
        """Both pictures, float32[256, 256, 3], in the wider range of the two, channel by channel.

        So what was clipped in one is clipped in the other, and no difference.
        """
        widens = self.gain >= 1
        wide_a = _stretched(a, np.where(widens, self.gain, 1), np.where(widens, self.offset, 0))
        back = 1 / self.gain
        wide_b = _stretched(b, np.where(widens, 1, back), np.where(widens, 0, -self.offset * back))
        return wide_a, wide_b


def _stretched(pixels: Floats, gain: Floats, offset: Floats) -> Range:
    """Where a picture float32[n, n, 3] lies once its tones are stretched and clipped, channel by channel.

    The clipping came before the picture was reduced, and the mean of what was clipped is not the clipped mean: where
    the tones round a pixel reach beyond white or black, it may lie anywhere between the line and its chord.
    """
    if np.all(gain == 1) and not np.any(offset):
        return exactly(pixels)
    line = (pixels * gain + offset).astype(np.float32)
    curve = np.clip(line, 0, 255)
    clipped = np.flatnonzero((np.abs(line - curve) > 1).any(axis=(0, 1)))
    if not len(clipped):
        return exactly(curve)
    low, high = curve.copy(), curve.copy()
    for channel in clipped.tolist():
        plane = pixels[:, :, channel]
        ends = [of_three(of_three(plane, extreme), extreme) for extreme in (np.minimum, np.maximum)]
        dark, light = (np.clip(end * gain[channel] + offset[channel], 0, 255) for end in ends)
        chord = dark + (plane - ends[0]) * (light - dark) / np.maximum(ends[1] - ends[0], 1)
        np.minimum(low[:, :, channel], chord, out=low[:, :, channel])
        np.maximum(high[:, :, channel], chord, out=high[:, :, channel])
    return Range(low, high)


SAME_TONES = Tones(np.ones(3, np.float32), np.zeros(3, np.float32))


def fit_tones(a: Floats, b: Floats, where: Mask, *, as_grey: bool) -> Tones:
    """Fit gain and offset of each channel of float32[256, 256, 3], by least squares that leave out what fits ill.

    Clipped pixels say nothing, and what differs must not be fitted: so residuals far beyond the median are left out in
    turn (iterated trimming, Rousseeuw and Leroy 1987). A channel that is clipped throughout follows the others. What
    was made grey keeps its luma, so `as_grey` grants little gain.
    """
    low, high = _CLIPPED
    unclipped = where[:, :, None] & (np.minimum(a, b) > low) & (np.maximum(a, b) < high)
    # Of 4 × 4 pixels the mean, and whether all of them count.
    blurred = [halved(halved(x)) for x in (a, b)]
    clear, inside = (halved(halved(x.astype(np.float32))) == 1 for x in (unclipped, where))
    told = clear.sum(axis=(0, 1)) > _ENOUGH
    gain, offset = np.ones(3, np.float32), np.zeros(3, np.float32)
    for channel in range(3):
        x, y = (plane[:, :, channel] for plane in blurred)
        chosen = clear[:, :, channel] if told[channel] else inside
        gain[channel], offset[channel] = _line(x[chosen], y[chosen], as_grey=as_grey)
    if told.any():
        gain[~told], offset[~told] = gain[told].mean(), 0
    return Tones(gain, offset)


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
