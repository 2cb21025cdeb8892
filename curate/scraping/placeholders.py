"""Pictures that a host gives for many URLs: "no longer available", a logo, a portal's page drawn as a picture."""

import datetime
from urllib.parse import urlsplit

from curate.catalog import Catalog
from curate.catalog.candidate_store import CandidateStore, StoredCandidate
from curate.dataset import Dataset
from curate.files.inside import inside
from curate.quarantine import Decision, set_aside

REASON = "placeholder"

_MOST = 2
"""Pictures of one host that may have the very same bytes: somebody may have uploaded a photo twice."""
_MOST_REDIRECTED = 1


def reject_placeholder(
    dataset: Dataset, catalog: Catalog, store: CandidateStore, stored: StoredCandidate
) -> list[str] | None:
    """Look whether a fetched file is what its host gives for pictures that it has not; if so, none of them is kept.

    It is where the same bytes came for more than two pictures that one source has on one host, and for more than one
    to which a redirect led, in this run or another; all lists of URLs are one source. What was kept before that was
    known goes to the quarantine: returns the class of each that did, None where the file is no placeholder. To be
    called by the holder of the dataset's lock. Raises UserError for a catalog that says that something was kept outside
    the dataset.
    """
    present = store.by_id(stored.id)
    if present is None or not present.sha256:
        return None
    host = _host(stored.candidate.url)
    # Another source may well know one picture by another URL of the same host.
    alike = [
        one
        for one in store.of_bytes(present.sha256)
        if _service(one) == _service(stored) and host and _host(one.candidate.url) == host
    ]
    pictures = {one.picture for one in alike}
    if len(pictures) <= _MOST and len({one.picture for one in alike if one.redirected}) <= _MOST_REDIRECTED:
        return None
    why = f"{host} gives the same file for {len(pictures)} pictures"
    kept = list(dict.fromkeys(path for one in alike for path in _places(dataset, catalog, one)))
    if kept:
        run = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        set_aside(dataset, catalog, [Decision(path, present.sha256, REASON, why) for path in kept], run)
    for one in alike:
        store.mark(one.id, "duplicate", REASON, why)
    return [dataset.label_in(path) for path in kept]


def _places(dataset: Dataset, catalog: Catalog, one: StoredCandidate) -> list[str]:
    """Where a picture lies that was kept: where it was put, else wherever it was moved to since; nowhere otherwise."""
    if one.status != "kept":
        return []
    return [one.path] if inside(dataset.root, one.path).is_file() else catalog.paths_of(one.sha256)


def _service(one: StoredCandidate) -> str:
    return one.source.partition(":")[0]


def _host(url: str) -> str | None:
    """The host that is asked for a picture; None where it lies in a folder or a dataset, which may hold copies."""
    parts = urlsplit(url)
    return parts.hostname if parts.scheme in ("http", "https") else None
