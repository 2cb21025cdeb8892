"""What was decided, batch by batch, in a few words each."""

from collections.abc import Sequence
from typing import Any

from curate.catalog.decisions import CARRY_OUT, LAPSE, UNDO, DecisionRow
from curate.decisions import ASIDE, KEEP, KEEPER, RELABEL, RESTORE, DecisionRecord
from curate.plurals import with_noun
from pages.review.deciding import ACCEPT


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
        return f"carried out {with_noun(len(rows), 'decision')}"
    if action == LAPSE:
        return f"dropped {_named([row.path for row in rows])}: changed, moved or gone since"
    if not rows:
        return action
    if action == RESTORE and all(row.action == KEEP for row in rows):  # by `restore`, as it brings them back
        return f"keeps {_named([row.path for row in rows])}, brought back"
    if action == KEEPER:
        others = [row.path for row in rows if row.action != KEEPER]
        instead = f" in place of {_named(others)}" if others else ""
        return f"chooses {_named([row.path for row in rows if row.action == KEEPER])}{instead}"
    values = sorted({row.value for row in rows if row.value and row.action in (ASIDE, RELABEL)})
    said = {KEEP: "keeps", ASIDE: "sets aside", RELABEL: "moves", RESTORE: "brings back", ACCEPT: "accepts"}
    as_what = f": {', '.join(values[:3])}" if values else ""
    return f"{said.get(action, action)} {_named([row.path for row in rows])}{as_what}"


def _named(paths: Sequence[str]) -> str:
    """The first of these pictures, and how many more there are."""
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1:,} more"
