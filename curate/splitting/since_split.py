"""What has become of a dataset's own pictures since it was split: a split is made anew by `split` alone.

The pictures of a flat dataset stay where they are, and their split lies beside them; those in raw/ have theirs in
train/, valid/ and test/. Whoever renames or swaps class folders there has changed what the split should be, and what
was placed has the old labels.
"""

from dataclasses import dataclass
from pathlib import Path

from curate.catalog.known_files import split_record
from curate.catalog.pictures import Stamp
from curate.catalog.placements import IN_PLACE
from curate.dataset import UNLABELLED, Dataset, open_dataset
from curate.errors import UserError
from curate.files.reading import MAX_BYTES, NotAPlainFile, sha256_of
from curate.fixed.split_view import as_split
from curate.names import composed
from curate.shell import command_line
from curate.splitting.whereabouts import dataset_split_into, split_elsewhere, split_folder


@dataclass(frozen=True)
class SinceSplit:
    """`relabelled` are pictures, as paths relative to the dataset, that lie in another class folder than when they were
    split, each with that class. `new` counts those that nobody had seen then, `gone` those placed whose picture left.
    """

    relabelled: list[tuple[str, str]]
    new: int
    gone: int


def open_current_split(root: Path) -> Dataset:
    """Open the split of a dataset, as `open_split` does, to learn from or to be measured on.

    Raises `UserError` as that does, and as `require_current` does.
    """
    dataset = open_dataset(root)
    if dataset.is_fixed:
        return as_split(dataset)
    require_current(dataset)
    folder = split_folder(dataset)
    return dataset if folder is None else open_dataset(folder)


def require_current(dataset: Dataset) -> None:
    """Raise `UserError` where pictures of a dataset, or of the one whose split it is, are in another class than when
    they were split.
    """
    owner = dataset_split_into(dataset.root)
    dataset = dataset if owner is None else open_dataset(owner)
    relabelled = since_split(dataset).relabelled
    if relabelled:
        count, (path, label) = len(relabelled), relabelled[0]
        pictures = "1 picture" if count == 1 else f"{count:,} pictures"
        raise UserError(
            f"{pictures} of {dataset.root} {'is' if count == 1 else 'are'} in another class folder than when it was "
            f"split ({path} was in {label}), and the split has the old labels: run "
            f"`{command_line('split', dataset.root)}` again."
        )


def since_split(dataset: Dataset) -> SinceSplit:
    """Compare a dataset's pictures with what its newest split placed; nothing where there is no record of one.

    A file that is as it was last read is not opened; any other is hashed.
    """
    out = split_elsewhere(dataset)
    record = split_record(dataset.catalog_path, out or IN_PLACE)
    folders = [folder for folder in dataset.folders() if folder.label != UNLABELLED and (out or folder.split is None)]
    if not record.placed or not folders:
        return SinceSplit([], 0, 0)
    classes = {
        sha256: {composed(_class_of(path)): _class_of(path) for path in paths}
        for sha256, paths in record.placed.items()
    }
    seen = {sha256 for _, sha256 in record.read.values()}
    relabelled, present, new = [], set[str](), 0
    for folder in folders:
        for path, status in dataset.files_in(folder):
            stamp, sha256 = record.read.get(path, (None, ""))
            if status is None or stamp != Stamp.of(status):
                sha256 = _sha256_of(dataset.root / path)
            present.add(sha256)
            new += bool(sha256) and sha256 not in seen
            if sha256 in classes and composed(folder.label) not in classes[sha256]:
                relabelled.append((path, min(classes[sha256].values())))
    gone = (classes.keys() & seen) - present
    return SinceSplit(relabelled, new, sum(len(record.placed[sha256]) for sha256 in gone))


def _class_of(path: str) -> str:
    """The class of a placed file: `train/21/old/a.jpg` is of 21."""
    return path.split("/")[1] if path.count("/") > 1 else ""


def _sha256_of(file: Path) -> str:
    """The content's digest; "" where it cannot be read, which whoever needs the file will say."""
    try:
        return sha256_of(file, MAX_BYTES)
    except (OSError, NotAPlainFile):
        return ""
