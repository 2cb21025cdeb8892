"""Decisions → deeds: what people decided about pictures is carried out as a plan of `clean` and by `restore`."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final

from curate.catalog import Catalog
from curate.catalog.class_moves import class_moves_done
from curate.catalog.decisions import CARRY_OUT, LAPSE, DecisionRow
from curate.catalog.overview import Glance, glances
from curate.catalog.quarantine_moves import records_done
from curate.clean import clean
from curate.cleaning.losses import losses_of, tally
from curate.cleaning.placed_copies import part_placements
from curate.cleaning.plan import PlanLine, part_plan
from curate.cleaning.planning import EDITED, EXACT, CleaningPlan
from curate.cleaning.relabelling import Relabelling, moves_to_classes
from curate.cleaning.suspects import HELD_OUT, MISLABELLED
from curate.dataset import Dataset, open_to_write
from curate.decisions import (
    ASIDE,
    RELABEL,
    RESTORE,
    DecisionRecord,
    Overtaken,
    PictureKey,
    Standings,
    decide,
    open_rows,
    restoring,
)
from curate.lapses import Lapse, Lapses, lapses_of
from curate.plurals import with_noun
from curate.progress import Progress, silent
from curate.quarantine import Decision, Stored, finish_moves, stored_files
from curate.quarantine import pending as pending_moves
from curate.restore import restore
from curate.scan import scan

_MOST_NAMED: Final = 5


@dataclass(frozen=True)
class Intended:
    """What carrying out would do: the decisions as a plan has them, placed copies too, and the files that come back.

    `pictures` are the paths of the pictures proper among the decisions; `lapses` are decisions that will not be carried
    out, and `unfinished` counts the pictures that a run which was interrupted has yet to move; `warnings` say in
    sentences what to think of first; `token` is another one as soon as anything of this is.
    """

    decisions: Sequence[Decision]
    back: Sequence[Stored]
    pictures: frozenset[str]
    lapses: Sequence[Lapse]
    unfinished: int
    warnings: Sequence[str]
    token: str

    def paths(self, *, moving: bool) -> list[str]:
        """The pictures that go to another class, or else those that leave."""
        return [one.path for one in self.decisions if one.path in self.pictures and bool(one.move_to) == moving]

    @property
    def by_reason(self) -> Mapping[str, int]:
        """Reason → how many pictures leave for it."""
        return Counter(one.reason for one in self.decisions if one.path in self.pictures and not one.move_to)

    def is_part_of(self, other: "Intended", dataset: Dataset) -> bool:
        """Whether nothing would be done that the other would not do too."""
        return all(
            set(mine) <= set(theirs)
            for mine, theirs in (
                (
                    ((one.path, one.sha256, one.reason, dataset.label_in(one.move_to)) for one in found.decisions)
                    for found in (self, other)
                ),
                ((file.stored for file in found.back) for found in (self, other)),
                ((lapse.row for lapse in found.lapses) for found in (self, other)),
            )
        )


@dataclass(frozen=True)
class CarriedOut:
    """How many pictures left, went to another class and came back; (path, why) of those that stayed where they were.

    `finished` says how many of them an interrupted run had begun to move; `lapsed` are decisions that are dropped, as
    their pictures had changed, moved or gone.
    """

    moved: int
    relabelled: int
    restored: int
    unmoved: Sequence[tuple[str, str]]
    finished: int = 0
    lapsed: Sequence[Lapse] = field(default_factory=list)


def intended(dataset: Dataset, catalog: Catalog, lines: Sequence[PlanLine]) -> Intended:
    """What is decided and not done yet. `lines` are those of the plan that people decided on: they say why in words."""
    record = DecisionRecord.read(catalog)
    everything = list(glances(catalog))
    sources, placed = part_placements(everything)
    origin = {copy.path: path for path, copies in placed.items() for copy in copies}
    standings = Standings(record, {picture.path: picture.sha256 for picture in everything}, origin)
    pending = [(picture, row) for picture in sources if (row := _pending(record, standings, picture))]
    leaving = {picture.path for picture, row in pending if row.action == ASIDE}
    planned = {line.decision.path: line.decision for line in lines}
    instead = _chosen_instead(record, standings, sources)
    decisions: list[Decision] = []
    moving: list[Relabelling] = []
    orphaned = 0
    for picture, row in pending:
        together = [picture, *placed.get(picture.path, ())]
        who = record.batches[row.batch].who or "a person"
        if row.action == RELABEL:
            detail = f"{who} says that it shows {row.value} and not {picture.label}"
            moving += [Relabelling(one, row.value, MISLABELLED, detail) for one in together]
            continue
        one = _leaves(picture, row, who, planned.get(picture.path), instead)
        if one.keeper in leaving:
            one = replace(one, keeper="", distance=-1, verdict="")
            orphaned += 1
        decisions.append(one)
        decisions += [
            replace(one, path=copy.path, detail=f"placed copy of {picture.path}: {one.detail}") for copy in together[1:]
        ]
    decisions += moves_to_classes(dataset, moving)
    stored = stored_files(dataset, catalog)
    back = [file for file in stored if restoring(record, PictureKey(file.path, file.sha256))]
    begun = pending_moves(catalog)
    aside = {PictureKey(file.path, file.sha256): file.reason for file in stored}
    lapses = lapses_of(record, Lapses(standings, aside, {PictureKey(one.path, one.sha256) for one in begun}))
    unfinished = len(_pictures_of(dataset, begun))
    warnings = [*_warnings(decisions, sources, orphaned, lapses, unfinished)]
    digest = hashlib.sha256(repr((record.last, decisions, back, lapses)).encode()).hexdigest()
    pictures = frozenset(picture.path for picture, _ in pending)
    return Intended(decisions, back, pictures, lapses, unfinished, warnings, digest)


def carry_out(
    root: Path, lines: Sequence[PlanLine], token: str, who: str, *, progress: Progress = silent
) -> CarriedOut:
    """Do what `intended` said, under the dataset's lock, and put on record that it was done.

    Raises `Overtaken` where anything of it has changed, `Busy` where another command is at work, and `UserError` as
    `clean` and `restore` do. Safe to stop at any instant, as they are: what is left is carried out the next time. What
    a run that was interrupted has yet to move is moved first, and counts as carried out.
    """
    with open_to_write(root, "review", progress=progress) as dataset, Catalog.open(dataset.catalog_path) as catalog:
        begun = pending_moves(catalog)
        agreed = intended(dataset, catalog, lines) if begun else None
        finished = finish_moves(dataset, catalog, progress)
        scan(dataset, catalog, progress)
        if begun:
            note_carried_out(dataset, catalog, who)
        found = intended(dataset, catalog, lines)
        arrived = [_pictures_of(dataset, begun, paths) for paths in (finished.moved, finished.to_other_classes)]
        is_agreed = agreed is not None and agreed.token == token and found.is_part_of(agreed, dataset)
        if found.token != token and not is_agreed:
            raise Overtaken(_overtaken(sum(map(len, arrived))))
        to_do, refused = part_plan([PlanLine(one, "It stays") for one in found.decisions], dataset, catalog)
        unmoved = [(decision.path, str(why)) for decision, why in refused]
        if to_do:
            report = clean(root, plan=CleaningPlan(to_do, [], []), yes=True, progress=progress)
            unmoved += [(path, "It has changed, or its place is taken.") for path in report.unmoved]
        if found.back:
            brought = restore(root, stored=[file.stored for file in found.back], who=who, progress=progress)
            unmoved += [
                (path, "Another file has taken its place.")
                for path in (brought.occupied if brought is not None else ())
            ]
        note_carried_out(dataset, catalog, who)
        _let_go(catalog, found.lapses, who)
    stayed = {path for path, _ in unmoved}
    left, went = (len(set(found.paths(moving=moving)) - stayed) for moving in (False, True))
    came = len({file.path for file in found.back} - stayed)
    return CarriedOut(
        left + len(arrived[0]), went + len(arrived[1]), came, [one for one in unmoved if one[0] not in _placed(found)],
        sum(map(len, arrived)), found.lapses,
    )  # fmt: skip


def _overtaken(finished: int) -> str:
    """Why nothing was carried out; `finished` counts the pictures that an interrupted run had begun to move."""
    done = f"An interrupted carry-out was finished: {with_noun(finished, 'picture')} moved. " if finished else ""
    return f"{done}Decisions or pictures have changed since you looked: look again at what is to be done."


def _pictures_of(
    dataset: Dataset, decisions: Sequence[Decision], paths: Iterable[str] | None = None
) -> set[tuple[str, str, str]]:
    """What tells apart the pictures that these decisions are about, with `paths` those that lay there.

    A picture and its placed copies are one: they have the same content, class and name.
    """
    wanted = None if paths is None else set(paths)
    return {
        (one.sha256, dataset.label_in(one.path), PurePosixPath(one.path).name)
        for one in decisions
        if wanted is None or one.path in wanted
    }


def _let_go(catalog: Catalog, lapses: Sequence[Lapse], who: str) -> None:
    """Put on record that these decisions are no longer to be carried out."""
    _note_as_done(catalog, DecisionRecord.read(catalog), who, LAPSE, [(lapse.row, lapse.why) for lapse in lapses])


def _note_as_done(
    catalog: Catalog, record: DecisionRecord, who: str, action: str, done: Sequence[tuple[DecisionRow, str]]
) -> int:
    """Put on record, with a value each, that decisions are no longer open; the number of the batch, 0 for none.

    What another window or command has put on record in the meantime is left out.
    """

    def rows() -> list[DecisionRow]:
        still = [
            row._replace(value=value, replaced=row.batch)
            for row, value in done
            if row in open_rows(record, PictureKey(row.path, row.sha256))
        ]
        if not still:
            raise Overtaken("All of that is on record.")
        return still

    try:
        return decide(catalog, record, who, action, rows) if done else 0
    except Overtaken:
        return 0


def note_carried_out(dataset: Dataset, catalog: Catalog, who: str) -> int:
    """Put on record which decisions were carried out, by whatever command; the number of the batch, 0 where none was.

    The files say what was done, also by a run that was killed before it could write it down.
    """
    record = DecisionRecord.read(catalog)
    waiting = [(key, row) for key in record.keys() for row in open_rows(record, key)]  # noqa: SIM118 - no mapping
    if not waiting:
        return 0
    left = {(one.path, one.sha256, one.reason): one.run for one in records_done(catalog)}
    went = {(one.path, one.sha256, dataset.label_in(one.move_to)): one.run for one in class_moves_done(catalog)}
    aside = {(file.path, file.sha256) for file in stored_files(dataset, catalog)}
    pictures = list(glances(catalog))
    present = {picture.path: picture.sha256 for picture in pictures}
    labels = defaultdict[str, set[str]](set)
    for picture in pictures:
        labels[picture.sha256].add(picture.label)
    # Of a picture that was renamed first, the content alone tells that it has left
    for (_, sha256, reason), by_run in list(left.items()):
        if sha256 not in labels:
            left.setdefault(("", sha256, reason), by_run)
    done = []
    for key, row in waiting:
        runs = left if row.action == ASIDE else went
        run = runs.get((*key, row.value))
        if run is None and present.get(key.path) != key.sha256:
            run = runs.get(("", key.sha256, row.value))
            if row.action == RELABEL and labels.get(key.sha256) == {row.value}:  # by us, or by hand
                run = ""
        if row.action == RESTORE and key not in aside and present.get(key.path) == key.sha256:
            run = ""
        if run is not None:
            done.append((row, run))
    return _note_as_done(catalog, record, who, CARRY_OUT, done)


def _placed(found: Intended) -> set[str]:
    return {one.path for one in found.decisions} - found.pictures


def _pending(record: DecisionRecord, standings: Standings, picture: Glance) -> DecisionRow | None:
    key = PictureKey(picture.path, picture.sha256)
    return standings.of(key).pending if record.about(key) else None


def _chosen_instead(record: DecisionRecord, standings: Standings, pictures: Sequence[Glance]) -> dict[str, Glance]:
    """The path of a copy that was to stay → the one which a person chose in its place."""
    found = dict[str, Glance]()
    for picture in pictures:
        key = PictureKey(picture.path, picture.sha256)
        chosen = standings.of(key).chosen if record.about(key) else None
        if chosen is not None:
            batch = record.rows[chosen.batch]
            found.update((row.path, picture) for row in batch if row.action == ASIDE)
    return found


def _leaves(
    picture: Glance, row: DecisionRow, who: str, planned: Decision | None, instead: Mapping[str, Glance]
) -> Decision:
    """The decision by which a picture leaves: as it was proposed, where the person took it so."""
    was_proposed = planned is not None and planned.reason == row.value and not planned.move_to
    chosen = instead.get(planned.keeper if planned is not None and was_proposed else picture.path)
    if chosen is not None and chosen.path != picture.path:
        detail = f"a copy of {chosen.path}; that one stays: {who} chose it"
        verdict = EXACT if chosen.sha256 == picture.sha256 else EDITED
        return Decision(picture.path, picture.sha256, row.value, detail, chosen.path, -1, verdict)
    if planned is not None and was_proposed and planned.sha256 == picture.sha256:
        return replace(planned, detail=f"{planned.detail}; {who} decided so")
    return Decision(picture.path, picture.sha256, row.value, f"{who} decided so")


def _warnings(
    decisions: Sequence[Decision], pictures: Sequence[Glance], orphaned: int, lapses: Sequence[Lapse], unfinished: int
) -> Iterator[str]:
    if unfinished:
        yield (
            f"An earlier run was interrupted: {with_noun(unfinished, 'picture')} that it had begun to move "
            f"{'comes' if unfinished == 1 else 'come'} first."
        )
    yield from map(str, lapses[:_MOST_NAMED])
    if len(lapses) > _MOST_NAMED:
        yield f"{with_noun(len(lapses) - _MOST_NAMED, 'more decision')} cannot be carried out, for such reasons."
    if orphaned:
        leave = "leaves as a copy" if orphaned == 1 else "leave as copies"
        yield f"{with_noun(orphaned, 'picture')} {leave}, and so does the copy that was to stay."
    losses = losses_of(decisions, tally(decisions, pictures)) if decisions else []
    for loss in losses[:_MOST_NAMED]:
        yield f"{'Empties' if loss.empties else 'Takes more than a tenth of'} {loss}."
    if len(losses) > _MOST_NAMED:
        more = len(losses) - _MOST_NAMED
        lose = "loses more than a tenth of its" if more == 1 else "lose more than a tenth of their"
        yield f"{with_noun(more, 'more class', 'more classes')} {lose} pictures."
    leaving = {one.path for one in decisions if not one.move_to}
    held_out = sum(picture.path in leaving and picture.split in HELD_OUT for picture in pictures)
    if held_out:
        leave = "leaves" if held_out == 1 else "leave"
        yield f"{with_noun(held_out, 'picture')} {leave} valid or test, on which figures are measured."
