"""What a plan costs each class: which it empties, and of which it takes more than a tenth."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from curate.catalog import Picture
from curate.catalog.overview import Glance
from curate.dataset import Dataset, natural_key
from curate.decoding.formats import is_not_readable
from curate.errors import UserError
from curate.quarantine import Decision

if TYPE_CHECKING:
    from curate.cleaning.planning import CleaningPlan

MOST_LOST: Final = 10
"""Of so many pictures one may leave: a plan that takes more of a class has to be confirmed."""

_MOST_NAMED = 3


@dataclass(frozen=True)
class ClassLoss:
    """A class that loses much: of `pictures` that give pixels `leaving` leave, and `broken` files besides."""

    label: str
    pictures: int
    leaving: int
    broken: int

    @property
    def empties(self) -> bool:
        """Whether no picture stays."""
        return self.leaving == self.pictures

    def __str__(self) -> str:
        if not self.pictures:
            return f"{self.label} (none of its {self.broken:,} files gives pixels)"
        return f"{self.label} ({self.leaving:,} of {self.pictures:,} pictures)"


class DrasticPlan(UserError):
    """A plan for `dataset` that empties a class or takes more than a tenth of one, and that nobody has confirmed."""

    def __init__(self, message: str, dataset: Dataset, plan: "CleaningPlan") -> None:
        super().__init__(message)
        self.dataset = dataset
        self.plan = plan


@dataclass(frozen=True)
class Tally:
    """How many pictures that give pixels each class has; and path → (class, whether it gives none) of what leaves."""

    pictures: Mapping[str, int] = field(default_factory=dict)
    leaving: Mapping[str, tuple[str, bool]] = field(default_factory=dict)


def tally(decisions: Sequence[Decision], pictures: Sequence[Picture | Glance]) -> Tally:
    """Count the classes that a plan takes from.

    `pictures` are the pictures proper, without the copies of them that `split` has placed. A picture that moves to
    another class counts there, and with it those of its class that leave.
    """
    leaving = {decision.path for decision in decisions if not decision.move_to}
    becomes = _new_labels(decisions, pictures)
    total = Counter[str]()
    taken = {}
    for picture in pictures:
        label = becomes.get(picture.path) or becomes.get(picture.label, picture.label)
        gives_none = bool(picture.broken) and not is_not_readable(picture.broken)
        total[label] += not gives_none
        if picture.path in leaving:
            taken[picture.path] = (label, gives_none)
    return Tally(total, taken)


def losses_of(decisions: Sequence[Decision], classes: Tally) -> list[ClassLoss]:
    """The classes that a plan empties or takes more than a tenth of, worst first.

    Broken files count only where they are all that a class has.
    """
    lost, broken = Counter[str](), Counter[str]()
    for decision in decisions:
        if decision.path in classes.leaving:
            label, gives_none = classes.leaving[decision.path]
            (broken if gives_none else lost)[label] += 1
    losses = [
        ClassLoss(label, classes.pictures.get(label, 0), lost[label], broken[label]) for label in {*lost, *broken}
    ]
    return sorted(filter(_is_much, losses), key=_from_worst)


def require_confirmed(dataset: Dataset, plan: "CleaningPlan") -> None:
    """Raise `DrasticPlan` where a plan loses much of a class."""
    losses = plan.losses
    if not losses:
        return
    emptied = [loss for loss in losses if loss.empties]
    taken = [loss for loss in losses if not loss.empties]
    costs = []
    if emptied:
        costs.append(f"empty {_named(emptied)}")
    if taken:
        costs.append(f"take more than a tenth of {_named(taken)}")
    raise DrasticPlan(
        f"Cleaning {dataset.root} would {' and '.join(costs)}: look at what leaves with --dry-run, then carry out that "
        "plan with --plan FILE, or say --yes (in Python, yes=True).",
        dataset,
        plan,
    )


def _named(losses: Sequence[ClassLoss]) -> str:
    more = len(losses) - _MOST_NAMED
    return ", ".join(map(str, losses[:_MOST_NAMED])) + (f" and {more:,} more" if more > 0 else "")


def _new_labels(decisions: Sequence[Decision], pictures: Sequence[Picture | Glance]) -> Mapping[str, str]:
    """Path → the label of a picture that moves; label → the label of a class whose pictures all move to one class."""
    targets = {decision.path: decision.move_to for decision in decisions if decision.move_to}
    becomes: dict[str, str] = {}
    of_label = defaultdict[str, set[str]](set)
    leaving = {decision.path for decision in decisions if not decision.move_to}
    keeping = set[str]()  # labels of pictures that stay as they are: such a class becomes no other
    for picture in pictures if targets else ():
        if picture.path not in targets and picture.path not in leaving and not picture.broken:
            keeping.add(picture.label)
        if picture.path in targets:
            becomes[picture.path] = targets[picture.path].split("/")[picture.folder.count("/")]
            of_label[picture.label].add(becomes[picture.path])
    return becomes | {
        label: min(others) for label, others in of_label.items() if len(others) == 1 and label not in keeping
    }


def _is_much(loss: ClassLoss) -> bool:
    return loss.empties or loss.leaving * MOST_LOST > loss.pictures


def _from_worst(loss: ClassLoss) -> tuple[object, ...]:
    share = loss.leaving / loss.pictures if loss.pictures else 1.0
    return -share, -loss.leaving, -loss.broken, natural_key(loss.label)
