"""Views at prediction: one picture seen several times, its probabilities averaged."""

from typing import Final

from curate.errors import UserError
from train.features.augmentation import Augmentation
from train.features.extract import Views

# Fixed, so that the same file has the same views in every run and on every machine.
_SEED: Final = 0

# Milder than what is trained on: a view has to show the same flower, not to harden against every way of showing it.
PREDICTION: Final = Augmentation(rotation=10.0, smallest=0.8, flip=0.5)


def prediction_views(count: int) -> Views:
    """The clean view and `count` − 1 drawn ones; one view is the clean one alone. Raises UserError below 1."""
    if count < 1:
        raise UserError(f"--views {count} looks at no picture at all: give 1 or more.")
    return Views(count, _SEED, PREDICTION)
