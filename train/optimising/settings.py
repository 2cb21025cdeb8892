"""How a classifier is fitted: head, optimiser, schedule, regularisation and balance, in plain values."""

from dataclasses import dataclass
from typing import Any, Literal

from curate.defaults import MOST_SEED
from curate.errors import UserError
from train.limits import MAX_CROP
from train.option_fields import option, require_within, values_of

Activation = Literal["relu", "leaky_relu", "gelu"]
ConvexHead = Literal["ridge", "lda", "logistic"]
HeadMethod = Literal["sgd", "auto", "ridge", "lda", "logistic"]
Optimizer = Literal["adamw", "adam", "sgd"]
ScheduleName = Literal["cosine", "constant", "exponential", "plateau"]
BalanceBy = Literal["sampling", "weights", "logits"]
Keep = Literal["last", "best", "lowest_loss"]

_MANY = 10**9
_MOST_LAYERS = 16
_MOST_UNITS = 1_000_000


@dataclass(frozen=True)
class FitSettings:
    """Every choice in fitting a classifier, on banked features or on pictures alike.

    The defaults were chosen by cross-validation inside a training set, for one layer on the features of a frozen
    network. Raises UserError for values that make no sense.
    """

    head: HeadMethod = option(
        "sgd", "sgd: in steps, as below; on the bank also at once: ridge, lda, logistic, or auto: what folds choose",
        heading="The head", flag="sgd, ridge, lda, logistic; auto: folds choose.",
    )  # fmt: skip
    strength: float = option(
        0.0,
        "ridge, logistic: penalty, in mean variances; lda: share of a ball in the covariance; 0: folds choose",
        least=0, most=1000,
    )  # fmt: skip
    hidden: tuple[int, ...] = option((), "units of hidden layers between the features and the classes")
    activation: Activation = option("relu", "after each hidden layer: relu, leaky_relu or gelu")
    dropout: float = option(
        0.0, "share of inputs dropped before every layer but the first, or before the only one", least=0, most=0.99
    )
    input_dropout: float = option(0.0, "share of the features dropped before the first layer", least=0, most=0.99)
    standardise: bool = option(
        True, "on the bank: centre and scale the features; folded into the first layer afterwards"
    )
    optimizer: Optimizer = option("adamw", "adamw, adam or sgd", heading="The optimiser and its rate")
    learning_rate: float = option(3e-3, "the head's, at its highest", above=0)
    momentum: float = option(0.9, "of sgd", least=0, most=0.9999)
    weight_decay: float = option(
        3.0, "of the head; adamw: decoupled from the gradient, times the rate; else added to the gradient", least=0
    )
    clip: float = option(0.0, "longest gradient, as a norm over all parameters; 0: any", least=0, most=_MANY)
    schedule: ScheduleName = option("cosine", "cosine, constant, exponential or plateau")
    warmup: float = option(0.0, "epochs in which the rate rises from zero", least=0, most=_MANY)
    decay: float = option(0.94, "exponential: the rate's factor an epoch", least=1e-9, most=1)
    patience: int = option(10, "plateau: epochs without a lower valid loss before the rate falls", least=0, most=_MANY)
    factor: float = option(0.1, "plateau: what the rate is multiplied by when it falls", least=1e-9, most=1)
    epochs: int = option(
        30, "an epoch draws as many pictures as there are", least=1, most=100_000,
        heading="How long, and in what pieces",
    )  # fmt: skip
    steps: int = option(0, "stop after so many steps of the optimiser; 0: the epochs decide", least=0, most=_MANY)
    batch: int = option(100, "pictures a batch; halved, and said, where memory runs out", least=1, most=1_000_000)
    accumulate: int = option(1, "batches whose gradients make one step", least=1, most=1_000_000)
    early_stop: int = option(
        0, "epochs without a better valid accuracy before training ends; 0: never", least=0, most=_MANY
    )
    keep: Keep = option(
        "last",
        "the epoch whose weights are saved: the last, the best (most right) on valid, or that of lowest_loss there",
    )
    label_smoothing: float = option(
        0.2, "share of each target spread over all classes", least=0, below=1, heading="Regularisation"
    )
    mixup: float = option(0.0, "alpha of the Beta distribution that pairs are blended by; 0: off", least=0, most=100)
    # With both on, each batch draws one of the two
    cutmix: float = option(
        0.0, "likewise for pasting a piece of one picture into another; unfrozen only; 0: off", least=0, most=100
    )
    ema: float = option(
        0.0, "decay of the weights' moving average, which is then measured and saved; 0: off", least=0, most=0.999999
    )
    balance: float = option(
        1.0, "0: classes count as they come; 1: all classes count the same, however many pictures they have",
        least=0, most=1, heading="Balance", flag="0: as it comes; 1: classes count alike.",
    )  # fmt: skip
    balance_by: BalanceBy = option(
        "sampling", "sampling (torchsampler), weights (in the loss) or logits (adjusted, Menon et al. 2021)"
    )

    def __post_init__(self) -> None:
        require_within(self)
        if len(self.hidden) > _MOST_LAYERS or max(self.hidden, default=1) > _MOST_UNITS:
            raise UserError(
                f"A head of {len(self.hidden)} hidden layers of up to {max(self.hidden)} units can't be fitted: give "
                f"hidden at most {_MOST_LAYERS} layers of {_MOST_UNITS:,}."
            )
        if self.head != "sgd":
            self._require_linear()
        if min(self.hidden, default=1) < 1:
            raise UserError(f"A hidden layer has at least one unit: hidden = {list(self.hidden)} can't be built.")

    def _require_linear(self) -> None:
        if self.hidden:
            raise UserError(
                f"head = {self.head} fits one layer, and hidden layers want head = sgd: give one of the two."
            )
        if self.strength and self.head == "auto":
            raise UserError("head = auto chooses a strength for each kind of head: name one of them, or no strength.")
        if self.strength > 1 and self.head == "lda":
            raise UserError(f"strength = {self.strength:g} is no share of a covariance: give lda one from 0 to 1.")

    def to_dict(self) -> dict[str, Any]:
        """Plain types alone."""
        return values_of(self)


