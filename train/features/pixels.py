"""Pictures as a source of steps: decoded in processes ahead of the network, a new view at every draw."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from curate.deadly import crash_at, killed_at
from curate.errors import UserError
from curate.files.reading import read_file, readers_for
from curate.forked import Standing, is_crash, ordered_results_of, standing_crew
from curate.image import BrokenImage, BrokenPicture, decode
from curate.parallel import processors
from curate.progress import Progress, silent
from train.features.augmentation import Augmentation, view_draw
from train.features.preprocessing import Preprocessing
from train.features.shared_pixels import SharedPixels
from train.features.staging import PixelStaging
from train.pictures import LabelledPicture

_BATCHES_AHEAD: Final = 3  # that are drawn before they are asked for: validation and a slow picture hold nobody up


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
    read = partial(_read, at_least=at_least)
    workers = readers_for([picture.path for picture in pictures[:1]])
    with (
        ordered_results_of(read, pictures, _lost, ahead=8 * workers, workers=workers) as results,
        progress(description, len(pictures)) as advance,
    ):
        for picture, found in zip(pictures, results, strict=True):
            if isinstance(found, BrokenImage):
                broken.append(BrokenPicture(str(picture.path), found.reason))
            else:
                good.append(Readable(picture.path, picture.label, found))
            advance(1)
    return good, broken


Item = tuple[int, int, str | None, bool]
"""What a process is sent: a view's number, the picture's position, the view's name or None for the clean one, and
whether it is of the last size.
"""


class PixelSource:
    """Views of pictures as 8-bit pixels (N, crop, crop, 3) on `device`.

    A view follows from (seed, the picture's sha256, epoch, how often the epoch has drawn the picture before) and the
    epoch's size alone: neither batches, nor workers, nor processes, nor a pause change it.
    """

    def __init__(
        self,
        pictures: Sequence[Readable],
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        seed: int,
        device: torch.device | None = None,
        *,
        last: Preprocessing | None = None,
        since: int = 0,
    ) -> None:
        """From epoch `since` on, counted from 0, views are those of `last`, where it is given."""
        self.pictures, self.preprocessing = pictures, preprocessing
        self.last, self.since = last or preprocessing, since
        self.augmentation, self.seed = augmentation, seed
        self.device = device or torch.device("cpu")
        self._crew: Standing | None = None
        self._room: SharedPixels | None = None
        self._most, self._ahead = 0, 0

    @contextmanager
    def at_work(self, most: int, expected: int) -> Iterator[Self]:
        """Draw in processes within the block, for batches of up to `most` pictures; `expected` are all draws in it.

        They are forked on entering: a progress bar that is opened later has a thread, and beside one nothing is forked.
        """
        self._most, self._ahead = most, max(_BATCHES_AHEAD * most, 4 * processors())
        self._room = SharedPixels(min(2 * self._ahead, expected), 1, max(self.preprocessing.crop, self.last.crop))
        try:
            with standing_crew(
                self._draw, expected, workers=readers_for([one.path for one in self.pictures[:1]])
            ) as crew:
                self._crew = crew
                yield self
        finally:
            self._crew, self._room = None, None

    def inputs(self, epoch: int, drawn: torch.Tensor, parts: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """One new view of each picture drawn, part by part, uint8 (len(part), crop, crop, 3), drawn ahead.

        `drawn` int64 (M,) are positions of pictures; each of `parts` int64 (n,) are places in `drawn`. Raises UserError
        where a picture can no longer be read.
        """
        repeats = _repeats(drawn)
        draws = [(int(drawn[place]), f"{epoch}/{repeats[place]}") for part in parts for place in part.tolist()]
        return self._batches(draws, [len(part) for part in parts], is_last=epoch >= self.since)

    def clean(self, positions: Sequence[int], batch: int, *, is_last: bool = False) -> Iterator[torch.Tensor]:
        """The clean views at `positions`, in batches, uint8 (n, crop, crop, 3); raises as `inputs` does.

        Of the last size, where `is_last` says so.
        """
        counts = [min(batch, len(positions) - start) for start in range(0, len(positions), batch)]
        return self._batches([(position, None) for position in positions], counts, is_last=is_last)

    def _batches(
        self, draws: Sequence[tuple[int, str | None]], counts: Sequence[int], *, is_last: bool
    ) -> Iterator[torch.Tensor]:
        """The pixels of `draws` in their order, (picture, view) or (picture, None) for its clean one, by `counts`."""
        if self._crew is None:
            with self.at_work(max(counts, default=0), len(draws)):
                yield from self._batches(draws, counts, is_last=is_last)
            return
        assert self._room is not None
        items: list[Item] = [(number, *draw, is_last) for number, draw in enumerate(draws)]
        # Processors that compute the network too would draw in its way: its threads wait for each other
        eager = self.device.type != "cpu"
        done = self._crew.ordered(items, self._lost, ahead=self._ahead, eager=eager)
        crop = self._to(is_last=is_last).crop
        staging = PixelStaging(self.device, self._most, crop)
        start = 0
        for count in counts:
            pixels = staging.room()
            for place in range(count):
                next(done)
                pixels[place] = self._room.at(start + place, 1, crop)[0]
            start += count
            yield staging.send(count)

    def _to(self, *, is_last: bool) -> Preprocessing:
        return self.last if is_last else self.preprocessing

    def _draw(self, item: Item) -> None:
        """Write one view where it is looked for."""
        number, position, view, is_last = item
        assert self._room is not None
        to = self._to(is_last=is_last)
        self._room.at(number, 1, to.crop)[0] = self._view(position, view, to)

    def _view(self, position: int, view: str | None, to: Preprocessing) -> NDArray[np.uint8]:
        picture = self._picture(position, to.resize)
        if view is None:
            return to.clean(picture)
        drawn = view_draw(self.seed, self.pictures[position].sha256, f"epoch {view}")
        return self.augmentation.view(picture, to, drawn)

    def _lost(self, item: Item, exit_code: int) -> None:
        path = self.pictures[item[1]].path
        if is_crash(exit_code):
            raise UserError(f"The picture {path} crashes whatever decodes it: take it out of the dataset.")
        raise UserError(killed_at(path, exit_code))

    def _picture(self, position: int, at_least: int) -> Image.Image:
        path = self.pictures[position].path
        try:
            return decode(read_file(path), path=str(path), at_least=at_least).pixels
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


def _lost(picture: LabelledPicture, exit_code: int) -> BrokenImage:
    return BrokenImage(str(picture.path), crash_at(picture.path, exit_code))


def _repeats(drawn: torch.Tensor) -> list[int]:
    """How often each draw's picture was drawn before it."""
    seen: dict[int, int] = {}
    repeats = []
    for position in drawn.tolist():
        repeats.append(seen.get(position, 0))
        seen[position] = repeats[-1] + 1
    return repeats
