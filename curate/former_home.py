"""What a flat dataset leaves behind when it is renamed: the folder beside it with its catalog and quarantine."""

import re
from pathlib import Path
from typing import Final

from curate.catalog import Catalog
from curate.dataset import Dataset
from curate.errors import UserError

_HOME_ENDING: Final = ".florilegium"
_CATALOG: Final = "catalog.sqlite"
_OF_AN_ADDRESS: Final = re.compile(r".*-[0-9a-f]{8}\.florilegium", re.DOTALL)  # as `home_of_address` names it


def homes_without_dataset(dataset: Dataset, part: str) -> list[Path]:
    """The homes beside a flat dataset that hold a `part`, and whose own dataset is no longer there.

    Renaming the dataset does not rename its home. Another layout keeps both within the dataset, and has none beside it.
    What is kept about an address (`NAME-<8 digits>.florilegium`) was no folder's home.
    """
    if dataset.layout != "flat":
        return []
    try:
        beside = sorted(dataset.home.parent.iterdir())
    except OSError:
        return []
    return [
        home
        for home in beside
        if home.name.endswith(_HOME_ENDING)
        and not _OF_AN_ADDRESS.fullmatch(home.name)
        and home != dataset.home
        and (home / part).exists()
        and not home.with_name(home.name.removesuffix(_HOME_ENDING)).exists()
    ]


def home_of_former_name(dataset: Dataset) -> Path | None:
    """The home beside a dataset whose catalog knows most of its pictures by their places; None where there is none."""
    for home in homes_without_dataset(dataset, _CATALOG):
        try:
            with Catalog.open_read_only(home / _CATALOG) as catalog:
                known = [picture.path for picture in catalog.pictures()]
        except UserError:  # nothing is learnt from what cannot be read
            continue
        if 2 * sum((dataset.root / path).is_file() for path in known) > len(known):
            return home
    return None
