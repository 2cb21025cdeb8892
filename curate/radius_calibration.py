"""Thresholds measured on the user's own pictures: how many edited copies are found, how many other pairs are near."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Catalog, Picture
from curate.dataset import open_dataset
from curate.defaults import DEFAULT_RADIUS, MAX_RADIUS
from curate.errors import UserError
from curate.files.reading import read_file
from curate.image import BrokenImage, decode
from curate.inspect import inspect
from curate.lookalikes.candidates import WHOLE, CandidatePairs, find_candidates
from curate.lookalikes.edits import EDITS, Edit
from curate.lookalikes.fingerprint import is_flat
from curate.lookalikes.looks import Looks
from curate.lookalikes.second_look import Verdicts, look_again
from curate.parallel import ordered_map
from curate.progress import Progress, silent
from curate.scan import scan

ENOUGH = 0.99
"""Recall of every plain edit that the recommended radius must reach."""

_MOST_STRANGERS = 2_000  # pictures whose pairs are all looked at: two million pairs


@dataclass(frozen=True)
class EditRecall:
    """How copies made by one edit were found, of `copies` that there were.

    `within[r]` of their pHashes lay within r bits of the original's; `found` copies were found by the whole way: hashes
    of windows too (and turned, for a turning edit), and a second look. `detail` is the lowest correlation of the detail
    among them. `wrong` were merged with another picture.
    """

    edit: str
    kind: str
    copies: int
    within: tuple[int, ...]
    found: int
    detail: float
    wrong: int


@dataclass(frozen=True)
class RadiusCalibration:
    """What was measured on a user's own pictures.

    Of `pairs` pairs of different files drawn at random, `near[r]` had pHashes within r bits and `merged[r]` of those
    were the same picture to a second look; `twins` are these, and those that other windows gave away: paths to look
    at, since a pair that is merged is a copy, or a mistake. `detail` is the highest correlation of the detail among all
    pairs that were told apart, within 12 bits, windows included. `radius` is what is recommended.
    """

    originals: int
    edits: tuple[EditRecall, ...]
    pairs: int
    near: tuple[int, ...]
    merged: tuple[int, ...]
    twins: tuple[tuple[str, str], ...]
    detail: float
    radius: int

    def per_million(self, count: int) -> float:
        """A number of pairs as a rate per million pairs drawn."""
        return 1e6 * count / self.pairs if self.pairs else 0.0


@dataclass(frozen=True, eq=False)
class _Sight:
    """All that is known of one picture in memory."""

    phash: int
    fingerprint: bytes
    data: bytes


def calibrate_radius(
    root: Path,
    *,
    originals: int = 200,
    radius: int = DEFAULT_RADIUS,
    seed: int = 0,
    edits: Sequence[Edit] = EDITS,
    progress: Progress = silent,
) -> RadiusCalibration:
    """Make edited copies of some of a dataset's pictures, in memory, and measure how they are found.

    `originals` pictures are edited in each of the ways of `edits`; all pairs among up to 2,000 pictures are the
    strangers. The dataset itself is only read (its catalog is brought up to date). Raises `UserError` for a folder with
    fewer than two pictures that have any structure.
    """
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        scan(dataset, catalog, progress)
        pictures = _drawn(catalog.intact(), seed)
    if len(pictures) < 2:
        raise UserError(f"{root} holds fewer than two pictures to measure on: add pictures.")
    candidates, verdicts = _strangers(dataset.root, pictures[:_MOST_STRANGERS], progress)
    paths = [dataset.root / picture.path for picture in pictures[:originals]]
    measured = []
    with progress("Editing pictures", len(edits)) as advance:
        for edit in edits:
            measured.append(_recall(edit, _edited(paths, edit), radius))
            advance(1)
    n = min(len(pictures), _MOST_STRANGERS)
    wholes = candidates.variant == WHOLE
    return RadiusCalibration(
        originals=measured[0].copies if measured else len(paths),
        edits=tuple(measured),
        pairs=n * (n - 1) // 2,
        near=_cumulative(candidates.distance[wholes]),
        merged=_cumulative(candidates.distance[wholes & verdicts.same]),
        twins=_twins(candidates, verdicts.same, pictures),
        detail=float(np.nanmax(verdicts.detail[~verdicts.same], initial=0)),
        radius=recommended(measured),
    )


def recommended(measured: Sequence[EditRecall]) -> int:
    """The smallest radius at which the pHash of the whole alone finds nearly all copies of every plain edit."""
    plain = [edit for edit in measured if edit.kind == "plain" and edit.copies]
    for radius in range(MAX_RADIUS + 1):
        if all(edit.within[radius] >= ENOUGH * edit.copies for edit in plain):
            return radius
    return MAX_RADIUS


def _drawn(pictures: Sequence[Picture], seed: int) -> list[Picture]:
    """One picture of each content that has structure, shuffled."""
    contents = {picture.sha256: picture for picture in reversed(pictures) if not is_flat(picture.fingerprint)}
    order = np.random.default_rng(seed).permutation(len(contents))
    ordered = [contents[sha256] for sha256 in sorted(contents)]
    return [ordered[at] for at in order]


def _strangers(root: Path, pictures: Sequence[Picture], progress: Progress) -> tuple[CandidatePairs, Verdicts]:
    """All candidates among the pictures at the largest radius, and what a second look says of each."""
    hashes = np.array([picture.phash for picture in pictures], dtype=np.uint64)
    prints = [picture.fingerprint for picture in pictures]
    candidates = find_candidates(hashes, prints, MAX_RADIUS, progress=progress)
    looks = Looks.at_files(lambda at: root / pictures[at].path)
    return candidates, look_again(candidates, looks, progress)


def _edited(paths: Sequence[Path], edit: Edit) -> list[tuple[_Sight, _Sight]]:
    """Each picture that can be read, and its copy by an edit."""

    def sights(path: Path) -> tuple[_Sight, _Sight] | None:
        try:
            data = read_file(path)
            picture = decode(data, path=str(path)).pixels
        except (OSError, BrokenImage):
            return None
        return _sight(data), _sight(edit.make(picture))

    return [found for found in ordered_map(sights, paths) if found is not None]


def _sight(data: bytes) -> _Sight:
    facts = inspect(data)
    return _Sight(facts.phash, facts.fingerprint, data)


def _recall(edit: Edit, pairs: Sequence[tuple[_Sight, _Sight]], radius: int) -> EditRecall:
    """Search the originals and their copies by one edit as one dataset."""
    n = len(pairs)
    sights = [original for original, _ in pairs] + [copy for _, copy in pairs]
    hashes = np.array([sight.phash for sight in sights], dtype=np.uint64)
    prints = [sight.fingerprint for sight in sights]
    candidates = find_candidates(hashes, prints, radius, geometry=edit.kind == "turned")
    across = (candidates.first < n) != (candidates.second < n)
    candidates = candidates.take(np.flatnonzero(across))
    right = candidates.first % n == candidates.second % n
    verdicts = look_again(candidates, Looks(lambda at: sights[at].data))
    same = verdicts.same
    return EditRecall(
        edit.name,
        edit.kind,
        n,
        _cumulative(np.bitwise_count(hashes[:n] ^ hashes[n:])),
        len(np.unique(candidates.pair()[same & right])),
        float(np.nanmin(verdicts.detail[same & right], initial=1)),
        len(np.unique(candidates.pair()[same & ~right])),
    )


def _cumulative(distances: NDArray[np.uint8]) -> tuple[int, ...]:
    """How many lie within each radius from 0 to the largest."""
    return tuple(int(count) for count in np.cumsum(np.bincount(distances, minlength=65))[: MAX_RADIUS + 1])


def _twins(
    candidates: CandidatePairs, verdict: NDArray[np.bool_], pictures: Sequence[Picture]
) -> tuple[tuple[str, str], ...]:
    low, high = np.divmod(np.unique(candidates.pair()[verdict]), np.uint64(1 << 32))
    return tuple((pictures[a].path, pictures[b].path) for a, b in zip(low.tolist(), high.tolist(), strict=True))