def require_seed(seed: int) -> None:
    """Raise UserError for a seed that PyTorch's generators don't take."""
    if not 0 <= seed <= MOST_SEED:
        raise UserError(f"--seed {seed} can't be used: give a whole number from 0 to 2^63 - 1.")


@dataclass(frozen=True)
class Tuning:
    """What trains besides the head, and how fast. The rates suit a pretrained network."""

    unfreeze: int | str = option(
        "none", "what trains besides the head: none, all, the last N stages, or from a module's NAME on",
        flag="What trains too: none, all, N stages, or a module.",
    )  # fmt: skip
    # A. Kumar et al., "Fine-tuning can distort pretrained features and underperform out-of-distribution", 2022
    probe: bool = option(
        False, "fit the head on the bank first, and keep the batch-norm statistics that it was fitted with"
    )
    backbone_rate: float = option(0.1, "rate of what is unfrozen, as a share of the head's", least=0, most=1000)
    rate_decay: float = option(
        1.0, "rate of each unfrozen stage, as a share of the next one's towards the head", least=1e-6, most=1
    )
    backbone_weight_decay: float = option(0.01, "weight decay of what is unfrozen", least=0, most=1000)
    # H. Touvron et al., "Fixing the train-test resolution discrepancy", 2019
    final_crop: int = option(
        0, "unfrozen: pixels a side in the last epochs, and from then on; 0: as before", least=0, most=MAX_CROP
    )
    final_epochs: int = option(2, "how many these are", least=1, most=100_000)

    def __post_init__(self) -> None:
        require_within(self)

    @property
    def frozen(self) -> bool:
        """Whether the head alone trains, on the bank."""
        return self.unfreeze in {0, "none"}

    def to_dict(self) -> dict[str, Any]:
        """Plain types alone."""
        return values_of(self)
