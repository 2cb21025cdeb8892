"""The files of a split on disk: hard links where the file system allows, copies where not, and nothing stale."""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from curate.catalog import Catalog, Picture
from curate.dataset import SPLITS, Dataset
from curate.errors import UserError
from curate.progress import Progress, silent

Mode = Literal["link", "copy", "symlink"]


@dataclass(frozen=True)
class Placement:
    """Files made as hard links, as copies and as symbolic links; files that were there; stale ones removed."""

    linked: int
    copied: int
    symlinked: int
    kept: int
    removed: int


def place(
    dataset: Dataset,
    catalog: Catalog,
    out: Path,
    assigned: Mapping[Picture, str],
    mode: Mode = "link",
    progress: Progress = silent,
) -> Placement:
    """Make `<out>/<split>/<label>/` hold what was assigned, and nothing that an earlier split left there.

    Pictures that already lie in their split folder stay as they are. Stopped at any instant, a second run gives
    the same folder. Raises `UserError` where `out` holds pictures that this dataset does not know.
    """
    out = out.resolve()
    wanted = _targets(dataset, out, assigned)
    ours = _placed_before(dataset, catalog, out)
    _refuse_strangers(dataset, out, ours, wanted)
    with catalog.transaction() as db:
        rows = [(str(out), path, picture.sha256) for path, picture in wanted.items()]
        db.executemany("INSERT OR REPLACE INTO placements VALUES (?, ?, ?)", rows)
    removed = _remove_stale(dataset, catalog, out, ours, wanted)
    made = Counter[str]()
    with progress("Placing pictures", len(wanted)) as advance:
        for path, picture in wanted.items():
            made[_make(dataset.root / picture.path, out / path, picture.sha256, mode)] += 1
            advance(1)
    return Placement(made["linked"], made["copied"], made["symlinked"], made["kept"], removed)


def _targets(dataset: Dataset, out: Path, assigned: Mapping[Picture, str]) -> dict[str, Picture]:
    """Place relative to `out` → the picture to be put there; without those that lie in their place by themselves."""
    in_place = out == dataset.root.resolve()
    wanted: dict[str, Picture] = {}
    for picture, split in sorted(assigned.items(), key=lambda item: item[0].path):
        if picture.split and in_place:
            continue
        path = f"{split}/{picture.label}/{picture.path.removeprefix(picture.folder + '/')}"
        # A scraped picture may bear the name of one that came in a split, and be put into that split.
        occupied = path in wanted or (in_place and _is_other(out / path, dataset.root / picture.path, picture.sha256))
        wanted[_with_mark(path, picture.sha256) if occupied else path] = picture
    return wanted


def _placed_before(dataset: Dataset, catalog: Catalog, out: Path) -> dict[str, str]:
    """Path → sha256 of the files in `out` that a split of this dataset made, by record or by their content."""
    rows = catalog.db.execute("SELECT path, sha256 FROM placements WHERE out = ?", (str(out),))
    ours = dict(rows.fetchall())
    if out == dataset.root.resolve():
        copies = catalog.db.execute(
            "SELECT copy.path, copy.sha256 FROM pictures copy JOIN pictures raw USING (sha256, label) "
            "WHERE copy.split != '' AND raw.split = '' AND copy.state = 'present' AND raw.state = 'present'"
        )
        ours |= dict(copies.fetchall())
    return ours


def _refuse_strangers(dataset: Dataset, out: Path, ours: Iterable[str], wanted: Mapping[str, Picture]) -> None:
    root = dataset.root.resolve()
    if out == root and dataset.layout != "flat":
        return
    if out == root or (root in out.parents and dataset.layout == "flat"):
        raise UserError(f"{out} lies among the class folders of {root}: give --out a folder outside of it.")
    known = {*ours, *wanted}
    for path in _files_below(out):
        if path not in known:
            raise UserError(
                f"{out} holds pictures that are not of this dataset, such as {path}: give --out another folder."
            )


def _remove_stale(
    dataset: Dataset, catalog: Catalog, out: Path, ours: Mapping[str, str], wanted: Mapping[str, Picture]
) -> int:
    """Remove what an earlier split placed and this one does not want, where its bytes are safe elsewhere."""
    removed = 0
    stale = [path for path, sha256 in ours.items() if path not in wanted or wanted[path].sha256 != sha256]
    for path in stale:
        file = out / path
        if os.path.lexists(file) and (file.is_symlink() or _is_elsewhere(dataset, catalog, file, ours[path])):
            file.unlink()
            removed += 1
            _prune(file.parent, out)
    with catalog.transaction() as db:
        gone = [(str(out), path) for path in stale if path not in wanted]
        db.executemany("DELETE FROM placements WHERE out = ? AND path = ?", gone)
    return removed


def _is_elsewhere(dataset: Dataset, catalog: Catalog, file: Path, sha256: str) -> bool:
    """Whether another file of ours holds the same bytes: nothing is ever deleted that is not kept elsewhere."""
    if file.stat().st_nlink > 1:
        return True
    present = catalog.db.execute("SELECT path FROM pictures WHERE sha256 = ? AND state = 'present'", (sha256,))
    stored = catalog.db.execute("SELECT stored FROM quarantine WHERE sha256 = ? AND state = 'moved'", (sha256,))
    others = [dataset.root / path for (path,) in present] + [dataset.quarantine / path for (path,) in stored]
    return _sha256(file) == sha256 and any(
        other.exists() and not other.samefile(file) and _sha256(other) == sha256 for other in others
    )


def _make(source: Path, target: Path, sha256: str, mode: Mode) -> str:
    """Put one picture in its place; says how: "linked", "copied", "symlinked" or "kept"."""
    if os.path.lexists(target):
        if _is_other(target, source, sha256):
            raise UserError(f"{target} has changed since it was placed: move it away and run the same command again.")
        return "kept"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if mode == "symlink":
            target.symlink_to(os.path.relpath(source.resolve(), target.parent))
            return "symlinked"
        if mode == "link":
            try:
                target.hardlink_to(source.resolve())
                return "linked"
            except OSError:  # another file system, or one without hard links
                pass
        partial = target.with_name(f".{target.name}.partial")
        shutil.copy2(source, partial)
        partial.replace(target)
        return "copied"
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({error.strerror}): check the disk's free space and your rights, and run "
            "the same command again."
        ) from error


def _is_other(target: Path, source: Path, sha256: str) -> bool:
    """Whether something that is not this picture lies in its place."""
    if not os.path.lexists(target):
        return False
    return not (target.exists() and (target.samefile(source) or _sha256(target) == sha256))


def _with_mark(path: str, sha256: str) -> str:
    file = PurePosixPath(path)
    return file.with_name(f"{file.stem}~{sha256[:8]}{file.suffix}").as_posix()


def _files_below(out: Path) -> Iterable[str]:
    for split in SPLITS:
        for folder, _, names in os.walk(out / split):
            for name in names:
                if not name.startswith("."):
                    yield (Path(folder) / name).relative_to(out).as_posix()


def _prune(folder: Path, out: Path) -> None:
    while folder != out:
        try:
            folder.rmdir()
        except OSError:  # not empty
            return
        folder = folder.parent


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
