"""Which pictures each arm of an ablation learns from, and how: with a step, and without it."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from curate.cleaning.audit_scores import REMOVABLE
from curate.quality import CHECKS
from curate.removals import Removals
from curate.searched import Searched
from train.ablating.decisions import SuspectDecision
from train.ablating.pool import LearningPool

FEWEST = 5
"""Pictures that a source or a query has given to be measured."""

MOST = 30
"""Sources, and queries, that are measured: those that gave most."""


ArmKey = tuple[bytes, bytes, float, int]
"""What tells one arm from another."""


@dataclass(frozen=True, eq=False)
class Arm:
    """What one classifier learns from: positions in the pool, (n,), in ascending order, and the class index of each."""

    positions: NDArray[np.int64]
    targets: NDArray[np.int64]
    balance: float
    views: int

    @property
    def key(self) -> ArmKey:
        """The same for two arms that learn the same."""
        return self.positions.tobytes(), self.targets.tobytes(), self.balance, self.views


@dataclass(frozen=True, eq=False)
class ArmPair:
    """A step, what of it, how many pictures the arms differ by, and the two arms.

    `set_aside` of the pictures lie in the quarantine.
    """

    step: str
    what: str
    pictures: int
    with_step: Arm
    without_step: Arm
    remark: str = ""
    set_aside: int = 0


@dataclass(frozen=True, eq=False)
class ArmsDrawn:
    """What is to be compared, and why some steps are not."""

    comparisons: list[ArmPair]
    skipped: list[str]


def draw_arms(
    pool: LearningPool,
    labels: Sequence[str],
    removals: Removals,
    searched: Searched,
    decisions: Sequence[SuspectDecision] | None,
    *,
    steps: Collection[str],
    balance: float,
    views: int,
) -> ArmsDrawn:
    """The arms of the steps that are asked for.

    The baseline is train as it lies on the disk. A cleaning step, what it would still take, is measured by the baseline
    less these pictures; what it has taken, by the baseline and those pictures, with their old labels; where it has
    done one part and not the other, by both. A source or a query is measured by the baseline less its pictures; balance
    by the sampler off, and views by the clean view alone. `decisions` are those of an audit, None where there is none.
    """
    drawing = _Drawing(pool, labels, balance, views)
    made: list[ArmPair] = []
    for step, draw in _drawers(drawing, removals, searched, decisions).items():
        if step in steps:
            found = list(draw())
            made += found
            if not found and not any(sentence.startswith(f"{step}: ") for sentence in drawing.skipped):
                drawing.skipped.append(f"{step}: {_NOTHING[step]}")
    return ArmsDrawn(made, drawing.skipped)


_NOTHING = {
    "duplicates": "none lie in train, and none were set aside",
    "leaks": "none lie in train, and none were set aside",
    "conflicts": "none lie in train, and none were set aside",
    "flags": "no picture of train bears one, and none was set aside for one",
    "plan": "nothing was set aside for a reason of your own",
    "audit": "it suspects no picture of train",
    "cleaning": "nothing leaves train, or has left it",
    "sources": f"no picture of train is credited to one that gave {FEWEST} or more",
    "queries": f"no picture of train is known to come from one that gave {FEWEST} or more",
    "balance": "all classes have the same number of training pictures, so it changes none's share",
    "views": "the recipe takes one view, so there is nothing to leave out (--views asks for more)",
}


def _drawers(
    drawing: "_Drawing", removals: Removals, searched: Searched, decisions: Sequence[SuspectDecision] | None
) -> dict[str, Callable[[], Iterator[ArmPair]]]:
    plain = {"duplicates": "duplicate", "leaks": "leak", "conflicts": "conflict"}
    reasons = {step: (reason,) for step, reason in plain.items()}
    flags = [check.flag for check in CHECKS]
    own = sorted(set(drawing.pool.aside) - {"", *plain.values(), *flags, *REMOVABLE})

    def cleaning(step: str) -> Iterator[ArmPair]:
        planned = {path for path, reason in removals.planned.items() if reason in reasons[step]}
        yield from drawing.cleaned(
            step, step, planned, reasons[step], _leaks_remark(removals) if step == "leaks" else ""
        )

    def flagged() -> Iterator[ArmPair]:
        for flag in flags:
            yield from drawing.cleaned("flags", flag, removals.flagged.get(flag, frozenset()), (flag,))

    def everything() -> Iterator[ArmPair]:
        leaks = "leak" in {*removals.planned.values(), *drawing.pool.aside}
        yield from drawing.cleaned(
            "cleaning", "all that clean takes", set(removals.planned), tuple(plain.values()),
            _leaks_remark(removals) if leaks else "",
        )  # fmt: skip

    return {
        **{step: partial(cleaning, step) for step in plain},
        "flags": flagged,
        "plan": lambda: (found for reason in own for found in drawing.cleaned("plan", reason, (), (reason,))),
        "audit": lambda: drawing.audited(decisions, removals),
        "cleaning": everything,
        "sources": lambda: drawing.sources(searched),
        "queries": lambda: drawing.queries(searched),
        "balance": drawing.balanced,
        "views": drawing.viewed,
    }


def _leaks_remark(removals: Removals) -> str:
    lost = removals.valid_leaks
    more = f"; valid would lose {lost:,} as well, and keeps them here" if lost else ""
    return f"valid holds their copies, so a fall is flattery that ends before it is a loss{more}"


class _Drawing:
    """The baseline, and what may be made of it."""

    def __init__(self, pool: LearningPool, labels: Sequence[str], balance: float, views: int) -> None:
        self.pool, self.labels = pool, labels
        present = pool.present
        self.baseline = Arm(present, pool.targets[present], balance, views)
        self.skipped: list[str] = []

    def cleaned(
        self, step: str, what: str, planned: Collection[str], reasons: Collection[str], remark: str = ""
    ) -> Iterator[ArmPair]:
        """With: the baseline less `planned` (paths). Without: the baseline and what was set aside for `reasons`."""
        taken = {at for at in self.baseline.positions.tolist() if self.pool.paths[at] in planned}
        back = [at for at, reason in enumerate(self.pool.aside) if reason in reasons]
        if taken or back:
            pair = ArmPair(step, what, len(taken) + len(back), self._less(taken), self._and(back), remark, len(back))
            yield from self._measurable(pair)

    def audited(self, decisions: Sequence[SuspectDecision] | None, removals: Removals) -> Iterator[ArmPair]:
        """With: suspects gone or under the class that is proposed. Without: all as before the audit."""
        before = self._before_relabelling(removals)
        back = [at for at, reason in enumerate(self.pool.aside) if reason in REMOVABLE]
        taken, relabelled = self._decided(decisions or ())
        parts = (
            (len(taken), "would leave"), (len(relabelled), "would change their class"),
            (len(back), "were set aside"), (len(before), "have changed their class"),
        )  # fmt: skip
        if decisions is None and not (back or before):
            self.skipped.append("audit: there is no audit.jsonl beside the catalog, and no --audit FILE")
        elif any(count for count, _ in parts):
            pair = ArmPair(
                "audit", "audit", sum(count for count, _ in parts), self._less(taken, relabelled),
                self._and(back, before), ", ".join(f"{count:,} {how}" for count, how in parts if count), len(back),
            )  # fmt: skip
            yield from self._measurable(pair)

    def sources(self, searched: Searched) -> Iterator[ArmPair]:
        """Without: the baseline less all pictures of one source."""
        found = [searched.sources.get(sha256) for sha256 in self.pool.sha256]
        yield from self._without_each("sources", found)

    def queries(self, searched: Searched) -> Iterator[ArmPair]:
        """Without: the baseline less all pictures of one query of one source."""
        of = [searched.queries.get(sha256) for sha256 in self.pool.sha256]
        yield from self._without_each("queries", [one and f"{one.source}: {one.text}" for one in of])

    def balanced(self) -> Iterator[ArmPair]:
        """With: classes balanced as the recipe has it, or wholly where it does not. Without: as they come."""
        if len(set(np.bincount(self.baseline.targets).tolist())) > 1:
            on = replace(self.baseline, balance=self.baseline.balance or 1.0)
            yield ArmPair("balance", f"balance {on.balance:g}", 0, on, replace(self.baseline, balance=0.0))

    def viewed(self) -> Iterator[ArmPair]:
        """With: the recipe's views. Without: the clean one alone."""
        if self.baseline.views > 1:
            yield ArmPair("views", f"{self.baseline.views} views", 0, self.baseline, replace(self.baseline, views=1))

    def _without_each(self, step: str, found: Sequence[str | None]) -> Iterator[ArmPair]:
        members = defaultdict[str, set[int]](set)
        for at in self.baseline.positions.tolist():
            if name := found[at]:
                members[name].add(at)
        large = sorted(
            (one for one in members if len(members[one]) >= FEWEST), key=lambda one: (-len(members[one]), one)
        )
        if len(large) > MOST:
            self.skipped.append(f"{step}: {len(large) - MOST:,} smaller ones than the {MOST} that gave most")
        for name in large[:MOST]:
            pair = ArmPair(step, name, len(members[name]), self.baseline, self._less(members[name]))
            yield from self._measurable(pair)

    def _decided(self, decisions: Sequence[SuspectDecision]) -> tuple[set[int], dict[int, int]]:
        """Positions that leave, and those that get another class, with its index. A file that has changed stays."""
        index = {label: number for number, label in enumerate(self.labels)}
        by_path = {one.path: one for one in decisions}
        # A picture below raw/ stands for the copy of it that was placed in train
        by_content = {one.sha256: one for one in decisions if one.sha256 and one.split is None}
        taken, relabelled = set[int](), dict[int, int]()
        for at in self.baseline.positions.tolist():
            sha256 = self.pool.sha256[at]
            one = by_path.get(self.pool.paths[at]) or by_content.get(sha256)
            if one is None or one.sha256 not in ("", sha256):
                continue
            if one.proposed is None:
                taken.add(at)
            elif one.proposed in index and index[one.proposed] != self.pool.targets[at]:
                relabelled[at] = index[one.proposed]
        return taken, relabelled

    def _before_relabelling(self, removals: Removals) -> dict[int, int]:
        """Positions of pictures that an audit has moved to another class, with the index of the class before."""
        index = {label: number for number, label in enumerate(self.labels)}
        found = {}
        for at in self.baseline.positions.tolist():
            now = self.labels[int(self.pool.targets[at])]
            before, reason = removals.relabelled.get((self.pool.sha256[at], now), ("", ""))
            if reason in REMOVABLE and before in index:
                found[at] = index[before]
        return found

    def _less(self, taken: Collection[int], relabelled: dict[int, int] | None = None) -> Arm:
        positions = np.array([at for at in self.baseline.positions.tolist() if at not in taken], dtype=np.int64)
        return self._arm(positions, relabelled or {})

    def _and(self, back: Sequence[int], relabelled: dict[int, int] | None = None) -> Arm:
        return self._arm(np.union1d(self.baseline.positions, np.array(back, dtype=np.int64)), relabelled or {})

    def _arm(self, positions: NDArray[np.int64], relabelled: dict[int, int]) -> Arm:
        targets = np.array([relabelled.get(at, int(self.pool.targets[at])) for at in positions.tolist()], np.int64)
        return replace(self.baseline, positions=positions, targets=targets)

    def _measurable(self, pair: ArmPair) -> Iterator[ArmPair]:
        """The pair, unless an arm would have nothing to learn a class from."""
        for arm in (pair.with_step, pair.without_step):
            there = set(np.unique(arm.targets).tolist())
            lost = [label for at, label in enumerate(self.labels) if at not in there]
            if lost:
                more = f" and of {len(lost) - 1:,} more" if len(lost) > 1 else ""
                self.skipped.append(
                    f"{pair.step}: {pair.what} is all that train has of {lost[0]!r}{more}, so nothing can be said "
                    "without it"
                )
                return
        yield pair
