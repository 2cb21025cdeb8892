"""What an evaluation found, as files for other programs and for a report: one JSON of figures, four CSV tables."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from curate.credits import cell, cell_content
from curate.errors import UserError
from curate.files.atomic import write_whole
from curate.files.reading import read_file
from curate.image import BrokenPicture
from curate.program import COMMAND
from train.calibration import Abstention, Bin
from train.checkpoint_facts import labels_and_names, metrics_of
from train.evaluate import Abstaining, Evaluation, Reliance, SplitFigures
from train.metrics import most_confused, wilson_interval
from train.signed_json import Digests, recorded_beside, require_ours_together, signed_json

_FIGURES: Final = "evaluation.json"
_LARGEST: Final = 1 << 30  # bytes
_TABLES: Final = ("classes.csv", "confusion.csv", "confused.csv", "pictures.csv")


@dataclass(frozen=True)
class PictureAnswer:
    """One picture that was measured: its true class and the first answer, as places among the labels, and the
    probabilities of both.
    """

    path: str
    truth: int
    answer: int
    confidence: float
    of_truth: float

    @property
    def is_right(self) -> bool:
        """Whether the first answer is the true class."""
        return self.truth == self.answer


def answers_of(evaluation: Evaluation) -> list[PictureAnswer]:
    """Each picture with its first answer, in the evaluation's order."""
    answers = evaluation.probabilities.argmax(axis=1)
    rows = zip(
        evaluation.paths, evaluation.truth.tolist(), answers.tolist(), evaluation.probabilities.tolist(), strict=True
    )
    return [PictureAnswer(path, truth, answer, row[answer], row[truth]) for path, truth, answer, row in rows]


def surest_mistakes(answers: Iterable[PictureAnswer]) -> list[PictureAnswer]:
    """The wrong answers, the most confident first; of equal ones in order of path."""
    return sorted((one for one in answers if not one.is_right), key=lambda one: (-one.confidence, one.path))


def write_evaluation(evaluation: Evaluation, folder: Path, *, force: bool = False) -> list[Path]:
    """Write `evaluation.json`, `classes.csv`, `confusion.csv`, `confused.csv` and `pictures.csv` into `folder`.

    Each appears whole, in place of an earlier one of ours. Raises UserError as `require_evaluation_place` does.
    """
    there = require_evaluation_place(folder, force=force)
    tables = {
        "classes.csv": _csv(("label", "name", "n", "right", "share", "low95", "high95"), _classes(evaluation)),
        "confusion.csv": _csv(("true \\ answer", *map(cell, evaluation.labels)), _confusion(evaluation)),
        "confused.csv": _csv(("true", "true name", "answer", "answer name", "count", "n"), _confused(evaluation)),
        "pictures.csv": _csv(
            ("path", "true", "answer", "confidence", "true's probability", "right"), _each(evaluation)
        ),
    }
    figures = evaluation_figures(evaluation)
    digests = {name: [hashlib.sha256(text.encode()).hexdigest()] for name, text in tables.items()}
    both = {name: [*there[name], *digests[name]] for name in tables}
    try:
        # The record before and after: killed between two files, a run leaves nothing that it would not know again
        write_whole(folder / _FIGURES, signed_json(figures, both))
        for name, text in tables.items():
            write_whole(folder / name, text)
        write_whole(folder / _FIGURES, signed_json(figures, digests))
    except OSError as error:
        raise UserError(
            f"The figures can't be written into {folder} ({error.strerror}): give another folder."
        ) from error
    return [folder / name for name in (_FIGURES, *tables)]


def read_evaluation(folder: Path) -> tuple[SplitFigures, list[PictureAnswer]]:
    """Read what `write_evaluation` wrote; probabilities of pictures have six decimals there.

    Raises UserError where it did not write it so: figures that somebody changed are nobody's.
    """
    recorded = recorded_beside(folder / _FIGURES)
    again = f"write them with `{COMMAND} evaluate --out FOLDER`, and give that folder"
    if recorded is None:
        raise UserError(f"{folder / _FIGURES} is not there, or not as `evaluate` wrote it: {again}.")
    try:
        figures = json.loads(read_file(folder / _FIGURES, _LARGEST))
        table = read_file(folder / "pictures.csv", _LARGEST)
        if hashlib.sha256(table).hexdigest() not in recorded.get("pictures.csv", ()):
            raise UserError(f"{folder / 'pictures.csv'} is not as `evaluate` wrote it: {again}.")
        found = _figures_of(figures)
        return found, _answers_in(table.decode(), found.labels)
    except OSError as error:
        raise UserError(f"The figures in {folder} cannot be read ({error.strerror}): {again}.") from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise UserError(f"The figures in {folder} are not those of an evaluation: {again}.") from error


