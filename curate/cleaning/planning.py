"""Facts → decisions: which pictures are to leave a dataset, and why.

For each that leaves the plan says what is wrong with it and, for a copy, which picture stays in its place, at what
distance, and why that one.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from curate.catalog import Catalog, Picture
from curate.cleaning.audit_scores import thresholds_of
from curate.cleaning.choosing import Choice
from curate.cleaning.clean_options import CleanOptions
from curate.cleaning.conflicts import ClassPair, Conflict, class_pairs, counterparts, find_conflicts, within_labels
from curate.cleaning.keepers import POLICIES, Evidence, Policy
from curate.cleaning.losses import ClassLoss, Tally, losses_of, tally
from curate.cleaning.merging import merged, merges_of, moves_between_classes
from curate.cleaning.placed_copies import part_placements
from curate.cleaning.suspects import suspects_among
from curate.dataset import SPLITS, UNLABELLED, Dataset, natural_key
from curate.decisions import Answers
from curate.decoding.formats import is_not_readable
from curate.duplicates import NearDuplicates, find_same_bytes
from curate.engine.engines import current_engine
from curate.lookalikes.cached_search import find_copies
from curate.lookalikes.clusters import Cluster, Copy
from curate.lookalikes.fingerprint import VARIANTS
from curate.not_copies import NotCopies, apart, read_not_copies
from curate.progress import Progress, silent
from curate.quality import CHECKS
from curate.quarantine import Decision, pending

REASONS = ("broken", "duplicate", "leak", "conflict")
"""Why a picture leaves: no pixels; a better copy in the same split; a copy in a split that must stay apart from this
one; a copy under another label, where both leave, because nobody knows which label is right.
"""

EXACT, EDITED = "exact", "copy"
"""The verdicts by which a copy leaves: the same bytes, or what was made from the same picture."""


@dataclass(frozen=True)
class Leak:
    """One picture in two splits: the paths of both copies, the second one in the split further from training."""

    first: str
    second: str


@dataclass(frozen=True)
class CleaningPlan:
    """What is to leave, in order of path; what was found leaking across the splits that are there; and which
    pictures lie under two labels.

    `classes` counts what the classes have and lose; `pairs` are the pairs of classes that share pictures; `near` counts
    the pairs that look alike and are no copies. `held_back` are the pictures that would leave, had no person decided
    that they stay.
    """

    decisions: list[Decision]
    leaks: list[Leak]
    conflicts: list[Conflict]
    classes: Tally = field(default_factory=Tally, compare=False)
    pairs: list[ClassPair] = field(default_factory=list, compare=False)
    near: int = field(default=0, compare=False)
    held_back: int = field(default=0, compare=False)

    @property
    def losses(self) -> list[ClassLoss]:
        """The classes that lose all of their pictures, or more than a tenth; worst first."""
        return losses_of(self.decisions, self.classes)


def make_plan(
    dataset: Dataset,
    catalog: Catalog,
    options: CleanOptions | None = None,
    progress: Progress = silent,
) -> CleaningPlan:
    """Decide from the catalog what leaves. Moves that an interrupted run left undone are decided already."""
    options = options or CleanOptions()
    policy = POLICIES[options.keep]
    merges = merges_of(options.merge)
    decided = {decision.path: decision for decision in pending(catalog)}
    listed = catalog.pictures()
    everything = [merged(picture, merges) for picture in listed]
    pictures = [picture for picture in everything if picture.path not in decided]
    sources, placed = part_placements(pictures)
    answers = Answers.of(catalog, listed, placed)
    stays = answers.stays if not options.again else _nobody_said
    poor = [decision for picture in sources if (decision := _poor(picture, options.remove, stays))]
    poor += suspects_among(
        dataset, sources, placed, thresholds_of(options.remove), {one.path for one in poor}, stays=stays
    )
    leaving = {decision.path for decision in poor}
    intact = [picture for picture in sources if not picture.broken and picture.path not in leaving]
    told = read_not_copies(dataset).of((picture.path, picture.sha256) for picture in everything)
    found = apart(_search(dataset, catalog, intact, options, progress), intact, told)
    in_split = {origin: max((copy.split for copy in copies), key=SPLITS.index) for origin, copies in placed.items()}
    evidence = Evidence.gather(dataset.root, catalog, in_split, _bordered(found, intact))
    chosen = answers.chosen(intact)
    planner = _Planner(dataset.root, intact, found, policy, options.conflicts, evidence, told, chosen)
    lost = [picture for picture in sources if picture.broken and not is_not_readable(picture.broken)]
    proposed = [*(Decision(it.path, it.sha256, "broken", it.broken) for it in lost), *planner.decisions()]
    conflicts = find_conflicts(found, intact)
    if not options.again:
        proposed = _not_awaiting(proposed, conflicts, answers, intact)
    decisions = [*poor, *(one for one in proposed if not stays(one.path, one.sha256, one.reason))]
    decisions += _placements_that_leave(decisions, placed)
    # A picture without a label is nobody's to judge: whoever predicts a test set is to predict all of it.
    unlabelled = {picture.path for picture in pictures if picture.label == UNLABELLED}
    decisions = [decision for decision in decisions if decision.path not in unlabelled]
    gone = {*decided, *(decision.path for decision in decisions)}
    staying = [picture for picture in listed if picture.path not in gone]
    decisions += moves_between_classes(dataset, staying, merges)
    copies = [copy for origin, copies in placed.items() if origin not in leaving for copy in copies]
    all_decisions = sorted([*decided.values(), *decisions], key=lambda decision: natural_key(decision.path))
    return CleaningPlan(
        all_decisions, find_leaks(found, intact, copies), conflicts,
        tally(all_decisions, part_placements(everything)[0]),
        class_pairs(conflicts, intact), sum(1 for _ in found.near()), len(answers.held_back),
    )  # fmt: skip


def _not_awaiting(
    proposed: Sequence[Decision], conflicts: Sequence[Conflict], answers: Answers, pictures: Sequence[Picture]
) -> list[Decision]:
    """The proposals without those that a person's decision, not carried out yet, makes wrong."""
    by_path = {picture.path: picture for picture in pictures}
    others = defaultdict[str, set[str]](set)
    for found in conflicts:
        others[found.first].add(found.second)
        others[found.second].add(found.first)
    return [
        one
        for one in proposed
        if not answers.stays_until_carried_out(one.path, one.reason, by_path, one.keeper, others[one.path])
    ]


