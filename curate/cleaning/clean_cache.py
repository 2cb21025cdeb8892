"""Whether anything has changed since `clean` last found nothing to do: then there is nothing to do."""

import hashlib

from curate.catalog import Catalog
from curate.catalog.clean_runs import enter_clean, recall_clean, what_a_plan_depends_on
from curate.lookalikes.method import plan_method


def is_known_clean(catalog: Catalog, options: str) -> bool:
    """Whether the very pictures that are present were judged before with these options, and all of them could stay."""
    known = recall_clean(catalog, options)
    return known is not None and known == _digest(catalog)


def remember_clean(catalog: Catalog, options: str) -> None:
    """Remember that with these options nothing is left to do."""
    enter_clean(catalog, options, _digest(catalog))


def _digest(catalog: Catalog) -> str:
    digest = hashlib.sha256()
    digest.update(plan_method().encode())
    for row in what_a_plan_depends_on(catalog):
        digest.update(row)
    return digest.hexdigest()
