"""The same features on Ray: tasks decode, one actor a processor or GPU computes, and this process keeps the bank.

Ray Data's `map_batches` could chain the two, but not promise what the bank is told: a batch of its own holds what a
block happens to hold, and is cut where blocks end. Here each batch has the very views that it has on one machine, in
their order, so a network that adds up otherwise in another batch gives the same bits. Pixels go from where they were
decoded to where they are computed; here come their digests and the features alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray

from curate.engine.actors import ActorPool
from curate.engine.engines import current_engine
from curate.engine.parts import ordered_parts
from curate.engine.ray_engine import RayEngine, require_seen
from curate.image import BrokenImage
from curate.parallel import processors
from curate.progress import Progress
from train.backbones import Backbone
from train.features.bank import BankKey
from train.features.extract import FeaturePass, PreparedViews, forward_halving, frozen, require_finite
from train.features.prepare import Lacking, PictureRef, has_content, known_whole, prepared_part
from train.features.preprocessing import Preprocessing
from train.features.views import Views

_PART: Final = 16  # pictures that one task decodes
_PARTS_AHEAD: Final = 4  # for each actor

Decoded = tuple[list[tuple[str, list[int]] | BrokenImage], NDArray[np.uint8]]


@dataclass(frozen=True)
class ViewPlace:
    """Where one view's pixels are: row `row` of what Ray keeps under `block`, uint8 (n, crop, crop, 3)."""

    block: Any
    row: int


@dataclass(frozen=True)
class PlacedViews:
    """As `Prepared`, with the places of the pixels."""

    sha256: str
    numbers: list[int]
    pixels: list[ViewPlace]


