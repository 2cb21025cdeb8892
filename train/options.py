"""Every option of training, declared once: recipes, flags, Python's arguments and a checkpoint's facts are made of it.

An option is added here, or in `FitSettings` or `Tuning`, as one field; what it does is written where it does it.
The command line shows all of it in its help, so nothing heavy is imported here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from curate.defaults import DEFAULT_ASKED_VIEWS, DEFAULT_SEED, MOST_SEED
from curate.errors import UserError
from train.backbone_names import networks_named
from train.limits import MAX_CROP, MOST_VIEWS
from train.optimising.settings import FitSettings, Tuning
from train.option_fields import Option, option, options_in, require_within, values_of

Cut = Literal["last", "classifier"]
Precision = Literal["float32", "bfloat16"]
Normalise = Literal["weights", "imagenet", "half"]


@dataclass(frozen=True)
class AugmentationSettings:
    """How far a view may depart from the picture. No corner is ever invented, but by RandAugment."""

    rotation: float = option(20.0, "degrees either way", least=0, most=180)
    smallest: float = option(
        0.6, "side of the smallest square that is cut, as a share of the picture's short side", least=0.01, most=1
    )
    flip: float = option(0.5, "probability of mirroring left and right", least=0, most=1)
    flip_vertical: float = option(0.0, "likewise of mirroring top and bottom", least=0, most=1)
    jitter: float = option(
        0.0, "how far brightness, contrast and saturation may each go either way, as a share", least=0, most=1
    )
    hue: float = option(
        0.0, "how far colours may turn either way, as a share of the whole circle of colours", least=0, most=0.5
    )
    randaugment: int = option(0, "RandAugment (Cubuk et al. 2019): operations on a view; 0: none", least=0, most=14)
    magnitude: int = option(9, "of all of them, 0 to 30", least=0, most=30)

    def __post_init__(self) -> None:
        require_within(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain types alone."""
        return values_of(self)


@dataclass(frozen=True, kw_only=True)
class LearningOptions:
    """All that decides what is learnt, besides the pictures. Raises UserError for values that make no sense.

    The defaults are those of the default recipe, `last-layer`.
    """

    backbone: str = option(
        "resnet152", "a network of torchvision or timm, scratch_cnn, or offline: no download; a+b stand side by side",
        heading="The network", flag="A network of torchvision or timm, or offline; a+b: both.",
    )  # fmt: skip
    weights: str | Path = option(
        "default", "default (the library's choice), none (random), a library's tag, a file, or NAME=one of these,…",
        flag="default, none, a tag or a file; or NAME=FILE,… each.",
    )  # fmt: skip
    features: Cut = option("last", "what the head sees: what the network's last layer sees, or its whole classifier")
    crop: int = option(
        0, "pixels a side of what the network sees; 0: what its weights were made for", least=0, most=MAX_CROP
    )
    squash: bool = option(False, "bend the whole picture into that square, and cut nothing off; some older systems did")
    normalise: Normalise = option(
        "weights", "by which mean and deviation: those that the weights were made with, imagenet's, or half (0.5, 0.5)"
    )
    tuning: Tuning = field(default_factory=Tuning)
    precision: Literal["auto", Precision] = option(
        "auto", "auto (bfloat16 where the processor computes in it), float32 or bfloat16"
    )
    compiled: bool = option(
        False, "torch.compile the network first: 10 s, which pay beyond 5,000 views; unfrozen: its steps too, a minute"
    )
    views: int = option(
        4, "on the bank: views of each training picture, the clean one among them; unfrozen: each draw is a new one",
        least=1, most=MOST_VIEWS, heading="The pictures", flag="Views of each training picture; 1: the clean one.",
    )  # fmt: skip
    asked_views: int = option(
        DEFAULT_ASKED_VIEWS,
        "views that an answer may be the mean of: folds that choose the head try them, and say if they pay; 1: untried",
        least=1, most=MOST_VIEWS,
    )  # fmt: skip
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    head: FitSettings = field(default_factory=FitSettings)
    # No recipe says it: the same recipe with another seed tells what chance does
    seed: int = option(
        DEFAULT_SEED, "decides views, first values, draws and random weights alike", least=0, most=MOST_SEED,
        flag="Decides views and all that is drawn.", in_recipes=False,
    )  # fmt: skip

    def __post_init__(self) -> None:
        require_within(self)

    @property
    def at_once(self) -> bool:
        """Whether the head is fitted at once, and nothing is trained in steps."""
        return self.tuning.frozen and self.head.head != "sgd"

    def learning(self) -> dict[str, Any]:
        """The fields of this class alone, by name: what passes from a recipe to a run and back."""
        return {one.name: getattr(self, one.name) for one in fields(LearningOptions)}

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps of them, in plain types; of what is unfrozen, None where nothing is.

        Of a weights file the name alone: where it lay is nobody's business but the user's.
        """
        values = {name: _fact(value) for name, value in self.learning().items()}
        names = networks_named(self.backbone)
        own = {name: Path(value).name for name, value in weights_by_network(self.weights, names).items()}
        same = len(set(own.values())) == 1
        return {**values, "weights": own[names[0]] if same else ",".join(f"{name}={own[name]}" for name in names)}


def weights_by_network(weights: str | Path, networks: Sequence[str]) -> dict[str, str | Path]:
    """The weights of each network: of `resnet50=FILE,efficientnet_lite0=none` each its own, default where unnamed.

    Raises UserError for a network that is not among `networks`, is named twice or without weights, and for one file or
    tag that several would share.
    """
    parts = [part.partition("=") for part in str(weights).split(",")]
    if all(equals and name.strip() in networks for name, equals, _ in parts):
        named = {name.strip(): value.strip() for name, _, value in parts}
        if empty := [name for name, value in named.items() if not value]:
            raise UserError(f"--weights {weights} names no weights of {empty[0]}: give default, none, a tag or a file.")
        if len(named) < len(parts):
            raise UserError(f"--weights {weights} names weights of one network twice: give each its own once.")
        return {name: named.get(name, "default") for name in networks}
    strangers = [name.strip() for name, equals, _ in parts if equals and name.strip() not in networks]
    if len(parts) > 1 and strangers:
        raise UserError(
            f"--weights {weights} names {strangers[0]}, which --backbone does not: name {' or '.join(networks)}."
        )
    if len(networks) > 1 and str(weights) not in {"default", "none"}:
        each = ",".join(f"{name}=FILE" for name in networks)
        raise UserError(
            f"--weights {weights} can't be given to {len(networks)} backbones at once: say whose it is, as in {each}."
        )
    return dict.fromkeys(networks, weights)


def _fact(value: Any) -> Any:
    if isinstance(value, Tuning) and value.frozen:
        return None
    return value.to_dict() if isinstance(value, FitSettings | Tuning | AugmentationSettings) else value


OPTIONS: Final[tuple[Option, ...]] = options_in(LearningOptions)