def _nobody_said(_path: str, _sha256: str, _cause: str) -> bool:
    return False


def _search(
    dataset: Dataset, catalog: Catalog, intact: Sequence[Picture], options: CleanOptions, progress: Progress
) -> NearDuplicates:
    """The copies among intact pictures, of the kind that is asked for."""
    if options.only == "exact":
        return find_same_bytes(intact)
    # A split looks at no turned pictures, for there a mirrored copy is another one: so that search is another, too.
    return find_copies(dataset, catalog, intact, options.radius, progress, geometry=options.geometry)


def _poor(picture: Picture, remove: Sequence[str], stays: Callable[[str, str, str], bool]) -> Decision | None:
    """The decision on a picture that fails a check for which pictures are to leave, and for which no person kept it."""
    for check, score in zip(CHECKS, picture.scores, strict=False):
        fails = check.flag in remove and score < check.threshold
        if fails and not stays(picture.path, picture.sha256, check.flag):
            detail = f"{check.means} (score {score:g}, below {check.threshold:g})"
            return Decision(picture.path, picture.sha256, check.flag, detail)
    return None


def _bordered(found: NearDuplicates, pictures: Sequence[Picture]) -> frozenset[str]:
    """The contents that met another when the border of one was left out."""
    contents = {content for pair, variant in _variants(found).items() if variant == "border" for content in pair}
    return frozenset(pictures[at].sha256 for content in contents for at in found.contents[content])