class RayPass(FeaturePass):
    """The pass of a cluster."""

    def _begin(self) -> None:
        self._together = self.batch
        self._pool: ActorPool | None = None
        self._waiting: list[tuple[str, str, ViewPlace]] = []

    def checked(self, pictures: Sequence[PictureRef], progress: Progress) -> list[PictureRef]:
        """As `FeaturePass.checked`: the files are read where they are decoded, too."""
        trusted = [at for at, one in enumerate(pictures) if one.sha256 is not None and not self.lacking(one.sha256)]
        parts = [
            [(at, pictures[at]) for at in trusted[start : start + _PART]] for start in range(0, len(trusted), _PART)
        ]
        checked = [replace(picture, sha256=None) for picture in pictures]
        with (
            current_engine().results_of(_with_same_content, parts, _none_of, folders=()) as results,
            progress("Checking contents", len(trusted)) as advance,
        ):
            for looked_at, same in results:
                for at in same:
                    checked[at] = pictures[at]
                advance(looked_at)
        return checked

    @contextmanager
    def prepared(
        self, pictures: Sequence[PictureRef], workers: int | None
    ) -> Iterator[Iterator[PreparedViews | BrokenImage]]:
        """As `FeaturePass.prepared`; the `pixels` are the places of the views."""
        del workers  # the cluster has as many as it has
        whole = [known_whole(picture, self.lacking) for picture in pictures]
        unknown = [picture for picture, known in zip(pictures, whole, strict=True) if known is None]
        if not unknown:
            yield iter(known for known in whole if known is not None)
            return
        engine = cast(RayEngine, current_engine())
        make = partial(NetworkAtWork, self.backbone, self.store.key, self.device.type, self.batch)
        threads = 1 if self.device.type == "cpu" else processors()  # an Apple GPU is the only one of its machine
        with ActorPool(engine, make, on_gpus=self.device.type == "cuda", threads=threads) as self._pool:
            decoded = self._decoded(engine, unknown, ahead=_PARTS_AHEAD * self._pool.size)
            yield (known if known is not None else next(decoded) for known in whole)
        self._pool = None

    def finish(self) -> None:
        """As `FeaturePass.finish`."""
        if self._waiting:
            self._compute()
        if self._pool is not None:
            self._collect(self._pool.finish())
        self._commit()

    def _decoded(
        self, engine: RayEngine, pictures: Sequence[PictureRef], ahead: int
    ) -> Iterator[PreparedViews | BrokenImage]:
        """Each picture in order, decoded by tasks."""
        starts = range(0, len(pictures), _PART)
        parts = (
            (pictures[start : start + _PART], self._lacking_of(pictures[start : start + _PART])) for start in starts
        )
        decode = partial(_decode, self.views, self.backbone.preprocessing)
        for start, (found, block) in zip(starts, ordered_parts(engine, decode, parts, ahead=ahead), strict=True):
            row = 0
            for picture, one in zip(pictures[start : start + _PART], found, strict=True):
                if isinstance(one, BrokenImage):
                    require_seen(picture.path, one.reason)
                    yield one
                    continue
                sha256, numbers = one
                wanted = self.lacking(sha256)
                places = [ViewPlace(block, row + numbers.index(number)) for number in wanted]
                row += len(numbers)
                yield PlacedViews(sha256, wanted, places)

    def _lacking_of(self, pictures: Sequence[PictureRef]) -> Lacking:
        """What the bank lacks of these pictures, as far as their contents are known: of no bank all has to travel."""
        contents = {picture.sha256 for picture in pictures if picture.sha256 is not None}
        return Lacking(self.names, {sha: self.lacking.known[sha] for sha in contents if sha in self.lacking.known})

    def _add(self, sha256: str, view: str, pixels: ViewPlace) -> None:
        self._waiting.append((sha256, view, pixels))
        if len(self._waiting) == self._together:
            self._compute()

    def _compute(self) -> None:
        """Give the batch that waits to an actor, and see to what actors have answered."""
        assert self._pool is not None
        blocks = list(dict.fromkeys(place.block for _, _, place in self._waiting))
        number = {block: at for at, block in enumerate(blocks)}
        rows = [(number[place.block], place.row) for _, _, place in self._waiting]
        names = tuple((sha, view) for sha, view, _ in self._waiting)
        self._waiting = []
        self._pool.submit(names, rows, *blocks)
        self._collect(self._pool.done())
        self._commit_by_time()

    def _collect(self, answers: Sequence[tuple[Any, tuple[torch.Tensor, int]]]) -> None:
        for names, (features, fitted) in answers:
            self.batch = min(self.batch, fitted)
            self._note(names, features)


class NetworkAtWork:
    """What an actor holds: a frozen network."""

    def __init__(self, backbone: Backbone, key: BankKey, device_type: str, batch: int) -> None:
        device = torch.device(device_type)
        if device.type == "cpu":
            torch.set_num_threads(1)  # there is an actor for each processor
        self._crop, self._batch = backbone.preprocessing.crop, batch
        self._network = frozen(backbone, key, device, batch)

    def __call__(self, rows: Sequence[tuple[int, int]], *blocks: NDArray[np.uint8]) -> tuple[torch.Tensor, int]:
        """(features (N, dim), the batch that fits memory) of the views at N `rows`, (block, row in it) each."""
        pixels = np.empty((len(rows), self._crop, self._crop, 3), np.uint8)
        for at, (block, row) in enumerate(rows):
            pixels[at] = blocks[block][row]
        features, self._batch = forward_halving(self._network, torch.from_numpy(pixels), self._batch)
        require_finite(torch.isfinite(features).all())
        return features.cpu(), self._batch


def _with_same_content(part: Sequence[tuple[int, PictureRef]]) -> tuple[int, list[int]]:
    """(how many pictures were looked at, the places of those that have the content that is known)."""
    return len(part), [at for at, picture in part if has_content(picture)]


def _none_of(part: Sequence[tuple[int, PictureRef]], _: int) -> tuple[int, list[int]]:
    return len(part), []


def _decode(views: Views, to: Preprocessing, part: tuple[Sequence[PictureRef], Lacking]) -> Decoded:
    pictures, lacking = part
    return prepared_part(pictures, views, to, lacking)
