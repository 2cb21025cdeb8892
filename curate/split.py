"""A split that cannot leak, and does not move.

What is assigned is not the picture but the group: near-duplicates joined with pictures of one provenance (one
iNaturalist observation, one source page), with other shots of one scene that features propose, and with those of one
group that the user gives. Groups are drawn in an order
that depends on their content and the seed alone, and a picture that was once assigned keeps its split.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from curate.catalog import Catalog
from curate.catalog.assignments import Assignment, assignments_of, enter_assignments
from curate.catalog.placements import enter_placed
from curate.dataset import SPLITS, UNLABELLED, Dataset, open_dataset, open_to_write, still_there
from curate.defaults import (
    DEFAULT_BIND,
    DEFAULT_METHOD,
    DEFAULT_MIN_PER_CLASS,
    DEFAULT_MODE,
    DEFAULT_RADIUS,
    DEFAULT_RATIO,
    DEFAULT_SEED,
    MOST_SEED,
    Bind,
    Method,
    Mode,
    require_radius,
)
from curate.errors import UserError
from curate.extras import require_extra
from curate.files.addresses import located
from curate.files.atomic import remove_abandoned
from curate.files.lock import locked
from curate.lookalikes.cached_search import find_neighbours
from curate.not_copies import neighbours_apart, read_not_copies
from curate.progress import Progress, silent
from curate.quarantine import finish_moves
from curate.scan import scan
from curate.shell import command_line
from curate.splitting.assignment import Draw, Ratio, Rules, Splits, assign
from curate.splitting.bonds import Bonds, read_bonds, write_bonds
from curate.splitting.carving import frozen_by_arrival, held_out_alone, kept_in_train, lacking_splits, opened
from curate.splitting.group_by import group_pictures, scheme_of, subfolders_of
from curate.splitting.grouping import Links, Proof, links_of, prove
from curate.splitting.materialize import Adopted, Placement, adopt, check_output, materialize
from curate.splitting.picture_table import NOWHERE, PictureTable, place_name, read_picture_table
from curate.splitting.scenes import Alike, FindAlike, find_scenes
from curate.splitting.stratified_draw import draw_stable
from curate.splitting.undivided import Undivided, find_undivided
from curate.splitting.unfinished import begin, finish

__all__ = ["HeldBack", "Placement", "Proof", "Ratio", "SplitReport", "Undivided", "split"]


@dataclass(frozen=True)
class HeldBack:
    """A picture that was put in no split, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class SplitReport:
    """`counts[label][split]`; `new` pictures were assigned in this run, `kept` had their split already.

    `frozen` are the splits that took nothing new, `too_small` the labels that valid or test has too few of, but for
    the `undivided` ones, whose pictures belong together; `orphaned` the placed copies whose originals are gone: they
    are pictures now, for nothing else has their bytes. `unreadable` are files that may be whole, and that nothing here
    reads; `companions` counts the files that belong to a picture of the dataset. `bind` and `group_by` are as `split`
    was told; `ungrouped` are the pictures that `group_by` puts in no group, and `grouped_before` is what an earlier
    split in this place was grouped by, if this one has none. `subfolders` of the class folders are kept together by
    nothing. `carved` are the splits that were taken out of the train that arrived; `unlabelled` counts the pictures
    that lie in a split's folder without a label, and `unlabelled_copies` are those of them (second) that are labelled
    pictures (first) once more. `network` is whose features were asked for shots of one scene, "" where none were, and
    `featured` how many contents have features of it, of how many.
    """

    out: Path
    counts: dict[str, dict[str, int]]
    new: int
    kept: int
    held_back: list[HeldBack]
    broken: list[str]
    orphaned: list[str]
    frozen: tuple[str, ...]
    too_small: list[str]
    proof: Proof
    placement: Placement | None
    unreadable: list[str] = field(default_factory=list)
    companions: int = 0
    undivided: list[Undivided] = field(default_factory=list)
    bind: Bind = DEFAULT_BIND
    group_by: str = ""
    ungrouped: list[str] = field(default_factory=list)
    grouped_before: str = ""
    subfolders: int = 0
    carved: tuple[str, ...] = ()
    unlabelled: int = 0
    unlabelled_copies: list[tuple[str, str]] = field(default_factory=list)
    network: str = ""
    featured: tuple[int, int] = (0, 0)


