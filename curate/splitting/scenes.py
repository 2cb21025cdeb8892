"""Pictures of one scene that no hash sees: features propose them, pixels confirm them, and the catalog remembers both.

What features call alike is often another flower of one kind, so they never bind a picture by themselves. What a look at
the pixels found of a pair holds for good: whether the features are still there plays no part in a later split.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Catalog
from curate.catalog.scenes import enter_looks, looked_at
from curate.dataset import Dataset
from curate.files.reading import read_file
from curate.image import BrokenImage
from curate.lookalikes.method import scene_method
from curate.lookalikes.scene import SceneLook, are_one_scene, look_for_scene
from curate.parallel import ordered_map
from curate.progress import Progress, silent
from curate.splitting.grouping import NO_PAIRS
from curate.splitting.picture_table import PictureTable

_KEPT = 512  # looks, of 64 KB each
_WRITTEN_AT_ONCE = 1_000  # pairs


@dataclass(frozen=True, eq=False)
class Alike:
    """Pairs of contents that features call alike, as places in what was asked for: int32[p, 2].

    `network` is what computed the features, and `known` the number of contents that it knows.
    """

    pairs: NDArray[np.int32]
    network: str
    known: int


FindAlike = Callable[[NDArray[np.bytes_]], Alike | None]
"""Of contents by their sha256, S64[c] ascending: which are alike; None where nothing is known of them."""


def find_scenes(
    dataset: Dataset,
    catalog: Catalog,
    table: PictureTable,
    alike: Alike | None,
    bound: Iterable[tuple[str, str]] = (),
    progress: Progress = silent,
) -> NDArray[np.int32]:
    """The pairs of contents that show one scene, as places in `table.sha256`: int32[p, 2].

    They are those that were found before, here or as `bound` by an earlier split, and those among the `alike` whose
    pixels say so.
    """
    before = looked_at(catalog, scene_method())
    one = {pair for pair, is_one in before.items() if is_one}
    one |= {(min(pair), max(pair)) for pair in bound}
    digests = [digest.decode() for digest in table.sha256.tolist()]
    proposed = np.unique(np.sort(alike.pairs, axis=1), axis=0).tolist() if alike else []
    todo = [(a, b) for a, b in proposed if (digests[a], digests[b]) not in before]
    found: list[tuple[str, str, bool]] = []
    with progress("Looking for shots of one scene", len(todo)) as advance:
        for (a, b), is_one in zip(todo, _look_at(dataset, table, todo), strict=True):
            advance(1)
            if is_one is None:  # what could not be read may be one day
                continue
            found.append((digests[a], digests[b], is_one))
            if len(found) % _WRITTEN_AT_ONCE == 0:
                enter_looks(catalog, scene_method(), found[-_WRITTEN_AT_ONCE:])
    if rest := len(found) % _WRITTEN_AT_ONCE:
        enter_looks(catalog, scene_method(), found[-rest:])
    return scene_links(table, one | {(first, second) for first, second, is_one in found if is_one})


def scene_links(table: PictureTable, pairs: Iterable[tuple[str, str]]) -> NDArray[np.int32]:
    """Pairs of digests as places in `table.sha256`, int32[p, 2] in order, without those that the table lacks."""
    rows = np.array(sorted(pairs), dtype="S64").reshape(-1, 2)
    if not len(rows) or not len(table.sha256):
        return NO_PAIRS
    places, held = zip(*(table.find(rows[:, side]) for side in (0, 1)), strict=True)
    links: NDArray[np.int32] = np.column_stack(places)[held[0] & held[1]].astype(np.int32)
    return links


def _look_at(dataset: Dataset, table: PictureTable, pairs: list[tuple[int, int]]) -> Iterator[bool | None]:
    """Whether the pictures of each pair show one scene; None where one of them cannot be seen."""
    first = np.unique(table.content, return_index=True)[1]
    looks = _Looks(lambda content: dataset.root / table.paths[int(first[content])])

    def is_one(pair: tuple[int, int]) -> bool | None:
        one, other = looks.of(pair[0]), looks.of(pair[1])
        return None if one is None or other is None else are_one_scene(one, other)

    yield from ordered_map(is_one, pairs)


class _Looks:
    """The last looks at contents; None for one that can no longer be read or decoded. Safe for several threads."""

    def __init__(self, path: Callable[[int], Path]) -> None:
        self._path = path
        self._kept: OrderedDict[int, SceneLook | None] = OrderedDict()
        self._lock = Lock()

    def of(self, content: int) -> SceneLook | None:
        with self._lock:
            if content in self._kept:
                self._kept.move_to_end(content)
                return self._kept[content]
        look = self._look(self._path(content))
        with self._lock:
            self._kept[content] = look
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return look

    @staticmethod
    def _look(path: Path) -> SceneLook | None:
        try:
            return look_for_scene(read_file(path), str(path))
        except (BrokenImage, OSError):
            return None
