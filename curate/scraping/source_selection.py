"""From what `--source` says to sources that are ready to be asked."""

from collections.abc import Mapping, Sequence

from curate.errors import UserError
from curate.scraping.scrape_options import ScrapeOptions
from curate.sources import auto_order, open_source, source_class
from curate.sources.protocol.image_search import Query, Source, SourceOptions
from curate.web.fetch import Fetcher


def chosen_sources(specs: Sequence[str], keys: Mapping[str, str], options: ScrapeOptions) -> list[str]:
    """The sources asked for, `auto` spelt out, each once.

    Raises UserError where one is unknown, or tells no licences while known ones are wanted.
    """
    spelt = [name for spec in specs for name in (auto_order(keys) if spec == "auto" else [spec])]
    chosen = list(dict.fromkeys(spelt))
    if not chosen:
        raise UserError("No source is chosen: leave --source out, or give it a name.")
    for spec in chosen:
        if not source_class(spec).tells_licenses and options.licenses is not None:
            raise UserError(
                f"The source '{spec}' does not tell under which licence a picture is: add --license any to take "
                "pictures whose licence is unknown."
            )
    return chosen


def warnings_for(specs: Sequence[str], keys: Mapping[str, str], options: ScrapeOptions) -> list[str]:
    """What the user must know before these sources start. Raises UserError as `chosen_sources` does."""
    return [source_class(spec).warning for spec in chosen_sources(specs, keys, options) if source_class(spec).warning]


def open_sources(
    specs: Sequence[str], fetcher: Fetcher, options: ScrapeOptions, queries: Sequence[Query], keys: Mapping[str, str]
) -> list[tuple[str, Source]]:
    """(what `--source` said, the source) in order. Raises UserError where an argument or a key is missing."""
    asked = SourceOptions(options.licenses, tuple(query.label for query in queries), keys=keys)
    return [(spec, open_source(spec, fetcher, asked)) for spec in specs]
