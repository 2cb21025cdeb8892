"""How training went: loss and accuracy of each epoch."""

from typing import Final

from markupsafe import Markup

from curate.plurals import with_noun
from pages.report.charts.scale import in_short
from pages.report.charts.svg import ChartFigure, circle, drawing, line, polyline, text
from train.curves_plot import RULES, Curve, CurvePanel, is_drawn

_LEFT, _TOP, _WIDTH, _HEIGHT = 48, 26, 320, 190
_FEW: Final = 30  # epochs up to which each is a disc of its own


def curve_chart(name: str, panel: CurvePanel) -> ChartFigure:
    """One figure over the epochs: train and valid."""
    drawn: list[Markup] = [text(_LEFT, 14, panel.title, "label")]
    for number in range(RULES + 1):
        y = _TOP + _HEIGHT - _HEIGHT * number / RULES
        drawn += [
            line(_LEFT, y, _LEFT + _WIDTH, y),
            text(_LEFT - 6, y + 4, in_short(panel.top * number / RULES), anchor="end"),
        ]
    count = len(panel.train)
    for number in sorted({1, (count + 1) // 2, count} if count else set()):
        drawn.append(text(_across(number - 1, count), _TOP + _HEIGHT + 18, str(number), anchor="middle"))
    drawn.append(text(_LEFT + _WIDTH / 2, _TOP + _HEIGHT + 36, "epoch", anchor="middle"))
    for series, (what, curve) in enumerate((("train", panel.train), ("valid", panel.valid))):
        points = [
            (_across(at, count), _TOP + _HEIGHT - _HEIGHT * min(value / panel.top, 1), value, at + 1)
            for at, value in enumerate(curve)
            if is_drawn(value)
        ]
        drawn.append(polyline([(x, y) for x, y, _, _ in points], f"line l{series}"))
        if count <= _FEW:
            drawn += [circle(x, y, 3, f"s{series}", f"{what}, epoch {at}: {value:.4g}") for x, y, value, at in points]
    told = "; ".join(filter(None, (_ends("train", panel.train), _ends("valid", panel.valid))))
    svg = drawing(name, _LEFT + _WIDTH + 12, _TOP + _HEIGHT + 44, f"{panel.title}, by epoch", told, drawn)
    return ChartFigure(svg, legend=("train", "valid"))


def _ends(what: str, curve: Curve) -> str:
    drawn = [value for value in curve if is_drawn(value)]
    return f"{what} from {drawn[0]:.4g} to {drawn[-1]:.4g} in {with_noun(len(curve), 'epoch')}" if drawn else ""


def _across(number: int, count: int) -> float:
    return _LEFT + _WIDTH * (number / (count - 1) if count > 1 else 0.5)
