"""Whether a fetched picture is one that the dataset lacks: intact, large enough, and no copy of what is there."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Catalog, Picture
from curate.defaults import DEFAULT_RADIUS
from curate.duplicates import find_near_duplicates
from curate.lookalikes.fingerprint import FRAMED, is_flat

_VARIANTS = 1 + len(FRAMED)
"""Hashes kept of each picture: of its whole, and of the windows that `clean` compares as well."""


@dataclass(frozen=True)
class Verdict:
    """`status` is one of `candidate_store.STATUSES`: "kept", "broken" or "duplicate"; `kind` and `reason` say why."""

    status: str
    kind: str = ""
    reason: str = ""


class Deduplicator:
    """Holds the hashes of all pictures of a dataset, and of each one that is kept from now on.

    Pictures in the quarantine count as known by their bytes: what was set aside need not come back from the web.
    So do those whose file is gone.
    """

    def __init__(self, root: Path, catalog: Catalog, min_size: int, radius: int = DEFAULT_RADIUS) -> None:
        self._root = root
        self._min_size = min_size
        self._radius = radius
        self._pictures = catalog.intact()
        known = catalog.absent()
        self._contents = {picture.sha256: picture for picture in [*known, *self._pictures]}
        self._hashes = np.empty((len(self._pictures), _VARIANTS), dtype=np.uint64)
        self._flat = np.empty(len(self._pictures), dtype=np.bool_)
        for row, picture in enumerate(self._pictures):
            self._hashes[row], self._flat[row] = _variants(picture), is_flat(picture.fingerprint)

    def check(self, picture: Picture) -> Verdict:
        """Judge one picture; its `path` may be absolute. Reads the pictures that look like it."""
        if picture.broken:
            return Verdict("broken", "not intact", picture.broken)
        if min(picture.width, picture.height) < self._min_size:
            return Verdict("broken", "too small", f"{picture.width} × {picture.height} pixels")
        same = self._contents.get(picture.sha256)
        copies = [same] if same is not None else self._near(picture)
        held_out = [copy for copy in copies if copy.split in ("valid", "test")]
        if held_out:
            reason = f"a copy of {held_out[0].path}, which is held out"
            return Verdict("duplicate", f"copy of one in {held_out[0].split}", reason)
        if copies:
            return Verdict("duplicate", "duplicate", f"a copy of {copies[0].path}")
        return Verdict("kept")

    def admit(self, picture: Picture) -> None:
        """Know this picture from now on; its file must lie where its path says."""
        count = len(self._pictures)
        if count == len(self._hashes):
            more = max(64, count)
            self._hashes = np.concatenate([self._hashes, np.zeros((more, _VARIANTS), dtype=np.uint64)])
            self._flat = np.concatenate([self._flat, np.zeros(more, dtype=np.bool_)])
        self._hashes[count], self._flat[count] = _variants(picture), is_flat(picture.fingerprint)
        self._pictures.append(picture)
        self._contents[picture.sha256] = picture

    def _near(self, picture: Picture) -> list[Picture]:
        """The known pictures that are copies of this one, as `clean` would find them."""
        near = [self._pictures[row] for row in np.flatnonzero(self._alike(picture))]
        if not near:
            return []
        found = find_near_duplicates(self._root, [picture, *near], self._radius)
        own = next(content for content, positions in enumerate(found.contents) if 0 in positions)
        copies = set(found.contents[own]) - {0}
        for first, second, _ in found.copies():
            if own in (first, second):
                copies.update(found.contents[second if first == own else first])
        return [near[position - 1] for position in sorted(copies)]

    def _alike(self, picture: Picture) -> NDArray[np.bool_]:
        """Which known pictures may be copies: some hash of theirs is near this one's whole, or the other way round."""
        count, variants = len(self._pictures), _variants(picture)
        if is_flat(picture.fingerprint):
            return self._flat[:count]
        theirs = np.bitwise_count(self._hashes[:count] ^ variants[0]).min(axis=1, initial=64)
        ours = np.bitwise_count(self._hashes[:count, :1] ^ variants).min(axis=1, initial=64)
        alike: NDArray[np.bool_] = np.minimum(theirs, ours) <= self._radius
        return alike


def _variants(picture: Picture) -> NDArray[np.uint64]:
    """The hashes of a picture's whole and windows: uint64[_VARIANTS]; where windows are unknown, that of the whole."""
    variants = np.full(_VARIANTS, picture.phash, dtype=np.uint64)
    if len(picture.fingerprint) >= 8 * len(FRAMED):
        variants[1:] = np.frombuffer(picture.fingerprint, dtype=">u8", count=len(FRAMED))
    return variants
