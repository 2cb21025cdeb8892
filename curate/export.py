"""A dataset for the tools that people use next: its splits as an image folder, as webdataset shards, or as parquet."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from curate.catalog import Catalog
from curate.catalog.credits import Credit
from curate.credits import CREDITS, credits_text, recorded_names
from curate.dataset import natural_key, open_to_write
from curate.decoding.formats import is_not_readable
from curate.defaults import DEFAULT_FORMAT, Format
from curate.errors import UserError
from curate.exporting.converting import converted, is_read_downstream
from curate.exporting.examples import Examples, Writer, read_examples
from curate.exporting.imagefolder import count_companions, renamed_labels
from curate.exporting.publishing import published, require_free
from curate.extras import require_pyarrow
from curate.files.addresses import is_remote, located
from curate.files.shards import SHARDS
from curate.names import names_for
from curate.progress import Progress, silent
from curate.quarantine import finish_moves
from curate.scan import scan
from curate.splitting.since_split import require_current
from curate.splitting.unfinished import steady_split

_CONVERTED = "converted"


@dataclass(frozen=True)
class DatasetExportReport:
    """`counts[split]` pictures of `labels` classes in `files` files below `out`; splits are named as other tools do.
    Both are counted on the disk. `broken` are the paths of what was left out because it gives no pixels; `renamed` is
    label → folder, for the classes of an image folder whose name is another's on some disks, or too long.

    `unreadable` were left out because nothing here reads them; `lacking` is split → labels of which it has no picture,
    `empty` are the labels that none has any of, and which therefore are no classes. `unread` is format → how many
    pictures the next tool does not read, or passes over, and `converted` how many of those were written as PNG or JPEG;
    `companions` counts the files that lie beside their pictures, and `left_behind` says whether the format takes none.
    """

    out: Path
    format: Format
    counts: dict[str, int]
    labels: int
    files: int
    broken: list[str]
    renamed: dict[str, str] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    lacking: dict[str, list[str]] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)
    converted: int = 0
    companions: int = 0
    left_behind: bool = False

    def remarks(self) -> list[str]:
        """What a person should know of it, a sentence each."""
        said = [f"The class {label} has no picture, and is left out." for label in self.empty]
        for split, labels in self.lacking.items():
            said.append(
                f"{split} has no picture of {', '.join(labels[:5])}{', …' if len(labels) > 5 else ''}, and numbers all "
                "classes as the other splits do"
                + ("; torchvision's ImageFolder wants allow_empty=True for that." if _has_folders(self) else ".")
            )
        if self.unread:
            formats = ", ".join(f"{count:,} {name}" for name, count in self.unread.items())
            who = "torchvision's ImageFolder passes over or cannot read" if _has_folders(self) else "Pillow cannot read"
            said.append(f"{who} {formats}: --convert writes these as PNG or JPEG.")
        if self.converted:
            said.append(f"Written as PNG or JPEG, first frame only: {self.converted:,}.")
        if self.unreadable:
            few = f"{len(self.unreadable):,}, such as {self.unreadable[0]}"
            said.append(f"Left out, as nothing here reads them: {few}.")
        if self.companions:
            said.append(f"Companions beside their pictures: {self.companions:,}.")
        elif self.left_behind:
            said.append(f"Companions of pictures stay behind: {self.format} has no place for them; imagefolder has.")
        return said


def _has_folders(report: DatasetExportReport) -> bool:
    return report.format == "imagefolder"


def export(
    root: Path,
    out: Path,
    *,
    format: Format = DEFAULT_FORMAT,  # noqa: A002 (it is what the option is called)
    names: Path | None = None,
    convert: bool = False,
    wait: float | None = 0.0,
    progress: Progress = silent,
) -> DatasetExportReport:
    """Write the intact pictures of a dataset's splits into a new folder, with their credits.

    The pictures are those in the dataset's own split folders or else in the one that `split` placed elsewhere; a
    dataset that was never split is exported as train. The bytes are the pictures' own, unless `convert` asks for PNG or
    JPEG in the place of formats that torchvision, or a plain Pillow, does not read. `names` is a names file.

    `wait` is how many seconds to wait for another command at work in the dataset, None for as long as it takes.

    `out` appears when it is complete: a run that is stopped leaves a hidden folder beside it, which bears our mark and
    which the next one removes. Raises `UserError` for what the user can put right.
    """
    if format not in get_args(Format):
        raise UserError(f"There is no format {format!r}: choose among {', '.join(get_args(Format))}.")
    out = located(out).resolve()
    if is_remote(out) and format == "imagefolder":
        raise UserError(f"Single pictures are not written to {out}: export as webdataset or parquet, or to a folder.")
    with open_to_write(root, "export", wait=wait, progress=progress) as dataset, steady_split(dataset):
        require_current(dataset)
        require_free(dataset, out)
        write, count = _writer(format)
        labels = dataset.labels()
        with Catalog.open(dataset.catalog_path) as catalog:
            finish_moves(dataset, catalog)
            scanned = scan(dataset, catalog, progress)
            found, _ = names_for(dataset.root, labels, names, recorded_names(dataset, catalog))
            examples = read_examples(dataset, catalog, labels, [found[label] for label in labels])
            unreadable = [path for path, _ in catalog.unreadable()]
            broken = [picture.path for picture in catalog.broken() if not is_not_readable(picture.broken)]
        counts = {split: len(members) for split, members in examples.splits.items()}
        if not counts:
            raise UserError(f"{root} holds no intact picture: add pictures, or look at `clean {root} --dry-run`.")
        by_name = format == "imagefolder"
        unread = _unread(examples, by_name=by_name)
        with progress("Exporting", sum(counts.values())) as advance, published(out, dataset.home) as publication:
            written: Counter[str] = Counter()

            def whole(file: Path) -> None:
                if is_remote(out):  # it is gone from here when all are counted
                    written.update(count(publication.folder))
                    publication.send(file)

            if convert and unread:
                examples = _converted(examples, publication.aside(_CONVERTED), by_name=by_name)
            write(examples, publication.folder, advance, whole)
            _write_credits(examples, publication.folder)
            written.update(count(publication.folder))
            _require_all(counts, written, out)
            files = publication.appear(SHARDS)
    beside = count_companions(out) if by_name else 0
    return DatasetExportReport(
        out, format, dict(written), len(examples.labels), files, broken,
        renamed_labels(examples.labels) if by_name else {}, unreadable, _lacking(examples),
        [label for label in labels if label not in examples.labels], {} if convert else unread,
        sum(unread.values()) if convert else 0, beside, bool(scanned.companions and not by_name),
    )  # fmt: skip


def _write_credits(examples: Examples, folder: Path) -> None:
    """Put a CREDITS.md beside pictures of which some were found on the web."""
    listed = [
        replace(Credit(f"{split}/{label}/{example.name}", label, *example.credit), author_page=example.author_page)
        for split, members in examples.splits.items()
        for example in sorted(members, key=lambda example: (example.label, example.name))
        for label in [examples.labels[example.label]]
    ]
    listed.sort(key=lambda credit: natural_key(credit.label))
    if any(credit.source for credit in listed):
        names = dict(zip(examples.labels, examples.names, strict=True))
        (folder / CREDITS).write_text(credits_text(listed, names), encoding="utf-8")


def _unread(examples: Examples, *, by_name: bool) -> dict[str, int]:
    """Format → how many pictures the next tool does not read."""
    everything = (example for members in examples.splits.values() for example in members)
    counts = Counter(it.format for it in everything if not is_read_downstream(it, by_name=by_name))
    return dict(sorted(counts.items()))


def _converted(examples: Examples, folder: Path, *, by_name: bool) -> Examples:
    folder.mkdir()
    return replace(
        examples,
        splits={split: converted(members, folder, by_name=by_name) for split, members in examples.splits.items()},
    )


def _lacking(examples: Examples) -> dict[str, list[str]]:
    """Split → the labels that it has no picture of, where there are any."""
    lacking = {}
    for split, members in examples.splits.items():
        there = {example.label for example in members}
        if missing := [label for at, label in enumerate(examples.labels) if at not in there]:
            lacking[split] = missing
    return lacking


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

            require_pyarrow()
            return parquet.write_parquet, parquet.count_pictures
