"""What `split` says: counts of each class, what was held back, and the proof."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from commands.console import say, table
from commands.report_lines import MOST_CLASSES, MOST_ROWS, companions_in_words
from curate.plurals import with_noun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curate.split import Proof, SplitReport, Undivided
    from curate.splitting.undivided import BondKind

_SPLITS = ("train", "valid", "test")


def splitting(report: SplitReport) -> None:
    """What leaks, counts of each class, what was held back, and the proof."""
    if report.proof.leaks:
        say(f"Leaks across the splits that the dataset arrived with: {_leaks_in_words(report.proof)}.")
    rows = [(label, *(counts[split] for split in _SPLITS)) for label, counts in report.counts.items()]
    totals = ("all", *(sum(counts[split] for counts in report.counts.values()) for split in _SPLITS))
    table("Pictures", ("class", *_SPLITS), [*rows, totals], last_is_total=True)
    _untaught(report)
    _not_as_asked(report)
    _left_out(report)
    if seen := companions_in_words(report.companions):
        placed = f"; {report.placement.companions:,} stand beside placed pictures" if report.placement else ""
        say(f"{seen}{placed}.")
    if report.carved:
        say(f"Carved out of train, as the dataset came without: {', '.join(report.carved)}; what came is untouched.")
    for labelled, unlabelled in report.unlabelled_copies[:MOST_ROWS]:
        say(f"Copy of a picture without a label: {labelled} is the same picture as {unlabelled}.")
    if report.unlabelled:
        say(f"Without a label, and so not placed or learnt from: {report.unlabelled:,} pictures of a split.")
    if report.frozen:
        say(f"Frozen, and so taking nothing new: {', '.join(report.frozen)}.")
    if report.placement and report.placement.set_aside:
        say(f"Old copies set aside in the quarantine, as nothing else has their bytes: {report.placement.set_aside}.")
    if report.network:
        known, of = report.featured
        say(f"Asked the bank which pictures may be of one scene, by {report.network}: it knows {known:,} of {of:,}.")
    say(f"Proof: among {report.proof.pictures:,} pictures, {_proof_in_words(report)}.")


def _untaught(report: SplitReport) -> None:
    """The classes that valid or test has, and train has not."""
    held_out = {label: counts["valid"] + counts["test"] for label, counts in report.counts.items()}
    strange = [f"{label} ({held_out[label]:,})" for label, counts in report.counts.items() if not counts["train"]]
    strange = [one for one in strange if not one.endswith("(0)")]
    if strange and len(strange) < len(held_out):
        more = f" and {len(strange) - MOST_CLASSES:,} more" if len(strange) > MOST_CLASSES else ""
        say(
            f"In no picture of train, and so never learnt, nor named right: {', '.join(strange[:MOST_CLASSES])}{more}. "
            "Put pictures of it into train; else `evaluate` leaves these out of its figures, and says so."
        )


def _not_as_asked(report: SplitReport) -> None:
    """The pictures and classes that could not be drawn as the others were."""
    for held in report.held_back[:MOST_ROWS]:
        say(f"Held back: {held.path}: {held.reason}.")
    if len(report.held_back) > MOST_ROWS:
        say(f"… and {len(report.held_back) - MOST_ROWS:,} more that were held back.")
    if set(report.frozen) != {"valid", "test"}:
        if report.too_small:
            more = ", …" if len(report.too_small) > 10 else ""
            say(
                f"Too small for every split: {len(report.too_small)} classes: {', '.join(report.too_small[:10])}{more}."
            )
        for one in report.undivided[:MOST_ROWS]:
            say(_not_divided(one))
    if report.ungrouped:
        say(f"In no group, and so drawn alone: {len(report.ungrouped):,} pictures, such as {report.ungrouped[0]}.")
    if report.subfolders > 1:
        say(
            f"The class folders hold {report.subfolders:,} subfolders, whose pictures may part: if each is one "
            "patient, product or session, give --group-by parent."
        )
    if report.grouped_before:
        say(
            "The split that was here kept groups together, and this one does not: for the same, give "
            f"--group-by {shlex.quote(report.grouped_before)}."
        )


def _left_out(report: SplitReport) -> None:
    for path in report.orphaned[:MOST_ROWS]:
        say(f"Kept as a picture of its own, because its original is gone: {path}.")
    if report.broken:
        say(f"Left out: {with_noun(len(report.broken), 'broken file')}, such as {report.broken[0]}.")
    if report.unreadable:
        say(f"Left out, as nothing here reads them: {len(report.unreadable):,}, such as {report.unreadable[0]}.")


def _proof_in_words(report: SplitReport) -> str:
    proof = report.proof
    free = " (free to part)" if report.bind == "copies" else ""
    said = f"pairs across splits: copies {proof.copies:,}, near {proof.near:,}{free}, of one origin {proof.origins:,}"
    if report.network or proof.found:
        later = " that had their splits before it was known" if proof.scenes and not free else ""
        said = f"{said}, of one scene by features {proof.scenes:,}{later}{free} of {proof.found:,}"
    said = f"{said}, of one group {proof.groups:,}" if report.group_by else said
    if not proof.unknown:
        return said
    whose = "picture, whose observation" if proof.unknown == 1 else "pictures, whose observations"
    kept = "kept with all else of their authors"
    if proof.nameless == proof.unknown:
        kept = "no author is named either, by whom to keep them together"
    elif proof.nameless:
        alone = "names none and stands alone" if proof.nameless == 1 else "name none and stand alone"
        kept = f"{kept}, but for {proof.nameless:,} that {alone}"
    return f"{said}; it says nothing of {proof.unknown:,} {whose} no source told: {kept}"


def _leaks_in_words(proof: Proof) -> str:
    kinds = (("of copies", proof.copies), ("of one origin", proof.origins), ("of one group", proof.groups))
    return ", ".join(f"{count:,} {'pair' if count == 1 else 'pairs'} {kind}" for kind, count in kinds if count)


_HOLDS: Final[Mapping[BondKind, str]] = {
    "copies": "copies of one picture: `clean` first, or add other pictures",
    "origins": "of one observation or source page: add pictures of others",
    "groups": "of one group by --group-by: give it so that it tells more groups apart",
    "scenes": (
        "shots of one scene: add others, or let these part with --bind copies, which makes figures on test too good"
    ),
    "near": (
        "near pictures, such as frames of one camera or one form filled in: add others, or let these part with --bind "
        "copies, which makes figures on test too good"
    ),
}


def _not_divided(one: Undivided) -> str:
    """Why a class has too few pictures in a split although it has enough, and what to do."""
    groups = "one group" if one.groups == 1 else f"{one.groups:,} groups"
    return (
        f"Not divided as asked: {one.label}, whose {one.pictures:,} pictures are {groups}, held together as "
        f"{_HOLDS[one.kind]}."
    )
