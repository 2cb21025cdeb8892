"""What an evaluation found, as files for other programs: one JSON with the figures, four CSV tables."""

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from curate.credits import cell
from curate.errors import UserError
from curate.files.atomic import write_whole
from train.evaluate import Evaluation
from train.metrics import most_confused, wilson_interval
from train.signed_json import Digests, require_ours_together, signed_json

_FIGURES: Final = "evaluation.json"
_TABLES: Final = ("classes.csv", "confusion.csv", "confused.csv", "pictures.csv")


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
    answers = evaluation.probabilities.argmax(axis=1)
    labels = evaluation.labels
    for path, truth, answer, row in zip(
        evaluation.paths, evaluation.truth.tolist(), answers.tolist(), evaluation.probabilities.tolist(), strict=True
    ):
        yield (
            cell(path),
            cell(labels[truth]),
            cell(labels[answer]),
            f"{row[answer]:.6f}",
            f"{row[truth]:.6f}",
            int(truth == answer),
        )


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()
