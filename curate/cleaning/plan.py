"""A plan as JSON Lines: one decision a line, to be read, edited by hand, and carried out.

The fields of a line, always these and in this order:

    path      the picture that leaves, relative to the dataset's root, with "/" between folders
    reason    one word, which is also the folder below quarantine/: broken, duplicate, leak, conflict, or one's own
    keeper    the path of the copy that stays in its place, "" where there is none
    verdict   exact for the same bytes as another picture, copy for an edited copy of one, "" for all else
    distance  Hamming distance of the two pHashes in bits, -1 where there is no pair
    detail    the reason in words
    sha256    of the picture's bytes when the plan was made; a picture that changed since is not moved

A line may also have

    move_to   the path in another class that the picture moves to; it does not leave the dataset then

Delete a line, and its picture stays; write one, and its picture leaves. Further fields are passed over, and only
`path`, `reason` and `sha256` have to be there.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from curate.catalog import Catalog
from curate.dataset import Dataset
from curate.errors import UserError
from curate.files.addresses import is_remote
from curate.files.inside import inside, is_plain
from curate.files.json_lines import read_json_lines
from curate.files.reading import MAX_BYTES, is_file_of_its_own, sha256_of
from curate.files.remote import write_remote
from curate.quarantine import Decision, stored_files
from curate.written import write_own

FIELDS = ("path", "reason", "verdict", "keeper", "distance", "detail", "sha256")

_REASON = re.compile(r"[a-z][a-z-]{0,30}")


@dataclass(frozen=True)
class PlanLine:
    """One decision, and where it was read: "plan.jsonl, line 3"; when that file was written, in seconds since 1970."""

    decision: Decision
    where: str
    written: float | None = None


def write_plan(file: Path, decisions: Sequence[Decision], catalog: Catalog, *, force: bool = False) -> None:
    """Write a plan, whole or not at all. The same decisions give the same bytes.

    Raises `UserError` as `write_own` does: a plan that was edited by hand is not replaced either.
    """
    lines = [json.dumps(_values(decision), ensure_ascii=False) for decision in decisions]
    if is_remote(file):
        _write_beyond(file, "".join(f"{line}\n" for line in lines))
        return
    if file.exists() and not force and not file.resolve().is_relative_to(catalog.path.resolve().parent):
        read_plan(file)  # what a catalog from elsewhere says of files outside is not enough: it has to be a plan
    write_own(catalog, file, "".join(f"{line}\n" for line in lines), force=force)


def _write_beyond(file: Path, text: str) -> None:
    """Write a plan beyond the disk, over nothing but a plan."""
    try:
        if file.is_file():
            read_plan(file)
        write_remote(file, text.encode())
    except OSError as error:
        raise UserError(f"The plan {file} cannot be written ({error.strerror}): look at the address.") from error


def read_plan(file: Path) -> list[PlanLine]:
    """Read a plan. Raises `UserError`, naming the line, for what is no decision."""
    at_hand = is_file_of_its_own(file) and file.exists()
    written = file.stat().st_mtime if at_hand else None  # before it is read: what changes then is no newer
    read = read_json_lines(file, what="a plan", remedy="correct it, or write one with --dry-run")
    lines: list[PlanLine] = []
    seen: dict[str, str] = {}
    for where, values in read:
        decision = _parse(values, where)
        if decision.path in seen:
            raise UserError(f"{where}: {decision.path} leaves already by {seen[decision.path]}; delete one of the two.")
        seen[decision.path] = where
        lines.append(PlanLine(decision, where, written))
    return lines


def check_plan(lines: Sequence[PlanLine], dataset: Dataset, catalog: Catalog) -> list[Decision]:
    """The decisions that are still to be carried out. Raises `UserError` for the first that cannot be.

    A picture that lies in the quarantine already has left, by an earlier run of the same plan. The catalog has to be
    up to date with the folder.
    """
    to_do, refused = part_plan(lines, dataset, catalog)
    for _, why in refused:
        raise why
    return to_do


def part_plan(
    lines: Sequence[PlanLine], dataset: Dataset, catalog: Catalog
) -> tuple[list[Decision], list[tuple[Decision, UserError]]]:
    """The decisions that are still to be carried out, and those that cannot be, each with what is wrong with it."""
    present = {picture.path: picture.broken for picture in catalog.pictures()}
    labels = dataset.labels()
    targets: dict[str, str] = {}
    gone = defaultdict(list)
    for file in stored_files(dataset, catalog):
        gone[file.path].append(dataset.quarantine / file.stored)
    leaving = {line.decision.path for line in lines if not line.decision.move_to}
    to_do: list[Decision] = []
    refused: list[tuple[Decision, UserError]] = []

    def check(line: PlanLine) -> None:
        decision = line.decision
        if decision.path not in present:
            arrived = [inside(dataset.root, decision.move_to)] if decision.move_to else gone[decision.path]
            if any(_sha256(file) == decision.sha256 for file in arrived):
                return
            raise UserError(f"{line.where}: {dataset.root} holds no picture {decision.path}; delete the line.")
        if _sha256(inside(dataset.root, decision.path)) != decision.sha256:
            raise UserError(
                f"{line.where}: {decision.path} has changed since the plan was made; make a new plan with --dry-run."
            )
        if decision.keeper and (decision.keeper in leaving or present.get(decision.keeper, "not there")):
            raise UserError(
                f"{line.where}: {decision.path} leaves because {decision.keeper} stays, which "
                f"{'leaves too' if decision.keeper in leaving else 'is broken or not there'}; delete the line or "
                'write "keeper": "".'
            )
        if decision.move_to:
            _check_target(line, dataset, labels, targets)
        to_do.append(decision)

    for line in lines:
        try:
            check(line)
        except UserError as error:
            refused.append((line.decision, error))
    return to_do, refused


def _check_target(line: PlanLine, dataset: Dataset, labels: Sequence[str], targets: dict[str, str]) -> None:
    """Raise `UserError` where a picture cannot move to the place that its line names; `targets` are those of others."""
    decision = line.decision
    label = dataset.label_in(decision.move_to)
    if label not in labels or not decision.move_to.startswith(f"{dataset.beside(decision.path, label)}/"):
        raise UserError(
            f"{line.where}: {decision.move_to!r} is no place in another class of {dataset.root}, in the same split as "
            f"{decision.path}; correct move_to."
        )
    if PurePosixPath(decision.move_to).suffix.lower() != PurePosixPath(decision.path).suffix.lower():
        raise UserError(
            f"{line.where}: {decision.move_to!r} does not end as {decision.path} does, which says what the file is; "
            "correct move_to."
        )
    other = targets.setdefault(decision.move_to.casefold(), line.where)
    if other is not line.where or os.path.lexists(inside(dataset.root, decision.move_to)):
        raise UserError(
            f"{line.where}: another file lies at {decision.move_to}, or is to; give the picture another name."
        )


def _values(decision: Decision) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(decision, name) for name in FIELDS}
    return values | {"move_to": decision.move_to} if decision.move_to else values


def _parse(values: dict[str, Any], where: str) -> Decision:
    values = {"keeper": "", "verdict": "", "detail": "", "distance": -1, "move_to": "", **values}
    for name in (*FIELDS, "move_to"):
        wanted = int if name == "distance" else str
        if name not in values:
            raise UserError(f'{where} has no "{name}": a decision needs path, reason and sha256.')
        if type(values[name]) is not wanted:
            raise UserError(f'{where}: "{name}" has to be {"a whole number" if wanted is int else "text"}.')
        if wanted is int and not -1 <= values[name] <= 64:
            raise UserError(f'{where}: "{name}" has to be -1, or bits from 0 to 64.')
        if wanted is str and not _is_unicode(values[name]):
            raise UserError(f'{where}: "{name}" holds half a character, which no file name can.')
    if not is_plain(values["path"]):
        raise UserError(f"{where}: {values['path']!r} is no path inside the dataset.")
    if values["move_to"] and not is_plain(values["move_to"]):
        raise UserError(f"{where}: {values['move_to']!r} is no path inside the dataset.")
    if not _REASON.fullmatch(values["reason"]):
        raise UserError(f"{where}: the reason {values['reason']!r} has to be one word of the letters a to z.")
    return Decision(**{name: values[name] for name in (*FIELDS, "move_to")})


def _is_unicode(text: str) -> bool:
    """JSON can spell half of a surrogate pair, and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sha256(file: Path) -> str:
    try:
        return sha256_of(file, MAX_BYTES)
    except OSError:  # a link that leads nowhere has no bytes, a giant is not read: "" in the catalog
        return ""
