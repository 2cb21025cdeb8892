"""How much there is to compute for a head that folds choose: enough to tell what more pictures or features take."""

from typing import Final, get_args

from curate.defaults import DEFAULT_FOLDS
from train.heads.choice import COORDINATES, ENOUGH, STAYING, STRENGTHS, TELLING
from train.heads.rows import MOST_COLUMNS, WIDE
from train.optimising.settings import ConvexHead, FitSettings

# What a kind of work costs beside a product of matrices in float32, for each of its multiply-adds: on two processors.
_SOLVING: Final = 2.0  # a triangle, and all else in a system of equations
_DOUBLE: Final = 2.0  # float64
_SPAN: Final = 4.0  # eigenvectors, each number of theirs
_STEPS: Final = 25  # of L-BFGS for each strength in each fold
_LAST_STEPS: Final = 60  # and on all pictures, to the end
_SOFTMAX: Final = 40.0  # of a logit, its gradient included


def operations_of(pictures: int, views: int, dim: int, classes: int, settings: FitSettings) -> float:
    """About so many multiply-adds does `choose_head` take for features (pictures, views, dim).

    Those of the moments and of logistic regression grow with the rows, which are all views; those of the systems of
    equations only where there are more features than rows.
    """
    rows = pictures * views
    wide = dim > min(MOST_COLUMNS, WIDE * rows)
    width = rows if wide else dim
    own = pictures / DEFAULT_FOLDS
    folds = sum(1 for number in range(DEFAULT_FOLDS) if number * own < ENOUGH)
    span = len(COORDINATES) * (_SPAN * rows**3 + 2 * rows**2 * dim) if wide else 0.0
    system = _SOLVING * width**3 / 6 + width**2 * classes
    tried = {kind: _tried(kind, own, folds, settings) for kind in get_args(ConvexHead)}
    # Both closed forms are tried in any case: they tell which coordinates are better
    closed = len(COORDINATES) * (tried["ridge"] + tried["lda"]) * system + _DOUBLE * folds * width**2 * classes
    moments = len(COORDINATES) * rows * width**2
    return span + moments + closed + _DOUBLE * system + _logistic(rows, width, classes, tried["logistic"], settings)


def _tried(kind: ConvexHead, own: float, folds: int, settings: FitSettings) -> int:
    """How many heads of a kind are fitted, in all folds together."""
    strengths = 1 if settings.strength and settings.head == kind else len(STRENGTHS[kind])
    return sum(strengths if number * own < TELLING else min(strengths, STAYING) for number in range(folds))


def _logistic(rows: int, width: int, classes: int, tried: int, settings: FitSettings) -> float:
    if settings.head not in {"auto", "logistic"}:
        return 0.0
    step = 2 * rows * width * classes + _SOFTMAX * rows * classes + _SOLVING * width**2 * classes
    learnt = 1 - 1 / DEFAULT_FOLDS
    return (tried * _STEPS * learnt + _LAST_STEPS) * step + tried * _SOLVING * width**3 / 6
