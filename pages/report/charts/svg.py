"""Elements of SVG, put together as text: all that is not a number is escaped."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

from curate.printable import printable
from pages.report.said import SaidTable

SERIES: Final = 4
"""Colours that series have: the classes `s0` to `s3` of the style."""


@dataclass(frozen=True)
class ChartFigure:
    """A drawn chart, the words below it, and the same as a table."""

    svg: Markup
    caption: str = ""
    table: SaidTable | None = None
    legend: tuple[str, ...] = ()
    """Names of the series `s0`, `s1`, …, where there are several."""


def drawing(name: str, width: float, height: float, title: str, description: str, parts: Iterable[Markup]) -> Markup:
    """An `svg` of so many units, as wide as there is room; `name` makes its ids unique in the page."""
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
        'aria-labelledby="{n}-title {n}-desc"><title id="{n}-title">{t}</title><desc id="{n}-desc">{d}</desc>{p}</svg>'
    ).format(w=_n(width), h=_n(height), n=name, t=printable(title), d=printable(description), p=Markup("").join(parts))


def rect(x: float, y: float, width: float, height: float, kind: str, tip: str = "", *, opacity: float = 1) -> Markup:
    """A rectangle of the style's class `kind`, with a tip for the pointer."""
    faint = Markup(' fill-opacity="{}"').format(_n(opacity)) if opacity < 1 else ""
    shape = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"{}').format(
        kind, _n(x), _n(y), _n(max(width, 0)), _n(max(height, 0)), faint
    )
    return shape + (Markup("><title>{}</title></rect>").format(printable(tip)) if tip else Markup("/>"))


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "rule") -> Markup:
    """A straight line."""
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, *map(_n, (x1, y1, x2, y2)))


def polyline(points: Iterable[tuple[float, float]], kind: str) -> Markup:
    """A line through points."""
    return Markup('<polyline class="{}" points="{}"/>').format(kind, " ".join(f"{_n(x)},{_n(y)}" for x, y in points))


def circle(x: float, y: float, radius: float, kind: str, tip: str = "") -> Markup:
    """A disc, with a tip for the pointer."""
    shape = Markup('<circle class="{}" cx="{}" cy="{}" r="{}"').format(kind, *map(_n, (x, y, radius)))
    return shape + (Markup("><title>{}</title></circle>").format(printable(tip)) if tip else Markup("/>"))


def text(x: float, y: float, words: str, kind: str = "tick", *, anchor: str = "start", turned: bool = False) -> Markup:
    """Words at a place; `turned` ones are read upwards."""
    turn = Markup(' transform="rotate(-90 {} {})"').format(_n(x), _n(y)) if turned else ""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}"{}>{}</text>').format(
        kind, _n(x), _n(y), anchor, turn, printable(words)
    )


def clipped(words: str, letters: int) -> str:
    """The words, their end left out where they are longer."""
    return words if len(words) <= letters else f"{words[: letters - 1]}…"


def _n(number: float) -> str:
    return str(escape(f"{number:.2f}".rstrip("0").rstrip(".")))
