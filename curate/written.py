"""Files beside the pictures that we write, such as a plan or metadata.csv: told from the user's by the catalog.

They can bear no signature, so the catalog keeps the digest of each. It is on record before the file is written, and so
a run that is stopped in between does not take its own file for the user's.
"""

import hashlib
from pathlib import Path

from curate.catalog import Catalog
from curate.catalog.own_files import note_intended, note_written, written_digests
from curate.files.ours import require_ours, write_ours
from curate.files.reading import sha256_of


def require_own(catalog: Catalog, file: Path, *, force: bool = False) -> None:
    """Raise `UserError` where `write_own` would: a folder is there, or a file that is not as we wrote it."""
    require_ours(file, known=_known(catalog, file), force=force)


def is_own(catalog: Catalog, file: Path) -> bool:
    """Whether the file is there, and is as we wrote it."""
    return _known(catalog, file) is not None


def write_own(catalog: Catalog, file: Path, text: str, *, force: bool = False) -> None:
    """Write a text whole, and put on record that it is ours.

    Raises `UserError` for a file that is there and is not as we wrote it, unless `force`, and where the file cannot be
    written.
    """
    known = _known(catalog, file)
    require_ours(file, known=known, force=force)
    note_intended(catalog, file, hashlib.sha256(text.encode()).hexdigest())
    note_written(catalog, file, write_ours(file, text, known=known, force=force))


def _known(catalog: Catalog, file: Path) -> str | None:
    """The digest of the file as it lies there, if we wrote it; None if not, or if there is none."""
    digests = written_digests(catalog, file)
    try:
        present = sha256_of(file) if digests else None
    except OSError:
        return None
    return present if present in digests else None
