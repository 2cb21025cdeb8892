"""Pictures among each other, as the feature bank has them: which are most alike, and a map of all."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curate.shell import command_line
from pages.review.gallery import ReviewGallery
from pages.review.queues import audited_pictures
from pages.review.umap_process import UmapProcess
from train.features.bank_vectors import BankVectors, read_vectors

_FEWEST_MAPPED: Final = 3


@dataclass(frozen=True)
class MostAlike:
    """The numbers of pictures, the most alike first; or why there are none."""

    numbers: Sequence[int]
    why: str = ""


@dataclass(frozen=True, eq=False)
class _Known:
    """The features of one gallery's contents; the numbers of the pictures that have them, int64[n], in order, and for
    each the row of its content, int64[n]; and the numbers of each content.
    """

    vectors: BankVectors
    numbers: NDArray[np.int64]
    rows: NDArray[np.int64]
    of_content: dict[str, list[int]]
    row_of: dict[str, int]


class Likeness:
    """What the bank in a folder knows of the pictures. To be asked by one thread."""

    def __init__(self, bank: Path) -> None:
        self._bank = bank
        self._gallery: ReviewGallery | None = None
        self._known: _Known | None = None
        self._plane: NDArray[np.float32] | None = None
        self._umap: NDArray[np.float32] | None = None
        self._mapping: threading.Thread | None = None
        self._process: UmapProcess | None = None

    def stop(self) -> None:
        """End what is under way."""
        if self._process is not None:
            self._process.end()

    def alike(self, gallery: ReviewGallery, number: int, limit: int) -> MostAlike:
        """The pictures that the bank calls most like one, without those of its very content."""
        known = self._read(gallery)
        if known is None:
            return MostAlike((), self._lacking(gallery))
        own = gallery.pictures[number].sha256
        row = known.row_of.get(own)
        if row is None:
            return MostAlike((), f"The bank has no features of this picture. {self._lacking(gallery)}")
        content_at = {at: sha256 for sha256, at in known.row_of.items()}
        found: list[int] = []
        for at in np.argsort(-known.vectors.cosines(row), kind="stable").tolist():
            if at != row:
                found += known.of_content[content_at[at]]
            if len(found) >= limit:
                break
        return MostAlike(found[:limit])

    def map(self, gallery: ReviewGallery) -> dict[str, Any]:
        """All pictures as points in the unit square, with what they may be coloured by; by UMAP once it has come."""
        known = self._read(gallery)
        if known is None or len(known.row_of) < _FEWEST_MAPPED:
            return _as_map("pca", gallery, np.empty(0, np.int64), np.empty((0, 2), np.float32)) | {
                "why": self._lacking(gallery), "coming": False,
            }  # fmt: skip
        if self._plane is None:
            self._plane = known.vectors.plane()
        if find_spec("umap") is not None and self._mapping is None and self._umap is None:
            self._begin_umap(gallery, known)
        coming = self._mapping is not None and self._mapping.is_alive()
        method, points = ("pca", self._plane) if self._umap is None else ("umap", self._umap)
        return _as_map(method, gallery, known.numbers, points[known.rows]) | {"why": "", "coming": coming}

    def _begin_umap(self, gallery: ReviewGallery, known: _Known) -> None:
        try:
            process = UmapProcess(known.vectors.vectors)
        except OSError:  # then the map stays as it is
            return

        def wait() -> None:
            points = process.points()
            if self._gallery is gallery:
                self._umap = points

        self._process = process
        self._mapping = threading.Thread(target=wait, daemon=True)
        self._mapping.start()

    def _read(self, gallery: ReviewGallery) -> _Known | None:
        if self._gallery is gallery and self._known is not None:
            return self._known
        self.stop()
        self._gallery, self._known, self._plane, self._umap, self._mapping = gallery, None, None, None, None
        of_content: dict[str, list[int]] = {}
        for number, picture in enumerate(gallery.pictures[: gallery.present]):
            of_content.setdefault(picture.sha256, []).append(number)
        contents = list(of_content)
        found = read_vectors(self._bank, contents)
        if found is not None:
            row_of = {contents[place]: row for row, place in enumerate(found.places.tolist())}
            pairs = sorted((number, row) for sha256, row in row_of.items() for number in of_content[sha256])
            numbers, rows = np.array(pairs, np.int64).T
            self._known = _Known(found, numbers, rows, of_content, row_of)
        return self._known

    def _lacking(self, gallery: ReviewGallery) -> str:
        fill = command_line("audit", gallery.dataset.root)
        return f"The bank {self._bank} is filled by: {fill}"


def _as_map(
    method: str, gallery: ReviewGallery, numbers: NDArray[np.int64], points: NDArray[np.float32]
) -> dict[str, Any]:
    low = points.min(axis=0) if len(points) else np.zeros(2, np.float32)
    span = np.maximum(points.max(axis=0) - low, 1e-9) if len(points) else np.ones(2, np.float32)
    unit = np.round((points - low) / span, 4)
    shown = numbers.tolist()
    labels = {label: place for place, label in enumerate(dict.fromkeys(gallery.pictures[one].label for one in shown))}
    splits = {split: place for place, split in enumerate(dict.fromkeys(map(gallery.split_of, shown)))}
    audited = audited_pictures(gallery)
    return {
        "method": method,
        "labels": list(labels),
        "splits": list(splits),
        "ids": [gallery.ids[one] for one in shown],
        "x": unit[:, 0].tolist(),
        "y": unit[:, 1].tolist(),
        "label": [labels[gallery.pictures[one].label] for one in shown],
        "split": [splits[gallery.split_of(one)] for one in shown],
        "suspicion": [_suspicion(audited.get(one)) for one in shown],
    }


def _suspicion(line: Any) -> int:
    """From 0 to 100: the greater of the chances that a picture shows another class, or none."""
    return 0 if line is None else round(100 * max(line.irrelevant, line.mislabelled))
