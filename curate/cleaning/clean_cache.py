"""Whether anything has changed since `clean` last found nothing to do: then there is nothing to do."""

import hashlib
from typing import NamedTuple

from curate.catalog import Catalog
from curate.catalog.clean_runs import enter_clean, recall_clean, what_a_plan_depends_on
from curate.lookalikes.method import plan_method


class NothingToDo(NamedTuple):
    """What was found when all could stay: pairs that are near, and pictures that stay because a person said so."""

    near: int
    held_back: int


def is_known_clean(catalog: Catalog, options: str) -> bool:
    """Whether the very pictures that are present were judged before with these options, and all of them could stay."""
    return found_if_clean(catalog, options) is not None


def found_if_clean(catalog: Catalog, options: str) -> NothingToDo | None:
    """What was found when these pictures were judged with these options; None where that never was, and where not all
    of them could stay.
    """
    known, *counts = (recall_clean(catalog, options) or "").split(" ")
    if not known or known != _digest(catalog):
        return None
    near, held_back, *_ = [int(count) if count.isdecimal() else 0 for count in (*counts, "", "")]
    return NothingToDo(near, held_back)


def remember_clean(catalog: Catalog, options: str, near: int = 0, held_back: int = 0) -> None:
    """Remember that with these options nothing is left to do, how many pairs are near, and how many pictures stay
    because a person decided so.
    """
    enter_clean(catalog, options, f"{_digest(catalog)} {near} {held_back}")


def _digest(catalog: Catalog) -> str:
    digest = hashlib.sha256()
    digest.update(plan_method().encode())
    for row in what_a_plan_depends_on(catalog):
        digest.update(row)
    return digest.hexdigest()
