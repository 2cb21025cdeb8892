"""What is known of a picture, in words for people: its facts, its credit, and in what copies of it differ."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from curate.catalog import Catalog
from curate.catalog.credits import credit_of
from curate.catalog.overview import Glance, more_facts
from curate.quality import CHECKS

Facts = list[tuple[str, str]]
"""(name, value), in their order."""

_FOLDERS: Final = "folder"
_THRESHOLDS: Final = {check.flag: check.threshold for check in CHECKS}


def facts_of(catalog: Catalog, picture: Glance, split: str) -> Facts:
    """All that is known of a picture, be it in the dataset or in the quarantine."""
    folder, _, name = picture.path.rpartition("/")
    found = [("name", name), (_FOLDERS, folder), ("class", picture.label)]
    if split:
        found.append(("split", split))
    if picture.broken:
        found.append(("no pixels", picture.broken))
    if picture.width:
        found.append(("pixels", f"{picture.width:,} × {picture.height:,}"))
    if picture.size:
        found.append(("bytes", f"{picture.size:,}"))
    if picture.format:
        found.append(("format", picture.format))
    if picture.width and picture.size:
        found.append(("bits a pixel", f"{8 * picture.size / (picture.width * picture.height):.2f}"))
    more = more_facts(catalog, picture.path, picture.sha256)
    if more is not None:
        if more.mtime_ns > 0:
            written = datetime.fromtimestamp(more.mtime_ns // 1_000_000_000, UTC)
            found.append(("written", f"{written:%Y-%m-%d %H:%M:%S} UTC"))
        if picture.width:
            found.append(("pHash", f"{more.phash:016x}"))
        found += [
            (flag, f"score {score:g}, below {_THRESHOLDS[flag]:g}")
            for flag, score in more.scores
            if score < _THRESHOLDS[flag]
        ]
    credit = credit_of(catalog, picture.sha256)
    found += [(name, credit[field]) for name, field in _CREDITED if credit.get(field)]
    found.append(("sha256", picture.sha256))
    return found


_CREDITED: Final = (("source", "source"), ("author", "author"), ("licence", "license"), ("title", "title"))


def credit_in_words(catalog: Catalog, sha256: str) -> Mapping[str, str] | None:
    """Whom to credit for a content; None where nothing is known."""
    credit = credit_of(catalog, sha256)
    if not credit:
        return None
    named = {"title": "title", "author": "author", "licence": "license", "licence_url": "license_url"}
    named |= {"page": "landing_page", "source": "source"}
    return {name: credit[field] for name, field in named.items()}


def differing(facts: Mapping[str, Facts]) -> list[tuple[str, dict[str, str]]]:
    """(fact, {identifier: value}) of the facts that are not the same in all of several pictures; "" for none."""
    by_picture = {identifier: dict(known) for identifier, known in facts.items()}
    names = list(dict.fromkeys(name for known in by_picture.values() for name in known))
    found = [(name, {one: known.get(name, "") for one, known in by_picture.items()}) for name in names]
    return [(name, values) for name, values in found if len(set(values.values())) > 1]
