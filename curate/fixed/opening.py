"""Which datasets stay as they lie, told by where they are and by what lies there; and what of them was set aside."""

import time
from dataclasses import replace
from pathlib import Path

from curate.catalog.known_files import left_out
from curate.catalog.pictures import Stamp
from curate.files.addresses import is_remote
from curate.fixed.fixed_dataset import FixedDataset, home_of_address
from curate.fixed.remote_folder import open_remote_folder
from curate.fixed.shards import is_sharded, open_shards

_FRESH = 10.0  # seconds for which a listing beyond the disk holds: a command opens its dataset several times
_listed: dict[Path, tuple[float, FixedDataset]] = {}


def open_fixed(root: Path) -> FixedDataset | None:
    """The dataset in a place, if it is one whose files stay as they lie; None for any other folder.

    What its manifest says to have been set aside is not listed, as long as it is the same file. Raises `UserError`
    where it cannot be read.
    """
    if is_remote(root):
        found = replace(_open_remote(root), home=home_of_address(root))  # which is where one is now
    elif is_sharded(root):
        found = open_shards(root)
    else:
        return None
    aside = left_out(found.catalog_path)
    staying = [
        one for one in found.pictures
        if one.path not in aside or (one.stat and aside[one.path] not in (None, Stamp.of(one.stat)))
    ]  # fmt: skip
    return replace(found, pictures=staying) if aside else found


def is_fixed_place(root: Path) -> bool:
    """Whether a dataset in a place would be one whose files stay as they lie."""
    return is_remote(root) or is_sharded(root)


def forget_listings() -> None:
    """List anew what is opened next."""
    _listed.clear()


def _open_remote(root: Path) -> FixedDataset:
    when, found = _listed.get(root, (0.0, None))
    if found is None or time.monotonic() - when > _FRESH:
        found = open_shards(root) if is_sharded(root) else open_remote_folder(root)
        _listed.clear()  # of one address at a time: there may be millions
        _listed[root] = time.monotonic(), found
    return found