def split(
    root: Path,
    *,
    out: Path | None = None,
    ratio: Ratio = DEFAULT_RATIO,
    seed: int = DEFAULT_SEED,
    freeze: Iterable[str] | None = None,
    min_per_class: int = DEFAULT_MIN_PER_CLASS,
    method: Method = DEFAULT_METHOD,
    radius: int = DEFAULT_RADIUS,
    bind: Bind = DEFAULT_BIND,
    group_by: str | None = None,
    mode: Mode = DEFAULT_MODE,
    alike: FindAlike | None = None,
    dry_run: bool = False,
    wait: float | None = 0.0,
    progress: Progress = silent,
) -> SplitReport:
    """Split a dataset into `<out>/train`, `valid` and `test`, by hard link where the file system allows it.

    Pictures that arrived in a split folder stay in it. A frozen split takes nothing new; where `freeze` is not
    given, those are frozen that arrived, and test with a valid. What a dataset lacks that arrived with train is carved
    out of that. `out` is the dataset itself by default, or the folder `<name>_split` beside it for a flat one, and
    where pictures that arrived in train go to another split. Valid and test get `min_per_class` pictures of each label,
    or a third of those of a small one.

    What is kept together: copies and, but for `bind="copies"`, near pictures, all within `radius` bits of pHash;
    shots of one scene, with these; pictures of one origin; and those of one group by `group_by`, which is "parent", a
    regular expression or a table, as `curate.splitting.group_by` reads them. Which pictures may show one scene is asked
    of `alike`; what their pixels confirm is remembered, and binds what has no split yet in all later splits.

    `wait` is how long to wait for another command that is at work in the dataset, in seconds; None for as long as it
    takes. Safe to stop at any instant: the same command then finishes the same split, and until it has, `train` refuses
    it. Of a dataset whose files stay as they lie, a manifest says the split, and `out` is where that is written once
    more.
    Raises `UserError` for what the user can put right.
    """
    _check(ratio, min_per_class, seed, method, mode)
    _check_bonds(radius, bind, group_by)
    if method == "split-folders":
        require_extra("splitfolders", "The method 'split-folders' needs", "split-folders", "split-folders")
    freeze = freeze if freeze is None else tuple(freeze)
    options = _Options(ratio, seed, freeze, min_per_class, method, radius, bind, group_by, mode, alike)
    if dry_run:
        dataset = open_dataset(root)
        out = _wanted_output(dataset, out)
        with still_there(root), Catalog.open(dataset.catalog_path) as catalog:
            drawn = _draw_up(dataset, catalog, out, options, progress)
            return _report(options, drawn, prove(drawn.table, drawn.links, drawn.assigned), None)
    with open_to_write(root, "split", wait=wait, progress=progress) as dataset:
        command = options.command(root, out)
        also, out = out, _wanted_output(dataset, out)
        with Catalog.open(dataset.catalog_path) as catalog:
            finish_moves(dataset, catalog)
            drawn = _draw_up(dataset, catalog, out, options, progress)
            if dataset.is_fixed:
                _write_down(dataset, catalog, also, options, drawn)
                return _report(options, drawn, prove(drawn.table, drawn.links, drawn.assigned), None)
            out = drawn.out
            # Another dataset's split may be on its way to the same place.
            with locked(out, command, wait=wait, progress=progress):
                remove_abandoned(out)
                drawn = replace(drawn, adopted=adopt(dataset, catalog, out, drawn.table))
                begin(out, catalog.identity(), command, dataset.root)
                write_bonds(out, drawn.bonds)
                _remember(dataset, catalog, out, options, drawn)
                placement, there = materialize(dataset, catalog, out, drawn.table, drawn.assigned, mode, progress)
                finish(out)
            proof = prove(drawn.table, drawn.links, there.split, there.at)
            return _report(options, drawn, proof, placement)


