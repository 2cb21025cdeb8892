"""A split that cannot leak, and does not move.

What is assigned is not the picture but the group: near-duplicates joined with pictures of one provenance (one
iNaturalist observation, one source page). Groups are drawn in an order that depends on their content and the seed
alone, and a picture that was once assigned keeps its split.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from curate.catalog import Catalog, Picture
from curate.clean import part_placements
from curate.dataset import SPLITS, natural_key, open_dataset
from curate.duplicates import DEFAULT_RADIUS, NearDuplicates, find_near_duplicates
from curate.errors import UserError
from curate.inspect import scan
from curate.placing import Mode, Placement, place
from curate.progress import Progress, silent
from curate.quarantine import finish_moves

Ratio = tuple[float, float, float]

DEFAULT_RATIO: Ratio = (0.8, 0.1, 0.1)
DEFAULT_SEED = 1337

_MOST_BOUND = 50
"""Pictures that the pixels tell apart stay together all the same while their hashes are near, up to groups of this
size: then no pair within the radius crosses at all. Without the bound, chance pairs among millions would chain up.
"""


@dataclass(frozen=True)
class Proof:
    """Pairs across the splits within the radius. `near_duplicates` is 0, but for those that a dataset arrived with;
    `told_apart` counts pairs whose hashes are near while their pixels differ.
    """

    near_duplicates: int
    told_apart: int
    provenance: int
    pictures: int


@dataclass(frozen=True)
class HeldBack:
    """A picture that was put in no split, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class SplitReport:
    """`counts[label][split]`; `new` pictures were assigned in this run, `kept` had their split already."""

    out: Path
    counts: dict[str, dict[str, int]]
    new: int
    kept: int
    held_back: list[HeldBack]
    broken: list[str]
    proof: Proof
    placement: Placement | None


@dataclass
class _Group:
    """Positions of pictures that must not part; `key` depends on their content alone."""

    members: list[int]
    key: str
    fixed: set[str] = field(default_factory=set)


def split(
    root: Path,
    *,
    out: Path | None = None,
    ratio: Ratio = DEFAULT_RATIO,
    seed: int = DEFAULT_SEED,
    freeze: Iterable[str] | None = None,
    radius: int = DEFAULT_RADIUS,
    mode: Mode = "link",
    dry_run: bool = False,
    progress: Progress = silent,
) -> SplitReport:
    """Split a dataset into `<out>/train`, `valid` and `test`, by hard link where the file system allows it.

    Pictures that arrived in a split folder stay in it. A frozen split takes nothing new; where `freeze` is not
    given, valid and test of a dataset that arrived with them are frozen. `out` is the dataset itself by default,
    or for a flat one the folder `<name>_split` beside it. Raises `UserError` for what the user can put right.
    """
    _check_ratio(ratio)
    dataset = open_dataset(root)
    out = out or (root if dataset.layout != "flat" else root.resolve().with_name(f"{root.resolve().name}_split"))
    with Catalog.open(dataset.catalog_path) as catalog:
        finish_moves(dataset, catalog)
        scan(dataset, catalog, progress)
        sources, _ = part_placements(catalog.pictures())
        pictures = [picture for picture in sources if not picture.broken]
        if not pictures:
            raise UserError(f"{root} holds no intact picture: add pictures, or look at `clean {root} --dry-run`.")
        found = find_near_duplicates(dataset.root, pictures, radius, progress)
        provenance = _by_provenance(pictures, catalog.provenance_groups())
        scheme = f"seed {seed}, ratio {'/'.join(f'{share:g}' for share in ratio)}"
        remembered = _remembered(catalog, scheme, pictures)
        frozen = _frozen(freeze, pictures)
        groups = _groups(pictures, found, provenance, remembered)
        assigned, held_back = assign(pictures, groups, remembered, ratio, seed, frozen)
        proof = prove(found, provenance, assigned)
        placement = None
        if not dry_run:
            _remember(catalog, scheme, pictures, assigned)
            placement = place(dataset, catalog, out, {pictures[at]: to for at, to in assigned.items()}, mode, progress)
    return SplitReport(
        out=out,
        counts=_counts(pictures, assigned),
        new=len(assigned.keys() - remembered.keys()),
        kept=len(assigned.keys() & remembered.keys()),
        held_back=[HeldBack(pictures[at].path, reason) for at, reason in sorted(held_back.items())],
        broken=[picture.path for picture in sources if picture.broken],
        proof=proof,
        placement=placement,
    )


