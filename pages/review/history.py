"""What was decided, batch by batch, in a few words each."""

from collections.abc import Sequence
from typing import Any

from curate.catalog.decisions import CARRY_OUT, UNDO, DecisionRow
from curate.decisions import ASIDE, KEEP, KEEPER, RELABEL, RESTORE, DecisionRecord


def batch_in_words(record: DecisionRecord, number: int) -> dict[str, Any]:
    """One batch as the history lists it."""
    batch = record.batches[number]
    rows = record.rows.get(number, [])
    return {
        "batch": number,
        "when": batch.made_at,
        "who": batch.who,
        "action": batch.action,
        "count": len(record.rows.get(batch.undoes, [])) if batch.action == UNDO else len(rows),
        "words": _words(batch.action, batch.undoes, rows),
        "undone": number in record.undone,
    }


def _words(action: str, undoes: int, rows: Sequence[DecisionRow]) -> str:
    """A batch in a few words."""
    if action == UNDO:
        return f"took back batch {undoes}"
    if action == CARRY_OUT:
        return f"carried out {len(rows):,} decisions"
    if not rows:
        return action
    first = rows[0].path
    pictures = first if len(rows) == 1 else f"{first} and {len(rows) - 1:,} more"
    values = sorted({row.value for row in rows if row.value and row.action in (ASIDE, RELABEL)})
    said = {KEEP: "keeps", ASIDE: "sets aside", RELABEL: "moves", KEEPER: "has stay", RESTORE: "brings back"}
    as_what = f": {', '.join(values[:3])}" if values else ""
    return f"{said.get(action, action)} {pictures}{as_what}"
