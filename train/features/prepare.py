"""Pictures → views as pixels: read, hashed, decoded and drawn in other processes, a bounded number of them ahead."""

import hashlib
import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.errors import UserError
from curate.files.reading import MAX_BYTES, read_file, sha256_of
from curate.forked import is_crash, ordered_results_of
from curate.image import BrokenImage
from curate.parallel import ordered_map, processors
from curate.progress import Progress, silent
from train.device import require_memory
from train.features.preprocessing import Preprocessing
from train.features.views import Views


@dataclass(frozen=True)
class PictureRef:
    """A file to take features of. Where it still has the `sha256` that is given, and the bank has that, it need not be
    decoded.
    """

    path: Path
    sha256: str | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture's content, which views of it are wanted, and these, until the next picture is asked for."""

    sha256: str
    numbers: list[int]
    pixels: NDArray[np.uint8]  # (len(numbers), crop, crop, 3)


def with_their_content(
    pictures: Sequence[PictureRef], lacking: Callable[[str], list[int]], progress: Progress = silent
) -> list[PictureRef]:
    """The pictures, with the `sha256` of those alone whose files have this content as they are now.

    All that lack nothing are read: size and time do not tell that a file is another one, where folders were renamed or
    an archive was unpacked over them.
    """
    trusted = [at for at, picture in enumerate(pictures) if picture.sha256 is not None and not lacking(picture.sha256)]
    checked = [replace(picture, sha256=None) for picture in pictures]
    with progress("Checking contents", len(trusted)) as advance:
        for at, same in zip(trusted, ordered_map(lambda at: _has_content(pictures[at]), trusted), strict=True):
            if same:
                checked[at] = pictures[at]
            advance(1)
    return checked


def _has_content(picture: PictureRef) -> bool:
    try:
        return sha256_of(picture.path, MAX_BYTES) == picture.sha256
    except OSError:  # whoever decodes it says what is wrong with it
        return False


@contextmanager
def prepared(
    pictures: Sequence[PictureRef],
    views: Views,
    to: Preprocessing,
    lacking: Callable[[str], list[int]],
    *,
    ahead: int,
    workers: int | None = None,
) -> Iterator[Iterator[Prepared | BrokenImage]]:
    """Each picture's views that are `lacking` of its content, in order, inside a `with`; or why there are none.

    About `ahead` pictures, and two for each worker, are decoded before they are asked for. A picture whose content is
    known and lacks nothing is not read. Raises UserError where a process is killed from outside.
    """
    workers = workers or processors()
    whole = [_known_whole(picture, lacking) for picture in pictures]
    unknown = [picture for picture, known in zip(pictures, whole, strict=True) if known is None]
    ahead = max(ahead, 2 * workers)
    # A place is written anew when `ahead` more have been begun since its picture was done, by which time that picture
    # may wait for its turn behind as many: after twice as many it has had it.
    room = _Room(min(2 * ahead, len(unknown)), views.count, to.crop)

    def work(item: tuple[int, PictureRef]) -> tuple[str, list[int]] | BrokenImage:
        place, picture = item
        try:
            data = read_file(picture.path)
        except OSError as error:
            return BrokenImage(str(picture.path), f"cannot be read ({error.strerror})")
        sha256 = hashlib.sha256(data).hexdigest()  # of the very bytes that are decoded
        numbers = lacking(sha256)
        try:
            if numbers:
                room.at(place, len(numbers))[:] = views.pixels(data, str(picture.path), sha256, numbers, to)
        except BrokenImage as broken:
            return broken
        return sha256, numbers

    with ordered_results_of(work, list(enumerate(unknown)), _crashed, ahead=ahead, workers=workers) as results:
        done = enumerate(results)

        def given(known: Prepared | None) -> Prepared | BrokenImage:
            if known is not None:
                return known
            place, found = next(done)
            return found if isinstance(found, BrokenImage) else Prepared(*found, room.at(place, len(found[1])))

        yield map(given, whole)


class _Room:
    """Pixels of some pictures in memory that forked processes share: what one writes, another reads without a copy."""

    def __init__(self, places: int, views: int, crop: int) -> None:
        shape = max(places, 1), views, crop, crop, 3
        size = math.prod(shape)
        require_memory(size, "The pictures that are decoded ahead", "give fewer --views, or a smaller crop")
        self._pixels: NDArray[np.uint8] = np.frombuffer(mmap.mmap(-1, size), np.uint8).reshape(shape)

    def at(self, number: int, count: int) -> NDArray[np.uint8]:
        """Room for the first `count` views of a picture: (count, crop, crop, 3)."""
        found: NDArray[np.uint8] = self._pixels[number % len(self._pixels), :count]
        return found


def _known_whole(picture: PictureRef, lacking: Callable[[str], list[int]]) -> Prepared | None:
    if picture.sha256 is None or lacking(picture.sha256):
        return None
    return Prepared(picture.sha256, [], np.empty((0, 0, 0, 3), np.uint8))


def _crashed(item: tuple[int, PictureRef], exit_code: int) -> BrokenImage:
    """What stands in for a picture at which a process ended, where that was the picture's doing."""
    path = item[1].path
    if not is_crash(exit_code):
        raise UserError(
            f"The process that read {path} was killed (exit code {exit_code}), as happens where memory runs out: make "
            f"some free and run the command again, which goes on from there."
        )
    return BrokenImage(str(path), "whatever decodes it crashes")
