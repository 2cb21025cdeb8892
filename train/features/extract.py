"""Pictures → features through the bank: what it has is read, what it lacks is decoded once, computed and kept."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from curate.engine.engines import current_engine
from curate.errors import UserError
from curate.image import BrokenImage, BrokenPicture
from curate.progress import Progress, silent
from train.backbones import Backbone
from train.device import DTYPES, Arriving, is_out_of_memory, require_memory
from train.features.bank import BankKey, FeatureBank
from train.features.freeze import FrozenNetwork, is_fused
from train.features.prepare import Lacking, PictureRef, prepared, with_their_content
from train.features.staging import PixelStaging
from train.features.views import Views
from train.options import Precision

BATCH = 64
# A GPU is given so many times as many at once: ResNet152 takes 14% less time for each then, and its memory is not short
_ON_A_GPU = 4

_COMMIT_SECONDS = 1.0


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


def bank_key(backbone: Backbone, precision: Precision, device: torch.device, *, compiled: bool = False) -> BankKey:
    """The key of the bank that holds this backbone's features, as `device` computes them."""
    return BankKey(
        architecture=f"{backbone.library}:{backbone.architecture}",
        weights_sha256=backbone.weights_sha256,
        preprocessing=backbone.preprocessing.to_dict(),
        precision=precision,
        dim=backbone.dim,
        compiled=compiled,
        fused=not compiled and is_fused(backbone.network, device, precision),
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
    numbers = len(pictures) * views.count * backbone.dim
    require_memory(numbers * DTYPES[precision].itemsize, "The features", "give fewer --views, or fewer pictures")
    together = backbone.preprocessing.at_once(batch * _ON_A_GPU if device.type == "cuda" else batch)
    with FeatureBank(bank, bank_key(backbone, precision, device, compiled=compiled)) as store:
        computed = 0
        for _ in range(2):  # reading may find damaged rows, which the second pass computes again
            run = _pass(backbone, store, views, device, together)
            checked = run.checked(pictures, progress)
            # First the processes, then the bar: it has a thread, and beside one nothing is forked.
            with (
                run.prepared(checked, workers) as results,
                progress(description, len(pictures)) as advance,
            ):
                for position, found in enumerate(results):
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
            batch=batch if run.batch == together else min(batch, run.batch),
            bank_rebuilt=store.rebuilt,
            seconds=time.perf_counter() - started,
        )


def _pass(backbone: Backbone, store: FeatureBank, views: Views, device: torch.device, batch: int) -> "FeaturePass":
    """A pass on the engine that works; its bank has what it has now."""
    known = store.views_of(views.names())
    if current_engine().name == "local":
        return _Run(backbone, store, views, device, batch, known)
    from train.features.extract_on_ray import RayPass

    return RayPass(backbone, store, views, device, batch, known)


class PreparedViews(Protocol):
    """A picture's content, which views of it are wanted, and the pixels of these, or where they are."""

    @property
    def sha256(self) -> str:
        """Of the very bytes that were decoded."""
        ...

    @property
    def numbers(self) -> list[int]:
        """Which views these are."""
        ...

    @property
    def pixels(self) -> Iterable[Any]:
        """One for each of them."""
        ...


class FeaturePass(ABC):
    """One pass over the pictures: accounts for each in order, has its views computed, and hands them to the bank."""

    def __init__(
        self,
        backbone: Backbone,
        store: FeatureBank,
        views: Views,
        device: torch.device,
        batch: int,
        known: dict[str, set[str]],
    ) -> None:
        """`known` are the names of the views that the bank has, by content."""
        self.backbone, self.device = backbone, device
        self.store, self.views, self.batch = store, views, batch
        self.names = views.names()
        self.lacking = Lacking(self.names, known)
        self.sha256: list[str | None] = []
        self.broken: list[BrokenPicture] = []
        self.computed = 0
        self._rows: list[tuple[str, str, torch.Tensor]] = []
        self._committed = time.monotonic()
        self._begin()

    @abstractmethod
    def _begin(self) -> None:
        """Make what this kind of pass holds besides."""

    def checked(self, pictures: Sequence[PictureRef], progress: Progress) -> list[PictureRef]:
        """As `with_their_content`."""
        return with_their_content(pictures, self.lacking, progress)

    @abstractmethod
    def prepared(
        self, pictures: Sequence[PictureRef], workers: int | None
    ) -> AbstractContextManager[Iterator[PreparedViews | BrokenImage]]:
        """Each picture's lacking views, as `train.features.prepare.prepared` gives them."""

    def take(self, position: int, found: PreparedViews | BrokenImage, path: str) -> None:
        """Account for one picture, in order; has the network compute whenever a batch is full."""
        assert position == len(self.sha256)
        if isinstance(found, BrokenImage):
            self.broken.append(BrokenPicture(path, found.reason))
            self.sha256.append(None)
            return
        self.sha256.append(found.sha256)
        for number, view in zip(found.numbers, found.pixels, strict=True):
            self._add(found.sha256, self.names[number], view)

    @abstractmethod
    def finish(self) -> None:
        """Compute what is left, and commit."""

    @abstractmethod
    def _add(self, sha256: str, view: str, pixels: Any) -> None:
        """Put one view into the batch that is gathered."""

    def _note(self, names: Sequence[tuple[str, str]], features: torch.Tensor) -> None:
        """The features (N, dim) of N views (sha256, view) have come."""
        self._rows += [(sha, view, row) for (sha, view), row in zip(names, features, strict=True)]
        self.computed += len(names)

    def _commit_by_time(self) -> None:
        if time.monotonic() - self._committed > _COMMIT_SECONDS:
            self._commit()

    def _commit(self) -> None:
        self.store.put(self._rows)
        self._rows, self._committed = [], time.monotonic()


