"""How often the classifier is right, how sure we are of that, and where it errs."""

import math
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Standard normal quantile for a two-sided 95% interval.
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """A closed interval of shares, 0 to 1."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Counts of right answers on one split; every share is derived from the integers, none is stored rounded."""

    n: int
    correct: int
    correct_top5: int
    confusion: NDArray[np.int64]  # (classes, classes): row is the true class, column the answer

    @property
    def top1(self) -> float:
        """Share of pictures whose first answer is right."""
        return self.correct / self.n

    @property
    def top5(self) -> float:
        """Share of pictures whose true class is among the first five answers."""
        return self.correct_top5 / self.n

    @property
    def interval(self) -> Interval:
        """Wilson's 95% interval of top1."""
        return wilson_interval(self.correct, self.n)

    @property
    def per_class(self) -> NDArray[np.float64]:
        """Share right in each class, (classes,); NaN where the split has no picture of it."""
        seen = self.confusion.sum(axis=1)
        right = np.diagonal(self.confusion)
        shares: NDArray[np.float64] = np.divide(right, seen, out=np.full(len(seen), np.nan), where=seen > 0)
        return shares

    @property
    def mean_per_class(self) -> float:
        """Mean of the shares of the classes that the split has: each class counts the same, however many pictures."""
        return float(np.nanmean(self.per_class))

    def percent(self) -> Decimal:
        """top1 in percent, floored to two decimals; see `floored_percent`."""
        return floored_percent(self.correct, self.n)

    def to_dict(self) -> dict[str, Any]:
        """Plain types for a checkpoint, JSON or a table; the confusion matrix as a list of rows."""
        interval = self.interval
        return {
            "n": self.n,
            "correct": self.correct,
            "correct_top5": self.correct_top5,
            "top1": self.top1,
            "top1_interval95": [interval.low, interval.high],
            "top5": self.top5,
            "mean_per_class": self.mean_per_class,
            "confusion": self.confusion.tolist(),
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Accuracy":
        """Read what `to_dict` wrote."""
        confusion = np.array(plain["confusion"], dtype=np.int64)
        return cls(int(plain["n"]), int(plain["correct"]), int(plain["correct_top5"]), confusion)


@dataclass(frozen=True)
class Confusion:
    """Pictures of class `truth` that were taken for class `answer`: `count` of the `n` that the split has of it."""

    truth: int
    answer: int
    count: int
    n: int


def most_confused(accuracy: Accuracy, limit: int = 10) -> list[Confusion]:
    """The pairs of classes confused most often, by count, then by share of the true class, then by index."""
    wrong = accuracy.confusion.copy()
    np.fill_diagonal(wrong, 0)
    seen = accuracy.confusion.sum(axis=1)
    found = [
        Confusion(int(truth), int(answer), int(wrong[truth, answer]), int(seen[truth]))
        for truth, answer in np.argwhere(wrong)
    ]
    found.sort(key=lambda one: (-one.count, -one.count / one.n, one.truth, one.answer))
    return found[:limit]


def measure_accuracy(scores: NDArray[np.floating[Any]], labels: NDArray[np.int64], classes: int) -> Accuracy:
    """Count right answers from `scores` (N, classes), probabilities or logits, and `labels` (N,); N is at least 1.

    A tie goes to the lower class index, in the first answer and in the first five alike.
    """
    if len(labels) == 0 or scores.shape != (len(labels), classes):
        raise ValueError(f"scores of shape {scores.shape} do not belong to {len(labels)} labels of {classes} classes")
    order = np.argsort(-scores, axis=1, kind="stable")
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (labels, order[:, 0]), 1)
    hits = order[:, :5] == labels[:, None]
    return Accuracy(len(labels), int(hits[:, 0].sum()), int(hits.any(axis=1).sum()), confusion)


def wilson_interval(correct: int, n: int, z: float = Z95) -> Interval:
    """Interval of a share from `correct` of `n`, which has its coverage near 0 and 1, where the normal one has not.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927) 209-212.
    """
    if not 0 <= correct <= n or n == 0:
        raise ValueError(f"{correct} of {n} is no share")
    share = correct / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At both ends the two halves cancel out but for a rounding; elsewhere they lie too far apart for one to matter
    low = 0.0 if correct == 0 else (centre - spread) / scale
    high = 1.0 if correct == n else (centre + spread) / scale
    return Interval(low, high)


def floored_percent(correct: int, n: int) -> Decimal:
    """`correct` of `n` in percent, floored to two decimals, from the integers: 29 of 100 is 29.00, never 28.99.

    Floored, so that no name claims more than was reached: 99.996% is 99.99, and only a faultless model says 100.00.
    """
    hundredths = correct * 10_000 // n
    return (Decimal(hundredths) / 100).quantize(Decimal("0.01"), rounding=ROUND_FLOOR)
