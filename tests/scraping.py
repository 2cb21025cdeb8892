"""One scrape as a process of its own, to be killed: `python -m tests.scraping OUT PORT LIMIT LABEL…`."""

import sys
from pathlib import Path

from curate.scrape import scrape
from curate.scraping.scrape_options import ScrapeOptions
from curate.sources.protocol.image_search import Query
from curate.sources.protocol.licenses import OPEN
from testing.localweb import network_to

if __name__ == "__main__":
    out, port, limit, *labels = sys.argv[1:]
    queries = [Query(label, label, label) for label in labels]
    scraped = scrape(Path(out), queries, ScrapeOptions(int(limit), OPEN, 100), network=network_to(int(port)), keys={})
    print(scraped.new)
