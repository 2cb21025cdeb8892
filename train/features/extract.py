"""Pictures → features through the bank: what it has is read, what it lacks is decoded once, computed and kept."""

import hashlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from curate.errors import UserError
from curate.image import BrokenImage, decode
from curate.parallel import processors
from curate.progress import Progress, silent
from train.backbones import Backbone
from train.bank import CLEAN, BankKey, FeatureBank
from train.device import Precision, is_out_of_memory
from train.features.augmentation import Augmentation, view_draw
from train.features.freeze import FrozenNetwork
from train.features.preprocessing import Preprocessing

BATCH = 64

_COMMIT_SECONDS = 1.0


@dataclass(frozen=True)
class PictureRef:
    """A file to take features of. A `sha256` that is known already spares reading it when the bank has it."""

    path: Path
    sha256: str | None = None


@dataclass(frozen=True)
class BrokenPicture:
    """A file that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Views:
    """Which views of a picture are wanted: the clean one first, then `count` − 1 augmented ones drawn from `seed`."""

    count: int = 1
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def names(self) -> list[str]:
        """The names under which the bank keeps them."""
        recipe = self.augmentation.digest()
        return [CLEAN, *(f"{recipe}/{self.seed}/{number}" for number in range(1, self.count))]

    def pixels(
        self, data: bytes, path: str, sha256: str, numbers: Sequence[int], to: Preprocessing
    ) -> NDArray[np.uint8]:
        """Decode once and draw the views `numbers`, (len(numbers), crop, crop, 3); raises BrokenImage."""
        return self.draw(decode(data, path=path, at_least=to.resize).pixels, sha256, numbers, to)

    def draw(self, picture: Image.Image, sha256: str, numbers: Sequence[int], to: Preprocessing) -> NDArray[np.uint8]:
        """The same of a decoded picture whose content `sha256` names."""
        drawn = [
            to.clean(picture)
            if number == 0
            else self.augmentation.view(picture, to, view_draw(self.seed, sha256, number))
            for number in numbers
        ]
        return np.stack(drawn)


@dataclass(frozen=True)
class Extraction:
    """Features of the pictures that could be decoded, in the order they were given."""

    features: torch.Tensor  # (M, K, dim) in the bank's precision
    sha256: list[str]  # (M,)
    kept: list[int]  # (M,) positions in what was asked for
    broken: list[BrokenPicture]
    computed: int  # views that went through the network; the rest came from the bank
    batch: int  # pictures a batch at the end: smaller than asked for where memory ran out
    bank_rebuilt: bool  # the bank was damaged and is filled anew
    seconds: float


def bank_key(backbone: Backbone, precision: Precision, *, compiled: bool = False) -> BankKey:
    """The key of the bank that holds this backbone's features."""
    return BankKey(
        architecture=f"{backbone.library}:{backbone.architecture}",
        weights_sha256=backbone.weights_sha256,
        preprocessing=backbone.preprocessing.to_dict(),
        precision=precision,
        dim=backbone.dim,
        compiled=compiled,
    )


def extract(
    backbone: Backbone,
    pictures: Sequence[PictureRef],
    *,
    bank: Path,
    device: torch.device,
    precision: Precision,
    compiled: bool = False,
    views: Views | None = None,
    batch: int = BATCH,
    workers: int | None = None,
    progress: Progress = silent,
    description: str = "Extracting features",
) -> Extraction:
    """Features of every picture's views, from the bank in folder `bank` where it has them.

    A picture that can't be read or decoded is named in the report and left out. With `compiled` the network goes
    through torch.compile first. Raises UserError where that or the bank can't be had, and where one picture alone
    doesn't fit the device's memory.
    """
    started = time.perf_counter()
    views = views or Views()
    names = views.names()
    with FeatureBank(bank, bank_key(backbone, precision, compiled=compiled)) as store:
        computed = 0
        for _ in range(2):  # reading may find damaged rows, which the second pass computes again
            run = _Run(backbone, store, views, device, batch, known=store.views_of(names))
            with progress(description, len(pictures)) as advance:
                for position, found in enumerate(_prepared(run, pictures, workers)):
                    run.take(position, found, str(pictures[position].path))
                    advance(1)
                run.finish()
            computed += run.computed
            shas = [sha for sha in run.sha256 if sha is not None]
            features, there = store.read(shas, names)
            if bool(there.all()):
                break
        else:
            raise UserError(f"The feature bank {store.file} loses what is written to it: check the disk it lies on.")
        return Extraction(
            features=features,
            sha256=shas,
            kept=[position for position, sha in enumerate(run.sha256) if sha is not None],
            broken=run.broken,
            computed=computed,
            batch=run.batch,
            bank_rebuilt=store.rebuilt,
            seconds=time.perf_counter() - started,
        )