def find_leaks(found: NearDuplicates, pictures: Sequence[Picture], placed: Sequence[Picture] = ()) -> list[Leak]:
    """Near-duplicates in two different splits, among `pictures` and the placed copies of some of them.

    Each picture is paired with one picture of each other split, not with all.
    """
    everything = [*pictures, *placed]
    if not any(picture.split for picture in everything):
        return []
    shas = {copy.sha256 for copy in placed}
    content_of = {
        pictures[at].sha256: content
        for content, positions in enumerate(found.contents)
        for at in positions
        if pictures[at].sha256 in shas
    }
    contents = list(found.contents)
    for at, copy in enumerate(placed, start=len(pictures)):
        content = content_of[copy.sha256]
        contents[content] = [*contents[content], at]
    leaks = {
        Leak(*(everything[at].path for at in sorted((a, b), key=lambda at: SPLITS.index(everything[at].split))))
        for a, b, _ in counterparts(replace(found, contents=contents), lambda at: everything[at].split or None)
    }
    return sorted(leaks, key=lambda leak: (natural_key(leak.first), natural_key(leak.second)))


def _placements_that_leave(decisions: Sequence[Decision], placed: Mapping[str, list[Picture]]) -> Iterator[Decision]:
    """Copies leave with the picture they are copies of; and where one lies in several places, all but one."""
    leaving = {decision.path: decision for decision in decisions}
    for origin, copies in placed.items():
        if origin in leaving:
            why = leaving[origin]
            yield from (
                replace(why, path=copy.path, detail=f"placed copy of {origin}: {why.detail}") for copy in copies
            )
            continue
        name = origin.split("/", 2)[2]
        stays, *rest = sorted(
            copies, key=lambda copy: (-SPLITS.index(copy.split), not copy.path.endswith(f"/{name}"), copy.path)
        )
        for copy in rest:
            reason = "duplicate" if copy.split == stays.split else "leak"
            merit = f"it is in {stays.split}" if reason == "leak" else f"it bears the name of {origin}"
            detail = f"the same bytes as {stays.path}; that one stays: {merit}"
            yield Decision(copy.path, copy.sha256, reason, detail, stays.path, 0, EXACT)


