"""Which taxon a query means: a name is resolved once, exactly, and within the kingdom that the names file gives."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curate.sources.protocol.image_search import Query

_ANIMALS = frozenset(
    {"Animalia", "Actinopterygii", "Amphibia", "Arachnida", "Aves", "Insecta", "Mammalia", "Mollusca", "Reptilia"}
)
"""The groups into which iNaturalist divides animals (its "iconic taxa"); those of plants and fungi are the kingdoms."""

_MOST_NAMED = 3
_RANKS = frozenset({"subsp", "ssp", "var", "subvar", "f", "forma", "sect", "subg"})


@dataclass(frozen=True)
class Taxon:
    """A taxon as a service knows it: its key there, scientific name, rank, kingdom or group, and other names."""

    key: int
    name: str
    rank: str = ""
    group: str = ""
    names: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """As people read it: `Echinops (genus, Plantae)`."""
        about = ", ".join(part for part in (self.rank.lower(), self.group) if part)
        return f"{self.name} ({about})" if about else self.name


def best_taxon(query: Query, found: Sequence[Taxon]) -> Taxon | str:
    """The one of `found`, the most observed first, that the query names, or in words why none is.

    A scientific name that is the very same comes before a common name or a synonym that is. A name that only contains
    the words ("sunflower star") is another taxon's.
    """
    words = plain_name(query.taxon)
    inside = [taxon for taxon in found if in_kingdom(taxon.group, query.kingdom)]
    for exact in (
        [taxon for taxon in inside if plain_name(taxon.name) == words],
        [taxon for taxon in inside if words in map(plain_name, taxon.names)],
    ):
        if exact:
            return exact[0]
    kingdom = f" among {query.kingdom}" if query.kingdom else ""
    others = ", ".join(taxon.said for taxon in found[:_MOST_NAMED])
    return f"no taxon{kingdom} is called '{query.taxon}'" + (f"; it knows {others}" if others else "")


def in_kingdom(group: str, kingdom: str) -> bool:
    """Whether a taxon's kingdom or iNaturalist group lies in a kingdom; "" means any."""
    return not kingdom or not group or group == kingdom or (kingdom == "Animalia" and group in _ANIMALS)


def bears_name(words: str, names: Iterable[str]) -> bool:
    """Whether one of a taxon's names is the very same, but for signs of hybrids and of ranks and for punctuation."""
    wanted = _bare_name(words)
    return any(_bare_name(name) == wanted for name in names)


def begins_with(words: str, names: Iterable[str]) -> bool:
    """Whether one of the names begins with the whole words: *Echinops ritro* L. is an Echinops."""
    return any(f"{plain_name(name)} ".startswith(f"{plain_name(words)} ") for name in names)


def _bare_name(name: str) -> str:
    return " ".join(word for word in re.findall(r"[^\W_]+", plain_name(name)) if word not in _RANKS)


def plain_name(name: str) -> str:
    """A name without case, sign of a hybrid and doubled spaces: `Petunia × hybrida` → `petunia hybrida`."""
    return " ".join(re.sub(r"(?:^|\s)[x×]\s|×", " ", name.casefold()).split())
