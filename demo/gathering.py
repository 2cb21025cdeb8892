"""Gathers a drawn garden from the local web: by the same code as real pictures, but offline."""

from collections import Counter
from pathlib import Path

from curate.progress import Progress, silent
from curate.scrape import Scraped, scrape
from curate.scraping.scrape_options import ScrapeOptions
from curate.sources.protocol.image_search import Query
from curate.sources.protocol.licenses import OPEN
from testing.localweb import LocalWeb

_LICENSES = ("by", "by-sa", "cc0", "pdm")
"""What the garden's pictures are given away under: nothing of it is to be lost."""
_KEYS = {"FLICKR_API_KEY": "the local web takes any"}


def gather(garden: Path, out: Path, progress: Progress = silent) -> Scraped:
    """Scrape all of a folder of class folders into `out`, from five local services that have divided it among them.

    Raises UserError as `scrape` does.
    """
    labels = sorted(folder.name for folder in garden.iterdir() if folder.is_dir())
    queries = [Query(label, label, label) for label in labels]
    for label in labels:  # or a garden that lies in `out` itself would pass for a class
        (out / "raw" / label).mkdir(parents=True, exist_ok=True)
    with LocalWeb(garden, divided=True, licenses=_LICENSES) as web:
        largest = max(Counter(picture.label for picture in web.pictures).values(), default=0)
        options = ScrapeOptions(limit=largest, licenses=OPEN, min_size=1)
        return scrape(out, queries, options, network=web.network(), keys=_KEYS, progress=progress)
