"""What a search knows of each different content before it looks at any pixels, as columns.

Columns, not objects: of a million pictures the hashes alone are a fingerprint of 168 bytes each.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.lookalikes.candidates import Hashed
from curate.lookalikes.comparison import SMALL
from curate.lookalikes.fingerprint import VARIANTS, is_flat, unpack_hashes
from curate.phash import Hashes

Row = tuple[str, int, int, int, bytes]
"""(sha256, pHash, width, height, fingerprint) of a picture; the pHash may be in two's complement."""

_64_BITS = (1 << 64) - 1


@dataclass(frozen=True, eq=False)
class Contents:
    """c contents, in order of their `sha256`, S64[c].

    `phash` uint64[c], `width` and `height` int32[c]. `known` int32[k] are the contents whose windows' hashes are known,
    `windows` uint64[k, variants] these; `flat` int32[f] are the flat ones, `colour` uint8[f, 3] their mean colours.
    """

    sha256: NDArray[np.bytes_]
    phash: Hashes
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    known: NDArray[np.int32]
    windows: Hashes
    flat: NDArray[np.int32]
    colour: NDArray[np.uint8]

    @classmethod
    def of(cls, parts: Iterable[Sequence[Row]]) -> "Contents":
        """Of pictures, given in parts; of those with one content the first counts."""
        columns = [_columns(part) for part in parts]
        starts = np.cumsum([0, *(len(part.sha256) for part in columns)])
        everything = cls(
            np.concatenate([np.empty(0, "S64"), *(part.sha256 for part in columns)]),
            np.concatenate([np.empty(0, np.uint64), *(part.phash for part in columns)]),
            np.concatenate([np.empty(0, np.int32), *(part.width for part in columns)]),
            np.concatenate([np.empty(0, np.int32), *(part.height for part in columns)]),
            _joined([part.known for part in columns], starts),
            np.concatenate([np.empty((0, len(VARIANTS)), np.uint64), *(part.windows for part in columns)]),
            _joined([part.flat for part in columns], starts),
            np.concatenate([np.empty((0, 3), np.uint8), *(part.colour for part in columns)]),
        )
        return everything._take(np.unique(everything.sha256, return_index=True)[1])

    def among(self, sha256: NDArray[np.bytes_]) -> "Contents":
        """Those that have one of these digests, S64[d] ascending."""
        return self._take(np.flatnonzero(np.isin(self.sha256, sha256)))

    @property
    def structured(self) -> NDArray[np.int32]:
        """The contents that are not flat, ascending: int32[s]."""
        even = np.zeros(len(self.sha256), np.bool_)
        even[self.flat] = True
        return np.flatnonzero(~even).astype(np.int32)

    def hashed(self, structured: NDArray[np.int32]) -> Hashed:
        """The hashes of those; a picture so small that a part of it is another picture has no windows."""
        small = np.minimum(self.width, self.height) < SMALL
        large = ~small[self.known]
        everything = Hashed(self.phash, self.known[large], self.windows[large], small)
        return everything if len(structured) == len(self.sha256) else everything.take(structured.astype(np.intp))

    def _take(self, chosen: NDArray[np.intp]) -> "Contents":
        place = np.full(len(self.sha256), -1, np.int32)
        place[chosen] = np.arange(len(chosen), dtype=np.int32)
        known, flat = place[self.known], place[self.flat]
        # `chosen` may be in any order, and the windows are to follow the contents.
        by_known, by_flat = (np.argsort(at, kind="stable")[np.count_nonzero(at < 0) :] for at in (known, flat))
        return Contents(
            self.sha256[chosen], self.phash[chosen], self.width[chosen], self.height[chosen],
            known[by_known], self.windows[by_known], flat[by_flat], self.colour[by_flat],
        )  # fmt: skip


def _columns(rows: Sequence[Row]) -> Contents:
    sha256, phash, width, height, prints = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    known = [at for at, whole in enumerate(prints) if len(whole) == 8 * len(VARIANTS)]
    flat = [at for at, whole in enumerate(prints) if is_flat(whole)]
    return Contents(
        np.array(sha256, "S64"),
        np.array([value & _64_BITS for value in phash], np.uint64),
        np.array(width, np.int32),
        np.array(height, np.int32),
        np.array(known, np.int32),
        unpack_hashes([prints[at] for at in known]).astype(np.uint64),
        np.array(flat, np.int32),
        np.frombuffer(b"".join(prints[at] for at in flat), np.uint8).reshape(-1, 3),
    )


def _joined(numbers: Sequence[NDArray[np.int32]], starts: NDArray[np.intp]) -> NDArray[np.int32]:
    shifted = [part + np.int32(start) for part, start in zip(numbers, starts.tolist(), strict=False)]
    return np.concatenate([np.empty(0, np.int32), *shifted])
