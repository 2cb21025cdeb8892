"""Pictures of one scene that no hash sees: features propose them, pixels confirm them, and the catalog remembers both.

What features call alike is often another flower of one kind, so they never bind a picture by themselves. What a look at
the pixels found of a pair holds for good: whether the features are still there plays no part in a later split.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet

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
_BETWEEN = 3  # looks at two scenes, or at one and a picture, after which they are two


@dataclass(frozen=True, eq=False)
class Alike:
    """Pairs of contents that features call alike, as places in what was asked for: int32[p, 2].

    `network` is what computed the features, and `known` the number of contents that it knows. `wider` are pairs that
    are a little less alike, the most alike first: looked at where one of the two is of a scene already.
    """

    pairs: NDArray[np.int32]
    network: str
    known: int
    wider: NDArray[np.int32] = field(default_factory=lambda: NO_PAIRS)


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
    looks = _LooksOnRecord(dataset, catalog, table)
    one = {pair for pair, is_one in looks.known.items() if is_one}
    one |= {(min(pair), max(pair)) for pair in bound}
    if alike:
        proposed = np.unique(np.sort(alike.pairs, axis=1), axis=0)
        one |= looks.at(list(map(tuple, proposed.tolist())), progress)
        one |= _whole_series(looks, one, np.sort(alike.wider, axis=1), progress)
    return scene_links(table, one)


def _whole_series(
    looks: "_LooksOnRecord", one: set[tuple[str, str]], wider: NDArray[np.int32], progress: Progress
) -> set[tuple[str, str]]:
    """Pairs that join the parts of long series: of many shots of a scene each is nearest to a few, and the few that are
    nearest to each other form parts that never meet.

    Between two parts the most alike pair is looked at first, and no more than `_BETWEEN` that show two scenes.
    """
    place = {digest: at for at, digest in enumerate(looks.digests)}
    series = DisjointSet(range(len(place)))
    in_scene = np.zeros(len(place), np.bool_)
    for pair in one:
        ends = [place[digest] for digest in pair if digest in place]
        if len(ends) == 2:
            series.merge(*ends)
            in_scene[ends] = True
    joined: set[tuple[str, str]] = set()
    failed: Counter[tuple[int, int]] = Counter()
    left = [(a, b) for a, b in wider.tolist() if in_scene[a] or in_scene[b]]
    while left:
        asked: dict[tuple[int, int], tuple[int, int]] = {}
        later = []
        for a, b in left:
            parts = (min(roots := (series[a], series[b])), max(roots))
            if parts[0] == parts[1] or failed[parts] >= _BETWEEN:
                continue
            if parts in asked:
                later.append((a, b))
            else:
                asked[parts] = (a, b)
        found = looks.at(list(asked.values()), progress)
        for parts, (a, b) in asked.items():
            if looks.pair(a, b) in found:
                series.merge(a, b)
            else:
                failed[parts] += 1
        joined |= found
        left = later
    return joined


class _LooksOnRecord:
    """Looks at pairs of a table's contents, each of which is taken once and written down."""

    def __init__(self, dataset: Dataset, catalog: Catalog, table: PictureTable) -> None:
        self.digests = [digest.decode() for digest in table.sha256.tolist()]
        self.known = looked_at(catalog, scene_method())
        self._dataset, self._catalog, self._table = dataset, catalog, table

    def pair(self, a: int, b: int) -> tuple[str, str]:
        """The digests of two places, the lesser first."""
        first, second = sorted((self.digests[a], self.digests[b]))
        return first, second

    def at(self, places: list[tuple[int, int]], progress: Progress) -> set[tuple[str, str]]:
        """Those of the pairs of places, the lesser first, that show one scene; what cannot be read shows none."""
        todo = [(a, b) for a, b in places if self.pair(a, b) not in self.known]
        found: list[tuple[str, str, bool]] = []
        if todo:
            with progress("Looking for shots of one scene", len(todo)) as advance:
                for (a, b), is_one in zip(todo, _look_at(self._dataset, self._table, todo), strict=True):
                    advance(1)
                    if is_one is None:  # what could not be read may be one day
                        continue
                    found.append((*self.pair(a, b), is_one))
                    if len(found) % _WRITTEN_AT_ONCE == 0:
                        enter_looks(self._catalog, scene_method(), found[-_WRITTEN_AT_ONCE:])
        if rest := len(found) % _WRITTEN_AT_ONCE:
            enter_looks(self._catalog, scene_method(), found[-rest:])
        self.known |= {(first, second): is_one for first, second, is_one in found}
        return {pair for a, b in places if self.known.get(pair := self.pair(a, b))}


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
