"""A scrape over the local web and what it leaves behind, for the tests that look at it from several sides."""

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

from curate.scrape import Scraped, scrape
from curate.scraping.scrape_options import ScrapeOptions
from curate.scraping.yield_report import Yield
from curate.sources.protocol.image_search import Query
from curate.sources.protocol.licenses import OPEN
from testing.fixtures import ServedPicture
from testing.localweb import LocalWeb

KEYS = {"FLICKR_API_KEY": "a key"}


def bring(
    web: LocalWeb, out: Path, *labels: str, limit: int = 100, licenses: frozenset[str] | None = OPEN, **options: Any
) -> Scraped:
    queries = [Query(label, label, label) for label in labels or ("rose", "iris")]
    network = options.pop("network", None) or web.network()
    wanted = ScrapeOptions(limit, licenses, options.pop("min_size", 100), options.pop("per_author", None))
    options.setdefault("sources", ("openverse",))
    return scrape(out, queries, wanted, network=network, keys=options.pop("keys", KEYS), **options)


def only(yields: list[Yield], label: str, source: str = "openverse") -> Yield:
    (found,) = [one for one in yields if (one.label, one.source) == (label, source)]
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.jpg")}


def fetches(web: LocalWeb) -> Counter[str]:
    return Counter(visit.path for visit in web.log if "/pictures/" in visit.path)


def open_ones(web: LocalWeb, label: str) -> list[ServedPicture]:
    return [picture for picture in web.pictures if picture.label == label and picture.license in OPEN]


def ledger(out: Path) -> sqlite3.Connection:
    return sqlite3.connect(out / "catalog.sqlite")
