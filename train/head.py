"""Fits the head on the bank's features: step by step, one layer or several; or one layer at once, as folds choose."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from curate.defaults import DEFAULT_FOLDS
from curate.errors import UserError
from curate.progress import Progress, silent
from train.device import one_thread, require_memory
from train.fold_assignment import deal_out
from train.heads.choice import Judged, choose_head
from train.heads.held_out import HeldOutHeads
from train.heads.sentences import choice_in_words
from train.optimising.distributed import Processes
from train.optimising.fitting import Epoch, Fitting, Measured, Work
from train.optimising.layers import Head, build_head, linears
from train.optimising.optimiser import parameter_groups
from train.optimising.settings import FitSettings
from train.optimising.unfinished import UnfinishedRun

_BLOCK = 1024  # rows of features that are standardised at once
_COPIES = 4  # of each weight: itself, its gradient, and AdamW's two moments


@dataclass(frozen=True)
class FittedHead:
    """The head, ready to be applied to raw features, and how it came about."""

    head: Head  # features (N, dim) → logits (N, classes), float32, eval mode, on the CPU
    history: list[Epoch]
    coverage: float  # mean share of the pictures that an epoch showed
    balanced: bool  # all classes were of one size, so balancing had nothing to do
    notes: list[str]
    chosen: Judged | None = None  # by folds
    held_out: HeldOutHeads | None = None  # the same without each fold, where that was asked for


def fit_head(
    features: torch.Tensor,
    labels: Sequence[int],
    classes: int,
    settings: FitSettings | None = None,
    *,
    seed: int = 0,
    valid: tuple[torch.Tensor, Sequence[int]] | None = None,
    fold: NDArray[np.int64] | None = None,
    with_held_out: bool = False,
    device: torch.device | None = None,
    processes: Processes | None = None,
    unfinished: UnfinishedRun | None = None,
    watch: Callable[[Epoch], None] | None = None,
    progress: Progress = silent,
) -> FittedHead:
    """Train a head on features (N, K, dim), drawing one of K views of each sampled picture, or of all views at once.

    Where `settings.head` is fitted at once, `fold` (N,) says which pictures are held out together while its strength is
    chosen, as `choose_head` takes it; None: each class is dealt out by the seed. The seed has no other part in it.
    `with_held_out` asks for the heads without each fold, too.

    `valid` is features (M, dim) and labels (M,): measured after every epoch, and used to choose one only where the
    settings ask for it (`keep`, `early_stop`, the plateau schedule). `seed` decides the first values, the pictures and
    views of each epoch, and what is dropped out; the same arguments give the same bits on one CPU. Raises UserError
    where the features or the loss are not finite.
    """
    settings = settings or FitSettings()
    require_no_cutmix(settings)
    device = device or torch.device("cpu")
    if settings.head != "sgd":
        if fold is None:
            fold = deal_out(np.asarray(labels, dtype=np.int64), DEFAULT_FOLDS, seed)
        return _fit_at_once(features, labels, classes, settings, valid, fold, with_held_out, watch, progress)
    targets = torch.as_tensor(labels, dtype=torch.int64)
    bank = _Bank(features.detach().cpu(), settings, seed)
    head = build_head(
        features.shape[2], classes, hidden=settings.hidden, activation=settings.activation, dropout=settings.dropout,
        input_dropout=settings.input_dropout, seed=seed,
    ).to(device)  # fmt: skip
    work = Work(
        model=head,
        groups=parameter_groups(head.parameters(), weight_decay=settings.weight_decay),
        loader=bank,
        targets=targets,
        classes=classes,
        validate=None if valid is None or not len(valid[1]) else lambda model: _measured(model, bank, valid, device),
        device=device,
        title="Training the head",
    )
    fitting = Fitting(work, settings, seed=seed, processes=processes, unfinished=unfinished, watch=watch)
    history = fitting.run(progress)
    coverage = float(np.mean([fitting.sampler.coverage(number) for number in range(len(history))]))
    whole = bank.folded_into(head.cpu()).eval().requires_grad_(False)
    return FittedHead(whole, history, coverage, fitting.sampler.is_balanced, fitting.notes)


def _fit_at_once(
    features: torch.Tensor,
    labels: Sequence[int],
    classes: int,
    settings: FitSettings,
    valid: tuple[torch.Tensor, Sequence[int]] | None,
    fold: NDArray[np.int64],
    with_held_out: bool,
    watch: Callable[[Epoch], None] | None,
    progress: Progress,
) -> FittedHead:
    """Choose by folds and fit on all; what comes of it is told as one epoch."""
    targets = np.asarray(labels, dtype=np.int64)
    found = choose_head(features, targets, classes, settings, fold, progress, with_held_out=with_held_out)
    learnt = _figures(found.head, features[:, 0], labels)
    measured = None if valid is None or not len(valid[1]) else _figures(found.head, *valid)
    epoch = Epoch(
        number=1,
        loss=learnt.loss / learnt.n,
        train_accuracy=learnt.correct / learnt.n,
        valid_accuracy=None if measured is None else measured.correct / measured.n,
        valid_loss=None if measured is None else measured.loss / measured.n,
        plain_loss=learnt.loss / learnt.n,
    )
    if watch is not None:
        watch(epoch)
    counts = np.bincount(targets, minlength=classes)
    return FittedHead(
        found.head, [epoch], 1.0, bool((counts == counts[0]).all()), [choice_in_words(found, settings.balance)],
        found.best, found.held_out,
    )  # fmt: skip


@torch.inference_mode()
def _figures(head: Head, features: torch.Tensor, labels: Sequence[int]) -> Measured:
    """Counts and the loss of a finished head on features (M, dim)."""
    truth = torch.as_tensor(labels, dtype=torch.int64)
    logits = torch.cat([head(block.to(torch.float32)) for block in torch.split(features, _BLOCK)])
    correct = int((logits.argmax(dim=1) == truth).sum())
    return Measured(len(truth), correct, float(functional.cross_entropy(logits, truth, reduction="sum")))


def threads_for(settings: FitSettings) -> AbstractContextManager[None]:
    """In which a head is fitted soonest on the CPU: one layer's steps by one thread, all else by all of them."""
    return one_thread() if settings.head == "sgd" and not settings.hidden else nullcontext()


