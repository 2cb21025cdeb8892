"""What a scrape is told: which classes to search for, which sources to ask, and which candidates to leave."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

from curate.dataset import open_dataset
from curate.defaults import DEFAULT_LIMIT, DEFAULT_MIN_SIZE, LEAST_OF_ONE_AUTHOR, SHARE_OF_ONE_AUTHOR
from curate.errors import UserError
from curate.file_names import LONGEST_NAME
from curate.files.inside import is_plain
from curate.names import chosen_labels, load_queries
from curate.printable import printable
from curate.progress import Progress
from curate.sources import auto_order, known_spec, open_source, source_class
from curate.sources.protocol.image_search import Candidate, Query, Source, SourceOptions
from curate.sources.protocol.records import is_no_text
from curate.web.fetch import Fetcher


@dataclass(frozen=True)
class ScrapeOptions:
    """Pictures per class, codes of the licences wanted (None: any, unknown ones too), pixels of the shorter side.

    `per_author` is the most pictures of a class that one author gives, so that a class is varied, 0 for any number;
    None for a fifth of the limit and at least five as long as there are enough of other authors. With `specimens`, dead
    plants and animals are wanted too; with `ignore_noai`, pictures whose authors want no AI trained with them.
    """

    limit: int = DEFAULT_LIMIT
    licenses: frozenset[str] | None = None
    min_size: int = DEFAULT_MIN_SIZE
    per_author: int | None = None
    specimens: bool = False
    ignore_noai: bool = False

    @property
    def most_of_one_author(self) -> int:
        """The most pictures of a class that one author gives; 0 for any number."""
        if self.per_author is not None:
            return self.per_author
        return max(LEAST_OF_ONE_AUTHOR, int(self.limit * SHARE_OF_ONE_AUTHOR))

    def __post_init__(self) -> None:
        """Raises UserError for a number of pictures or of pixels that is none."""
        for what, number in (("pictures of a class", self.limit), ("pixels of the shorter side", self.min_size)):
            if number < 0:
                raise UserError(f"{number} {what} are none to scrape for: give 0 or more.")

    @property
    def words(self) -> str:
        """What of it decides the answers of a search."""
        licences = "any" if self.licenses is None else ",".join(sorted(self.licenses))
        return f"{licences} | specimens" if self.specimens else licences

    def refusal(self, candidate: Candidate) -> tuple[str, str] | None:
        """(kind, reason) for which a candidate falls away by what its source says of it, or None."""
        license_ = candidate.license
        if self.licenses is not None and license_.code not in self.licenses:
            return "licence", f"its licence is {license_.name}"
        if candidate.noai and not self.ignore_noai:
            return "noai", "its author wants no AI trained with it"
        sides = [side for side in (candidate.width, candidate.height) if side]
        if sides and min(sides) < self.min_size:
            return "too small", f"announced as {candidate.width} × {candidate.height} pixels"
        return None


def plan_queries(names: Path | Mapping[str, tuple[str, ...]] | None = None, classes: str | None = None) -> list[Query]:
    """The queries of a names file, or those that `--classes 1,5,orchid` picks by folder or by name.

    `names` may be what such a file says: class folder → (name, search query), and after these the taxon and its kingdom
    where it names them. In the file's order. Raises UserError
    for a file that cannot be used, a class that could not be a folder, and a word that names no class.
    """
    known = names if isinstance(names, Mapping) else load_queries(names)
    queries = [_query(label, *words) for label, words in known.items()]
    if classes is None:
        return queries
    chosen = set(chosen_labels(classes, {query.label: query.name for query in queries}))
    return [query for query in queries if query.label in chosen]


def chosen_sources(specs: Sequence[str], keys: Mapping[str, str], options: ScrapeOptions) -> list[str]:
    """The sources asked for, `auto` spelt out, each once.

    Raises UserError where one is unknown, is no text, or tells no licences while known ones are wanted.
    """
    spelt = [name for spec in specs for name in (auto_order(keys) if spec == "auto" else [known_spec(spec)])]
    chosen = list(dict.fromkeys(spelt))
    if not chosen:
        raise UserError("No source is chosen: leave --source out, or give it a name.")
    for spec in chosen:
        if is_no_text(spec):
            raise UserError(
                f"The source '{printable(spec)}' has letters that are no text, and so cannot be kept on record: rename "
                "its file or folder."
            )
        if not source_class(spec).tells_licenses and options.licenses is not None:
            raise UserError(
                f"The source '{spec}' does not tell under which licence a picture is: add --license any to take "
                "pictures whose licence is unknown."
            )
    return chosen


def warnings_for(specs: Sequence[str], keys: Mapping[str, str], options: ScrapeOptions) -> list[str]:
    """What the user must know before these sources start. Raises UserError as `chosen_sources` does."""
    return [source_class(spec).warning for spec in chosen_sources(specs, keys, options) if source_class(spec).warning]


def home_of(out: Path) -> Path:
    """Where what is kept of the dataset lies, or will lie where there are no pictures yet."""
    try:
        return open_dataset(out).home
    except UserError:
        return out


class Surroundings(TypedDict, total=False):
    """What the fields of `SourceOptions` by these names say of the run that a source belongs to."""

    kept: Path
    dry: bool
    progress: Progress
    say: Callable[[str], None]


def open_sources(
    specs: Sequence[str],
    fetcher: Fetcher,
    options: ScrapeOptions,
    queries: Sequence[Query],
    keys: Mapping[str, str],
    **surroundings: Unpack[Surroundings],
) -> list[tuple[str, Source]]:
    """(what `--source` said, the source) in order. Raises UserError where an argument or a key is missing."""
    labels = tuple(query.label for query in queries)
    names = tuple(query.name for query in queries)
    asked = SourceOptions(
        options.licenses, labels, names, keys=keys, specimens=options.specimens, min_size=options.min_size,
        queries=tuple(queries), **surroundings,
    )  # fmt: skip
    return [(spec, open_source(spec, fetcher, asked)) for spec in specs]


def _query(label: str, name: str, text: str, taxon: str = "", kingdom: str = "") -> Query:
    if label.startswith(".") or not is_plain(label) or "\\" in label:
        raise UserError(f"The class folder {label!a} cannot be a folder's name: rename it in the names file.")
    if len(label.encode()) > LONGEST_NAME:
        raise UserError(f"The class folder {printable(label)} is too long for a folder's name: shorten it.")
    for words in (name, text, taxon, kingdom):
        if is_no_text(words):
            raise UserError(f"The names file says {words!a} of class folder {label}, which is no text: correct it.")
    return Query(label, name, text, taxon, kingdom)
