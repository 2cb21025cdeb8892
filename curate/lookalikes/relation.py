"""How two copies relate: which is the source of the other, by what one knows it, and what was done, in words."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.lookalikes.alignment import Alignment, Turn
from curate.lookalikes.close_look import CloseLook
from curate.lookalikes.comparison import Comparison
from curate.lookalikes.derivation import CERTAINLY_ON_LATTICE, ON_LATTICE, Derivation, derive, holds_more
from curate.lookalikes.full_look import FullLook
from curate.lookalikes.registration import IDENTITY
from curate.lookalikes.small_look import is_small

Side = Literal["first", "second", ""]

_LIGHT = 0.1  # difference of gain from 1 in two photographs of one scene
_SAME_SIZE = 0.03  # relative difference of scale that is none
_SAME_TONES = 0.04, 5.0  # difference of gain from 1, and levels of offset
_CLIPPED = 2, 253
_KEPT = 0.05  # levels, as a mean over the picture, of what one keeps where the other is clipped
_ENOUGH = 64  # pixels
_FINER_STEPS = 0.1  # difference of the logarithms of the mean steps
_MUCH_DETAIL = 1.3
_STANDARD = np.array(
    [[16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
     [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
     [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]], np.float32,
)  # fmt: skip
"""The luma table of ITU-T T.81, annex K, which libjpeg scales by its quality."""

_TURNS = {
    Image.Transpose.FLIP_LEFT_RIGHT: "mirrored",
    Image.Transpose.FLIP_TOP_BOTTOM: "mirrored upside down",
    Image.Transpose.ROTATE_180: "turned upside down",
    Image.Transpose.TRANSPOSE: "turned and mirrored",
    Image.Transpose.TRANSVERSE: "turned and mirrored",
    Image.Transpose.ROTATE_90: "turned",
    Image.Transpose.ROTATE_270: "turned",
}


@dataclass(frozen=True, eq=False)
class CopyLooks:
    """The close and the full look at one picture."""

    close: CloseLook
    full: FullLook


@dataclass(frozen=True)
class Relation:
    """How a first picture relates to a second, which is a copy of it or it of that.

    `source` says which of them is the source, "" where nothing tells; `why` says in words what the source has before
    the other; `first_is` and `second_is` say what each is, seen from the other: "mirrored, saved again at quality 90".
    """

    source: Side
    why: str
    first_is: str
    second_is: str

    def inverse(self) -> "Relation":
        """The same, seen from the second."""
        other: dict[Side, Side] = {"first": "second", "second": "first", "": ""}
        return Relation(other[self.source], self.why, self.second_is, self.first_is)


def is_independent(first: FullLook, second: FullLook, turn: Turn, comparison: Comparison) -> bool:
    """Whether two pictures that look the same are two photographs of one scene, each with a grain of its own.

    Not told of pictures whose tones are far apart: what was clipped in one channel looks like grain in the luma.
    """
    if np.abs(np.array(comparison.gain) - 1).max() > _LIGHT:
        return False
    found = derive(first, second, turn, _luma_gain(comparison))
    return found is not None and found.independent


def relate(first: CopyLooks, second: CopyLooks, turn: Turn, comparison: Comparison) -> Relation:
    """Say which of two copies is the source. The first lies in the second turned so, as the comparison found."""
    if turn is None and all(is_small(one.close.width, one.close.height) for one in (first, second)):
        # Small copies have each other's pixels: what recompression does at their rims is no bar and no border
        comparison = replace(comparison, beyond_first="", beyond_second="", placement=IDENTITY)
    derivation = None
    if _scales(first, second, turn, comparison) is None and not (comparison.beyond_first or comparison.beyond_second):
        derivation = derive(first.full, second.full, turn, _luma_gain(comparison))
    source, why = _source(first, second, turn, comparison, derivation)
    return Relation(
        source,
        why,
        _words(first, second, turn, comparison, derivation, "first"),
        _words(second, first, turn, comparison, derivation, "second"),
    )


def _source(
    first: CopyLooks, second: CopyLooks, turn: Turn, found: Comparison, derivation: Derivation | None
) -> tuple[Side, str]:
    """The first criterion that tells: colours, frame, scale, derivation, tones, detail, loss."""
    if found.grey_first != found.grey_second:
        return ("second" if found.grey_first else "first"), "it has colours, and this one has none"
    beyond = found.beyond_first, found.beyond_second
    if beyond[0] != beyond[1]:
        if "bar" in beyond:
            return _other(beyond.index("bar")), "this one has a bar or a border"
        return _side(beyond.index("more")), "it is the whole, and this one a part of it"
    scales = _scales(first, second, turn, found)
    if scales is not None and not any(beyond):
        source = _finer(first, second, turn, scales, _luma_gain(found))
        if source:
            return source
    return (
        _made_from(derivation, CERTAINLY_ON_LATTICE)
        or _tones(first, second, turn, found)
        or _made_from(derivation, ON_LATTICE)
        or _less_lost(first.full, second.full, derivation)
        or ("", "")
    )


def _made_from(derivation: Derivation | None, near: float) -> tuple[Side, str] | None:
    """Whether the coefficients of one lie that near the multiples of the other's steps."""
    if derivation is None:
        return None
    distances = {"second": derivation.first_on_second, "first": derivation.second_on_first}
    found: list[Side] = ["second"] if distances["second"] < near else ["first"] if distances["first"] < near else []
    return (found[0], "this one was made from it") if found else None


