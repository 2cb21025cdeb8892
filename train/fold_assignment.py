"""Folds within train: what `split` keeps together lies in one, and every class is spread over all of them."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Catalog
from curate.clean import catalog_to_look
from curate.dataset import Dataset
from curate.defaults import DEFAULT_RADIUS
from curate.errors import UserError
from curate.lookalikes.cached_search import find_neighbours
from curate.not_copies import neighbours_apart, read_not_copies
from curate.progress import Progress, silent
from curate.scan import scan
from curate.splitting.bonds import read_bonds
from curate.splitting.grouping import groups_of, links_of
from curate.splitting.picture_table import read_picture_table
from curate.splitting.scenes import find_scenes

NEVER = -1
"""The fold of pictures that are always learnt from: the only ones of their class, as far as groups can be told."""


def near_duplicate_groups(
    dataset: Dataset, progress: Progress = silent, catalog: Catalog | None = None
) -> tuple[dict[str, int], list[str]]:
    """Number of the group of each content (sha256) that belongs with others, and notes.

    What belongs together is what `split` keeps together: near-duplicates but for those that a person told apart, shots
    of one scene that it knew of, pictures of one origin, and the groups that it was given. `catalog` is the dataset's,
    if it is open already. Where that is of no use, these groups and equal bytes are known, and a note says so. Raises
    UserError for a record of groups that cannot be read.
    """
    bonds = read_bonds(dataset.split_home)
    try:
        with nullcontext(catalog) if catalog else catalog_to_look(dataset) as known:
            scan(dataset, known, progress)
            table = read_picture_table(dataset, known)
            neighbours = find_neighbours(dataset, known, table, DEFAULT_RADIUS, progress)
            told = read_not_copies(dataset).of(zip(table.paths, map(table.digest, range(len(table))), strict=True))
            neighbours = neighbours_apart(neighbours, told)
            scenes = find_scenes(dataset, known, table, None, bonds.scene_pairs())
            links = links_of(table, known, neighbours, bonds.links(table), scenes).bound(bonds.bind)
    except UserError as error:
        given = {sha256: number for number, group in enumerate(bonds.groups.values()) for sha256 in group}
        return given, [f"Near-duplicates may lie in different folds, because the catalog was of no use: {error}"]
    unassigned = np.zeros(len(table.sha256), dtype=np.uint8)
    return {
        bytes(table.sha256[content]).decode(): number
        for number, group in enumerate(groups_of(links, unassigned))
        for content in group.contents
    }, []


def assign_folds(
    sha256: Sequence[str], targets: NDArray[np.int64], groups: Mapping[str, int], *, folds: int, seed: int
) -> NDArray[np.int64]:
    """The fold of each picture, (N,): groups stay whole, every class is spread as evenly as they allow.

    Groups are dealt out largest first, then in an order that depends on their content and the seed alone, each to
    the fold that has least of its classes. Pictures whose class would be left without any to learn from get NEVER.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for position, sha in enumerate(sha256):
        members[f"group {groups[sha]}" if sha in groups else sha].append(position)
    keyed = [(-len(group), _draw(seed, min(sha256[at] for at in group)), group) for group in members.values()]
    counts: list[Counter[int]] = [Counter() for _ in range(folds)]
    fold = np.full(len(sha256), NEVER, dtype=np.int64)
    for _, key, group in sorted(keyed):
        classes = Counter(targets[group].tolist())
        turn = int.from_bytes(key[:4], "big") % folds
        best = min(
            range(folds),
            key=lambda one: (
                sum(counts[one][target] * n for target, n in classes.items()),
                counts[one].total(),
                (one - turn) % folds,
            ),
        )
        counts[best].update(classes)
        fold[group] = best
    total = Counter(targets.tolist())
    for group in members.values():
        own = fold[group[0]]
        if any(counts[own][int(targets[at])] == total[int(targets[at])] for at in group):
            fold[group] = NEVER
    return fold


def deal_out(targets: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each picture, (N,), where nothing is known of groups: each class in turn, in an order that is drawn.

    The only picture of its class gets NEVER.
    """
    drawn = np.random.default_rng(seed).permutation(len(targets))
    order = drawn[np.argsort(targets[drawn], kind="stable")]
    fold = np.empty(len(targets), dtype=np.int64)
    fold[order] = np.arange(len(targets)) % folds
    fold[np.bincount(targets)[targets] == 1] = NEVER
    return fold


def _draw(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()
