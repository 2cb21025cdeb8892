"""A category of Wikimedia Commons, and those below it: `commons_category`, or `commons_category:NAME` for one class.

People sort Commons' files by what they show, and species have categories of their own under their scientific name. The
search's `deepcategory:` takes what lies some levels below, too, and finds nothing where too much lies there: then the
category itself is asked for.
https://www.mediawiki.org/wiki/Help:CirrusSearch#Deepcategory
"""

from dataclasses import replace
from typing import ClassVar

from curate.errors import UserError
from curate.sources import wikimedia
from curate.sources.protocol.image_search import CandidatePage, Query, SourceOptions
from curate.web.api import Api

_WAYS = ("deepcategory", "incategory")


class Search(wikimedia.Search):
    """The files of the category that is called like the class's taxon, or like the argument."""

    turn: ClassVar[int | None] = None

    def __init__(self, api: Api, options: SourceOptions) -> None:
        super().__init__(api, options)
        self._category = options.argument.removeprefix("Category:").strip()
        if self._category and len(options.labels) > 1:
            raise UserError(
                f"The category '{self._category}' is of one class: choose it with --classes, or leave the category "
                "out, so that each class is looked for under its taxon."
            )

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """The way that found something, and the `continue` object, are the cursor."""
        name = (self._category or query.taxon).replace('"', " ")
        begun, _, rest = (cursor or "").partition(" ")
        if begun in _WAYS:
            return _going_on(begun, await self.found(f'{begun}:"{name}"', rest))
        for way in _WAYS:
            page = _going_on(way, await self.found(f'{way}:"{name}"', None))
            if page.candidates or page.next:
                return replace(page, note=f"Category:{name}")
        return CandidatePage((), note=f"Category:{name}, which is not there or holds no picture")


def _going_on(way: str, page: CandidatePage) -> CandidatePage:
    return page if page.next is None else replace(page, next=f"{way} {page.next}")
