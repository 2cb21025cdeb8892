"""The near-duplicates of a whole dataset, searched for once and remembered until its contents change.

Looking at a million hashes takes half a minute, and at the pixels of all that look alike much longer; whether two
contents are one picture never changes, though. The catalog keeps the last search of each radius.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate import candidates, duplicates, fingerprint, phash, registration, second_look
from curate.catalog import Catalog
from curate.dataset import Dataset
from curate.duplicates import NearDuplicates, find_near_duplicates
from curate.holdings import Holdings
from curate.progress import Progress, silent

_TABLE = """
CREATE TABLE IF NOT EXISTS searches (   -- the last search for near-duplicates at each radius
    radius   INTEGER PRIMARY KEY,
    searched TEXT NOT NULL,             -- sha256 over what was searched, and how
    pairs    BLOB NOT NULL              -- numpy arrays; places count the contents in order of their sha256
)
"""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Pairs of different contents within a radius: `first`, `second` int32[p] are places in `Holdings.sha256`;
    `distance` uint8[p] is in bits, and `same` bool[p] says whether the pixels agree that it is one picture.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    distance: NDArray[np.uint8]
    same: NDArray[np.bool_]


def find_neighbours(
    dataset: Dataset, catalog: Catalog, holdings: Holdings, radius: int, progress: Progress = silent
) -> Neighbours:
    """Recall the search of these very contents at this radius, or search and remember."""
    catalog.db.execute(_TABLE)
    searched = _fingerprint(holdings)
    known = catalog.db.execute(
        "SELECT pairs FROM searches WHERE radius = ? AND searched = ?", (radius, searched)
    ).fetchone()
    if known:
        return _unpack(known[0])
    paths = set(holdings.paths)
    pictures = [picture for picture in catalog.pictures() if picture.path in paths]
    del paths
    found = find_near_duplicates(dataset.root, pictures, radius, progress)
    neighbours = _by_content(found, np.array([picture.sha256 for picture in pictures], dtype="S64"), holdings)
    with catalog.transaction() as db:
        db.execute("INSERT OR REPLACE INTO searches VALUES (?, ?, ?)", (radius, searched, _pack(neighbours)))
    return neighbours


def _by_content(found: NearDuplicates, sha256: NDArray[np.bytes_], holdings: Holdings) -> Neighbours:
    """The same pairs in terms of the holdings, and a pair for each two contents that the search took for one."""
    content = holdings.find(sha256)[0].astype(np.int32)
    leader = np.array([positions[0] for positions in found.contents], dtype=np.intp)
    joined = [(positions[0], other) for positions in found.contents for other in positions[1:]]
    stars = content[np.array(joined, dtype=np.intp).reshape(-1, 2)]
    stars = np.unique(stars[stars[:, 0] != stars[:, 1]], axis=0)
    return Neighbours(
        np.concatenate([content[leader[found.first]], stars[:, 0]]),
        np.concatenate([content[leader[found.second]], stars[:, 1]]),
        np.concatenate([found.distance, np.zeros(len(stars), dtype=np.uint8)]),
        np.concatenate([found.same, np.ones(len(stars), dtype=np.bool_)]),
    )


def _fingerprint(holdings: Holdings) -> str:
    """Names the contents, and the very code that searches: another method may find other pairs."""
    digest = hashlib.sha256(holdings.sha256.tobytes())
    for module in (phash, fingerprint, candidates, duplicates, second_look, registration):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


def _pack(neighbours: Neighbours) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **vars(neighbours))
    return stream.getvalue()


def _unpack(packed: bytes) -> Neighbours:
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        return Neighbours(arrays["first"], arrays["second"], arrays["distance"], arrays["same"])
