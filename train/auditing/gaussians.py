"""Classes as Gaussians of one covariance in a network's features: fitted with some pictures held out, in one pass."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float32]

MOST_DIRECTIONS: Final = 384
"""Directions of largest variance that are looked at; beyond them no figure grew."""

_SHRINKAGE: Final = 0.4
"""Weight of a ball in the covariance: 0.3 to 0.5 gave the same figures, less and more gave lower ones."""

_BLOCK: Final = 8_192  # rows that are whitened at once


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Class means and their one covariance, in whitened coordinates."""

    centre: Floats  # (k,)
    whitening: Floats  # (k, k)
    means: Floats  # (classes, k), white
    counts: NDArray[np.float64]  # (classes,) sums of weights; a class of 0 is never likely

    def logits(self, rows: Floats) -> tuple[Floats, Floats]:
        """(log densities but for a constant (n, classes), cosines to the class means (n, classes)) of rows (n, k).

        A mean of few pictures is uncertain, so its class is wider by one part in their number.
        """
        white = (rows - self.centre) @ self.whitening
        squares, lengths = np.square(white).sum(axis=1), np.square(self.means).sum(axis=1)
        products = white @ self.means.T
        absent = self.counts < 0.5
        wider = (1 + 1 / np.where(absent, 1, self.counts)).astype(np.float32)
        logits = -0.5 * (squares[:, None] - 2 * products + lengths) / wider
        tiny = np.finfo(np.float32).tiny
        cosines = products / np.maximum(np.sqrt(squares)[:, None] * np.sqrt(lengths), tiny)
        logits[:, absent], cosines[:, absent] = -1e6, -1
        return logits, cosines


def coordinates(features: Floats) -> Floats:
    """The features (n, dim) as coordinates (n, k) in which classes are nearly Gaussian, of mean 0.

    It is the signed square root, as pooled activations are skewed (F. Perronnin et al., "Improving the Fisher kernel",
    ECCV 2010), in the directions of largest variance. Labels have no part in it.
    """
    rows = np.abs(features)  # one copy, and all else in place: there may be a million
    np.sqrt(rows, out=rows)
    np.copysign(rows, features, out=rows)
    rows -= rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows /= np.float32(max(float(np.linalg.norm(rows)) / math.sqrt(rows.size), 1e-12))
    if rows.shape[1] <= MOST_DIRECTIONS:
        return rows
    if len(rows) < rows.shape[1]:
        values, left = np.linalg.eigh((rows @ rows.T).astype(np.float64))
        at = slice(None, -MOST_DIRECTIONS - 1, -1)
        return np.ascontiguousarray(left[:, at] * np.sqrt(np.maximum(values[at], 0)), dtype=np.float32)
    _, vectors = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    flat: Floats = rows @ np.ascontiguousarray(vectors[:, : -MOST_DIRECTIONS - 1 : -1], dtype=np.float32)
    return flat


@dataclass(eq=False)
class _Sums:
    """What Gaussians are made of, of one fold."""

    counts: NDArray[np.float64]  # (classes,)
    sums: NDArray[np.float64]  # (classes, k)
    squares: NDArray[np.float64]  # (k, k)


def held_out(
    rows: Floats, targets: NDArray[np.int64], weights: Floats, fold: NDArray[np.int64], classes: int
) -> Iterator[tuple[NDArray[np.intp], Gaussians]]:
    """For each fold (the places of its rows, the Gaussians of all others).

    `rows` is (n, k), `targets` and `weights` (n,), `fold` (n,) from 0 on; what has −1 is never held out. Each row's
    products are summed once, whatever the number of folds.
    """
    numbers = range(min(0, int(fold.min())), int(fold.max()) + 1)
    places = [np.flatnonzero(fold == number) for number in numbers]
    parts = [_sums(rows[at], targets[at], weights[at], classes) for at in places]
    total = _Sums(
        np.sum([part.counts for part in parts], axis=0),
        np.sum([part.sums for part in parts], axis=0),
        np.sum([part.squares for part in parts], axis=0),
    )
    for number, at, part in zip(numbers, places, parts, strict=True):
        if number < 0:
            continue
        rest = _Sums(total.counts - part.counts, total.sums - part.sums, total.squares - part.squares)
        yield at, _gaussians(rest)


def fit(rows: Floats, targets: NDArray[np.int64], weights: Floats, classes: int) -> Gaussians:
    """The Gaussians of all rows (n, k)."""
    return _gaussians(_sums(rows, targets, weights, classes))


def blocks(places: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """The places in parts of a size that fits into the caches."""
    for start in range(0, len(places), _BLOCK):
        yield places[start : start + _BLOCK]


def _sums(rows: Floats, targets: NDArray[np.int64], weights: Floats, classes: int) -> _Sums:
    squares = np.zeros((rows.shape[1], rows.shape[1]))
    sums = np.zeros((classes, rows.shape[1]))
    for at in blocks(np.arange(len(rows))):
        part, weight = rows[at], weights[at]
        weighted = part * weight[:, None]
        squares += weighted.T @ part
        membership = csr_array((np.ones(len(at), np.float32), (targets[at], np.arange(len(at)))), (classes, len(at)))
        sums += membership @ weighted
    return _Sums(np.bincount(targets, weights, classes).astype(np.float64), sums, squares)


def _gaussians(found: _Sums) -> Gaussians:
    counts = np.maximum(found.counts, 0)
    safe = np.maximum(counts, 1e-9)
    means = np.where(counts[:, None] < 0.5, 0, found.sums / safe[:, None])
    within = (found.squares - (means * counts[:, None]).T @ means) / max(1.0, counts.sum() - len(counts))
    values, vectors = np.linalg.eigh(within)
    values = np.maximum(values, 0)
    mean = max(float(values.mean()), 1e-12)
    whitening = vectors / np.sqrt((1 - _SHRINKAGE) * values + _SHRINKAGE * mean)
    centre = found.sums.sum(axis=0) / max(1e-9, counts.sum())
    white = (means - centre) @ whitening
    white[counts < 0.5] = 0
    return Gaussians(centre.astype(np.float32), whitening.astype(np.float32), white.astype(np.float32), counts)
