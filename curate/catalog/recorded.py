"""What a catalog says should be there, read for `verify`, which believes nothing of it."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from curate.catalog.origin_facts import OriginFacts, observed_photos, origin_facts
from curate.catalog.pictures import Catalog
from curate.catalog.placements import IN_PLACE, placed_elsewhere, placed_in
from curate.errors import UserError


@dataclass(frozen=True)
class Recorded:
    """The folders elsewhere that hold a split, path → sha256 of what should be there, and what is told of origins, as
    in `curate.origins.origins_of`; `placed` are the paths of what `split` made in the dataset itself.
    """

    outs: Sequence[str] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    origins: Sequence[OriginFacts] = ()
    observed: Mapping[str, str] = field(default_factory=dict)
    placed: frozenset[str] = frozenset()


def read_recorded(file: Path) -> Recorded:
    """Read a catalog without a trace. Raises `UserError` where there is none, or one that says nothing of use."""
    try:
        with Catalog.open_read_only(file) as catalog:
            present = catalog.db.execute("SELECT path, sha256 FROM pictures WHERE state = 'present'").fetchall()
            placed = list(placed_elsewhere(catalog))
            here = placed_in(catalog, IN_PLACE)
            origins, observed = origin_facts(catalog), observed_photos(catalog)
    except sqlite3.Error as error:
        raise UserError(f"The catalog {file} has not the tables of one ({error}): move it away.") from error
    rows = (*present, *placed, *here.items(), *origins, *observed.items())
    if not all(isinstance(value, str) for row in rows for value in row):
        raise UserError(f"The catalog {file} holds paths and digests that are no text: move it away.")
    elsewhere = {f"{out}/{path}": sha256 for out, path, sha256 in placed}
    outs = list(dict.fromkeys(out for out, _, _ in placed))
    return Recorded(outs, dict(present) | elsewhere, origins, observed, frozenset(here))
