"""A dataset for the tools that people use next: its splits as an image folder, as webdataset shards, or as parquet."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from curate.catalog import Catalog
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.exporting.examples import Writer, read_examples
from curate.names import names_for
from curate.progress import Progress, silent
from curate.quarantine import finish_moves
from curate.scan import scan

Format = Literal["imagefolder", "webdataset", "parquet"]


@dataclass(frozen=True)
class ExportReport:
    """`counts[split]` pictures of `labels` classes in `files` files below `out`; splits are named as other tools do.
    `broken` are the paths of what was left out because it gives no pixels.
    """

    out: Path
    format: Format
    counts: dict[str, int]
    labels: int
    files: int
    broken: list[str]


def export(
    root: Path,
    out: Path,
    *,
    format: Format = "imagefolder",  # noqa: A002 (it is what the option is called)
    names: Path | None = None,
    progress: Progress = silent,
) -> ExportReport:
    """Write the intact pictures of a dataset's splits into a new folder, with their credits.

    The pictures are those in the dataset's own split folders or else in the one that `split` placed elsewhere; a
    dataset that was never split is exported as train. The bytes are the pictures' own. `names` is a names file.

    `out` appears when it is complete: a run that is stopped leaves a hidden folder beside it, which the next one
    removes. Raises `UserError` for what the user can put right.
    """
    if format not in get_args(Format):
        raise UserError(f"There is no format {format!r}: choose among {', '.join(get_args(Format))}.")
    dataset = open_dataset(root)
    out = out.resolve()
    for folder in (dataset.root.resolve(), dataset.home.resolve()):
        if out == folder or folder in out.parents or out in folder.parents:
            raise UserError(f"The output folder {out} and the dataset {folder} overlap: give another folder.")
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is there already: remove it, or give a folder that is not there yet.")
    write = _writer(format)
    labels = dataset.labels()
    with Catalog.open(dataset.catalog_path) as catalog:
        finish_moves(dataset, catalog)
        scan(dataset, catalog, progress)
        found, _ = names_for(dataset.root, labels, names)
        examples = read_examples(dataset, catalog, labels, [found[label] for label in labels])
        broken = [picture.path for picture in catalog.pictures("state = 'present' AND broken != ''")]
    counts = {split: len(members) for split, members in examples.splits.items()}
    if not counts:
        raise UserError(f"{root} holds no intact picture: add pictures, or look at `clean {root} --dry-run`.")
    with progress("Exporting", sum(counts.values())) as advance:
        partial = out.with_name(f".{out.name}.partial")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            write(examples, partial, advance)
            if out.is_dir():
                out.rmdir()
            partial.rename(out)
        except OSError as error:
            raise UserError(
                f"{out} cannot be written ({error.strerror}): check the disk's free space and your rights, and run "
                "the same command again."
            ) from error
    files = sum(len(names) for _, _, names in os.walk(out))
    return ExportReport(out, format, counts, len(labels), files, broken)


def _writer(chosen: Format) -> Writer:
    match chosen:
        case "imagefolder":
            from curate.exporting.imagefolder import write_imagefolder

            return write_imagefolder
        case "webdataset":
            from curate.exporting.webdataset import write_webdataset

            return write_webdataset
        case "parquet":
            from curate.exporting.parquet import require_pyarrow, write_parquet

            require_pyarrow()
            return write_parquet
