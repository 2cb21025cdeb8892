"""Whether confidence means what it says: the share right over the confidence, bin by bin."""

from collections.abc import Sequence

from markupsafe import Markup

from curate.plurals import with_noun
from pages.report.charts.svg import ChartFigure, drawing, line, rect, text
from pages.report.said import table_of
from train.calibration import Bin

_LEFT, _TOP, _SIDE, _BELOW = 48, 12, 260, 70


def reliability_diagram(name: str, bins: Sequence[Bin]) -> ChartFigure:
    """Bars of the share right, the diagonal on which they should end, and below how many answers each bin has."""
    drawn: list[Markup] = []
    for number in range(5):
        y = _TOP + _SIDE - _SIDE * number / 4
        drawn += [line(_LEFT, y, _LEFT + _SIDE, y), text(_LEFT - 6, y + 4, f"{25 * number}%", anchor="end")]
    most = max((one.n for one in bins), default=1) or 1
    across = _SIDE / max(len(bins), 1)
    base = _TOP + _SIDE + _BELOW - 8
    for at, one in enumerate(bins):
        if not one.n:
            continue
        x = _LEFT + at * across
        right = f"{one.accuracy:.1%} right, said {one.confidence:.1%}"
        tip = f"{one.low:.0%} to {one.high:.0%}: {with_noun(one.n, 'answer')}, {right}"
        drawn.append(rect(x + 1, _TOP + _SIDE - _SIDE * one.accuracy, across - 2, _SIDE * one.accuracy, "s2", tip))
        low, high = sorted((one.accuracy, one.confidence))
        drawn.append(rect(x + 1, _TOP + _SIDE - _SIDE * high, across - 2, _SIDE * (high - low), "gap", tip))
        tall = max(34 * one.n / most, 1)
        drawn.append(rect(x + 1, base - tall, across - 2, tall, "s3", with_noun(one.n, "answer")))
    drawn.append(line(_LEFT, _TOP + _SIDE, _LEFT + _SIDE, _TOP, "threshold"))
    for number in range(5):
        drawn.append(text(_LEFT + _SIDE * number / 4, _TOP + _SIDE + 18, f"{25 * number}%", anchor="middle"))
    drawn += [
        text(_LEFT + _SIDE / 2, base + 18, "confidence of the first answer; below, how many", anchor="middle"),
        text(14, _TOP + _SIDE / 2, "share right", anchor="middle", turned=True),
    ]
    filled = [one for one in bins if one.n]
    told = "; ".join(f"said {one.confidence:.0%}, right {one.accuracy:.0%} of {one.n:,}" for one in filled)
    rows = [
        (f"{one.low:.1%} to {one.high:.1%}", f"{one.n:,}", f"{one.confidence:.1%}", f"{one.accuracy:.1%}")
        for one in filled
    ]
    table = table_of("Answers by confidence", ("confidence", "answers", "said", "right"), rows)
    svg = drawing(name, _LEFT + _SIDE + 16, base + 28, "Share right by confidence", told, drawn)
    return ChartFigure(
        svg,
        "On the dashed line confidence is what it says. The pale part lies between the share right and the confidence.",
        table,
    )
