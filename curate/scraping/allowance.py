"""What the services allow a day, counted over all runs of a day: kept with the dataset."""

import datetime
import json

from curate.catalog import Catalog

_RECORD = "spent"


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def spent_today(catalog: Catalog) -> dict[str, tuple[int, int]]:
    """Host → (requests, bytes) of the runs of today, in UTC; nothing where the record is none of ours."""
    try:
        record = json.loads(catalog.about(_RECORD) or "{}")
        if record.get("day") != _today():
            return {}
        return {str(host): (max(0, int(calls)), max(0, int(size))) for host, (calls, size) in record["hosts"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def keep_spent(catalog: Catalog, spent: dict[str, tuple[int, int]]) -> None:
    """Keep what this day has used so far; those of before are in `spent` already."""
    if spent:
        with catalog.transaction():
            catalog.note_about(_RECORD, json.dumps({"day": _today(), "hosts": spent}))
