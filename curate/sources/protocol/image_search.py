"""The contract of an image search: a query and a cursor give one page of candidates."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from curate.progress import Progress, silent
from curate.sources.protocol.licenses import UNKNOWN, License
from curate.web.api import Api

_PLANT_PARTS = frozenset({"flower", "blossom", "bloom", "head", "plant"})
_COLOURS = frozenset({"blue", "red", "white", "yellow", "pink", "purple", "orange", "violet", "green", "black"})


@dataclass(frozen=True)
class Query:
    """What is looked for: the class folder (`label`), its human `name`, and the words to search by.

    `text` is for searches by words, `taxon` for those by species: by default the words without those that name no
    taxon ("Papaver rhoeas flower", "Eustoma blue"). `kingdom` keeps apart what has one name in two of them ("Echinops"
    is a thistle and a tenrec): by default Plantae where the words speak of a part of a plant, else any.
    """

    label: str
    name: str
    text: str
    taxon: str = ""
    kingdom: str = ""

    def is_called(self, label: str) -> bool:
        """Whether a list, folder or dataset means this class by a label: by its folder's name or its human name."""
        return plain_label(label) in (plain_label(self.label), plain_label(self.name))

    def __post_init__(self) -> None:
        words = self.text.split()
        named = [word for word in words if not _is_plant_part(word)]
        while len(named) > 1 and named[0].istitle() and named[-1] in _COLOURS:
            named.pop()
        object.__setattr__(self, "taxon", self.taxon or " ".join(named) or self.text)
        if not self.kingdom and any(map(_is_plant_part, words)):
            object.__setattr__(self, "kingdom", "Plantae")


def plain_label(label: str) -> str:
    """A label without case, and with spaces for what stands for one: `Fire_lily` → `fire lily`."""
    return " ".join(re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", label).casefold()).split())


def _is_plant_part(word: str) -> bool:
    return word.lower().rstrip("s") in _PLANT_PARTS


@dataclass(frozen=True)
class Candidate:
    """A picture that a source has found, and whom it belongs to. Nothing of it has been fetched.

    `url` is where the picture lies (http, https; `file:` from the `folder` source and `hf:` from `hf` alone). Pictures
    of one `provenance_group` show the same thing and must stay on one side of a split. `taken_at` is when it was taken,
    in local time and ISO 8601 as far as the source knows it, or when it was uploaded: a series is one author's pictures
    of one minute.

    `author_page` is where the author shows what else is theirs. With `noai`, its author wants no AI trained with it.
    `key` is one text for all URLs of the picture, where its URL does not say which picture it is. `citation` is what it
    was found in, where that wants to be cited as a whole: the DOI of a download.
    """

    url: str
    source_id: str
    landing_page: str = ""
    title: str = ""
    author: str = ""
    license: License = UNKNOWN
    width: int | None = None
    height: int | None = None
    provenance_group: str = ""
    taken_at: str = ""
    author_page: str = ""
    noai: bool = False
    key: str = ""
    citation: str = ""


@dataclass(frozen=True)
class CandidatePage:
    """A page of candidates, best first, and the cursor of the next one (None: there is none).

    `odd` records of it could not be read, or are of another taxon, and were skipped; `specimens` are records of dead
    plants and animals that were left out because nobody had asked for them. `note` says what the query was taken for,
    where that may be something else than was meant.
    """

    candidates: tuple[Candidate, ...]
    next: str | None = None
    odd: int = 0
    note: str = ""
    specimens: int = 0


@dataclass(frozen=True)
class SourceOptions:
    """What a source may be told: the licences wanted (None: any), the class folders to come and their names, argument
    and keys.

    With `specimens`, records of dead plants and animals are wanted too, herbarium sheets for one. `min_size` is in
    pixels of the shorter side, for a source that has a picture in several sizes. `queries` are all that will be asked.
    What a source needs for all of them lies in the folder `kept` (None: nothing can be kept), where a `dry` run writes
    nothing; `say` takes a sentence for the user before something large begins.
    """

    licenses: frozenset[str] | None
    labels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    argument: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    specimens: bool = False
    min_size: int = 0
    queries: tuple[Query, ...] = ()
    kept: Path | None = None
    dry: bool = False
    progress: Progress = silent
    say: Callable[[str], None] = lambda words: None  # noqa: ARG005


def whole_number(cursor: str | None, first: int) -> int:
    """The number that a cursor is; `first` where there is none, or where somebody else has written something there."""
    return int(cursor) if cursor and cursor.isascii() and cursor.isdigit() and len(cursor) < 10 else first


class Source(Protocol):
    """A place that finds pictures. Each module of `curate.sources` is one, under the module's own name.

    To add one, write a module there with a class `Search` that fulfils this protocol; nothing else needs
    to know of it. `page` is the whole work: it asks for one page and says how to ask for the next. The
    cursor is any text that the source makes up; it is kept in the catalog, so a search that was stopped
    goes on where it was, in another process, without asking for a page twice.
    """

    home: ClassVar[str]
    """The service's base URL; "" where there is none."""
    turn: ClassVar[int | None]
    """The place among the sources of `--source auto`; None: only when asked for by name."""
    tells_licenses: ClassVar[bool]
    """Whether it knows the licence of at least some of its pictures."""
    required_keys: ClassVar[tuple[str, ...]]
    """The environment variables without which it cannot work."""
    warning: ClassVar[str]
    """What the user must know before it starts; "" where there is nothing."""

    @property
    def state(self) -> str:
        """What decides the answers besides the query, such as a list's content: another one is another search."""

    def __init__(self, api: Api, options: SourceOptions) -> None:
        """Raise UserError where an argument or a key is missing; ask for nothing yet."""

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:
        """One page of answers to the query, the first where `cursor` is None.

        `wanted` says how many pictures are still needed: no reason to ask for a longer page. Candidates
        come back with whatever licence they have; who asks decides. Raises SourceFailed.
        """


@runtime_checkable
class PictureGiver(Protocol):
    """A source that is asked for each picture before it is fetched, because a URL alone does not bring it."""

    async def give(self, candidate: Candidate) -> str | bytes:
        """The URL from which to fetch a picture now; or the picture itself, its bytes as they came.

        Raises FetchFailed where it cannot be had.
        """


@runtime_checkable
class PreparedSource(Protocol):
    """A source that reads something large before it is asked for its first page, once for all queries."""

    async def prepare(self) -> None:
        """Do it, if it was not done yet; `state` holds from then on. Raises SourceFailed, and UserError."""


@runtime_checkable
class RenewedSource(Protocol):
    """A source that keeps what it has brought, which may have changed where it comes from."""

    async def renew(self) -> None:
        """Look whether it has, once in a run, and bring it anew then; `state` tells afterwards. Never fails."""
