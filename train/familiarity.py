"""How far a picture lies from every class that was learnt: the sign of what belongs to none of them.

A classifier shares a probability of 1 among its classes, whatever it is shown. The features tell more: a picture's
distance to the classes' means is compared with those of training pictures that were held out, fold by fold. What lies
farther than nearly all of these is a stranger.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

STRANGE: Final = 0.02
"""Share of held-out training pictures that lie so far off, at which a picture counts as of no class."""

_DIRECTIONS: Final = 128  # of largest variance that are kept
_SHRINKAGE: Final = 0.1  # share of the mean variance in the covariance: there are fewer pictures than directions
_FOLDS: Final = 5
_MOST: Final = 20_000  # pictures that are learnt from, spread evenly
_FEWEST: Final = math.ceil(1 / STRANGE) - 1  # pictures that must have been held out: of fewer none could be so strange
_ROUNDS: Final = 2  # of the subspace iteration that finds the directions


@dataclass(frozen=True, eq=False)
class Familiarity:
    """The classes' directions in features that are centred and whitened, and how near held-out pictures came.

    The distance of a picture is 1 − the largest cosine with a class's mean, 0 to 2, where directions in which one
    class varies much count little. What lies outside the directions that training pictures take adds to the length
    alone. With plain cosines strangers of other domains are told as well, unknown classes of the same domain less
    well; with Mahalanobis' distance far less: `benchmarks/strays.py`.
    """

    centre: NDArray[np.float32]  # (dim,)
    directions: NDArray[np.float32]  # (dim, k) orthonormal: those of largest variance
    whitening: NDArray[np.float32]  # (k, k)
    classes: NDArray[np.float32]  # (classes, k), each of length 1
    outside: NDArray[np.float32]  # (1,): standard deviation in each direction that is not among the k
    held_out: NDArray[np.float32]  # (n,) ascending distances of held-out training pictures

    def distances(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Distances (N,) of features (N, dim)."""
        flat, rest = _flattened(np.asarray(features, dtype=np.float32) - self.centre, self.directions)
        white = flat @ self.whitening
        length = np.sqrt(np.square(white).sum(axis=1) + rest / np.square(self.outside))
        cosines = (white @ self.classes.T).max(axis=1) / np.maximum(length, np.finfo(np.float32).tiny)
        return np.asarray(1 - cosines, dtype=np.float32)

    def of(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Familiarities (N,) of features (N, dim): the share of held-out pictures that lie at least as far, 0 to 1.

        It is the p-value of conformal prediction (V. Vovk et al., "Algorithmic learning in a random world", 2005): of
        pictures like those held out, a share of at most p has a familiarity of p or less.
        """
        farther = len(self.held_out) - np.searchsorted(self.held_out, self.distances(features), side="left")
        return np.asarray((1.0 + farther) / (1.0 + len(self.held_out)), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Tensors alone, as a checkpoint keeps it."""
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], *, dim: int, classes: int) -> "Familiarity":
        """Read what `to_dict` wrote; raises ValueError where it is not that of a checkpoint of such a size."""
        values = {
            name: plain[name].numpy()
            for name in ("centre", "directions", "whitening", "classes", "outside", "held_out")
        }
        if any(value.dtype != np.float32 or not np.isfinite(value).all() for value in values.values()):
            raise ValueError("its familiarity is not made of finite numbers")
        found = cls(**values)
        k = len(found.whitening)
        shapes = [(dim,), (dim, k), (k, k), (classes, k), (1,), (len(found.held_out),)]
        if [value.shape for value in values.values()] != shapes or not found.outside[0] > 0:
            raise ValueError("its familiarity is that of other features or classes")
        if (np.diff(found.held_out) < 0).any():
            raise ValueError("its held-out distances are not in order")
        return found