class _Planner:
    """Says of each cluster of near-duplicates who leaves, and why."""

    def __init__(
        self,
        root: Path,
        pictures: Sequence[Picture],
        found: NearDuplicates,
        policy: Policy,
        mode: str,
        evidence: Evidence,
        told: NotCopies,
        chosen: Mapping[int, int],
    ) -> None:
        self.pictures = pictures
        self.policy = policy
        self.chosen = chosen
        self.evidence = evidence
        joined = within_labels(found, pictures) if mode == "report" else found
        choice = Choice(root, pictures, joined, policy.name, evidence, chosen)
        self.clusters = _without_told_apart(current_engine().copies().keepers(choice), pictures, told)
        self.variants = _variants(found)
        seen = {content for pair in self.variants for content in pair}
        self.content = {at: content for content in seen for at in found.contents[content]}
        self.disputed: dict[int, tuple[int, int]] = {}
        if mode == "quarantine":
            for at, other, distance in counterparts(found, lambda at: pictures[at].label or None, most=1):
                self.disputed.setdefault(at, (other, distance))

    def decisions(self) -> Iterator[Decision]:
        left = dict(self.disputed)
        for cluster in self.clusters:
            members = (cluster.keeper, *(copy.position for copy in cluster.copies))
            # Whoever chose the copy that stays has said which label is right.
            if any(at in self.disputed for at in members) and cluster.keeper not in self.chosen:
                yield from self._conflict(cluster)
            else:
                yield from self._duplicates(cluster)
            for at in members:
                left.pop(at, None)
        # A near-duplicate of a member of another cluster, and not of its keeper, is under dispute all the same.
        for at in left:
            if at not in self.chosen:
                yield self._disputed(at)

    def _duplicates(self, cluster: Cluster) -> Iterator[Decision]:
        keeper = self.pictures[cluster.keeper]
        for link in cluster.copies:
            copy = self.pictures[link.position]
            detail = f"{self._sameness(link, cluster.keeper)}; that one stays: {self._why(link, cluster.keeper)}"
            splits = {self.evidence.split(copy), self.evidence.split(keeper)} - {""}
            reason = "leak" if len(splits) > 1 else "duplicate"
            if copy.label != keeper.label and UNLABELLED not in (copy.label, keeper.label):
                reason = "conflict"
                detail = f"one picture under the labels {_quoted(copy.label, keeper.label)}: {detail}"
            verdict = _verdict(copy, keeper)
            yield Decision(copy.path, copy.sha256, reason, detail, keeper.path, link.distance, verdict)

    def _why(self, link: Copy, keeper_at: int) -> str:
        """Why the keeper stays and not its copy, in words."""
        if keeper_at in self.chosen:
            return "a person chose it"
        copy, keeper = self.pictures[link.position], self.pictures[keeper_at]
        ranked = self.policy.why(keeper, copy, self.evidence)
        in_split = self.evidence.split(copy) != self.evidence.split(keeper)
        if not self.policy.by_source or in_split or link.relation is None or not link.relation.source:
            return ranked
        return link.relation.why if link.relation.source == "second" else "most of their copies were made from it"

    def _conflict(self, cluster: Cluster) -> Iterator[Decision]:
        links = {copy.position: copy for copy in cluster.copies}
        for at in (cluster.keeper, *links):
            if at in self.disputed:
                yield self._disputed(at)
                continue
            other = cluster.keeper if at != cluster.keeper else next(it for it in links if it in self.disputed)
            distance = links[at if at != cluster.keeper else other].distance
            picture = self.pictures[at]
            detail = f"{self._sameness(Copy(at, distance), other)}, whose label is in doubt"
            verdict = _verdict(picture, self.pictures[other])
            yield Decision(picture.path, picture.sha256, "conflict", detail, "", distance, verdict)

    def _disputed(self, at: int) -> Decision:
        other, distance = self.disputed[at]
        picture, counterpart = self.pictures[at], self.pictures[other]
        labels = _quoted(picture.label, counterpart.label)
        detail = f"one picture under the labels {labels}: {self._sameness(Copy(at, distance), other)}"
        verdict = _verdict(picture, counterpart)
        return Decision(picture.path, picture.sha256, "conflict", detail, "", distance, verdict)

    def _sameness(self, link: Copy, other: int) -> str:
        at = link.position
        path = self.pictures[other].path
        if self.pictures[at].sha256 == self.pictures[other].sha256:
            return f"the same bytes as {path}"
        variant = self.variants.get(frozenset((self.content.get(at, -1), self.content.get(other, -1))))
        notes = [link.relation.first_is] if link.relation is not None and link.relation.first_is else []
        if link.distance >= 0:
            notes.append(f"pHash {link.distance} of 64 bits apart" + (f", one seen as “{variant}”" if variant else ""))
        return f"the same picture as {path} ({'; '.join(notes)})" if notes else f"the same picture as {path}"


def _without_told_apart(found: Sequence[Cluster], pictures: Sequence[Picture], told: NotCopies) -> list[Cluster]:
    """The clusters without the copies that a person has told from the keeper: they may have met it through a third."""

    def is_copy(copy: Copy, cluster: Cluster) -> bool:
        return not told.tells_apart([pictures[copy.position].sha256], [pictures[cluster.keeper].sha256])

    left = [
        replace(cluster, copies=tuple(copy for copy in cluster.copies if is_copy(copy, cluster))) for cluster in found
    ]
    return [cluster for cluster in left if cluster.copies]


def _verdict(picture: Picture, other: Picture) -> str:
    return EXACT if picture.sha256 == other.sha256 else EDITED


def _variants(found: NearDuplicates) -> dict[frozenset[int], str]:
    """For pairs of contents that met by another variant than both whole: its name. {} where variants are unknown."""
    if not len(found.variant):
        return {}
    return {
        frozenset((int(found.first[pair]), int(found.second[pair]))): VARIANTS[found.variant[pair]].name
        for pair in np.flatnonzero(found.same & (found.variant >= 0))
    }


def _quoted(*labels: str) -> str:
    return " and ".join(f"“{label}”" for label in sorted(labels, key=natural_key))
