"""One picture drawn from what the classifier has not learnt from, with its true class."""

import random

from curate.dataset import Dataset
from curate.errors import UserError
from curate.program import COMMAND
from train.optimising.settings import require_seed
from train.pictures import LabelledPicture, labelled_pictures

HELD_OUT = ("test", "valid")


def draw_held_out(dataset: Dataset, seed: int | None = None) -> tuple[LabelledPicture, str]:
    """Draw from test or, where there is none, from valid: (picture, split). Every picture is as likely as any other.

    The same seed draws the same picture from the same files; None draws anew each time. Raises `UserError` where
    no split is held out: a picture of train would only show what was learnt by heart.
    """
    there = {folder.split for folder in dataset.class_folders()}
    for split in HELD_OUT:
        if split in there:
            pictures = sorted(labelled_pictures(dataset, split), key=lambda picture: picture.path.as_posix())
            require_seed(seed or 0)
            return random.Random(seed).choice(pictures), split
    raise UserError(
        f"{dataset.root} has neither test/ nor valid/, so every picture may have been learnt from: "
        f"run `{COMMAND} split {dataset.root}` first."
    )
