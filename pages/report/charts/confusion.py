"""What is taken for what: a row for each true class, a column for each answer."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from markupsafe import Markup

from curate.plurals import with_noun
from pages.report.charts.svg import ChartFigure, clipped, drawing, line, rect, text
from pages.report.said import SaidTable
from train.metrics import Accuracy

_MOST_NAMED: Final = 40  # classes whose names have room beside the matrix
_MOST_COUNTED: Final = 25  # and whose counts have room in it
_SIDE: Final = 620


def confusion_chart(name: str, accuracy: Accuracy, names: Sequence[str], table: SaidTable | None) -> ChartFigure:
    """The matrix of the classes that the split has: the darker a cell, the larger its share of the true class."""
    confusion = accuracy.confusion
    seen = confusion.sum(axis=1)
    there = np.flatnonzero((seen > 0) | (confusion.sum(axis=0) > 0))
    count = max(len(there), 1)
    named = len(there) <= _MOST_NAMED
    left, top = (150, 120) if named else (24, 24)
    cell = min(_SIDE / count, 44.0)
    side = cell * count
    drawn: list[Markup] = [rect(left, top, side, side, "field")]
    place = {int(at): number for number, at in enumerate(there)}
    for truth, answer in np.argwhere(confusion).tolist():
        n = int(confusion[truth, answer])
        x, y = left + place[answer] * cell, top + place[truth] * cell
        share = n / int(seen[truth])
        tip = f"{names[truth]} taken for {names[answer]}: {n:,} of {int(seen[truth]):,}"
        kind = "s0" if truth == answer else "bad"
        drawn.append(rect(x + 0.3, y + 0.3, cell - 0.6, cell - 0.6, kind, tip, opacity=0.25 + 0.75 * share))
        if len(there) <= _MOST_COUNTED and cell >= 20:
            dark = "on-cell" if share > 0.5 else "label"
            drawn.append(text(x + cell / 2, y + cell / 2 + 4, f"{n:,}", dark, anchor="middle"))
    if named:
        for number, at in enumerate(there.tolist()):
            middle = number * cell + cell / 2
            drawn.append(text(left - 6, top + middle + 4, clipped(names[at], 20), "tick", anchor="end"))
            drawn.append(text(left + middle + 4, top - 6, clipped(names[at], 16), "tick", turned=True))
    drawn += [line(left, top, left + side, top, "rule"), line(left, top, left, top + side, "rule")]
    drawn.append(text(left + side / 2, top + side + 18, "answer", anchor="middle"))
    drawn.append(text(14, top + side / 2, "true class", anchor="middle", turned=True))
    wrong = accuracy.n - accuracy.correct
    classes, answers = with_noun(len(there), "class", "classes"), with_noun(accuracy.n, "answer")
    told = f"{classes}; of {answers} {accuracy.correct:,} on the diagonal, {wrong:,} off it."
    svg = drawing(name, left + side + 16, top + side + 28, "Confusion matrix", told, drawn)
    return ChartFigure(
        svg, "Each row is a true class, each column an answer; on the diagonal they agree. The stronger a cell, the "
        "larger the share of its true class.", table,
    )  # fmt: skip
