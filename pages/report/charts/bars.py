"""Bars: lying ones with their names, standing ones for how many there are of each size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from curate.plurals import with_noun
from pages.report.charts.scale import in_short, whole_top
from pages.report.charts.svg import ChartFigure, clipped, drawing, line, rect, text
from pages.report.said import SaidTable

_ROW: Final = 24
_NAME: Final = 180
_LETTERS: Final = 26
_WIDTH: Final = 760
_CLASS_RULES: Final = 5


@dataclass(frozen=True)
class BarRow:
    """One bar in parts, one for each series."""

    name: str
    parts: Sequence[int]

    @property
    def total(self) -> int:
        """The length of the bar."""
        return sum(self.parts)


def lying_bars(
    name: str, title: str, rows: Sequence[BarRow], series: Sequence[str] = (), *, caption: str = "",
    table: SaidTable | None = None,
) -> ChartFigure:  # fmt: skip
    """Bars one below the other, each with its count. `series` names the parts where there are several."""
    most = max((row.total for row in rows), default=1) or 1
    room = _WIDTH - _NAME - 70
    drawn: list[Markup] = []
    for number, row in enumerate(rows):
        y = number * _ROW
        drawn.append(text(_NAME - 10, y + 16, clipped(row.name, _LETTERS), "label", anchor="end"))
        x = float(_NAME)
        for part, count in enumerate(row.parts):
            width = room * count / most
            if count:
                what = f"{series[part]}: " if series else ""
                drawn.append(rect(x, y + 4, width, _ROW - 8, f"s{part}", f"{row.name}, {what}{count:,}"))
            x += width
        drawn.append(text(x + 6, y + 16, f"{row.total:,}", "label"))
    told = "; ".join(f"{row.name}: {row.total:,}" for row in rows[:12]) + ("; …" if len(rows) > 12 else "")
    svg = drawing(name, _WIDTH, len(rows) * _ROW + 4, title, told, drawn)
    return ChartFigure(svg, caption, table, tuple(series) if len(series) > 1 else ())


def class_sizes(name: str, title: str, rows: Sequence[BarRow], series: Sequence[str] = ()) -> ChartFigure:
    """Each class as a thin standing bar in parts, the largest first."""
    ordered = sorted(rows, key=lambda row: (-row.total, row.name))
    left, top, height, below = 44, 8, 200, 26
    room = _WIDTH - left - 8
    across = min(36.0, room / max(len(ordered), 1))
    most = whole_top(max((row.total for row in ordered), default=1), _CLASS_RULES)
    drawn = _rules(left, top, room, height, most, _CLASS_RULES)
    for number, row in enumerate(ordered):
        y = float(top + height)
        for part, count in enumerate(row.parts):
            tall = height * count / most
            y -= tall
            if count:
                tip = f"{row.name}: {count:,} {series[part] if series else ''}".strip()
                drawn.append(
                    rect(left + number * across, y, max(across - max(across * 0.12, 0.4), 0.6), tall, f"s{part}", tip)
                )
    classes = with_noun(len(ordered), "class", "classes")
    drawn.append(text(left, top + height + 18, f"{classes}, the largest first", "tick"))
    sizes = [row.total for row in ordered] or [0]
    files = with_noun(max(sizes), "file")
    told = f"{classes}; the largest has {files}, the smallest {min(sizes):,}."
    svg = drawing(name, _WIDTH, top + height + below, title, told, drawn)
    return ChartFigure(svg, legend=tuple(series) if len(series) > 1 else ())


def histogram(
    name: str, title: str, counts: Sequence[int], *, low: float, high: float, threshold: float | None, description: str
) -> ChartFigure:
    """How many lie in each of equal parts between `low` and `high`; what is below the threshold in another colour."""
    left, top, width, height = 40, 10, 250, 96
    most = whole_top(max(counts, default=1), 2)
    drawn = _rules(left, top, width, height, most, 2)
    across = width / len(counts)
    step = (high - low) / len(counts)
    for number, count in enumerate(counts):
        if not count:
            continue
        tall = max(height * count / most, 1.0)
        below = threshold is not None and low + (number + 1) * step <= threshold + 1e-9
        tip = f"{low + number * step:.2f} to {low + (number + 1) * step:.2f}: {count:,}"
        drawn.append(
            rect(left + number * across + 0.5, top + height - tall, across - 1, tall, "bad" if below else "s2", tip)
        )
    if threshold is not None:
        x = left + width * (threshold - low) / (high - low)
        drawn.append(line(x, top - 4, x, top + height, "threshold"))
    for value in (low, (low + high) / 2, high):
        x = left + width * (value - low) / (high - low)
        drawn.append(text(x, top + height + 16, in_short(value), "tick", anchor="middle"))
    return ChartFigure(drawing(name, left + width + 14, top + height + 24, title, description, drawn))


def _rules(left: float, top: float, width: float, height: float, most: float, rules: int) -> list[Markup]:
    drawn = []
    for number in range(rules + 1):
        y = top + height - height * number / rules
        drawn.append(line(left, y, left + width, y))
        drawn.append(text(left - 6, y + 4, in_short(most * number / rules), "tick", anchor="end"))
    return drawn
