"""What an audit suspects → decisions: what shows no class leaves, what shows another class goes there."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from curate.catalog import Catalog, Picture
from curate.catalog.overview import Glance
from curate.cleaning.audit_scores import AUDIT_FILE, REMOVABLE, AuditedPicture, read_scores
from curate.cleaning.placed_copies import part_placements
from curate.cleaning.relabelling import Relabelling, moves_to_classes
from curate.dataset import UNLABELLED, Dataset, natural_key
from curate.decisions import Answers
from curate.quarantine import Decision

IRRELEVANT, MISLABELLED = REMOVABLE

HELD_OUT = frozenset({"valid", "test"})
"""Splits that are audited and reported, and changed only when they are asked for by name: figures come from them."""


def suspects_among(
    dataset: Dataset,
    sources: Sequence[Picture],
    placed: Mapping[str, Sequence[Picture]],
    thresholds: Mapping[str, float],
    leaving: AbstractSet[str] = frozenset(),
    *,
    stays: Callable[[str, str, str], bool] = lambda _path, _sha256, _cause: False,
) -> Iterator[Decision]:
    """The decisions by which pictures leave that the audit on record gives such chances: `clean --remove`.

    `sources` are the pictures proper, `placed` their copies in splits by path. Those in valid or test stay, as do
    pictures that changed since, and those of which `stays` says, by path, sha256 and score, that a person kept them.
    Raises `UserError` where nothing was audited.
    """
    if not thresholds:
        return
    known = {line.path: line for line in read_scores(dataset.home / AUDIT_FILE)}
    for picture in sources:
        line = known.get(picture.path)
        if line is None or not speaks_of(line, picture) or picture.path in leaving:
            continue
        if is_held_out(picture, placed.get(picture.path, ()), frozenset()):
            continue
        for score, threshold in thresholds.items():
            if getattr(line, score) >= threshold and not stays(picture.path, picture.sha256, score):
                yield Decision(picture.path, picture.sha256, score, suspicion_in_words(line, score))
                break


def count_unaudited(dataset: Dataset, catalog: Catalog, thresholds: Mapping[str, float]) -> int:
    """How many pictures that `suspects_among` would judge the audit on record does not speak of: they came later, or
    have other bytes or another class now. 0 where no threshold is asked for.
    """
    if not thresholds:
        return 0
    known = {line.path: line for line in read_scores(dataset.home / AUDIT_FILE)}
    sources, placed = part_placements(catalog.intact())
    return sum(
        picture.label != UNLABELLED
        and not ((line := known.get(picture.path)) and speaks_of(line, picture))
        and not is_held_out(picture, placed.get(picture.path, ()), frozenset())
        for picture in sources
    )


def plan_suspects(
    dataset: Dataset,
    catalog: Catalog,
    lines: Sequence[AuditedPicture],
    threshold: float,
    *,
    of_proposed: Mapping[str, Sequence[str]],
    splits: Collection[str] = (),
    answers: Answers | None = None,
) -> list[Decision]:
    """The decisions on all pictures with a chance of at least `threshold`, for a person to read: `clean --plan`.

    What shows no class leaves; what shows another class goes there, with its placed copies. `of_proposed` gives the
    nearest pictures of the class that is proposed, by path. `splits` are those of valid and test that may change.
    What `answers` says was kept by a person stays; they are the catalog's where none are given.
    """
    pictures = {picture.path: picture for picture in catalog.pictures()}
    _, placed = part_placements(list(pictures.values()))
    answers = answers or Answers.of(catalog, pictures.values(), placed)
    copies = {copy.path for several in placed.values() for copy in several}
    leaving: list[Decision] = []
    moving: list[Relabelling] = []
    for line in lines:
        picture = pictures.get(line.path)
        if picture is None or picture.broken or not speaks_of(line, picture) or picture.path in copies:
            continue
        together = [picture, *placed.get(picture.path, ())]
        if is_held_out(picture, together[1:], frozenset(splits)):
            continue
        if line.irrelevant >= threshold and not answers.stays(line.path, line.sha256, IRRELEVANT):
            detail = suspicion_in_words(line, IRRELEVANT)
            leaving += [Decision(one.path, one.sha256, IRRELEVANT, detail) for one in together]
        elif line.mislabelled >= threshold and not answers.stays(line.path, line.sha256, MISLABELLED):
            detail = suspicion_in_words(line, MISLABELLED, of_proposed.get(line.path, ()))
            moving += [Relabelling(one, line.proposed, MISLABELLED, detail) for one in together]
    decisions = [*leaving, *moves_to_classes(dataset, moving)]
    return sorted(decisions, key=lambda decision: natural_key(decision.path))


def audit_in_words(dataset: Dataset, thresholds: Mapping[str, float]) -> Iterator[str]:
    """A text that changes whenever what is suspected at these thresholds does; nothing where there are none."""
    if thresholds:
        for line in read_scores(dataset.home / AUDIT_FILE):
            if any(getattr(line, score) >= threshold for score, threshold in thresholds.items()):
                yield f"{line.path} {line.label} {line.sha256}"


def speaks_of(line: AuditedPicture, picture: Picture | Glance) -> bool:
    """Whether a line is about these bytes under this label."""
    return line.sha256 == picture.sha256 and line.label == picture.label != UNLABELLED


def is_held_out(picture: Picture, copies: Sequence[Picture], asked: AbstractSet[str]) -> bool:
    """Whether a picture or a placed copy of it lies in a held-out split that was not asked for."""
    return any(one.split in HELD_OUT - asked for one in (picture, *copies))


def suspicion_in_words(line: AuditedPicture, score: str, of_proposed: Sequence[str] = ()) -> str:
    """Why a picture is suspected: the chance, the class that is proposed, and what lies near it."""
    own = f"nearest of {line.label}: {', '.join(line.nearest)}" if line.nearest else f"none like it in {line.label}"
    other = f"; nearest of {line.proposed}: {', '.join(of_proposed)}" if of_proposed else ""
    chance = f"{getattr(line, score):.1%} sure"
    if score == IRRELEVANT:
        return f"it seems to show none of the classes ({chance}; {own})"
    return f"it seems to show {line.proposed} and not {line.label} ({chance}; {own}{other})"
