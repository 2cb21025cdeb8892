"""What an earlier run was refused, and this one may be allowed: whatever a flag can change is asked for again."""

import re
from collections.abc import Sequence

from curate.catalog.candidate_store import CandidateStore
from curate.scraping.scrape_options import ScrapeOptions
from curate.web.network import Network

_SIDES = re.compile(r"(\d+) × (\d+) pixels")


def ask_again_what_may_be_allowed(
    store: CandidateStore, labels: Sequence[str], options: ScrapeOptions, network: Network
) -> None:
    """Give another try to what a host, its rules or an option had ruled out before, and no longer does.

    Licences, announced sizes and authors are looked at in every run anyway. A host that answered 401 or 403 is asked
    again by whoever gives a contact, as some want one.
    """
    ends = [("failed", "robots.txt")] if not network.obey_robots else []
    ends += [("failed", "x-robots-tag")] if not network.obey_robots_tag else []
    ends += [("failed", "http 401"), ("failed", "http 403")] if network.contact else []
    store.ask_again(labels, ends)
    for label in labels:
        for number, why in store.too_small(label):
            sides = _SIDES.search(why)
            if sides is not None and min(map(int, sides.groups())) >= options.min_size:
                store.mark(number, "found")
