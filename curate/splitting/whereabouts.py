"""Where the split of a dataset lies: in its own folder, or where `split` has placed it."""

import os
from pathlib import Path

from curate.catalog.known_files import placed_folders
from curate.dataset import Dataset, open_dataset
from curate.errors import UserError
from curate.fixed.split_view import as_split
from curate.splitting.unfinished import belongs_to, marked_at, marked_of


def open_split(root: Path) -> Dataset:
    """Open the dataset in a folder or, where `split` has placed its split elsewhere, that one.

    A flat dataset's split lies beside it, as does one whose missing splits were carved out of train. Of several the
    newest counts. Raises `UserError` as `open_dataset` does.
    """
    dataset = open_dataset(root)
    if dataset.is_fixed:
        return as_split(dataset)
    elsewhere = split_folder(dataset)
    return dataset if elsewhere is None else open_dataset(elsewhere)


def split_folder(dataset: Dataset) -> Path | None:
    """The folder elsewhere in which the dataset's newest split lies; None, where it lies in the dataset, or nowhere."""
    found = split_elsewhere(dataset)
    return None if found is None else _as_named(dataset.root, (dataset.root / found).resolve())


def split_elsewhere(dataset: Dataset) -> str | None:
    """That folder as the catalog names it, relative to the dataset.

    A catalog may have come from elsewhere: its word counts only where the folder says that it is this dataset's.
    """
    placed = placed_folders(dataset.catalog_path)
    newest, when = None, marked_at(dataset.root)
    for out in placed.folders:
        try:
            folder = (dataset.root / out).resolve()
            if folder.is_dir() and belongs_to(folder, placed.identity) and marked_at(folder) > when:
                newest, when = out, marked_at(folder)
        except (OSError, ValueError, RuntimeError):  # no folder can have that name
            continue
    return newest


def dataset_split_into(folder: Path) -> Path | None:
    """The folder of the dataset whose split lies in `folder`, where that is another one; None where nobody knows it.

    The mark in the folder says where the dataset lies, and the catalog there must name the folder and have the
    identity in the mark: neither alone is believed.
    """
    identity, of = marked_of(folder)
    if not identity or of in {"", "."}:
        return None
    try:
        root = Path(os.path.normpath(folder / of))
        placed = placed_folders(open_dataset(root).catalog_path)
        named = any((root / out).resolve() == folder.resolve() for out in placed.folders)
    except (OSError, ValueError, RuntimeError, UserError):  # no folder can have that name, or no dataset lies there
        return None
    return root if named and placed.identity == identity else None


def _as_named(root: Path, folder: Path) -> Path:
    """A folder beside the root as the user names the root: relative, where that is."""
    beside = root.parent / folder.name
    return beside if root.name and beside.resolve() == folder else folder
