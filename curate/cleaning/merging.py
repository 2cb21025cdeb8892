"""Classes that are one: which are to be merged into which, and what moves for it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from curate.catalog import Catalog, Picture
from curate.catalog.class_moves import class_moves_done
from curate.cleaning.relabelling import Relabelling, moves_to_classes
from curate.dataset import Dataset
from curate.errors import UserError
from curate.quarantine import Decision

MERGE = "merge"
"""The reason of a decision by which a picture moves to another class."""


def merges_of(words: Sequence[str]) -> dict[str, str]:
    """Class → the class that it becomes, of words such as "c1=42".

    Raises `UserError` for a word that is no such pair, a class that is to become two, and one that is merged into a
    class which is merged itself.
    """
    merges: dict[str, str] = {}
    for word in words:
        label, equals, into = word.partition("=")
        if not (label and equals and into) or "=" in into or label == into:
            raise UserError(f"{word!r} names no two classes: give the one that ends and the one that stays, as c1=42.")
        if merges.setdefault(label, into) != into:
            raise UserError(f"The class {label} cannot become both {merges[label]} and {into}: give one of them.")
    for label, into in merges.items():
        if into in merges:
            raise UserError(
                f"{label} is to become {into}, which becomes {merges[into]} itself: give {label}={merges[into]}."
            )
    return merges


def require_classes(dataset: Dataset, catalog: Catalog, merges: Mapping[str, str]) -> None:
    """Raise `UserError` for a class that is not there, but for one that was merged before: the command is repeated.

    And for any of a dataset whose files stay as they lie, also where only a plan is wanted: none could be carried out.
    """
    if not merges:
        return
    if dataset.is_fixed:
        label, into = next(iter(merges.items()))
        raise UserError(
            f"The class {label} cannot become {into}, for the files of {dataset.root} stay as they lie: rename it "
            "there, or leave that out."
        )
    labels = set(dataset.labels())
    known = labels | {dataset.label_in(moved.path) for moved in class_moves_done(catalog)}
    for label, into in merges.items():
        for wanted, among in ((label, known), (into, labels)):
            if wanted not in among:
                raise UserError(f"There is no class {wanted} in {dataset.root}, so {label}={into} merges nothing.")


def merged(picture: Picture, merges: Mapping[str, str]) -> Picture:
    """A picture under the label that it is to have."""
    return replace(picture, label=merges[picture.label]) if picture.label in merges else picture


def moves_between_classes(
    dataset: Dataset, staying: Sequence[Picture], merges: Mapping[str, str]
) -> Iterator[Decision]:
    """The decisions by which those that stay, of the classes that are merged, come to lie in their new class."""
    return moves_to_classes(
        dataset,
        [
            Relabelling(picture, into, MERGE, f"its class {picture.label} becomes {into}")
            for picture in staying
            if (into := merges.get(picture.label))
        ],
    )
