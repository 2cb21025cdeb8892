"""Options that somebody asked for and that have no effect beside the others: which they are, and why."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from train.options import LearningOptions

_STEPS: Final = {
    "activation", "dropout", "input_dropout", "standardise", "optimizer", "learning_rate", "momentum", "weight_decay",
    "clip", "schedule", "warmup", "decay", "patience", "factor", "epochs", "steps", "batch", "accumulate",
    "early_stop", "keep", "label_smoothing", "mixup", "ema", "balance_by",
}  # fmt: skip
_UNFROZEN: Final = {"probe", "backbone_rate", "rate_decay", "backbone_weight_decay", "final_epochs"}
_DRAWN: Final = {"rotation", "smallest", "flip", "flip_vertical", "jitter", "hue", "randaugment", "magnitude"}


def idle_notes(options: LearningOptions, asked: AbstractSet[str]) -> list[str]:
    """A sentence for each reason why options of `asked`, by their names, change nothing in such a run.

    `asked` are those that were given beside the recipe: what a recipe itself says beyond need is no mistake.
    """
    notes, told = [], set[str]()
    for idle, why in _reasons(options):
        names = sorted(idle & asked - told)
        told.update(names)
        if names:
            listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
            notes.append(f"Without effect here: {listed}, as {why}.")
    return notes


def _reasons(options: LearningOptions) -> Iterator[tuple[set[str], str]]:
    """(names of options, why they have no effect), the widest reason first."""
    head, frozen = options.head, options.tuning.frozen
    if frozen:
        yield _UNFROZEN, "nothing is unfrozen"
    if frozen and options.views == 1:
        yield _DRAWN, "with one view no picture is changed"
    if head.head == "sgd":
        yield {"strength"}, "head = sgd is fitted in steps"
    elif options.at_once:
        yield _STEPS, f"head = {head.head} is fitted at once, without steps"
    if head.steps:
        yield {"epochs"}, f"steps = {head.steps} says how long it takes"
    if not head.hidden:
        yield {"activation"}, "there is no hidden layer"
    if head.optimizer != "sgd":
        yield {"momentum"}, f"optimizer = {head.optimizer}"
    if head.schedule != "exponential":
        yield {"decay"}, f"schedule = {head.schedule}"
    if head.schedule != "plateau":
        yield {"patience", "factor"}, f"schedule = {head.schedule}"
    if not options.augmentation.randaugment:
        yield {"magnitude"}, "randaugment = 0"
    if not options.tuning.final_crop:
        yield {"final_epochs"}, "final_crop = 0"