@dataclass(frozen=True)
class _Options:
    """How a split is drawn and placed."""

    ratio: Ratio
    seed: int
    freeze: tuple[str, ...] | None
    min_per_class: int
    method: Method
    radius: int
    bind: Bind
    group_by: str | None
    mode: Mode
    alike: FindAlike | None

    @property
    def scheme(self) -> str:
        """What the catalog remembers assignments under."""
        scheme = f"seed {self.seed}, ratio {'/'.join(f'{share:g}' for share in self.ratio)}"
        scheme += f", bind {self.bind}" if self.bind != DEFAULT_BIND else ""
        return scheme + (f", group by {scheme_of(self.group_by)}" if self.group_by else "")

    def command(self, root: Path, out: Path | None) -> str:
        """The command that makes this very split."""
        words: list[object] = ["split", root]
        words += ["--out", out] if out else []
        words += ["--ratio", ",".join(f"{share:g}" for share in self.ratio)] if self.ratio != DEFAULT_RATIO else []
        words += ["--seed", str(self.seed)] if self.seed != DEFAULT_SEED else []
        words += ["--freeze", ",".join(self.freeze)] if self.freeze is not None else []
        words += ["--min-per-class", str(self.min_per_class)] if self.min_per_class != DEFAULT_MIN_PER_CLASS else []
        words += ["--method", self.method] if self.method != DEFAULT_METHOD else []
        words += ["--radius", str(self.radius)] if self.radius != DEFAULT_RADIUS else []
        words += ["--bind", self.bind] if self.bind != DEFAULT_BIND else []
        words += ["--group-by", self.group_by] if self.group_by else []
        words += [f"--{self.mode}"] if self.mode != DEFAULT_MODE else []
        return command_line(*words)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A split before it is placed: what there is, what belongs together, and where each picture goes.

    `links` are all that there are, `bonds` what is bound besides pixels and credits, and `grouped_before` what the
    split in the same place was grouped by; `subfolders` as in the report, `asked` what features called alike. `had`
    bool[n] tells which pictures had their split before.
    """

    out: Path
    table: PictureTable
    links: Links
    bonds: Bonds
    ungrouped: list[str]
    grouped_before: str
    subfolders: int
    rules: Rules
    adopted: Adopted
    had: NDArray[np.bool_]
    assigned: Splits
    held_back: dict[int, str]
    companions: int
    carved: tuple[str, ...]
    asked: Alike | None


def _draw_up(dataset: Dataset, catalog: Catalog, out: Path | None, options: _Options, progress: Progress) -> _Drawn:
    scanned = scan(dataset, catalog, progress)
    table = read_picture_table(dataset, catalog)
    _check_table(dataset, table)
    groups = group_pictures(options.group_by, dataset, table)
    rules = Rules(options.ratio, options.seed, _frozen(options.freeze, table), options.min_per_class)
    lacking = lacking_splits(table, options.ratio, rules.frozen)
    beside = dataset.is_by_class or bool(lacking) or _would_mix(table, rules)
    out = out or check_output(dataset, _own_output(dataset, beside=beside))
    carves = bool(lacking) and out != dataset.root.resolve()
    free = np.zeros(len(table), dtype=np.bool_)
    if carves:
        table, free = opened(table)
    adopted = adopt(dataset, catalog, out, table)
    # The library remembers nothing, and draws anew what did not arrive in a split.
    stable = options.method == "stable"
    remembered = _remembered(catalog, options.scheme, table, adopted.splits) if stable else table.split
    told = read_not_copies(dataset).of(zip(table.paths, map(table.digest, range(len(table))), strict=True))
    neighbours = neighbours_apart(find_neighbours(dataset, catalog, table, options.radius, progress), told)
    recorded = read_bonds(out)
    asked = options.alike(table.sha256) if options.alike and options.bind == "near" else None
    scenes = find_scenes(dataset, catalog, table, asked, recorded.scene_pairs(), progress)
    links = links_of(table, catalog, neighbours, groups.links(table), scenes)
    assigned, held_back = assign(table, links.bound(options.bind), remembered, rules, _draw(options.method))
    held_back = kept_in_train(assigned, held_back, free)
    had = remembered != NOWHERE
    bound = [[bytes(sha256).decode() for sha256 in pair] for pair in table.sha256[links.bound(options.bind).scenes]]
    bonds = Bonds(options.bind, options.group_by or "", groups.digests(table), bound)
    before = "" if options.group_by else recorded.group_by
    subfolders = 0 if options.group_by else len({name for name in subfolders_of(dataset, table) if name})
    return _Drawn(
        out, table, links, bonds, groups.without(table), before, subfolders, rules, adopted, had, assigned, held_back,
        scanned.companions, tuple(SPLITS[split] for split in lacking) if carves else (), asked,
    )  # fmt: skip


def _write_down(dataset: Dataset, catalog: Catalog, also: Path | None, options: _Options, drawn: _Drawn) -> None:
    """Write the split as a manifest, here and where else it is wanted."""
    from curate.fixed.fixed_dataset import FixedDataset
    from curate.fixed.manifest import copy_manifest
    from curate.fixed.split_manifest import write_split

    assert isinstance(dataset, FixedDataset)
    write_bonds(dataset.home, drawn.bonds)
    _remember(dataset, catalog, drawn.out, options, drawn)
    write_split(dataset, drawn.table, drawn.assigned, drawn.held_back)
    if also is not None:
        copy_manifest(dataset.split_manifest, located(also))


def _wanted_output(dataset: Dataset, out: Path | None) -> Path | None:
    """Where a split is asked to go, checked; None for where it goes by itself.

    The manifest of one whose files stay as they lie is kept where its catalog is.
    """
    if dataset.is_fixed:
        return dataset.home
    return out and check_output(dataset, out)


def _remember(dataset: Dataset, catalog: Catalog, out: Path, options: _Options, drawn: _Drawn) -> None:
    """Put on record what is ours in the output, and where each picture goes, before any of it moves."""
    with catalog.transaction():
        enter_placed(catalog, place_name(dataset, out), drawn.adopted.files.items())
        if options.method == "stable":
            learnt = ~drawn.had | (drawn.adopted.splits != drawn.table.split)
            rows = _rows(drawn.table, np.where(learnt, drawn.assigned, np.int8(NOWHERE)))
            enter_assignments(catalog, options.scheme, rows)


def _report(options: _Options, drawn: _Drawn, proof: Proof, placement: Placement | None) -> SplitReport:
    table, assigned = drawn.table, drawn.assigned
    counts = _counts(table, assigned)
    short = _too_small(counts, options.ratio, options.min_per_class)
    enough = options.min_per_class * sum(share > 0 for share in options.ratio)
    undivided = list(find_undivided(table, drawn.links.bound(options.bind), short, enough))
    bound = {one.label for one in undivided}
    return SplitReport(
        out=drawn.out,
        counts=counts,
        new=int((~drawn.had & (assigned != NOWHERE)).sum()),
        kept=int((drawn.had & (assigned != NOWHERE)).sum()),
        held_back=[HeldBack(table.paths[at], reason) for at, reason in sorted(drawn.held_back.items())],
        broken=table.broken,
        orphaned=table.orphaned,
        frozen=tuple(SPLITS[number] for number in sorted(drawn.rules.frozen)),
        too_small=[label for label in short if label not in bound],
        proof=proof,
        placement=placement,
        unreadable=table.unreadable,
        companions=drawn.companions,
        undivided=undivided,
        bind=options.bind,
        group_by=options.group_by or "",
        ungrouped=drawn.ungrouped,
        grouped_before=drawn.grouped_before,
        subfolders=drawn.subfolders,
        carved=drawn.carved,
        unlabelled=int((~table.labelled).sum()),
        unlabelled_copies=list(_unlabelled_copies(table, drawn.links)),
        network=drawn.asked.network if drawn.asked else "",
        featured=(drawn.asked.known, len(table.sha256)) if drawn.asked else (0, 0),
    )


def _unlabelled_copies(table: PictureTable, links: Links) -> Iterator[tuple[str, str]]:
    """(labelled picture, the same without a label), one of each content."""
    labelled, unlabelled = dict[int, str](), dict[int, str]()
    for at, content in enumerate(table.content.tolist()):
        (unlabelled if table.is_unlabelled(at) else labelled).setdefault(content, table.paths[at])
    for content in labelled.keys() & unlabelled.keys():
        yield labelled[content], unlabelled[content]
    for a, b in links.copies.tolist() if unlabelled else ():
        for first, second in ((a, b), (b, a)):
            if first in labelled and second in unlabelled:
                yield labelled[first], unlabelled[second]


def _would_mix(table: PictureTable, rules: Rules) -> bool:
    """Whether pictures with labels would come to lie among those without, in a split's folder."""
    unlabelled = np.unique(table.split[~table.labelled]).tolist()
    to_assign = bool((table.split == NOWHERE).any())
    return to_assign and any(rules.ratio[split] and split not in rules.frozen for split in unlabelled)


