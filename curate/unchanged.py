"""Whether a file that is about to move is still the one that was decided upon, and still inside its dataset."""

from pathlib import Path

from curate.catalog import Catalog
from curate.dataset import Dataset
from curate.errors import UserError
from curate.files.inside import inside
from curate.files.reading import MAX_BYTES, NotAPlainFile, sha256_of


def is_unchanged(catalog: Catalog, file: Path, path: str, sha256: str) -> bool:
    """Whether this is the file that was decided upon: by what tells files apart or, where that differs, by its content.

    `path` is the file's as the catalog knows it. Raises `UserError` for a file that may not be read.
    """
    try:
        status = file.stat()
    except FileNotFoundError:  # or a link that leads nowhere, which has no content to differ
        return file.is_symlink()
    except OSError:  # a link that leads round in a circle has none either
        return file.is_symlink()
    if catalog.is_as_read(path, status, sha256):
        return True
    try:
        return sha256_of(file, MAX_BYTES) == sha256
    except NotAPlainFile:
        return sha256 == ""  # a pipe, a device, a giant: nothing to compare, then as now
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): give yourself the right to.") from error


def is_still_inside(dataset: Dataset, path: str) -> bool:
    """Whether a path has not come to lead out: somebody may put a link in a folder's place while files move."""
    try:
        inside(dataset.root, path)
    except UserError:
        return False
    return True
