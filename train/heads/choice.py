"""Which head, of which strength: each is fitted with every fold held out, and what it says there decides.

Nothing that a head is judged by had a part in it. Rows are summed once for each fold, and what the other folds say
follows by subtraction, so that one strength more costs one system of equations a fold.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from curate.progress import Progress, silent
from train.heads.closed_form import LinearFit, discriminant, ridge
from train.heads.held_out import HeldOutHeads
from train.heads.logistic import logistic
from train.heads.moments import Moments
from train.heads.rows import Rows, rows_of
from train.optimising.layers import Head
from train.optimising.settings import ConvexHead, FitSettings

STRENGTHS: Final[Mapping[ConvexHead, tuple[float, ...]]] = {
    "ridge": (0.3, 0.1, 0.03, 0.01),
    "lda": (0.97, 0.9, 0.8, 0.6),
    "logistic": (0.003, 0.001, 0.0003, 0.0001, 0.00003),
}
"""What is tried of each, strong to weak; `HeadCandidate` says what the numbers are."""

ADJUSTMENTS: Final = (0.0, 0.5, 1.0)

COORDINATES: Final = (False, True)
"""Features as they are, and their signed square roots."""

_CLOSED: Final[Mapping[ConvexHead, Callable[[Moments, Sequence[float], torch.dtype], Iterator[LinearFit]]]] = {
    "ridge": ridge, "lda": discriminant
}  # fmt: skip
_PRIORS: Final[Mapping[ConvexHead, float]] = {"ridge": 0.0, "lda": 1.0, "logistic": 0.0}  # what its logits lack of it
_ROUGHLY: Final = 1e-4  # of the loss: where L-BFGS stops within folds
ENOUGH: Final = 2_000  # held-out pictures from which on no further fold is held out: they tell half a point apart
TELLING: Final = 500  # held-out pictures from which on only the better strengths of a kind go on
STAYING: Final = 2  # of these
_TEMPERATURES: Final = (math.log(1e-3), math.log(1e3))


@dataclass(frozen=True)
class HeadCandidate:
    """One way to fit a linear layer.

    `strength` is ridge's and logistic's penalty as a multiple of the features' mean variance, and lda's share of a ball
    in the covariance. With `roots` it is fitted on the features' signed square roots.
    """

    kind: ConvexHead
    strength: float
    roots: bool


@dataclass(frozen=True)
class Judged:
    """The mean of the logits of these heads, each at its temperature, and how it did on pictures that were held out.

    `adjustment` · log(share of the class) is taken off each logit (A. K. Menon et al., "Long-tail learning via logit
    adjustment", ICLR 2021): at 1 no class is likelier than another before a picture is seen. `accuracy` and
    `cross_entropy` (nats) weigh a picture one part in n**balance, n being the pictures of its class.
    """

    members: tuple[HeadCandidate, ...]
    temperatures: tuple[float, ...]
    adjustment: float
    accuracy: float
    cross_entropy: float
    right: int
    held_out: int

    def facts(self) -> list[dict[str, object]]:
        """What a checkpoint keeps of it, in plain types."""
        return [
            {"head": one.kind, "strength": one.strength, "roots": one.roots, "adjustment": self.adjustment}
            for one in self.members
        ]


@dataclass(frozen=True, eq=False)
class ChosenHead:
    """The head that did best, fitted on all pictures, and all that were compared, best first."""

    head: Head
    judged: list[Judged]
    held_out: HeldOutHeads | None = None  # the same without each fold, where that was asked for

    @property
    def best(self) -> Judged:
        """The one that was fitted."""
        return self.judged[0]


def choose_head(
    features: torch.Tensor,
    targets: NDArray[np.int64],
    classes: int,
    settings: FitSettings,
    fold: NDArray[np.int64],
    progress: Progress = silent,
    *,
    with_held_out: bool = False,
) -> ChosenHead:
    """Fit what `settings.head` names (auto: all) on features (N, K, dim) with each fold held out; the best on all.

    `fold` (N,) counts from 0; a picture of a negative one is always learnt from. Of many pictures as many folds are
    held out as tell enough. Of each kind that strength counts
    whose held-out cross-entropy is least at its best temperature; of these and their means the one that is right most
    often, pictures weighted as in `Judged`. Where nothing can be held out, a middle strength is taken. `with_held_out`
    asks for the heads of the folds, too. Raises UserError as `rows_of` does.
    """
    kinds: tuple[ConvexHead, ...] = get_args(ConvexHead) if settings.head == "auto" else (settings.head,)
    strengths = {kind: (settings.strength,) if settings.strength else STRENGTHS[kind] for kind in kinds}
    jury = _Jury(targets, fold, classes, settings.balance)
    if not len(jury.held):
        return _without_folds(features, targets, jury, kinds[0], strengths[kinds[0]])
    with progress("Choosing the head by folds", len(COORDINATES) * (1 + len(_CLOSED)) + len(kinds)) as advance:
        bench, found = _better_bench(features, targets, jury, advance)
        contenders = []
        for kind in kinds:
            known = found.get(kind) if strengths[kind] == STRENGTHS[kind] else None
            contenders.append(known or _contender(bench, kind, strengths[kind], jury))
            advance(1)
    judged = sorted(_compared(contenders, jury), key=lambda one: (-one[0].accuracy, one[0].cross_entropy))
    best, members = judged[0]
    fits = [bench.fit_all(member.candidate) for member in members]
    return ChosenHead(
        _combined(bench.rows, fits, best, jury),
        [one for one, _ in judged],
        _held_out(bench.rows, members, best, targets, jury) if with_held_out else None,
    )


class _Jury:
    """The pictures that are held out, and what a logit of theirs is worth."""

    def __init__(self, targets: NDArray[np.int64], fold: NDArray[np.int64], classes: int, balance: float) -> None:
        self.classes, self.balance = classes, balance
        numbers, counts = np.unique(fold[fold >= 0], return_counts=True)
        before = np.cumsum(counts) - counts
        self.folds: list[int] = numbers[before < ENOUGH].tolist()
        if int(counts.sum()) == counts.max(initial=0) == len(fold):
            self.folds = []  # without the only fold there is nothing to learn from
        self.fold = np.where(np.isin(fold, self.folds), fold, -1)  # (N,)
        self.held = np.concatenate([np.flatnonzero(fold == one) for one in self.folds] or [np.zeros(0, np.int64)])
        self.truth = targets[self.held]
        sizes = np.bincount(targets, minlength=classes)
        self.prior = np.log(np.maximum(sizes, 0.5) / len(targets))  # (classes,)
        weights = np.asarray(sizes, np.float64)[self.truth] ** -balance
        self.weights = weights / max(weights.sum(), np.finfo(np.float64).tiny)

    def tempered(self, logits: NDArray[np.float32], kind: ConvexHead) -> tuple[float, float]:
        """(the temperature at which the weighted cross-entropy is least, that cross-entropy) of logits (m, classes).

        They are of the first m pictures that are held out.
        """
        # As pictures are weighted, a class is so likely before one is seen
        prior = (_PRIORS[kind] - self.balance) * self.prior.astype(np.float32)

        def entropy(log_temperature: float) -> float:
            return self.cross_entropy(logits / np.float32(math.exp(log_temperature)) + prior)

        found = minimize_scalar(entropy, bounds=_TEMPERATURES, method="bounded", options={"xatol": 0.01})
        return math.exp(float(found.x)), float(found.fun)

    def cross_entropy(self, logits: NDArray[np.float32]) -> float:
        """Weighted mean in nats of logits (m, classes).

        A picture more of a wrong answer is counted, as `fit_temperature` does: who made no mistake is not infallible.
        """
        m = len(logits)
        likely = log_softmax(logits, axis=1)
        true_class = likely[np.arange(m), self.truth[:m]]
        others = (likely.sum(axis=1) - true_class) / max(1, self.classes - 1)
        doubt = 1 / (m + 2)
        return float(-np.average((1 - doubt) * true_class + doubt * others, weights=self.weights[:m]))


class _Bench:
    """The rows in one kind of coordinates, and their moments by fold."""

    def __init__(self, features: torch.Tensor, targets: NDArray[np.int64], jury: _Jury, *, roots: bool) -> None:
        self.roots = roots
        self.rows = rows_of(features, targets.tolist(), jury.classes, roots=roots)
        self.fold = torch.from_numpy(jury.fold)
        self.parts = {one: self._moments(self.fold == one) for one in jury.folds}
        rest = self._moments(self.fold < 0)
        self.total = Moments.total([*self.parts.values(), rest])

    def fits(self, kind: ConvexHead, strengths: Sequence[float], fold: int) -> Iterator[LinearFit]:
        """Heads that never saw a fold, for each of the strengths: exact enough to be compared."""
        moments, pictures = self.total.without(self.parts[fold]), self.fold != fold
        if kind in _CLOSED:
            yield from _CLOSED[kind](moments, strengths, torch.float32)
        else:
            yield from logistic(*self._rows(pictures), moments, strengths, enough=_ROUGHLY)

    def fit_all(self, candidate: HeadCandidate) -> LinearFit:
        """The head of all pictures."""
        if candidate.kind in _CLOSED:
            (fit,) = _CLOSED[candidate.kind](self.total, [candidate.strength], torch.float64)
        else:
            (fit,) = logistic(self.rows.values, self.rows.targets, self.total, [candidate.strength])
        return fit

    def clean(self, fold: int) -> torch.Tensor:
        """The clean views of the pictures of a fold, (m, r)."""
        return self.rows.clean(torch.nonzero(self.fold == fold).flatten())

    def _rows(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        at = self.rows.of(torch.nonzero(pictures).flatten())
        return self.rows.values[at], self.rows.targets[at]

    def _moments(self, pictures: torch.Tensor) -> Moments:
        return Moments.of(*self._rows(pictures), self.rows.classes, len(self.rows.mean))


@dataclass(frozen=True, eq=False)
class _Contender:
    """The best strength of one kind."""

    candidate: HeadCandidate
    temperature: float
    cross_entropy: float
    logits: NDArray[np.float32]  # (M, classes), of the clean views of what is held out, at that temperature
    fits: list[LinearFit]  # one a fold


def _contender(bench: _Bench, kind: ConvexHead, strengths: Sequence[float], jury: _Jury) -> _Contender:
    """The strength that does best; once enough pictures have been held out, the two that did best alone go on."""
    fits: dict[float, list[LinearFit]] = {strength: [] for strength in strengths}
    logits: dict[float, list[torch.Tensor]] = {strength: [] for strength in strengths}
    judged: dict[float, tuple[float, float]] = {}
    running, held = list(strengths), 0
    for fold in jury.folds:
        rows = bench.clean(fold)
        held += len(rows)
        for fit in bench.fits(kind, running, fold):
            fits[fit.strength].append(fit)
            logits[fit.strength].append(fit.logits(rows))
        if held >= TELLING or fold == jury.folds[-1]:
            judged = {one: jury.tempered(torch.cat(logits[one]).numpy(), kind) for one in running}
            best = sorted(running, key=lambda one: judged[one][1])[:STAYING]
            running = [one for one in running if one in best]
    first = min(running, key=lambda one: judged[one][1])
    temperature, entropy = judged[first]
    offset = torch.from_numpy(_PRIORS[kind] * jury.prior).to(torch.float32)
    tempered: NDArray[np.float32] = (torch.cat(logits[first]) / temperature + offset).numpy()
    return _Contender(HeadCandidate(kind, first, bench.roots), temperature, entropy, tempered, fits[first])


def _better_bench(
    features: torch.Tensor, targets: NDArray[np.int64], jury: _Jury, advance: Callable[[int], None]
) -> tuple[_Bench, dict[ConvexHead, _Contender]]:
    """The coordinates in which a closed form does best, and what each does there."""
    best: tuple[float, _Bench, dict[ConvexHead, _Contender]] | None = None
    for roots in COORDINATES:
        bench, found = _Bench(features, targets, jury, roots=roots), dict[ConvexHead, _Contender]()
        advance(1)
        for kind in _CLOSED:
            found[kind] = _contender(bench, kind, STRENGTHS[kind], jury)
            advance(1)
        entropy = min(one.cross_entropy for one in found.values())
        if best is None or entropy < best[0]:
            best = entropy, bench, found
    assert best is not None
    return best[1:]


def _compared(contenders: Sequence[_Contender], jury: _Jury) -> Iterator[tuple[Judged, tuple[_Contender, ...]]]:
    """Each contender and each mean of several, at each adjustment."""
    for size in range(1, len(contenders) + 1):
        for members in combinations(contenders, size):
            mean = np.mean([one.logits for one in members], axis=0, dtype=np.float32)
            for adjustment in ADJUSTMENTS:
                logits = mean - np.float32(adjustment) * jury.prior.astype(np.float32)
                right = logits.argmax(axis=1) == jury.truth
                yield (
                    Judged(
                        members=tuple(one.candidate for one in members),
                        temperatures=tuple(one.temperature for one in members),
                        adjustment=adjustment,
                        accuracy=float((jury.weights * right).sum()),
                        cross_entropy=jury.cross_entropy(logits),
                        right=int(right.sum()),
                        held_out=len(right),
                    ),
                    members,
                )


def _combined(rows: Rows, fits: Sequence[LinearFit], judged: Judged, jury: _Jury) -> Head:
    """One layer for the mean of the fits' logits: of linear layers it is linear."""
    prior = torch.from_numpy(jury.prior)
    weight, bias = torch.zeros_like(fits[0].weight, dtype=torch.float64), -judged.adjustment * prior
    for fit, one, temperature in zip(fits, judged.members, judged.temperatures, strict=True):
        weight += fit.weight.double() / temperature / len(fits)
        bias += (fit.bias / temperature + _PRIORS[one.kind] * prior) / len(fits)
    return rows.head(weight, bias)


def _held_out(
    rows: Rows, members: Sequence[_Contender], judged: Judged, targets: NDArray[np.int64], jury: _Jury
) -> HeldOutHeads:
    """What was judged, as heads for raw features: each fold's was fitted on the other folds."""
    heads = {
        fold: _combined(rows, [member.fits[number] for member in members], judged, jury)
        for number, fold in enumerate(jury.folds)
    }
    return HeldOutHeads(heads, jury.fold, targets, jury.balance)


def _without_folds(
    features: torch.Tensor, targets: NDArray[np.int64], jury: _Jury, kind: ConvexHead, strengths: Sequence[float]
) -> ChosenHead:
    """A middle strength, as it is: where each class has one picture, or all that it has are one group."""
    bench = _Bench(features, targets, jury, roots=False)
    candidate = HeadCandidate(kind, strengths[len(strengths) // 2], roots=False)
    judged = Judged((candidate,), (1.0,), 0.0, math.nan, math.nan, 0, 0)
    return ChosenHead(_combined(bench.rows, [bench.fit_all(candidate)], judged, jury), [judged])