def default_output(dataset: Dataset, *, beside: bool = False) -> Path:
    """Where a split goes: into the dataset itself; or `beside` it, and so for a flat one, whose own folders are the
    classes.
    """
    if dataset.layout != "flat" and not beside:
        return dataset.root
    root = dataset.root.resolve()
    return root.with_name(f"{root.name}_split")


def _own_output(dataset: Dataset, *, beside: bool) -> Path:
    """The default output. Raises `UserError` where it is a link: a dataset from elsewhere may bring one along."""
    out = default_output(dataset, beside=beside)
    if out != dataset.root and out.is_symlink():
        raise UserError(f"{out} is a link to {out.resolve()}: if the split is to go there, say so with --out.")
    return out


def _draw(method: Method) -> Draw:
    if method == "stable":
        return draw_stable
    from curate.splitting.split_folders import draw_with_split_folders

    return draw_with_split_folders


def _remembered(catalog: Catalog, scheme: str, table: PictureTable, adopted: Splits) -> Splits:
    """What was adopted, and what earlier runs of this scheme assigned."""
    codes = {label: code for code, label in enumerate(table.labels)}
    keys, place_of = np.unique(table.keys(), return_inverse=True)
    earlier = np.full(len(keys), NOWHERE, dtype=np.int8)
    for chunk in assignments_of(catalog, scheme):
        rows = [row for row in chunk if row[1] in codes]
        content, held = table.find(np.array([row[0] for row in rows], dtype="S64"))
        label = np.array([codes[row[1]] for row in rows], dtype=np.int64)
        to = np.array([SPLITS.index(row[2]) for row in rows], dtype=np.int8)
        key = (content * len(codes) + label)[held]
        place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        there = keys[place] == key
        earlier[place[there]] = to[held][there]
    return np.where(adopted != NOWHERE, adopted, earlier[place_of])


