"""What a checkpoint says of itself, checked before anything is made of it: the file may be a stranger's."""

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from curate.dataset import SPLITS
from train.limits import MOST_CLASSES, MOST_VIEWS
from train.metrics import Accuracy

_LONGEST: Final = 4096  # characters of a name
_DEEPEST: Final = 16
_MOST_VALUES: Final = 4_000_000
_WHOLE: Final = 1 << 63
_FINGERPRINT = re.compile("[0-9a-f]{64}")


def plain(value: object) -> Any:
    """Check and copy: dicts, lists and what stands in them, of bounded depth and number.

    Raises TypeError for any other type: a Path or a numpy number inside would make the file unloadable. Raises
    ValueError beyond the bounds: a list that holds itself many times over is small in a file and endless in memory.
    """
    return _plain(value, _DEEPEST, [_MOST_VALUES])


def labels_and_names(labels: object, names: object) -> tuple[list[str], list[str]]:
    """The class folders and their names, one of each for every class; raises ValueError where they are not that."""
    if not isinstance(labels, list) or not isinstance(names, list) or len(labels) != len(names):
        raise ValueError("labels and names differ in number")
    if not 0 < len(labels) <= MOST_CLASSES:
        raise ValueError(f"it has {len(labels)} classes")
    if not all(isinstance(text, str) and len(text) <= _LONGEST for text in (*labels, *names)):
        raise ValueError("a label or a name is no text")
    if len(set(labels)) < len(labels):
        raise ValueError("two classes have one label")
    return list(labels), list(names)


def metrics_of(found: object, classes: int) -> dict[str, Accuracy]:
    """The figures by split; raises ValueError where counts do not add up."""
    if not isinstance(found, Mapping) or not set(found) <= set(SPLITS):
        raise ValueError("its figures are not ordered by split")
    metrics = {split: Accuracy.from_dict(one) for split, one in found.items()}
    for one in metrics.values():
        if one.confusion.shape != (classes, classes) or int(one.confusion.min()) < 0:
            raise ValueError("its figures are of other classes")
        if not 0 <= one.correct <= one.correct_top5 <= one.n or one.n < 1:
            raise ValueError("its figures do not add up")
        if int(one.confusion.sum()) != one.n or int(np.trace(one.confusion)) != one.correct:
            raise ValueError("its figures do not add up")
    return metrics


def asked_views_of(found: object) -> int:
    """The views that an answer is the mean of; raises ValueError for what is no such number."""
    if type(found) is not int or not 1 <= found <= MOST_VIEWS:
        raise ValueError("it answers from a number of views that there is not")
    return found


def dataset_of(found: object) -> dict[str, Any]:
    """What is said of the pictures: the fingerprint, and counts by split and label; raises ValueError."""
    facts = plain(found)
    pictures = facts.get("pictures", {})
    for fingerprint in (facts.get("fingerprint"), facts.get("valid_fingerprint")):
        if fingerprint is not None and not (isinstance(fingerprint, str) and _FINGERPRINT.fullmatch(fingerprint)):
            raise ValueError("its fingerprint is none")
    if not set(pictures) <= set(SPLITS):
        raise ValueError("its pictures are not ordered by split")
    for counts in pictures.values():
        if not all(type(count) is int and count >= 0 for count in counts.values()):
            raise ValueError("its counts of pictures are none")
    for row in facts.get("credits", []):
        if not (isinstance(row, list) and [type(value) for value in row] == [str, str, int] and row[2] >= 0):
            raise ValueError("its credits are none")
    return dict(facts)


def _plain(value: object, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0 or depth < 0:
        raise ValueError("what it says of itself is nested too deeply, or too long")
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, depth - 1, left) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, depth - 1, left) for inner in value]
    if type(value) is int and not -_WHOLE <= value < _WHOLE:
        raise ValueError("it holds a number of more than 64 bits")
    if value is None or type(value) in {bool, int, float, str}:
        return value
    raise TypeError(f"a checkpoint holds plain types alone, not {type(value).__name__}")