class _Run(FeaturePass):
    """The pass of this machine: other processes decode, and this one computes."""

    def _begin(self) -> None:
        self._network: FrozenNetwork | None = None
        self._staging = PixelStaging(self.device, self.batch, self.backbone.preprocessing.crop)
        self._pixels: NDArray[np.uint8] | None = None  # no GPU is woken before the processes are forked
        self._waiting: list[tuple[str, str]] = []  # (sha256, view) of what is in _pixels, from the first on
        self._given: tuple[list[tuple[str, str]], Arriving, Arriving] | None = None  # and of what the device has

    def prepared(
        self, pictures: Sequence[PictureRef], workers: int | None
    ) -> AbstractContextManager[Iterator[PreparedViews | BrokenImage]]:
        """As `FeaturePass.prepared`: in processes."""
        return prepared(
            pictures, self.views, self.backbone.preprocessing, self.lacking,
            ahead=2 * self.batch // self.views.count, workers=workers,
        )  # fmt: skip

    def _add(self, sha256: str, view: str, pixels: NDArray[np.uint8]) -> None:
        if self._pixels is None:
            self._pixels = self._staging.room()
        self._pixels[len(self._waiting)] = pixels
        self._waiting.append((sha256, view))
        if len(self._waiting) == len(self._pixels):
            self._compute()

    def finish(self) -> None:
        """As `FeaturePass.finish`."""
        if self._waiting:
            self._compute()
        self._collect()
        self._commit()

    def _compute(self) -> None:
        """Set the device to work on what waits, and meanwhile see to what it gave for the batch before."""
        if self._network is None:
            self._network = frozen(self.backbone, self.store.key, self.device, self.batch)
        pixels = self._staging.send(len(self._waiting))
        self._pixels = None
        features, self.batch = forward_halving(self._network, pixels, self.batch)
        # Whether they are numbers the device sees sooner than processors that decode pictures
        fetched = Arriving(features), Arriving(torch.isfinite(features).all())
        self._collect()
        self._given, self._waiting = (self._waiting, *fetched), []
        self._commit_by_time()

    def _collect(self) -> None:
        """Fetch the features of the batch that was computed last; raises UserError for what no number is."""
        if self._given is None:
            return
        waited, features, finite = self._given
        require_finite(finite.wait())
        self._note(waited, features.wait())
        self._given = None


def frozen(backbone: Backbone, key: BankKey, device: torch.device, batch: int) -> FrozenNetwork:
    """The network that computes a bank's features on a device, in batches of up to `batch` views."""
    return FrozenNetwork(
        backbone.network, backbone.preprocessing, device, key.precision,
        compiled_for=batch if key.compiled else 0, batch=batch,
    )  # fmt: skip


def require_finite(finite: torch.Tensor) -> None:
    """Raise UserError where a batch's features, of which `finite` () bool tells, are not all numbers."""
    if not bool(finite):
        raise UserError("The backbone gives features that are not finite numbers: it needs other weights.")


def forward_halving(network: FrozenNetwork, pixels: torch.Tensor, batch: int) -> tuple[torch.Tensor, int]:
    """Features (N, dim) on the device, and the batch size that fitted: halved as long as memory runs out.

    `pixels` are uint8 (N, crop, crop, 3). Raises UserError where not even one picture fits.
    """
    while True:
        try:
            parts = [network(part) for part in torch.split(pixels, batch)]
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