def _rows(table: PictureTable, assigned: Splits) -> Iterator[Assignment]:
    """What the catalog is to remember of pictures that were assigned."""
    for at in np.flatnonzero(assigned != NOWHERE).tolist():
        yield table.digest(at), table.labels[table.label[at]], SPLITS[assigned[at]]


def _frozen(freeze: Iterable[str] | None, table: PictureTable) -> frozenset[int]:
    if freeze is None:
        return frozenset(frozen_by_arrival(table))
    names = set(freeze)
    if unknown := names - {"valid", "test"}:
        raise UserError(f"{min(unknown)!r} cannot be frozen: give valid, test, or both.")
    return frozenset(SPLITS.index(name) for name in names)


def _check(ratio: Ratio, min_per_class: int, seed: int, method: str, mode: str) -> None:
    if not 0 <= seed <= MOST_SEED:
        raise UserError(f"The seed {seed} cannot be used: give a whole number from 0 to {MOST_SEED}.")
    if method not in get_args(Method):
        raise UserError(f"There is no method {method!r}: choose among {', '.join(get_args(Method))}.")
    if mode not in get_args(Mode):
        raise UserError(f"There is no mode {mode!r}: choose among {', '.join(get_args(Mode))}.")
    if isinstance(ratio, str):
        raise UserError(f"The ratio {ratio!r} is text: give three numbers, such as (.8, .1, .1).")
    # Written so that NaN fails as well.
    if len(ratio) != 3 or not (min(ratio) >= 0 and ratio[0] > 0 and abs(sum(ratio) - 1) <= 1e-6):
        raise UserError(
            f"The ratio {','.join(f'{share:g}' for share in ratio)} is no split: give three shares for train, valid "
            "and test that add up to 1, such as .8,.1,.1."
        )
    if min_per_class < 0:
        raise UserError(f"{min_per_class} is no number of pictures: give --min-per-class 0 or more.")


def _check_bonds(radius: int, bind: str, group_by: str | None) -> None:
    require_radius(radius)
    if bind not in get_args(Bind):
        raise UserError(f"{bind!r} cannot be bound: choose among {', '.join(get_args(Bind))}.")
    if group_by == "":
        raise UserError("--group-by is empty: give parent, a regular expression, or a table FILE.csv.")


def _check_table(dataset: Dataset, table: PictureTable) -> None:
    if not len(table):
        raise UserError(
            f"{dataset.root} holds no intact picture: add pictures, or look at "
            f"`{command_line('clean', dataset.root, '--dry-run')}`."
        )
    if alone := held_out_alone(dataset):
        raise UserError(alone)
    there = np.unique(table.label[table.labelled])
    if len(there) < 2:
        only = f", “{table.labels[there[0]]}”" if len(there) else ""
        raise UserError(
            f"{dataset.root} holds pictures of one class only{only}: a classifier needs two, so add a folder with "
            "pictures of another; or say where the labels stand, with --label-from name, parent or TABLE.csv."
        )


def _counts(table: PictureTable, assigned: Splits) -> dict[str, dict[str, int]]:
    placed = (assigned != NOWHERE) & table.labelled
    counts = np.zeros((len(table.labels), len(SPLITS)), dtype=np.int64)
    np.add.at(counts, (table.label[placed], assigned[placed]), 1)
    return {
        label: dict(zip(SPLITS, row, strict=True))
        for label, row in zip(table.labels, counts.tolist(), strict=True)
        if label != UNLABELLED
    }


def _too_small(counts: dict[str, dict[str, int]], ratio: Ratio, least: int) -> list[str]:
    """The labels of which valid or test, where either is wanted, has fewer pictures than it should."""
    wanted = [split for split, share in zip(SPLITS, ratio, strict=True) if share]
    return [label for label, count in counts.items() if any(count[split] < least for split in wanted)]
