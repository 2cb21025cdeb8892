"""Which taxa the classes mean, and which taxa lie below them, by the table of taxa."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from curate.sources.open_data.table_rows import columns_of, whole_rows
from curate.sources.protocol.image_search import Query
from curate.sources.protocol.long_reading import Watch
from curate.sources.protocol.taxa import Taxon, best_taxon, plain_name

TAXON_COLUMNS = ("taxon_id", "ancestry", "rank", "name", "active")
_MOST_DIGITS = 8  # of a key: a table is made that has a place for each number up to the largest key
_TRUE = ("true", "t", "1")


@dataclass(frozen=True)
class MeantTaxa:
    """`chosen` says for each query which taxon it means, or in words why none. `below` is taxon → the chosen taxa, by
    their keys, that it is or lies below.
    """

    chosen: list[Taxon | str]
    below: Mapping[int, tuple[int, ...]]


class _Row(NamedTuple):
    key: str
    ancestry: str
    rank: str
    name: str
    active: str


def find_taxa(table: Path, queries: Sequence[Query], watch: Watch) -> MeantTaxa:
    """Resolve each query's taxon by its scientific name, the only one that the table has.

    The table is small (some 1.5 million rows) and is read twice: a name may stand behind what lies below it. A name
    that several taxa have, in several kingdoms, is that of the one with most taxa below it. Raises UserError.
    """
    wanted = {plain_name(query.taxon) for query in queries}
    groups = {query.kingdom for query in queries}  # a names file may say Aves, too
    named: list[_Row] = []
    kingdoms: dict[str, str] = {}
    for row in _rows(table, watch):
        if row[2] == "kingdom" or row[3] in groups:
            kingdoms[row[0]] = row[3]
        if _plain(row[3]) in wanted:
            named.append(_Row(*row))
    named = [row for row in named if row.key.isascii() and row.key.isdecimal() and len(row.key) <= _MOST_DIGITS]
    keys = {row.key for row in named}
    above: dict[int, tuple[str, ...]] = {}
    below: Counter[str] = Counter()
    for key, ancestry, *_ in _rows(table, watch):
        lineage = ancestry.split("/")
        lineage.append(key)
        if not keys.isdisjoint(lineage) and key.isascii() and key.isdecimal() and len(key) <= _MOST_DIGITS:
            above[int(key)] = tuple(keys.intersection(lineage))
            below.update(above[int(key)])
    named.sort(key=lambda row: (-below[row.key], int(row.key)))
    chosen = [_choose(query, named, kingdoms) for query in queries]
    meant = {str(taxon.key) for taxon in chosen if isinstance(taxon, Taxon)}
    kept = {key: tuple(sorted(int(one) for one in those if one in meant)) for key, those in above.items()}
    return MeantTaxa(chosen, {key: those for key, those in kept.items() if those})


def _choose(query: Query, named: Sequence[_Row], kingdoms: Mapping[str, str]) -> Taxon | str:
    """The active taxon that the query names; of an inactive one it says that, as its observations went elsewhere."""
    same = [row for row in named if _plain(row.name) == plain_name(query.taxon)]
    active = [_taxon(row, kingdoms, query.kingdom) for row in same if row.active.strip().lower() in _TRUE]
    if same and not active:
        return f"'{query.taxon}' is no longer a name in use: give the accepted one in the names file, as its `taxon`"
    found = best_taxon(query, active)
    return found if isinstance(found, Taxon) or active else f"{found}; its tables know scientific names alone"


def _taxon(row: _Row, kingdoms: Mapping[str, str], wanted: str) -> Taxon:
    groups = [kingdoms[key] for key in [*row.ancestry.split("/"), row.key] if key in kingdoms]
    return Taxon(int(row.key), row.name, row.rank, wanted if wanted in groups else next(iter(groups), ""))


def _plain(name: str) -> str:
    """As `plain_name`, which costs much more where there is no sign of a hybrid."""
    plain = name.casefold()
    return plain_name(name) if "×" in plain or " x " in plain or plain.startswith("x ") or "  " in plain else plain


def _rows(table: Path, watch: Watch) -> Iterator[Sequence[str]]:
    """The columns of `_Row` of each row that has them. As texts alone: an object for each row would take longest."""
    pick: Callable[[Sequence[str]], Sequence[str]] | None = None
    count = 0
    for part in whole_rows(table, watch):
        for line in part.decode("utf-8", "replace").split("\n"):
            row = line.split("\t")
            if pick is None:
                places, count = columns_of(table, row, TAXON_COLUMNS), len(row)
                pick = itemgetter(*places)
            elif len(row) == count:
                yield pick(row)
