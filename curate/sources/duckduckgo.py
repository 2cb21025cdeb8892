"""DuckDuckGo's image search, through the package ddgs.

Its traps: it knows neither licence nor author; "auto" picks an engine at random, so one is named; it stops at ten
results unless told otherwise; finding nothing is an exception like any other; and it disguises itself as a browser,
which is one more reason why `auto` never chooses it.
Source: the package ddgs.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from curate.extras import require_extra
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions, whole_number
from curate.sources.protocol.picture_urls import provenance_group
from curate.sources.protocol.records import read_records
from curate.web.answers import JsonValue, SourceFailed, SourceLimited
from curate.web.api import Api

PAGES = 5
TIMEOUT = 20


class Search:
    """Pages of about a hundred results each."""

    home: ClassVar[str] = ""
    turn: ClassVar[int | None] = None
    tells_licenses: ClassVar[bool] = False
    required_keys: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[str] = ""
    warning: ClassVar[str] = (
        "duckduckgo: the licences of its pictures are unknown, and the package ddgs that asks it passes itself off "
        "as a browser. Look each picture's page up before you publish anything made from it."
    )

    def __init__(self, api: Api, options: SourceOptions) -> None:  # noqa: ARG002
        require_extra("ddgs", "The source 'duckduckgo' needs", "ddgs", "duckduckgo")
        self._api = api

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """Page numbers are the cursor."""
        number = whole_number(cursor, 1)
        results = await asyncio.to_thread(_images, query.text, number)
        answers = (JsonValue("duckduckgo", result, f"result {n}") for n, result in enumerate(results))
        found, odd = read_records(answers, lambda answer: [_candidate(answer)])
        return CandidatePage(found, str(number + 1) if results and number < PAGES else None, odd)


def _images(words: str, number: int) -> list[Mapping[str, Any]]:
    from ddgs import DDGS
    from ddgs.exceptions import DDGSException, RatelimitException, TimeoutException

    try:
        search = DDGS(timeout=TIMEOUT)
        return list(search.images(words, page=number, backend="duckduckgo", safesearch="moderate", max_results=None))
    except RatelimitException as error:
        raise SourceLimited("duckduckgo", "it refuses further searches for now; try again later") from error
    except TimeoutException as error:
        raise SourceFailed("duckduckgo", f"it did not answer in {TIMEOUT} seconds") from error
    except DDGSException as error:
        if "no results" in str(error).lower():
            return []
        raise SourceFailed("duckduckgo", str(error)) from error
    except Exception as error:  # the package raises whatever an odd answer provokes
        raise SourceFailed("duckduckgo", f"the package ddgs failed ({error!r})") from error


def _candidate(result: JsonValue) -> Candidate:
    landing_page = result.optional_text("url")
    return Candidate(
        url=result.text("image"),
        source_id=result.text("image"),
        landing_page=landing_page,
        title=result.optional_text("title"),
        width=result.optional_number("width"),
        height=result.optional_number("height"),
        provenance_group=provenance_group(landing_page),
    )
