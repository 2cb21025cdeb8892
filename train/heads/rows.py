"""The bank's features as the rows that a head is fitted on: centred, of one scale, in few columns.

Each view of a picture is a row. Whatever is fitted here has an L2 penalty, so it lies in the span of the rows; where
there are more features than rows, the same head is found in coordinates along that span (the representer theorem:
B. Schölkopf, R. Herbrich, A. Smola, "A generalized representer theorem", COLT 2001).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from curate.errors import UserError
from train.device import require_memory
from train.optimising.layers import Head, SignedSqrt

MOST_COLUMNS: Final = 8_192
"""Of the rows' matrix of products: with more, each strength in each fold would take minutes."""

_WIDE: Final = 1.5  # features a row, from which on eigenvectors of the rows' products cost less than they save

_BLOCK: Final = 4_096  # rows whose products are summed in float32; the sums of blocks are float64
_NOTHING: Final = 1e-10  # of the largest eigenvalue: less is rounding
_KNEE: Final = 1e-3  # of the features' deviation


@dataclass(frozen=True, eq=False)
class Rows:
    """Every view of the pictures that are learnt from."""

    values: torch.Tensor  # (N · K, r) float32; the K views of a picture follow one another, the clean one first
    targets: torch.Tensor  # (N · K,) int64 class indices
    views: int  # K
    classes: int
    mean: torch.Tensor  # (dim,) float64, of the features or of their roots
    deviation: float  # one over all of them
    basis: torch.Tensor | None  # (dim, r) float64, orthonormal; None: the coordinates are the features themselves
    root: SignedSqrt | None  # what was done to the features first

    def of(self, pictures: torch.Tensor) -> torch.Tensor:
        """The places of the rows of pictures (M,), int64 (M · K,)."""
        return (pictures[:, None] * self.views + torch.arange(self.views)).flatten()

    def clean(self, pictures: torch.Tensor) -> torch.Tensor:
        """The clean views of pictures (M,), (M, r)."""
        return self.values[pictures * self.views]

    @torch.no_grad()
    def head(self, weight: torch.Tensor, bias: torch.Tensor) -> Head:
        """What gives raw features (M, dim) the logits that weight (r, classes) and bias (classes,) give the rows."""
        raw = (weight if self.basis is None else self.basis @ weight) / self.deviation
        layer = nn.Linear(len(self.mean), self.classes, device="meta").to_empty(device="cpu")
        layer.weight.copy_(raw.T)
        layer.bias.copy_(bias - self.mean @ raw)
        head = layer if self.root is None else nn.Sequential(self.root, layer)
        return head.eval().requires_grad_(False)


def rows_of(features: torch.Tensor, targets: Sequence[int], classes: int, *, roots: bool = False) -> Rows:
    """The rows of features (N, K, dim) or, with `roots`, of their signed square roots.

    Raises UserError where the features are not finite, and where rows and features are both too many.
    """
    pictures, views, dim = features.shape
    count = pictures * views
    if min(count, dim) > MOST_COLUMNS:
        raise UserError(
            f"A head can't be fitted at once on {count:,} views of {dim:,} features: fit it step by step, with --head "
            f"sgd, or give fewer --views."
        )
    wide = dim > min(MOST_COLUMNS, _WIDE * count)
    columns = count if wide else dim
    require_memory(4 * count * dim + 24 * columns**2, "Fitting the head", "give fewer --views")
    values = features.detach().cpu().reshape(count, dim).to(torch.float32, copy=True)
    root = None
    if roots:
        root = SignedSqrt(_KNEE * (_mean_square(values - values.mean(dim=0)) ** 0.5 or 1.0))
        values = root(values)
    mean = _mean(values)
    values -= mean.to(torch.float32)
    deviation = _mean_square(values) ** 0.5 or 1.0
    values /= deviation
    basis = None
    if wide:
        values, basis = _along_span(values)
    repeated = torch.as_tensor(targets, dtype=torch.int64).repeat_interleave(views)
    return Rows(values, repeated, views, classes, mean, deviation, basis, root)


def products(rows: torch.Tensor) -> torch.Tensor:
    """`rows.T @ rows` of float32 rows (n, r), (r, r) float64."""
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for block in torch.split(rows, _BLOCK):
        total += block.T @ block
    return total


def _mean(values: torch.Tensor) -> torch.Tensor:
    """Of each column (dim,), summed in float64 and rounded to float32, in float64."""
    total = torch.zeros(values.shape[1], dtype=torch.float64)
    for block in torch.split(values, _BLOCK):
        total += block.sum(dim=0, dtype=torch.float64)
    return (total / len(values)).to(torch.float32).double()


def _mean_square(values: torch.Tensor) -> float:
    """Of all numbers; raises UserError where it is not finite."""
    total = sum(float(block.double().square().sum()) for block in torch.split(values, _BLOCK))
    if not torch.isfinite(torch.tensor(total)):
        raise UserError("The backbone gives features that are not finite numbers: it needs other weights.")
    return total / values.numel()


def _along_span(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fewer rows than columns (n, dim), in coordinates (n, r) along an orthonormal basis (dim, r) of their span."""
    inner = torch.zeros(len(values), len(values), dtype=torch.float64)
    for block in torch.split(values, _BLOCK, dim=1):
        inner += block @ block.T
    lengths, vectors = torch.linalg.eigh(inner)
    there = lengths > _NOTHING * max(float(lengths[-1]), torch.finfo(torch.float64).tiny)
    roots = lengths[there].sqrt()
    basis = values.T.double() @ (vectors[:, there] / roots)
    return (vectors[:, there] * roots).to(torch.float32), basis
