"""What an ablation found: a row for each step, the flattery of leaks, and all of it in plain types."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

STEPS: Final = (
    "duplicates", "leaks", "conflicts", "flags", "plan", "audit", "cleaning", "sources", "queries", "balance", "views",
    "flattery",
)  # fmt: skip
"""What can be asked for alone. "plan" are reasons of a user's own, "cleaning" all of the steps before it at once."""

CLEANING: Final = STEPS[:6]


@dataclass(frozen=True)
class MeanAccuracy:
    """Share right, 0 to 1, as the mean over seeds; `low` and `high` are Wilson's 95% interval on `n` pictures."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class PairedDifference:
    """Share right with minus share right without, -1 to 1, on the same pictures, and its 95% interval."""

    mean: float
    low: float
    high: float

    @property
    def is_told(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class AblationRow:
    """What one step bought, on valid or, where leaks are taken, on the rest of it that holds no copy of what leaves.

    `pictures` is how many the two arms differ by (0: none), `set_aside` how many of them lie in the quarantine now, and
    `remark` what else is to be known. `gain` is positive where the step helps.
    """

    step: str
    what: str
    pictures: int
    with_step: MeanAccuracy
    without_step: MeanAccuracy
    gain: PairedDifference
    remark: str = ""
    set_aside: int = 0

    @property
    def per_hundred(self) -> float | None:
        """Points of accuracy (a share, 0 to 1) for each hundred of the pictures that a source or a query gave."""
        return 100 * self.gain.mean / self.pictures if self.step in ("sources", "queries") and self.pictures else None


@dataclass(frozen=True)
class LeakFlattery:
    """Accuracy in cross-validation by folds that are drawn picture by picture, and by folds that part no group.

    Both are measured on the same `pictures`, of train and valid, among which there are `groups` of several that the
    first may part. `disputed` of these have pictures of two classes: there the first kind of folds is misled, and its
    figure may be the lower one.
    """

    naive: MeanAccuracy
    ours: MeanAccuracy
    gain: PairedDifference  # naive minus ours: how much too good the first figure is
    pictures: int
    groups: int
    folds: int
    disputed: int = 0


@dataclass(frozen=True)
class AblationReport:
    """The whole table. `baseline` is the dataset as it is now; `skipped` says which steps had nothing to compare."""

    root: Path
    backbones: list[str]
    train_pictures: int
    valid_pictures: int
    classes: int
    seeds: int
    fits: int
    baseline: MeanAccuracy
    rows: list[AblationRow]
    flattery: LeakFlattery | None
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Every figure in plain types; shares are 0 to 1."""
        rows = [{**asdict(row), "per_hundred": row.per_hundred} for row in self.rows]
        return {**asdict(self), "root": str(self.root), "rows": rows}