def assign(
    pictures: Sequence[Picture],
    groups: Sequence[_Group],
    remembered: Mapping[int, str],
    ratio: Ratio,
    seed: int,
    frozen: frozenset[str],
) -> tuple[dict[int, str], dict[int, str]]:
    """Give every group a split: (position → split, position → why it is held back).

    Each label's pictures are counted against its quota; the quotas of valid and test are filled first, by the
    groups that come first in the seed's order, and the rest is train.
    """
    assigned = dict(remembered)
    held_back: dict[int, str] = {}
    quotas = _Quotas(pictures, assigned, ratio, frozen)
    free = []
    for group in sorted(groups, key=lambda group: _draw(seed, group.key)):
        new = [at for at in group.members if at not in remembered]
        if not new:
            continue
        if len(group.fixed) > 1:
            held_back |= dict.fromkeys(new, f"it joins pictures of {' and '.join(sorted(group.fixed))}")
        elif group.fixed & frozen:
            held_back |= dict.fromkeys(
                new, f"it belongs together with a picture in {min(group.fixed)}, which is frozen"
            )
        elif group.fixed:
            assigned |= dict.fromkeys(new, min(group.fixed))
        else:
            to = quotas.draw(group)
            assigned |= dict.fromkeys(new, to)
            free.append(group)
    _fill_empty(pictures, assigned, free, quotas)
    return assigned, held_back