def _less_lost(first: FullLook, second: FullLook, derivation: Derivation | None) -> tuple[Side, str] | None:
    """Which was saved with less loss, or else names its camera."""
    steps = first.encoding.quantisation, second.encoding.quantisation
    if steps[0] is not None and steps[1] is not None:
        finer = float(np.log(steps[1].mean() / steps[0].mean()))
        if abs(finer) > _FINER_STEPS:
            return ("first" if finer > 0 else "second"), "it is less compressed"
    lossless = first.encoding.lossless, second.encoding.lossless
    if lossless[0] != lossless[1]:
        return _side(lossless.index(True)), "it is stored without loss"
    if (steps[0] is None) != (steps[1] is None):  # a JPEG, and a lossy format that it is converted to
        if derivation is not None and not 1 / _MUCH_DETAIL < derivation.detail < _MUCH_DETAIL:
            return ("first" if derivation.detail > 1 else "second"), "it holds more detail"
        return _other([it is None for it in steps].index(True)), "this one was converted"
    camera = first.encoding.camera, second.encoding.camera
    if camera[0] != camera[1]:
        return _side(camera.index(True)), "it names its camera"
    return None


def _side(at: int) -> Side:
    return "second" if at else "first"


def _other(at: int) -> Side:
    return "first" if at else "second"


def _scales(first: CopyLooks, second: CopyLooks, turn: Turn, found: Comparison) -> tuple[float, float] | None:
    """How many pixels of the first a pixel of the second is, across and down; None where both are one."""
    close = second.close.turned(turn)
    left, right, top, bottom = found.placement
    across = first.close.width / ((right - left) * close.width)
    down = first.close.height / ((bottom - top) * close.height)
    tolerance = _SAME_SIZE + (0.02 if found.placement != (0, 1, 0, 1) else 0)
    return None if max(abs(np.log(across)), abs(np.log(down))) < tolerance else (across, down)


def _finer(
    first: CopyLooks, second: CopyLooks, turn: Turn, scales: tuple[float, float], gain: float
) -> tuple[Side, str] | None:
    """Which of two copies at different scales is the source: the larger, unless it is an enlargement."""
    if min(scales) > 1 - 2 * _SAME_SIZE:
        larger: Side = "first"
        more = holds_more(first.full, second.full, turn, gain)
    elif max(scales) < 1 + 2 * _SAME_SIZE:
        larger = "second"
        more = holds_more(second.full, first.full, Alignment(turn).inverse().turn, 1 / gain)
    else:  # one is wider, the other higher
        return None
    smaller: Side = "second" if larger == "first" else "first"
    return (larger, "it holds finer detail") if more else (smaller, "this one is enlarged, and holds nothing more")


def _tones(first: CopyLooks, second: CopyLooks, turn: Turn, found: Comparison) -> tuple[Side, str] | None:
    """Which still differs where the other is clipped, of two whose tones differ."""
    gain, offset = np.array(found.gain), np.array(found.offset)
    if np.abs(gain - 1).max() < _SAME_TONES[0] and np.abs(offset).max() < _SAME_TONES[1]:
        return None
    if found.placement != (0, 1, 0, 1):
        return None
    planes = first.close.pixels, second.close.turned(turn).pixels
    kept = _kept_where_clipped(*planes), _kept_where_clipped(*planes[::-1])
    if max(kept) < _KEPT or max(kept) < 2 * min(kept):
        return None
    return ("first" if kept[0] > kept[1] else "second"), "its tones are whole, and this one's are clipped"