def require_room(dim: int, classes: int, settings: FitSettings) -> None:
    """Raise UserError where a head of these settings would not fit into memory: before any feature is computed."""
    widths = [dim, *settings.hidden, classes]
    numbers = sum((wide + 1) * narrow for wide, narrow in pairwise(widths))
    require_memory(_COPIES * 4 * numbers, "Fitting the head", "give smaller hidden layers")


def require_no_cutmix(settings: FitSettings) -> None:
    """Raise UserError where pieces of pictures were to be exchanged, of which there are features alone."""
    if settings.cutmix:
        raise UserError("cutmix cuts pictures, and the bank holds features: set cutmix to 0, or --unfreeze something.")


class _Bank:
    """Features as a source of steps: standardised where the settings say so."""

    def __init__(self, features: torch.Tensor, settings: FitSettings, seed: int) -> None:
        self.features, self.seed = features, seed
        self.mean, self.deviation = _scale(features)
        if not settings.standardise:
            self.mean, self.deviation = torch.zeros_like(self.mean), torch.ones_like(self.deviation)

    def inputs(self, epoch: int, drawn: torch.Tensor, parts: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Standardised features (len(part), dim) of the view that each draw fell on."""
        views = _draw_views(len(drawn), self.features.shape[1], self.seed, epoch)
        for part in parts:
            yield self.standard(self.features[drawn[part], views[part]])

    def standard(self, features: torch.Tensor) -> torch.Tensor:
        """Centred and scaled, in float32, as a copy."""
        return features.to(torch.float32, copy=True).sub_(self.mean).div_(self.deviation)

    @torch.no_grad()
    def folded_into(self, head: Head) -> Head:
        """Make `head` the same function of raw features: its first layer takes the scaling in, by way of float64."""
        first = linears(head)[0]
        weight = first.weight.double() / self.deviation.double()
        first.bias.copy_(first.bias.double() - weight @ self.mean.double())
        first.weight.copy_(weight)
        return head


def _scale(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean of each feature (dim,) and one deviation over all of them (), float32.

    One deviation, not one per feature: what varies little in a network's features also tells little, and scaling it
    up cost two points in cross-validation. Summed in float64 by blocks, so no second copy of the features is made.
    """
    dim, count = features.shape[2], features.shape[0] * features.shape[1]
    blocks = [(start, min(start + 1024, len(features))) for start in range(0, len(features), 1024)]
    mean = torch.zeros(dim, dtype=torch.float64)
    for start, stop in blocks:
        mean += features[start:stop].reshape(-1, dim).to(torch.float64).sum(dim=0) / count
    squares = 0.0
    for start, stop in blocks:
        squares += float((features[start:stop].reshape(-1, dim).to(torch.float64) - mean).square().sum())
    deviation = math.sqrt(squares / (count * dim)) if math.isfinite(squares) else math.inf
    if not math.isfinite(deviation):
        raise UserError("The backbone gives features that are not finite numbers: it needs other weights.")
    return mean.to(torch.float32), torch.tensor(deviation or 1.0, dtype=torch.float32)


def _measured(
    model: nn.Module, bank: _Bank, valid: tuple[torch.Tensor, Sequence[int]], device: torch.device
) -> Measured:
    """Counts and the loss on all of valid; several processes each measure all, and their sums have the same shares."""
    correct, loss = 0, 0.0
    truth = torch.as_tensor(valid[1], dtype=torch.int64).to(device)
    for start in range(0, len(truth), _BLOCK):
        rows = slice(start, start + _BLOCK)
        logits = model(bank.standard(valid[0][rows]).to(device))
        correct += int((logits.argmax(dim=1) == truth[rows]).sum())
        loss += float(functional.cross_entropy(logits, truth[rows], reduction="sum"))
    return Measured(len(truth), correct, loss)


def _draw_views(count: int, views: int, seed: int, epoch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(((seed * 1_000_003 + epoch) * 2 + 1) % (1 << 64))
    return torch.randint(views, (count,), generator=generator)
