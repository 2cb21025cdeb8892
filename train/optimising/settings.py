"""How a classifier is fitted: head, optimiser, schedule, regularisation and balance, in plain values."""

import sys
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from curate.defaults import MOST_SEED
from curate.errors import UserError

Activation = Literal["relu", "leaky_relu", "gelu"]
Optimizer = Literal["adamw", "adam", "sgd"]
ScheduleName = Literal["cosine", "constant", "exponential", "plateau"]
BalanceBy = Literal["sampling", "weights", "logits"]
Keep = Literal["last", "best"]


@dataclass(frozen=True)
class FitSettings:
    """Every choice in fitting a classifier, on banked features or on pictures alike.

    The defaults were chosen by cross-validation inside a training set, for one layer on the features of a frozen
    network. Raises UserError for values that make no sense.
    """

    # The head
    hidden: tuple[int, ...] = ()  # units of hidden layers between the features and the classes
    activation: Activation = "relu"
    dropout: float = 0.0  # before every layer but the first; before the only one where there are no hidden layers
    standardise: bool = True  # on the bank: centre and scale the features; folded into the first layer afterwards
    # The optimiser
    optimizer: Optimizer = "adamw"
    learning_rate: float = 3e-3
    momentum: float = 0.9  # of sgd
    weight_decay: float = 3.0  # of the head; adamw: decoupled from the gradient, times the rate; else added to it
    clip: float = 0.0  # longest gradient, as a norm over all parameters; 0: any
    # The schedule
    schedule: ScheduleName = "cosine"
    warmup: float = 0.0  # epochs in which the rate rises from zero
    decay: float = 0.94  # exponential: the rate's factor an epoch
    patience: int = 10  # plateau: epochs without a lower valid loss before the rate falls
    factor: float = 0.1  # plateau: what it falls by
    epochs: int = 30
    steps: int = 0  # stop after so many steps of the optimiser; 0: the epochs decide
    batch: int = 100
    accumulate: int = 1  # batches whose gradients make one step
    early_stop: int = 0  # epochs without a better valid accuracy before training ends; 0: never
    keep: Keep = "last"  # whose weights are saved: the last epoch's or those of the best on valid
    # Regularisation
    label_smoothing: float = 0.2
    mixup: float = 0.0  # alpha of the Beta distribution; 0: off
    cutmix: float = 0.0  # likewise; with both on, each batch draws one of the two
    ema: float = 0.0  # decay of the weights' moving average, which is then measured and saved; 0: off
    # Balance
    balance: float = 1.0  # 0: classes count as they come; 1: all classes count the same
    balance_by: BalanceBy = "sampling"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or self.accumulate < 1:
            raise UserError(
                f"Training takes at least one epoch, one picture a batch and one batch a step, not {self.epochs}, "
                f"{self.batch}, {self.accumulate}."
            )
        if len(self.hidden) > _MOST_LAYERS or max(self.hidden, default=1) > _MOST_UNITS:
            raise UserError(
                f"A head of {len(self.hidden)} hidden layers of up to {max(self.hidden)} units can't be fitted: give "
                f"hidden at most {_MOST_LAYERS} layers of {_MOST_UNITS:,}."
            )
        if not self.learning_rate > 0 or self.weight_decay < 0 or not 0 <= self.label_smoothing < 1:
            raise UserError("The learning rate must be above 0, weight decay not below 0, label smoothing in [0, 1).")
        if min(self.hidden, default=1) < 1:
            raise UserError(f"A hidden layer has at least one unit: hidden = {list(self.hidden)} can't be built.")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name} = {getattr(self, name)!r} is none of {', '.join(choices)}.")
        for name, (low, high) in _BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(f"{name} = {getattr(self, name)} lies outside {low} to {high}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain types alone."""
        return {**asdict(self), "hidden": list(self.hidden)}


def require_seed(seed: int) -> None:
    """Raise UserError for a seed that PyTorch's generators don't take."""
    if not 0 <= seed <= MOST_SEED:
        raise UserError(f"--seed {seed} can't be used: give a whole number from 0 to 2^63 - 1.")


@dataclass(frozen=True)
class Tuning:
    """What trains besides the head, and how fast. The defaults suit a pretrained network."""

    unfreeze: int | str = "all"  # "all", the number of last stages, or the name of a module: it and all after it
    # The head is fitted on the bank first (A. Kumar et al., "Fine-tuning can distort …", 2022), and batch-norm keeps
    # the statistics that it was fitted with.
    probe: bool = False
    backbone_rate: float = 0.1  # of the last stage, as a share of the head's
    rate_decay: float = 1.0  # of each stage, as a share of the next one's
    weight_decay: float = 0.01

    def to_dict(self) -> dict[str, Any]:
        """Plain types alone."""
        return asdict(self)


_CHOICES: dict[str, tuple[str, ...]] = {
    "activation": get_args(Activation),
    "optimizer": get_args(Optimizer),
    "schedule": get_args(ScheduleName),
    "balance_by": get_args(BalanceBy),
    "keep": get_args(Keep),
}

_MOST_LAYERS = 16
_MOST_UNITS = 1_000_000

_MANY = 10**9
_BOUNDS: dict[str, tuple[float, float]] = {
    "learning_rate": (0, sys.float_info.max),
    "weight_decay": (0, sys.float_info.max),
    "epochs": (1, 100_000),
    "batch": (1, 1_000_000),
    "accumulate": (1, 1_000_000),
    "dropout": (0, 0.99),
    "momentum": (0, 0.9999),
    "clip": (0, _MANY),
    "warmup": (0, _MANY),
    "decay": (1e-9, 1),
    "patience": (0, _MANY),
    "factor": (1e-9, 1),
    "steps": (0, _MANY),
    "early_stop": (0, _MANY),
    "mixup": (0, 100),
    "cutmix": (0, 100),
    "ema": (0, 0.999999),
    "balance": (0, 1),
}