def _kept_where_clipped(pixels: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """How much a picture differs where the other is clipped: the spread in levels, times the share of the pixels."""
    kept = 0.0
    for channel in range(3):
        for clipped in (other[:, :, channel] <= _CLIPPED[0], other[:, :, channel] >= _CLIPPED[1]):
            values = pixels[:, :, channel][clipped]
            if len(values) > _ENOUGH:
                low, high = np.percentile(values, (10, 90))
                kept += float(high - low) * len(values) / clipped.size
    return kept


def _luma_gain(found: Comparison) -> float:
    red, green, blue = found.gain
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _words(
    this: CopyLooks, other: CopyLooks, turn: Turn, found: Comparison, derivation: Derivation | None, side: Side
) -> str:
    """What one picture is, seen from the other."""
    first = side == "first"
    words = []
    if turn is not None:
        words.append(_TURNS[turn])
    if (found.grey_first if first else found.grey_second) and not (found.grey_second if first else found.grey_first):
        words.append("grey")
    words += _frame_words(found, first)
    words += _tone_words(found, first)
    scales = _scales(this, other, turn, found) if first else _scales(other, this, turn, found)
    if scales is not None:
        across, down = scales if first else (1 / scales[0], 1 / scales[1])
        words.append(_scale_words(across, down))
    if derivation is not None:
        on = derivation.first_on_second if first else derivation.second_on_first
        if on < ON_LATTICE:
            words.append("made from it")
    words += _encoding_words(this.full, other.full)
    return ", ".join(words)


def _frame_words(found: Comparison, first: bool) -> list[str]:
    mine, theirs = (found.beyond_first, found.beyond_second) if first else (found.beyond_second, found.beyond_first)
    left, right, top, bottom = found.placement
    # The share of this picture that lies in the other, and of the other in this.
    inside = min(1.0, 1 / (right - left)) * min(1.0, 1 / (bottom - top))
    around = min(1.0, right - left) * min(1.0, bottom - top)
    if not first:
        inside, around = around, inside
    words = []
    if mine == "bar":
        words.append(f"with a border or bar of {1 - inside:.0%}" if inside < 0.995 else "with a bar over it")
    if theirs == "more":
        words.append(f"cut to {around:.0%}")
    if theirs == "bar" and around < 0.995:
        words.append("without the border")
    return words


def _tone_words(found: Comparison, first: bool) -> list[str]:
    gain, offset = _luma_gain(found), float(np.mean(found.offset))
    if abs(gain - 1) < _SAME_TONES[0] and abs(offset) < _SAME_TONES[1]:
        return []
    if not first:
        gain, offset = 1 / gain, -offset / gain
    # The gain brings this picture to the other: below 1, this one is the brighter.
    if abs(offset) < _SAME_TONES[1] * 2:
        return [f"{'darker' if gain > 1 else 'brighter'} by {abs(1 / gain - 1):.0%}"]
    return ["with less contrast" if gain > 1 else "with more contrast"]


def _scale_words(across: float, down: float) -> str:
    if abs(np.log(across / down)) > _SAME_SIZE + 0.02:
        return f"stretched by {max(across / down, down / across) - 1:.0%}"
    return f"{'enlarged' if across > 1 else 'reduced'} to {across:.0%}"


def _encoding_words(this: FullLook, other: FullLook) -> list[str]:
    if this.format != other.format:
        return [f"as {this.format}"]
    if this.encoding.quantisation is None or other.encoding.quantisation is None:
        return []
    quality, theirs = _quality(this.encoding.quantisation), _quality(other.encoding.quantisation)
    return [f"saved at quality {quality}"] if abs(quality - theirs) > 1 else []


def _quality(steps: NDArray[np.float32]) -> int:
    """The quality at which libjpeg would have such steps, 1 to 100."""
    scale = float(np.median(steps / _STANDARD)) * 100
    return round(min(100.0, max(1.0, 5000 / scale if scale > 100 else (200 - scale) / 2)))
