"""Multinomial logistic regression with an L2 penalty, to its one minimum, along a path of strengths."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from train.heads.closed_form import LinearFit
from train.heads.moments import Moments

_MOST_STEPS: Final = 100
_REMEMBERED: Final = 8  # steps and gradients by which L-BFGS knows the curvature


def logistic(
    rows: torch.Tensor,
    targets: torch.Tensor,
    moments: Moments,
    strengths: Sequence[float],
    *,
    enough: float = 1e-6,
) -> Iterator[LinearFit]:
    """Mean cross-entropy of rows (n, r) plus a penalty, minimised for each of the strengths, each from the last one's.

    `moments` are those of the rows. A strength is the penalty's factor as a multiple of the features' mean variance:
    ½ · strength · variance · |weight|² is added; the bias goes free. A step that gains less than `enough` of the loss
    is the last; sums in float32 tell 1e-6. The gradient goes to L-BFGS (D. Liu, J. Nocedal, 1989) in weights that are
    whitened by the curvature at zero, which is known in closed form.
    """
    covariance = moments.covariance()
    scale, mean, share = moments.mean_variance(covariance), moments.mean, moments.counts / moments.counts.sum()
    classes = len(share)
    centred = rows - mean.to(torch.float32)
    bias = torch.log(share.clamp(min=1 / (2 * len(rows))))
    found = torch.zeros(rows.shape[1], classes)
    for strength in strengths:
        penalty = strength * scale
        root = _root(covariance / classes, penalty)

        def loss(flat: NDArray[np.float64], penalty: float = penalty, root: torch.Tensor = root) -> Any:
            weight, free = _unpacked(flat, root, classes)
            value, slope, slope_free = _cross_entropy(centred, targets, weight, free)
            slope += penalty * weight
            white = torch.linalg.solve_triangular(root.T, slope, upper=False)
            gradient = torch.cat([white.flatten().double(), slope_free * classes**0.5]).numpy()
            return value + 0.5 * penalty * float(weight.square().sum(dtype=torch.float64)), gradient

        start = torch.cat([(root @ found).flatten().double(), bias / classes**0.5]).numpy()
        settings = {"maxiter": _MOST_STEPS, "maxcor": _REMEMBERED, "ftol": enough, "gtol": 0.0}
        end = minimize(loss, start, jac=True, method="L-BFGS-B", options=settings)
        found, bias = _unpacked(end.x, root, classes)
        yield LinearFit(found, bias - mean @ found.double(), strength)


def _root(curvature: torch.Tensor, penalty: float) -> torch.Tensor:
    """The upper triangle whose square is the loss's curvature at zero, (r, r) float32: it need not be exact."""
    system = curvature.clone()
    system.diagonal().add_(penalty)
    factor, failed = torch.linalg.cholesky_ex(system, upper=True)
    root = torch.diag(system.diagonal().sqrt()) if bool(failed) else factor
    return root.to(torch.float32)


def _unpacked(flat: NDArray[np.float64], root: torch.Tensor, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight (r, classes) float32, bias (classes,) float64) of their whitened numbers."""
    numbers = torch.from_numpy(flat)
    white = numbers[:-classes].reshape(-1, classes).to(torch.float32)
    return torch.linalg.solve_triangular(root, white, upper=True), numbers[-classes:] * classes**0.5


def _cross_entropy(
    rows: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> tuple[float, torch.Tensor, torch.Tensor]:
    """(mean, its gradient by the weight (r, classes) float32, and by the bias (classes,) float64)."""
    logits = rows @ weight + bias.to(torch.float32)
    likely = torch.log_softmax(logits, dim=1)
    n = len(rows)
    mean = -float(likely.gather(1, targets[:, None]).sum(dtype=torch.float64)) / n
    excess = likely.exp_()
    excess[torch.arange(n), targets] -= 1
    return mean, rows.T @ excess / n, excess.sum(dim=0, dtype=torch.float64) / n
