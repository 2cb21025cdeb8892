"""Whether anything has changed since `clean` last found nothing to do: then there is nothing to do."""

import hashlib

from curate.catalog import Catalog
from curate.catalog.clean_runs import enter_clean, recall_clean, what_a_plan_depends_on
from curate.lookalikes.method import plan_method


def is_known_clean(catalog: Catalog, options: str) -> bool:
    """Whether the very pictures that are present were judged before with these options, and all of them could stay."""
    return near_if_clean(catalog, options) is not None


def near_if_clean(catalog: Catalog, options: str) -> int | None:
    """How many pairs were near when these pictures were judged with these options; None where that never was, and
    where not all of them could stay.
    """
    known, _, near = (recall_clean(catalog, options) or "").partition(" ")
    if not known or known != _digest(catalog):
        return None
    return int(near) if near.isdecimal() else 0


def remember_clean(catalog: Catalog, options: str, near: int = 0) -> None:
    """Remember that with these options nothing is left to do, and how many pairs are near."""
    enter_clean(catalog, options, f"{_digest(catalog)} {near}")


def _digest(catalog: Catalog) -> str:
    digest = hashlib.sha256()
    digest.update(plan_method().encode())
    for row in what_a_plan_depends_on(catalog):
        digest.update(row)
    return digest.hexdigest()
