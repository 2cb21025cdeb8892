"""What the services allow an hour and a day, counted over all runs: kept with the dataset."""

import datetime
import json
import math
from collections.abc import Mapping, Sequence

from curate.catalog import Catalog

_RECORD = "spent"
_STARTED = "started"


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


def started_lately(catalog: Catalog) -> dict[str, list[float]]:
    """Host → when the last requests started, in seconds since 1970; nothing where the record is none of ours."""
    try:
        record = json.loads(catalog.about(_STARTED) or "{}")
        return {str(host): [float(one) for one in moments if math.isfinite(one)] for host, moments in record.items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def keep_started(catalog: Catalog, started: Mapping[str, Sequence[float]]) -> None:
    """Keep when the requests of the last hour started; those of before are in `started` already."""
    if any(started.values()):
        with catalog.transaction():
            catalog.note_about(_STARTED, json.dumps(dict(started)))
