"""What a report says of a checkpoint: how it learnt, how often it is right, and where it errs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from curate.plurals import with_noun
from curate.shell import as_command
from pages.report.blocks import (
    ChartRow,
    MissingStage,
    PictureGallery,
    PictureGroup,
    ReportBlock,
    ReportSection,
    ShownPicture,
    TableBlock,
    Tone,
    Words,
)
from pages.report.charts.confusion import confusion_chart
from pages.report.charts.learning import curve_chart
from pages.report.charts.reliability import reliability_diagram
from pages.report.data_sections import FOLDED, shown_of
from pages.report.findings import ModelStory, ReportFindings
from pages.report.said import SaidByCommand, SaidTable, table_of
from train.curves_plot import curves_of
from train.evaluate import SplitFigures
from train.evaluation_files import PictureAnswer, surest_mistakes
from train.metrics import most_confused, wilson_interval
from train.optimising.fitting import Epoch

_PAIRS: Final = 12
_OF_A_PAIR: Final = 3
_MISTAKES: Final = 24
_LISTED: Final = 300  # pairs of classes in the table below the matrix


def model_sections(found: ReportFindings, said: Mapping[str, SaidByCommand]) -> list[ReportSection]:
    """The sections on the checkpoint; `said` has what `train` and `evaluate` say: "train" and "evaluate"."""
    model = found.model
    if model is None:
        return [ReportSection("model", "The classifier", [MissingStage(found.without_model)])]
    return [
        ReportSection("model", "The classifier", list(_training(found, model, said))),
        ReportSection("errors", "Where it is right, and where it errs", list(_errors(found, model, said))),
    ]


def _training(found: ReportFindings, model: ModelStory, said: Mapping[str, SaidByCommand]) -> Iterator[ReportBlock]:
    yield Words(said["train"].lines)
    if model.checkpoint is None:
        yield MissingStage(model.why_not or f"{model.path} is not there: its curves are not shown.")
    elif model.checkpoint.history:
        panels = curves_of([Epoch(**epoch) for epoch in model.checkpoint.history])
        yield ChartRow([curve_chart(f"curve-{at}", panel) for at, panel in enumerate(panels)], "Curves")
    times = len(model.openings)
    opened = f"Test was opened {with_noun(times, 'time')} with this checkpoint."
    never = "Test was never opened with this checkpoint, as far as the record beside it tells."
    lines = [opened if times else never]
    if not model.source:
        measure = as_command(
            "evaluate", found.root, "--checkpoint", model.path, "--split", "test", "--out", "evaluation"
        )
        again = as_command("report", found.root, "--evaluation", "evaluation")
        lines.append(f"A report does not open test. To show figures on it: `{measure}`, then `{again}`.")
    yield Words(lines)


def _errors(found: ReportFindings, model: ModelStory, said: Mapping[str, SaidByCommand]) -> Iterator[ReportBlock]:
    figures = model.figures
    if figures is None:
        yield MissingStage(model.why_not, as_command("evaluate", found.root, "--checkpoint", model.path))
        return
    where = f"as `evaluate` wrote into {model.source}" if model.source else "measured for this report"
    yield Words([f"On {figures.split or 'all pictures'}, {where}.", *said["evaluate"].lines])
    yield ChartRow([
        reliability_diagram("reliability", figures.reliance.bins),
        confusion_chart("confusion", figures.accuracy, figures.names, _confusions(figures)),
    ], "Calibration and confusion")  # fmt: skip
    yield TableBlock(_each_class(figures), folded=len(figures.labels) > FOLDED)
    yield from (TableBlock(table) for table in said["evaluate"].tables)
    show = _Pictures(found)
    yield from _confused(figures, model.answers, show)
    mistakes = surest_mistakes(model.answers)
    groups = [
        PictureGroup([show.answer(one, figures)], f"taken for {figures.names[one.answer]}, {one.confidence:.1%} sure")
        for one in mistakes[:_MISTAKES]
    ]
    if groups:
        yield PictureGallery("The most confident mistakes", groups, shown_of(len(groups), len(mistakes), "mistakes"))


def _each_class(figures: SplitFigures) -> SaidTable:
    confusion = figures.accuracy.confusion
    rows = []
    for label, name, n, right in zip(
        figures.labels, figures.names, confusion.sum(axis=1).tolist(), np.diagonal(confusion).tolist(), strict=True
    ):
        if n:
            interval = wilson_interval(right, n)
            rows.append((label, name, f"{n:,}", f"{right / n:.1%}", f"{interval.low:.1%} to {interval.high:.1%}"))
    return table_of("Each class", ("folder", "name", "n", "right", "95% interval"), rows)


def _confusions(figures: SplitFigures) -> SaidTable | None:
    pairs = most_confused(figures.accuracy, _LISTED)
    rows = [(figures.names[one.truth], figures.names[one.answer], f"{one.count:,}", f"{one.n:,}") for one in pairs]
    return table_of("What is taken for what", ("true", "taken for", "pictures", "of"), rows) if rows else None


class _Pictures:
    """The measured pictures as they are drawn: an evaluation names files, not paths of a dataset."""

    def __init__(self, found: ReportFindings) -> None:
        self._digests = found.digests
        self._roots = [root.resolve() for root in (found.split_root, found.dataset.root) if root is not None]

    def answer(self, one: PictureAnswer, figures: SplitFigures) -> ShownPicture:
        """A picture, with its true class."""
        file = Path(one.path)
        place = file.parent.resolve() / file.name  # not where a link leads: `split --symlink` places links
        words = (f"true: {figures.names[one.truth]}", f"{one.of_truth:.1%} for that")
        tone: Tone = "stays" if one.is_right else "wrong"
        for root in self._roots:
            if place.is_relative_to(root):
                title = place.relative_to(root).as_posix()
                return ShownPicture(file, self._digests.get(str(place), ""), title, words, tone)
        return ShownPicture(None, "", file.name, words, tone)


def _confused(figures: SplitFigures, answers: Sequence[PictureAnswer], show: _Pictures) -> Iterator[PictureGallery]:
    """The pairs of classes that are confused most: pictures that were, beside one of the class they were taken for."""
    pairs = most_confused(figures.accuracy, _PAIRS)
    groups = []
    for pair in pairs:
        taken = [one for one in surest_mistakes(answers) if (one.truth, one.answer) == (pair.truth, pair.answer)]
        right = [one for one in answers if one.is_right and one.truth == pair.answer]
        example = [max(right, key=lambda one: one.confidence)] if right else []
        shown = [show.answer(one, figures) for one in (*taken[:_OF_A_PAIR], *example)]
        words = f"{figures.names[pair.truth]} taken for {figures.names[pair.answer]}: {pair.count:,} of {pair.n:,}"
        groups.append(PictureGroup(shown, words))
    if groups:
        every = len(most_confused(figures.accuracy, len(figures.labels) ** 2))
        told = "pairs; the last of each, framed in green, is one of the class that the others were taken for"
        yield PictureGallery("The most confused classes", groups, shown_of(len(groups), every, told))