def require_evaluation_place(folder: Path, *, force: bool = False) -> Digests:
    """Raise UserError where figures can't go: in the place of what we did not write, or what was changed since.

    With `force` they may. To be asked before test is opened. Returns what is there, as `require_ours_together` does.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f"{folder} is a file, and the figures are several: give --out the name of a folder.")
    return require_ours_together(folder / _FIGURES, [folder / name for name in _TABLES], force=force)


def evaluation_figures(evaluation: Evaluation) -> dict[str, Any]:
    """Every figure in plain types; shares are 0 to 1, and a class that the split lacks has null for its share."""
    reliance, abstaining = evaluation.reliance, evaluation.abstaining
    accuracy = evaluation.accuracy.to_dict()
    confusion = accuracy.pop("confusion")
    return {
        "checkpoint": evaluation.checkpoint,
        "split": evaluation.split,
        **accuracy,
        "views": evaluation.views,
        "seconds": evaluation.seconds,
        "computed_views": evaluation.computed,
        "fingerprint": evaluation.fingerprint,
        "test_opened": evaluation.openings,
        "calibration": {
            "temperature": reliance.temperature,
            "expected_calibration_error": reliance.error,
            "expected_calibration_error_at_temperature_1": reliance.error_at_one,
            "cross_entropy": reliance.cross_entropy,
            "cross_entropy_at_temperature_1": reliance.cross_entropy_at_one,
            "bins": [
                {
                    "low": one.low,
                    "high": one.high,
                    "n": one.n,
                    "confidence": one.confidence if one.n else None,
                    "accuracy": one.accuracy if one.n else None,
                }
                for one in reliance.bins
            ],
        },
        "strangers": evaluation.strangers,
        "untaught": evaluation.untaught,
        "abstaining": None
        if abstaining is None
        else {
            "precision_wanted": abstaining.found.wanted,
            "threshold": abstaining.found.threshold,
            "valid": {"n": abstaining.found.n, "answered": abstaining.found.answered, "right": abstaining.found.right},
            "answered": abstaining.answered,
            "right": abstaining.right,
        },
        "classes": [
            {"label": label, "name": name, "n": n, "right": right, "share": right / n if n else None}
            for label, name, n, right in _counts(evaluation)
        ],
        "confusion": {"labels": evaluation.labels, "rows_are_true_classes": confusion},
        "broken": [{"path": broken.path, "reason": broken.reason} for broken in evaluation.broken],
    }


def _figures_of(figures: dict[str, Any]) -> SplitFigures:
    """The figures that `evaluation_figures` gave; raises ValueError and its like for others."""
    calibration, abstaining = figures["calibration"], figures["abstaining"]
    labels, names = labels_and_names(figures["confusion"]["labels"], [str(one["name"]) for one in figures["classes"]])
    split = str(figures["split"])
    accuracy = {**figures, "confusion": figures["confusion"]["rows_are_true_classes"]}
    (measured,) = metrics_of({split or "test": accuracy}, len(labels)).values()
    return SplitFigures(
        accuracy=measured,
        labels=labels,
        names=names,
        broken=[BrokenPicture(str(one["path"]), str(one["reason"])) for one in figures["broken"]],
        views=int(figures["views"]),
        seconds=None if (seconds := figures.get("seconds")) is None else float(seconds),  # older ones do not say it
        computed=None if (computed := figures.get("computed_views")) is None else int(computed),
        reliance=Reliance(
            temperature=float(calibration["temperature"]),
            error=float(calibration["expected_calibration_error"]),
            error_at_one=float(calibration["expected_calibration_error_at_temperature_1"]),
            cross_entropy=float(calibration["cross_entropy"]),
            cross_entropy_at_one=float(calibration["cross_entropy_at_temperature_1"]),
            bins=[
                Bin(
                    float(one["low"]), float(one["high"]), int(one["n"]),
                    *(float("nan") if one[name] is None else float(one[name]) for name in ("confidence", "accuracy")),
                )
                for one in calibration["bins"]
            ],
        ),
        strangers=None if figures["strangers"] is None else int(figures["strangers"]),
        abstaining=None
        if abstaining is None
        else Abstaining(
            Abstention(
                float(abstaining["precision_wanted"]),
                float(abstaining["threshold"]),
                *(int(abstaining["valid"][name]) for name in ("n", "answered", "right")),
            ),
            int(abstaining["answered"]),
            int(abstaining["right"]),
        ),
        fingerprint=str(figures["fingerprint"]),
        checkpoint=str(figures["checkpoint"]),
        split=split,
        openings=int(figures["test_opened"]),
        untaught={str(label): int(count) for label, count in figures["untaught"].items()},
    )  # fmt: skip


def _answers_in(table: str, labels: Sequence[str]) -> list[PictureAnswer]:
    place = {cell(label): number for number, label in enumerate(labels)}
    return [
        PictureAnswer(
            cell_content(row["path"]), place[row["true"]], place[row["answer"]],
            float(row["confidence"]), float(row["true's probability"]),
        )
        for row in csv.DictReader(io.StringIO(table, newline=""))
    ]  # fmt: skip


def _counts(evaluation: Evaluation) -> Iterable[tuple[str, str, int, int]]:
    confusion = evaluation.accuracy.confusion
    seen, right = confusion.sum(axis=1).tolist(), np.diagonal(confusion).tolist()
    return zip(evaluation.labels, evaluation.names, seen, right, strict=True)


def _classes(evaluation: Evaluation) -> Iterable[Sequence[object]]:
    for label, name, n, right in _counts(evaluation):
        if n:
            interval = wilson_interval(right, n)
            yield cell(label), cell(name), n, right, f"{right / n:.6f}", f"{interval.low:.6f}", f"{interval.high:.6f}"
        else:
            yield cell(label), cell(name), 0, 0, "", "", ""


def _confusion(evaluation: Evaluation) -> Iterable[Sequence[object]]:
    for label, row in zip(evaluation.labels, evaluation.accuracy.confusion.tolist(), strict=True):
        yield cell(label), *row


def _confused(evaluation: Evaluation) -> Iterable[Sequence[object]]:
    labels, names = evaluation.labels, evaluation.names
    for one in most_confused(evaluation.accuracy, limit=len(labels) ** 2):
        texts = (labels[one.truth], names[one.truth], labels[one.answer], names[one.answer])
        yield *map(cell, texts), one.count, one.n


def _each(evaluation: Evaluation) -> Iterable[Sequence[object]]:
    labels = evaluation.labels
    for one in answers_of(evaluation):
        yield (
            cell(one.path),
            cell(labels[one.truth]),
            cell(labels[one.answer]),
            f"{one.confidence:.6f}",
            f"{one.of_truth:.6f}",
            int(one.is_right),
        )


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()
