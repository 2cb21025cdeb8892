"""Ridge regression and discriminant analysis with a shrunk covariance: one system of equations for each strength."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from train.heads.moments import Moments


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Logits of rows (n, r) as `rows @ weight + bias`."""

    weight: torch.Tensor  # (r, classes)
    bias: torch.Tensor  # (classes,) float64
    strength: float

    def logits(self, rows: torch.Tensor) -> torch.Tensor:
        """(n, classes) float32 of rows (n, r) float32."""
        return rows @ self.weight.to(torch.float32) + self.bias.to(torch.float32)


def ridge(moments: Moments, strengths: Sequence[float], precision: torch.dtype = torch.float64) -> Iterator[LinearFit]:
    """Least squares to one-hot targets with an L2 penalty, for each of the strengths in turn.

    A strength is the penalty as a multiple of the features' mean variance. The equations are solved in `precision`.
    A. Hoerl, R. Kennard, "Ridge regression: biased estimation for nonorthogonal problems", 1970.
    """
    n = moments.counts.sum()
    mean, share = moments.mean, moments.counts / n
    covariance = moments.covariance()
    towards = moments.sums.T / n - torch.outer(mean, share)  # (r, classes): covariance of rows and targets
    scale = moments.mean_variance(covariance)
    covariance = covariance.to(precision)
    for strength in strengths:
        weight = _solve(covariance, strength * scale, towards)
        yield LinearFit(weight, share - mean @ weight.double(), strength)


def discriminant(
    moments: Moments, strengths: Sequence[float], precision: torch.dtype = torch.float64
) -> Iterator[LinearFit]:
    """Classes as Gaussians of one covariance, each as likely as another, for each of the strengths in turn.

    A strength is the share of a ball in that covariance, above 0 and up to 1; `precision` as in `ridge`. J. Friedman,
    "Regularized discriminant analysis", 1989; O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional
    covariance matrices", 2004.
    """
    within = moments.within()
    centre = moments.mean
    means = moments.class_means() - centre
    scale = moments.mean_variance(within)
    within = within.to(precision)
    for strength in strengths:
        weight = _solve((1 - strength) * within, strength * scale, means.T)
        bias = -0.5 * (means.T * weight).sum(dim=0) - centre @ weight.double()
        yield LinearFit(weight, bias, strength)


def _solve(matrix: torch.Tensor, ball: float, right: torch.Tensor) -> torch.Tensor:
    """The solution of `(matrix + ball · identity) @ x = right`, for a matrix (r, r) that is positive but for roundings.

    In the precision of the matrix; in float64 where that does not do.
    """
    system = matrix.clone()
    system.diagonal().add_(ball)
    factor, failed = torch.linalg.cholesky_ex(system)
    if not bool(failed):
        return torch.cholesky_solve(right.to(matrix.dtype), factor)
    if matrix.dtype != torch.float64:
        return _solve(matrix.double(), ball, right)
    solution: torch.Tensor = torch.linalg.lstsq(system, right, driver="gelsd").solution
    return solution
