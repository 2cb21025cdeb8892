"""Counts, sums and products of rows by class: all that ridge regression and discriminant analysis ask of them.

They add up. So each fold's own are computed once, and what the others say of it follows by subtraction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from train.heads.rows import products


@dataclass(frozen=True, eq=False)
class Moments:
    """Of some rows of r numbers, in float64. The numbers may be coordinates of more features than r."""

    counts: torch.Tensor  # (classes,) rows
    sums: torch.Tensor  # (classes, r)
    products: torch.Tensor  # (r, r), of the rows with themselves
    features: int

    @classmethod
    def of(cls, rows: torch.Tensor, targets: torch.Tensor, classes: int, features: int) -> Self:
        """Those of rows (n, r) float32, coordinates of so many features, and their class indices (n,)."""
        sums = torch.zeros(classes, rows.shape[1], dtype=torch.float64)
        sums.index_add_(0, targets, rows.double())
        return cls(torch.bincount(targets, minlength=classes).double(), sums, products(rows), features)

    @classmethod
    def total(cls, parts: Sequence[Self]) -> Self:
        """Of all rows of the parts together."""
        first, *others = parts
        counts, sums, squares = first.counts.clone(), first.sums.clone(), first.products.clone()
        for part in others:
            counts += part.counts
            sums += part.sums
            squares += part.products
        return cls(counts, sums, squares, first.features)

    def without(self, part: Self) -> Self:
        """Of all rows but those of a part."""
        counts, sums = self.counts - part.counts, self.sums - part.sums
        return type(self)(counts, sums, self.products - part.products, self.features)

    @property
    def mean(self) -> torch.Tensor:
        """Of all rows, (r,)."""
        return self.sums.sum(dim=0) / self.counts.sum()

    def class_means(self) -> torch.Tensor:
        """(classes, r); a class without rows has the mean of all."""
        means = self.sums / self.counts.clamp(min=1)[:, None]
        means[self.counts == 0] = self.mean
        return means

    def mean_variance(self, covariance: torch.Tensor) -> float:
        """Of a feature, by the covariance (r, r) of its coordinates; 1 where nothing varies."""
        return max(0.0, float(covariance.diagonal().sum())) / self.features or 1.0

    def covariance(self) -> torch.Tensor:
        """Of all rows about their mean, (r, r)."""
        n = self.counts.sum()
        return self.products / n - torch.outer(self.mean, self.mean)

    def within(self) -> torch.Tensor:
        """The covariance of rows about the mean of their class, pooled over the classes, (r, r)."""
        means = self.class_means()
        return (self.products - (means * self.counts[:, None]).T @ means) / self.counts.sum()
