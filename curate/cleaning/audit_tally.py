"""What an audit's scores come to: how many pictures seem not to belong, and the worst of each class."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from curate.cleaning.audit_scores import REMOVABLE, AuditedPicture
from curate.decisions import Answers
from curate.defaults import SUSPECT


@dataclass(frozen=True)
class AuditTally:
    """Of `pictures` that were judged, what lies in raw and is placed in a split counted once: how many seem to show
    none of the classes, how many another than their label says, each with a chance of `SUSPECT` or more; and how many
    do not belong by all chances together.
    """

    pictures: int
    irrelevant: int
    mislabelled: int
    expected: float


def tally_audit(audited: Sequence[AuditedPicture]) -> AuditTally:
    """Count what an audit says of each picture."""
    once = list({(one.sha256, one.label): one for one in audited}.values())
    suspects = [one for one in once if one.chance >= SUSPECT]
    irrelevant = sum(one.shows_no_class for one in suspects)
    return AuditTally(len(once), irrelevant, len(suspects) - irrelevant, sum(one.chance for one in once))


def kept_by_people(audited: Sequence[AuditedPicture], answers: Answers) -> frozenset[str]:
    """The paths of the suspects that stay because a person decided so."""
    suspects = (one for one in audited if one.chance >= SUSPECT)
    return frozenset(one.path for one in suspects if answers.stays(one.path, one.sha256, _cause(one)))


def _cause(one: AuditedPicture) -> str:
    """What a suspect is suspected of."""
    _, cause = max((getattr(one, cause), cause) for cause in REMOVABLE)
    return cause


def worst_of_each_class(
    audited: Sequence[AuditedPicture], most: int, *, without: Collection[str] = ()
) -> Iterator[AuditedPicture]:
    """The suspects, the surest first, at most so many of each class, and each content once; `without` those paths."""
    shown = defaultdict[str, int](int)
    seen = set[tuple[str, str]]()
    for one in sorted(audited, key=lambda one: one.chance, reverse=True):
        if one.chance < SUSPECT:
            return
        if shown[one.label] == most or (one.sha256, one.label) in seen or one.path in without:
            continue
        seen.add((one.sha256, one.label))
        shown[one.label] += 1
        yield one
