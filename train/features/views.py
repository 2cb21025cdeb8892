"""One picture seen several times: the views that are learnt from, and those that a prediction is averaged over."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.errors import UserError
from curate.image import decode
from train.features.augmentation import Augmentation, view_draw
from train.features.bank import CLEAN
from train.features.preprocessing import Preprocessing
from train.limits import MOST_VIEWS

# Fixed, so that the same file has the same views in every run and on every machine.
_SEED: Final = 0

# Milder than what is trained on: a view has to show the same flower, not to harden against every way of showing it.
PREDICTION: Final = Augmentation(rotation=10.0, smallest=0.8, flip=0.5)


@dataclass(frozen=True)
class Views:
    """Which views of a picture are wanted: the clean one first, then `count` − 1 augmented ones drawn from `seed`."""

    count: int = 1
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        require_views(self.count)

    def names(self) -> list[str]:
        """The names under which the bank keeps them."""
        recipe = self.augmentation.digest()
        return [CLEAN, *(f"{recipe}/{self.seed}/{number}" for number in range(1, self.count))]

    def pixels(
        self, data: bytes, path: str, sha256: str, numbers: Sequence[int], to: Preprocessing
    ) -> NDArray[np.uint8]:
        """Decode once and draw the views `numbers`, uint8 (len(numbers), crop, crop, 3); raises BrokenImage."""
        return self.draw(decode(data, path=path, at_least=to.resize).pixels, sha256, numbers, to)

    def draw(self, picture: Image.Image, sha256: str, numbers: Sequence[int], to: Preprocessing) -> NDArray[np.uint8]:
        """The same of a decoded RGB picture whose content `sha256` names: uint8 (len(numbers), crop, crop, 3)."""
        drawn = [
            to.clean(picture)
            if number == 0
            else self.augmentation.view(picture, to, view_draw(self.seed, sha256, number))
            for number in numbers
        ]
        return np.stack(drawn)


def prediction_views(count: int) -> Views:
    """The clean view and `count` − 1 drawn ones; one view is the clean one alone. Raises as `require_views` does."""
    return Views(count, _SEED, PREDICTION)


def require_views(count: int) -> None:
    """Raise UserError for no view at all, and for more than can be of use."""
    if count < 1:
        raise UserError(f"--views {count} looks at no picture at all: give 1 or more.")
    if count > MOST_VIEWS:
        raise UserError(f"--views {count} is more than can be of use: give {MOST_VIEWS} or fewer.")
