"""Whether a fetched picture is one that the dataset lacks: intact, large enough, and no copy of what is there."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Catalog, Picture
from curate.duplicates import DEFAULT_RADIUS, find_near_duplicates


@dataclass(frozen=True)
class Verdict:
    """`status` is one of `findings.STATUSES`: "kept", "broken" or "duplicate"; `kind` and `reason` say why."""

    status: str
    kind: str = ""
    reason: str = ""


class Judge:
    """Holds the hashes of all pictures of a dataset, and of each one that is kept from now on.

    Pictures in the quarantine count as known: what was set aside need not come back from the web. A file that is
    gone counts by its content alone.
    """

    def __init__(self, root: Path, catalog: Catalog, min_size: int, radius: int = DEFAULT_RADIUS) -> None:
        self._root = root
        self._min_size = min_size
        self._radius = radius
        self._pictures = catalog.pictures("state = 'present' AND broken = ''")
        self._hashes = np.array([picture.phash for picture in self._pictures], dtype=np.uint64)
        self._count = len(self._pictures)
        known = catalog.pictures("state != 'present'")
        self._contents = {picture.sha256: picture for picture in [*known, *self._pictures]}

    def judge(self, picture: Picture) -> Verdict:
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
        if self._count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.zeros(max(64, self._count), dtype=np.uint64)])
        self._hashes[self._count] = picture.phash
        self._count += 1
        self._pictures.append(picture)
        self._contents[picture.sha256] = picture

    def _near(self, picture: Picture) -> list[Picture]:
        """The known pictures that are near-duplicates of this one, as `clean` would find them."""
        known: NDArray[np.uint64] = self._hashes[: self._count]
        distances = np.bitwise_count(known ^ np.uint64(picture.phash))
        near = [self._pictures[position] for position in np.flatnonzero(distances <= self._radius)]
        if not near:
            return []
        found = find_near_duplicates(self._root, [picture, *near], self._radius)
        copies = set()
        for first, second, _ in found.verified():
            if 0 in (first, second):
                copies.update(found.contents[first + second])  # one of the two is 0
        return [near[position - 1] for position in sorted(copies)]