def learn_familiarity(
    features: torch.Tensor, targets: NDArray[np.int64], classes: int, *, seed: int = 0
) -> Familiarity | None:
    """Learn it from the features (N, dim) of training pictures and their class indices (N,).

    Each picture's distance is taken with its fold held out; pictures without another of their class are never. None
    where too few can be held out to say anything, or where features are not finite.
    """
    step = -(-len(features) // _MOST)
    x = features[::step].detach().cpu().to(torch.float32).numpy()
    y = np.asarray(targets, dtype=np.int64)[::step]
    if not np.isfinite(x).all():
        return None
    alone = np.bincount(y, minlength=classes)[y] < 2
    if (~alone).sum() < _FEWEST or not np.ptp(x, axis=0).any():
        return None
    fold = _folds(y, classes)
    held_out = []
    for number in range(_FOLDS):
        learnt, held = fold != number, (fold == number) & ~alone
        # All of it anew: directions that a picture had a part in choosing are near to it
        held_out.append(_shape(x[learnt], y[learnt], classes, seed).distances(x[held]))
    return replace(_shape(x, y, classes, seed), held_out=np.sort(np.concatenate(held_out)))


def _folds(targets: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The fold of each picture, (N,): those of a class in turn."""
    turn = np.zeros(len(targets), dtype=np.int64)
    for label in range(classes):
        own = np.flatnonzero(targets == label)
        turn[own] = np.arange(len(own))
    return turn % _FOLDS


def _shape(x: NDArray[np.float32], targets: NDArray[np.int64], classes: int, seed: int) -> Familiarity:
    """What features (N, dim) look like, with nothing held out."""
    centre = x.mean(axis=0)
    directions = _directions(x - centre, seed)
    flat, rest = _flattened(x - centre, directions)
    whitening, means, outside = _whitened(flat, rest, targets, classes, x.shape[1])
    return Familiarity(centre, directions, whitening, means, outside, np.zeros(0, dtype=np.float32))


def _directions(centred: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Orthonormal directions (dim, k) of largest variance of (N, dim), by subspace iteration.

    N. Halko, P. Martinsson, J. Tropp, "Finding structure with randomness", SIAM Review 53 (2011).
    """
    k = min(_DIRECTIONS, *centred.shape)
    basis = np.random.default_rng(seed).standard_normal((centred.shape[1], k)).astype(np.float32)
    scale = max(float(np.abs(centred).max(initial=0.0)), float(np.finfo(np.float32).tiny))
    for _ in range(_ROUNDS):
        basis, _ = np.linalg.qr(centred.T @ ((centred @ basis) / np.float32(scale)) / np.float32(scale))
    return np.asarray(basis, dtype=np.float32)


def _flattened(
    centred: NDArray[np.float32], basis: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(coordinates (N, k) in the directions, squared lengths (N,) of what lies outside them)."""
    flat = centred @ basis
    rest = np.square(centred).sum(axis=1) - np.square(flat).sum(axis=1)
    return flat, np.maximum(rest, 0)


def _whitened(
    flat: NDArray[np.float32], rest: NDArray[np.float32], targets: NDArray[np.int64], classes: int, dim: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """(whitening (k, k), class means (classes, k) of length 1, deviation outside (1,)) by the classes' one covariance.

    A class without a picture has a mean of 0, which nothing is near to.
    """
    counts = np.bincount(targets, minlength=classes)
    sums = np.zeros((classes, flat.shape[1]), dtype=np.float64)
    np.add.at(sums, targets, flat)
    means = sums / np.maximum(counts, 1)[:, None]
    within = flat - means[targets]
    covariance = within.T @ within / max(1, len(flat))
    spread = float(rest.mean())  # over all directions outside
    least = float(np.finfo(np.float32).tiny)
    mean = max((float(np.trace(covariance)) + spread) / dim, least)
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * mean * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(covariance)
    whitening = vectors / np.sqrt(values)
    outside = math.sqrt((1 - _SHRINKAGE) * spread / max(1, dim - len(covariance)) + _SHRINKAGE * mean)
    lengths = _unit((means @ whitening).astype(np.float32))
    return whitening.astype(np.float32), lengths, np.array([outside], dtype=np.float32)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = rows / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
