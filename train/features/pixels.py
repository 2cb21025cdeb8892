"""Pictures as a source of steps: decoded in threads ahead of the network, a new view at every draw."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from curate.errors import UserError
from curate.files.reading import read_file
from curate.image import BrokenImage, BrokenPicture, decode
from curate.parallel import ordered_map
from curate.progress import Progress, silent
from train.features.augmentation import Augmentation, view_draw
from train.features.preprocessing import Preprocessing
from train.pictures import LabelledPicture


@dataclass(frozen=True)
class Readable:
    """A picture that was decoded once to its end."""

    path: Path
    label: str
    sha256: str


def readable_pictures(
    pictures: Sequence[LabelledPicture], at_least: int, progress: Progress = silent, description: str = "Reading"
) -> tuple[list[Readable], list[BrokenPicture]]:
    """Decode every picture once, so that a broken one is named now and not in the middle of an epoch."""
    good: list[Readable] = []
    broken: list[BrokenPicture] = []
    with progress(description, len(pictures)) as advance:
        for picture, found in zip(pictures, ordered_map(lambda one: _read(one, at_least), pictures), strict=True):
            if isinstance(found, BrokenImage):
                broken.append(BrokenPicture(str(picture.path), found.reason))
            else:
                good.append(Readable(picture.path, picture.label, found))
            advance(1)
    return good, broken


class PixelSource:
    """Views of pictures as 8-bit pixels (N, crop, crop, 3).

    A view follows from (seed, the picture's sha256, epoch, how often the epoch has drawn the picture before) alone:
    neither batches, nor workers, nor processes, nor a pause change it.
    """

    def __init__(
        self, pictures: Sequence[Readable], preprocessing: Preprocessing, augmentation: Augmentation, seed: int
    ) -> None:
        self.pictures, self.preprocessing = pictures, preprocessing
        self.augmentation, self.seed = augmentation, seed

    def inputs(self, epoch: int, drawn: torch.Tensor, parts: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """One new view of each picture drawn, part by part, uint8 (len(part), crop, crop, 3); threads are a part ahead.

        `drawn` int64 (M,) are positions of pictures; each of `parts` int64 (n,) are places in `drawn`. Raises UserError
        where a picture can no longer be read.
        """
        repeats = _repeats(drawn)
        draws = [(int(drawn[place]), f"{epoch}/{repeats[place]}") for part in parts for place in part.tolist()]
        views = ordered_map(self._view, draws, ahead=2 * max((len(part) for part in parts), default=1))
        for part in parts:
            yield _stacked([next(views) for _ in range(len(part))], self.preprocessing.crop)

    def clean(self, positions: Sequence[int], batch: int) -> Iterator[torch.Tensor]:
        """The clean views at `positions`, in batches, uint8 (n, crop, crop, 3); raises as `inputs` does."""
        views = ordered_map(lambda at: self.preprocessing.clean(self._picture(at)), positions, ahead=2 * batch)
        for start in range(0, len(positions), batch):
            yield _stacked([next(views) for _ in positions[start : start + batch]], self.preprocessing.crop)

    def _view(self, draw: tuple[int, str]) -> NDArray[np.uint8]:
        position, view = draw
        drawn = view_draw(self.seed, self.pictures[position].sha256, f"epoch {view}")
        return self.augmentation.view(self._picture(position), self.preprocessing, drawn)

    def _picture(self, position: int) -> Image.Image:
        path = self.pictures[position].path
        try:
            return decode(read_file(path), path=str(path), at_least=self.preprocessing.resize).pixels
        except (OSError, BrokenImage) as error:
            raise UserError(
                f"The picture {path} can no longer be read: it was changed while it was learnt from."
            ) from error


def _read(picture: LabelledPicture, at_least: int) -> str | BrokenImage:
    try:
        data = read_file(picture.path)
        decode(data, path=str(picture.path), at_least=at_least)
    except OSError as error:
        return BrokenImage(str(picture.path), f"cannot be read ({error.strerror})")
    except BrokenImage as broken:
        return broken
    return hashlib.sha256(data).hexdigest()


def _repeats(drawn: torch.Tensor) -> list[int]:
    """How often each draw's picture was drawn before it."""
    seen: dict[int, int] = {}
    repeats = []
    for position in drawn.tolist():
        repeats.append(seen.get(position, 0))
        seen[position] = repeats[-1] + 1
    return repeats


def _stacked(views: Sequence[NDArray[np.uint8]], crop: int) -> torch.Tensor:
    return torch.from_numpy(np.stack(views)) if views else torch.zeros((0, crop, crop, 3), dtype=torch.uint8)