def prove(found: NearDuplicates, provenance: Sequence[Sequence[int]], assigned: Mapping[int, str]) -> Proof:
    """Count the pairs that cross splits: of equal content, of near hashes, of one provenance."""
    places = [Counter(assigned[at] for at in positions if at in assigned) for positions in found.contents]
    near = sum(_crossing(place, place) // 2 for place in places)
    near += sum(_crossing(places[first], places[second]) for first, second, _ in found.verified())
    told_apart = sum(_crossing(places[first], places[second]) for first, second in found.told_apart())
    of_one = [Counter(assigned[at] for at in positions if at in assigned) for positions in provenance]
    return Proof(near, told_apart, sum(_crossing(place, place) // 2 for place in of_one), len(assigned))


def _crossing(some: Counter[str], others: Counter[str]) -> int:
    return sum(n * m for split_a, n in some.items() for split_b, m in others.items() if split_a != split_b)


class _Quotas:
    """How many pictures of each label each split still wants."""

    def __init__(
        self, pictures: Sequence[Picture], assigned: Mapping[int, str], ratio: Ratio, frozen: frozenset[str]
    ) -> None:
        self.pictures = pictures
        self.open = [split for split in ("test", "valid") if split not in frozen and ratio[SPLITS.index(split)] > 0]
        totals = Counter(picture.label for picture in pictures)
        have = Counter((pictures[at].label, split) for at, split in assigned.items())
        self.left = {
            (label, split): quota - have[label, split]
            for label, total in totals.items()
            for split, quota in zip(SPLITS, _quota(total, ratio), strict=True)
        }

    def draw(self, group: _Group) -> str:
        """Take the first split that has room for the whole group under each of its labels."""
        wanted = Counter(self.pictures[at].label for at in group.members)
        for split in self.open:
            if all(self.left[label, split] >= count for label, count in wanted.items()):
                for label, count in wanted.items():
                    self.left[label, split] -= count
                return split
        return "train"


def _quota(total: int, ratio: Ratio) -> tuple[int, int, int]:
    """Pictures of one label for train, valid and test: by ratio, but none empty where there are enough."""
    if total < 3:
        return (1, total - 1, 0) if ratio[1] > 0 else (1, 0, total - 1)
    valid, test = (max(1, int(total * share + 0.5)) if share > 0 else 0 for share in ratio[1:])
    while valid + test > total - 1 and ratio[0] > 0:
        valid, test = (valid - 1, test) if valid >= test else (valid, test - 1)
    return total - valid - test, valid, test


def _fill_empty(pictures: Sequence[Picture], assigned: dict[int, str], free: Sequence[_Group], quotas: _Quotas) -> None:
    """Give a label's empty split the smallest group that train can spare, where large groups left it empty."""
    counts = Counter((pictures[at].label, to) for at, to in assigned.items())
    movable: dict[str, list[_Group]] = defaultdict(list)
    for group in free:
        labels = {pictures[at].label for at in group.members}
        if len(labels) == 1 and assigned[group.members[0]] == "train":
            movable[labels.pop()].append(group)
    for label, groups in movable.items():
        groups.sort(key=lambda group: len(group.members), reverse=True)  # stable: among equals, the seed's order
        for split in quotas.open:
            wanted = counts[label, split] == 0 and quotas.left[label, split] > 0
            if wanted and groups and counts[label, "train"] > len(groups[-1].members):
                group = groups.pop()
                assigned.update(dict.fromkeys(group.members, split))
                counts[label, split] += len(group.members)
                counts[label, "train"] -= len(group.members)


def _groups(
    pictures: Sequence[Picture],
    found: NearDuplicates,
    provenance: Sequence[Sequence[int]],
    remembered: Mapping[int, str],
) -> list[_Group]:
    forest = _Forest(len(pictures))
    for positions in [*found.contents, *provenance]:
        for other in positions[1:]:
            forest.join(positions[0], other)
    first_of = [positions[0] for positions in found.contents]
    for first, second, _ in found.verified():
        forest.join(first_of[first], first_of[second])
    fixed: dict[int, set[str]] = defaultdict(set)
    for at, to in remembered.items():
        fixed[forest.root(at)].add(to)
    strangers = [(first_of[first], first_of[second]) for first, second in found.told_apart()]
    for a, b in sorted(strangers, key=lambda pair: sorted(pictures[at].sha256 for at in pair)):
        tree_a, tree_b = forest.root(a), forest.root(b)
        together = fixed[tree_a] | fixed[tree_b]
        if forest.size[tree_a] + forest.size[tree_b] <= _MOST_BOUND and len(together) <= 1:
            forest.join(a, b)
            fixed[forest.root(a)] = together
    members: dict[int, list[int]] = defaultdict(list)
    for at in range(len(pictures)):
        members[forest.root(at)].append(at)
    return [
        _Group(group, min(pictures[at].sha256 for at in group), {remembered[at] for at in group if at in remembered})
        for group in members.values()
    ]


class _Forest:
    """Disjoint sets of positions, by union of size with path halving (Tarjan 1975)."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))
        self.size = [1] * count

    def root(self, at: int) -> int:
        while self.parent[at] != at:
            self.parent[at] = at = self.parent[self.parent[at]]
        return at

    def join(self, a: int, b: int) -> None:
        a, b = self.root(a), self.root(b)
        if a == b:
            return
        if self.size[a] < self.size[b]:
            a, b = b, a
        self.parent[b] = a
        self.size[a] += self.size[b]


def _by_provenance(pictures: Sequence[Picture], groups: Mapping[str, str]) -> list[list[int]]:
    members: dict[str, list[int]] = defaultdict(list)
    for at, picture in enumerate(pictures):
        if group := groups.get(picture.sha256):
            members[group].append(at)
    return [positions for positions in members.values() if len(positions) > 1]


def _draw(seed: int, key: str) -> bytes:
    """A group's place in the seed's order: uniform, and a function of seed and content only."""
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()


def _remembered(catalog: Catalog, scheme: str, pictures: Sequence[Picture]) -> dict[int, str]:
    """Position → split of the pictures that have one: by the folder they arrived in, or by an earlier run."""
    rows = catalog.db.execute("SELECT sha256, label, split FROM assignments WHERE scheme = ?", (scheme,))
    earlier = {(sha256, label): to for sha256, label, to in rows}
    remembered = {}
    for at, picture in enumerate(pictures):
        to = picture.split or earlier.get((picture.sha256, picture.label))
        if to:
            remembered[at] = to
    return remembered


def _remember(catalog: Catalog, scheme: str, pictures: Sequence[Picture], assigned: Mapping[int, str]) -> None:
    rows = [
        (scheme, pictures[at].sha256, pictures[at].label, to) for at, to in assigned.items() if not pictures[at].split
    ]
    with catalog.transaction() as db:
        db.executemany("INSERT OR REPLACE INTO assignments VALUES (?, ?, ?, ?)", rows)


def _frozen(freeze: Iterable[str] | None, pictures: Sequence[Picture]) -> frozenset[str]:
    if freeze is None:
        return frozenset({picture.split for picture in pictures} & {"valid", "test"})
    frozen = frozenset(freeze)
    if unknown := frozen - {"valid", "test"}:
        raise UserError(f"{min(unknown)} cannot be frozen: give valid, test, or both.")
    return frozen


def _check_ratio(ratio: Ratio) -> None:
    if len(ratio) != 3 or min(ratio) < 0 or ratio[0] <= 0 or abs(sum(ratio) - 1) > 1e-6:
        raise UserError(
            f"The ratio {','.join(f'{share:g}' for share in ratio)} is no split: give three shares for train, valid "
            "and test that add up to 1, such as .8,.1,.1."
        )


def _counts(pictures: Sequence[Picture], assigned: Mapping[int, str]) -> dict[str, dict[str, int]]:
    labels = sorted({picture.label for picture in pictures}, key=natural_key)
    counts = {label: dict.fromkeys(SPLITS, 0) for label in labels}
    for at, to in assigned.items():
        counts[pictures[at].label][to] += 1
    return counts
