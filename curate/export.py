"""A dataset for the tools that people use next: its splits as an image folder, as webdataset shards, or as parquet."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from curate.catalog import Catalog
from curate.dataset import Dataset, open_to_write
from curate.defaults import DEFAULT_FORMAT, Format
from curate.errors import UserError
from curate.exporting.examples import Writer, read_examples
from curate.exporting.imagefolder import renamed_labels
from curate.files.atomic import abandoned_in, fsync_below, fsync_folder, temporary_name
from curate.files.disk import disk_in_words
from curate.files.moving import move_folder
from curate.files.ours import WorkFolder
from curate.names import names_for
from curate.progress import Progress, silent
from curate.quarantine import finish_moves
from curate.scan import scan
from curate.splitting.unfinished import steady_split

_PARTIAL = "partial"


@dataclass(frozen=True)
class DatasetExportReport:
    """`counts[split]` pictures of `labels` classes in `files` files below `out`; splits are named as other tools do.
    Both are counted on the disk. `broken` are the paths of what was left out because it gives no pixels; `renamed` is
    label → folder, for the classes of an image folder whose name is another's on some disks, or too long.
    """

    out: Path
    format: Format
    counts: dict[str, int]
    labels: int
    files: int
    broken: list[str]
    renamed: dict[str, str] = field(default_factory=dict)


def export(
    root: Path,
    out: Path,
    *,
    format: Format = DEFAULT_FORMAT,  # noqa: A002 (it is what the option is called)
    names: Path | None = None,
    wait: float | None = 0.0,
    progress: Progress = silent,
) -> DatasetExportReport:
    """Write the intact pictures of a dataset's splits into a new folder, with their credits.

    The pictures are those in the dataset's own split folders or else in the one that `split` placed elsewhere; a
    dataset that was never split is exported as train. The bytes are the pictures' own. `names` is a names file.

    `wait` is how many seconds to wait for another command at work in the dataset, None for as long as it takes.

    `out` appears when it is complete: a run that is stopped leaves a hidden folder beside it, which bears our mark and
    which the next one removes. Raises `UserError` for what the user can put right.
    """
    if format not in get_args(Format):
        raise UserError(f"There is no format {format!r}: choose among {', '.join(get_args(Format))}.")
    out = Path(out).resolve()
    with open_to_write(root, "export", wait=wait, progress=progress) as dataset, steady_split(dataset):
        _require_free(dataset, out)
        work = WorkFolder(temporary_name(out))  # of our own: another dataset may be on its way to the same place
        write, count = _writer(format)
        labels = dataset.labels()
        with Catalog.open(dataset.catalog_path) as catalog:
            finish_moves(dataset, catalog)
            scan(dataset, catalog, progress)
            found, _ = names_for(dataset.root, labels, names)
            examples = read_examples(dataset, catalog, labels, [found[label] for label in labels])
            broken = [picture.path for picture in catalog.broken()]
        counts = {split: len(members) for split, members in examples.splits.items()}
        if not counts:
            raise UserError(f"{root} holds no intact picture: add pictures, or look at `clean {root} --dry-run`.")
        with progress("Exporting", sum(counts.values())) as advance, disk_in_words(out):
            _remove_left_over(out.parent)
            partial = work.make() / _PARTIAL
            partial.mkdir()
            try:
                write(examples, partial, advance)
                written = count(partial)
                _require_all(counts, written, out)
                fsync_below(partial)
                _publish(partial, out)
                fsync_folder(out.parent)
            finally:
                work.remove()
    files = sum(len(names) for _, _, names in os.walk(out))
    renamed = renamed_labels(labels) if format == "imagefolder" else {}
    return DatasetExportReport(out, format, written, len(labels), files, broken, renamed)


def _require_free(dataset: Dataset, out: Path) -> None:
    """Raise `UserError` where `out` is taken, or overlaps with the dataset."""
    for folder in (dataset.root.resolve(), dataset.home.resolve()):
        if out == folder or folder in out.parents or out in folder.parents:
            raise UserError(f"The output folder {out} and the dataset {folder} overlap: give another folder.")
    with disk_in_words(out):
        empty = out.is_dir() and not any(out.iterdir())
        if os.path.lexists(out) and not empty:
            raise _taken(out)


def _publish(partial: Path, out: Path) -> None:
    """Give a complete export its name, unless another has taken it meanwhile: then raises `UserError`."""
    with suppress(OSError):
        out.rmdir()  # only an empty folder goes
    try:
        move_folder(partial, out)
    except FileExistsError as error:
        raise _taken(out) from error


def _remove_left_over(parent: Path) -> None:
    """Remove the work folders of exports whose process is gone."""
    for left in abandoned_in(parent):
        WorkFolder(left).remove()


def _taken(out: Path) -> UserError:
    return UserError(f"{out} is there already: remove it, or give a folder that is not there yet.")


def _require_all(expected: dict[str, int], written: dict[str, int], out: Path) -> None:
    """Raise `UserError` where the disk holds fewer pictures than were written to it."""
    for split, count in expected.items():
        if written.get(split, 0) != count:
            raise UserError(
                f"Of {count:,} pictures of {split} only {written.get(split, 0):,} lie on the disk of {out}, which "
                "takes different names for one: export to another disk."
            )


def _writer(chosen: Format) -> tuple[Writer, Callable[[Path], dict[str, int]]]:
    """What writes a format, and what counts the pictures that lie on the disk in it."""
    match chosen:
        case "imagefolder":
            from curate.exporting import imagefolder

            return imagefolder.write_imagefolder, imagefolder.count_pictures
        case "webdataset":
            from curate.exporting import webdataset

            return webdataset.write_webdataset, webdataset.count_pictures
        case "parquet":
            from curate.exporting import parquet

            parquet.require_pyarrow()
            return parquet.write_parquet, parquet.count_pictures