@dataclass(frozen=True)
class _Prepared:
    sha256: str
    numbers: list[int]  # the views that the bank lacks
    pixels: NDArray[np.uint8] | None  # (len(numbers), crop, crop, 3); None where it lacks none


class _Run:
    """One pass over the pictures: gathers decoded views into batches, computes them and hands them to the bank."""

    def __init__(
        self,
        backbone: Backbone,
        store: FeatureBank,
        views: Views,
        device: torch.device,
        batch: int,
        known: dict[str, set[str]],
    ) -> None:
        self.backbone, self.store, self.views = backbone, store, views
        self.device = device
        self.batch = batch
        self.names = views.names()
        self.known = known
        self.sha256: list[str | None] = []
        self.broken: list[BrokenPicture] = []
        self.computed = 0
        self._network: FrozenNetwork | None = None
        self._waiting: list[tuple[str, str]] = []  # (sha256, view) of each row in _pixels
        self._pixels: list[NDArray[np.uint8]] = []
        self._rows: list[tuple[str, str, torch.Tensor]] = []
        self._committed = time.monotonic()

    def lacking(self, sha256: str) -> list[int]:
        """Numbers of the views that the bank does not have of this picture."""
        has = self.known.get(sha256, set())
        return [number for number, name in enumerate(self.names) if name not in has]

    def prepare(self, picture: PictureRef) -> _Prepared | BrokenImage:
        """Read, hash, decode and draw in a worker thread. The hash is of the very bytes that are decoded."""
        if picture.sha256 is not None and not self.lacking(picture.sha256):
            return _Prepared(picture.sha256, [], None)
        try:
            data = picture.path.read_bytes()
        except OSError as error:
            return BrokenImage(str(picture.path), f"cannot be read ({error.strerror})")
        sha256 = hashlib.sha256(data).hexdigest()
        numbers = self.lacking(sha256)
        if not numbers:
            return _Prepared(sha256, [], None)
        try:
            to = self.backbone.preprocessing
            return _Prepared(sha256, numbers, self.views.pixels(data, str(picture.path), sha256, numbers, to))
        except BrokenImage as broken:
            return broken

    def take(self, position: int, found: "_Prepared | BrokenImage", path: str) -> None:
        """Account for one picture, in order; runs the network whenever a batch is full."""
        assert position == len(self.sha256)
        if isinstance(found, BrokenImage):
            self.broken.append(BrokenPicture(path, found.reason))
            self.sha256.append(None)
            return
        self.sha256.append(found.sha256)
        if found.pixels is not None:
            self._waiting += [(found.sha256, self.names[number]) for number in found.numbers]
            self._pixels += list(found.pixels)
        while len(self._waiting) >= self.batch:
            self._compute(self.batch)

    def finish(self) -> None:
        """Compute what is left, and commit."""
        while self._waiting:
            self._compute(min(self.batch, len(self._waiting)))
        self.store.put(self._rows)
        self._rows = []

    def _compute(self, count: int) -> None:
        if self._network is None:
            key = self.store.key
            self._network = FrozenNetwork(
                self.backbone.network, self.backbone.preprocessing, self.device, key.precision,
                compiled_for=self.batch if key.compiled else 0,
            )  # fmt: skip
        pixels = torch.from_numpy(np.stack(self._pixels[:count]))
        features, self.batch = forward_halving(self._network, pixels, self.batch)
        self._rows += [(sha, view, row) for (sha, view), row in zip(self._waiting[:count], features, strict=True)]
        del self._waiting[:count], self._pixels[:count]
        self.computed += count
        if time.monotonic() - self._committed > _COMMIT_SECONDS:
            self.store.put(self._rows)
            self._rows, self._committed = [], time.monotonic()


def forward_halving(network: FrozenNetwork, pixels: torch.Tensor, batch: int) -> tuple[torch.Tensor, int]:
    """Features (N, dim) on the CPU, and the batch size that fitted: halved as long as memory runs out."""
    while True:
        try:
            parts = [network(part).cpu() for part in torch.split(pixels, batch)]
            return torch.cat(parts), batch
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if min(batch, len(pixels)) == 1:
                raise UserError(
                    f"One picture alone does not fit the memory of {network.device}: choose a smaller --backbone."
                ) from error
        batch = max(1, min(batch, len(pixels)) // 2)
        if network.device.type == "cuda":
            torch.cuda.empty_cache()


def _prepared(run: _Run, pictures: Sequence[PictureRef], workers: int | None) -> Iterator[_Prepared | BrokenImage]:
    """Prepare in threads, in order. What is decoded ahead is bounded: about two batches, however many pictures wait."""
    workers = workers or processors()
    ahead = max(2 * workers, 2 * run.batch // max(1, len(run.names)))
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        queue: deque[Future[_Prepared | BrokenImage]] = deque()
        try:
            for picture in pictures:
                queue.append(pool.submit(run.prepare, picture))
                if len(queue) > ahead:
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
