"""Pictures → views as pixels: read, hashed, decoded and drawn in other processes, a bounded number of them ahead."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.deadly import crash_at
from curate.files.reading import MAX_BYTES, read_file, readers_for, sha256_of
from curate.forked import map_guarded, ordered_results_of
from curate.image import BrokenImage
from curate.parallel import ordered_map
from curate.progress import Progress, silent
from train.features.preprocessing import Preprocessing
from train.features.shared_pixels import SharedPixels
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
    workers = readers_for([picture.path for picture in pictures[:1]])
    with progress("Checking contents", len(trusted)) as advance:
        for at, same in zip(
            trusted, ordered_map(lambda at: has_content(pictures[at]), trusted, workers=workers), strict=True
        ):
            if same:
                checked[at] = pictures[at]
            advance(1)
    return checked


def has_content(picture: PictureRef) -> bool:
    """Whether the file has the content that is known of it, as it is now."""
    try:
        return sha256_of(picture.path, MAX_BYTES) == picture.sha256
    except OSError:  # whoever decodes it says what is wrong with it
        return False


@dataclass(frozen=True)
class Lacking:
    """Which views, by number, a bank does not have of a content."""

    names: Sequence[str]  # of the views
    known: Mapping[str, set[str]]  # names by content's sha256

    def __call__(self, sha256: str) -> list[int]:
        """Numbers of the views that are to be computed of it."""
        has = self.known.get(sha256, set())
        return [number for number, name in enumerate(self.names) if name not in has]


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
    workers = workers or readers_for([picture.path for picture in pictures[:1]])
    whole = [known_whole(picture, lacking) for picture in pictures]
    unknown = [picture for picture, known in zip(pictures, whole, strict=True) if known is None]
    ahead = max(ahead, 2 * workers)
    room = SharedPixels(min(2 * ahead, len(unknown)), views.count, to.crop)

    work = _Work(views, to, lacking, room)
    with ordered_results_of(work, list(enumerate(unknown)), _crashed, ahead=ahead, workers=workers) as results:
        done = enumerate(results)

        def given(known: Prepared | None) -> Prepared | BrokenImage:
            if known is not None:
                return known
            place, found = next(done)
            return found if isinstance(found, BrokenImage) else Prepared(*found, room.at(place, len(found[1])))

        yield map(given, whole)


def prepared_part(
    pictures: Sequence[PictureRef], views: Views, to: Preprocessing, lacking: Callable[[str], list[int]]
) -> tuple[list[tuple[str, list[int]] | BrokenImage], NDArray[np.uint8]]:
    """(sha256 and numbers of its views, or why there are none, for each picture; all these views as pixels).

    The pixels are (views of all pictures, crop, crop, 3), one picture's after the other's. All is done in one process,
    forked for it: a picture that kills it costs no other. Raises UserError as `prepared` does.
    """
    room = SharedPixels(len(pictures), views.count, to.crop)
    found = map_guarded(_Work(views, to, lacking, room), list(enumerate(pictures)), _crashed)
    drawn = [room.at(at, 0 if isinstance(one, BrokenImage) else len(one[1])) for at, one in enumerate(found)]
    return found, np.concatenate(drawn)


@dataclass(frozen=True)
class _Work:
    """What a process does for one picture."""

    views: Views
    to: Preprocessing
    lacking: Callable[[str], list[int]]
    room: SharedPixels

    def __call__(self, item: tuple[int, PictureRef]) -> tuple[str, list[int]] | BrokenImage:
        place, picture = item
        try:
            data = read_file(picture.path)
        except OSError as error:
            return BrokenImage(str(picture.path), f"cannot be read ({error.strerror})")
        sha256 = hashlib.sha256(data).hexdigest()  # of the very bytes that are decoded
        numbers = self.lacking(sha256)
        try:
            if numbers:
                pixels = self.views.pixels(data, str(picture.path), sha256, numbers, self.to)
                self.room.at(place, len(numbers))[:] = pixels
        except BrokenImage as broken:
            return broken
        return sha256, numbers


def known_whole(picture: PictureRef, lacking: Callable[[str], list[int]]) -> Prepared | None:
    """What stands for a picture that need not be read: its content is known, and lacks nothing. None for any other."""
    if picture.sha256 is None or lacking(picture.sha256):
        return None
    return Prepared(picture.sha256, [], np.empty((0, 0, 0, 3), np.uint8))


def _crashed(item: tuple[int, PictureRef], exit_code: int) -> BrokenImage:
    path = item[1].path
    return BrokenImage(str(path), crash_at(path, exit_code))
