"""The public datasets, brought whole and laid out as train/, valid/ and test/."""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from curate.dataset import SPLITS, open_dataset
from curate.defaults import DEFAULT_OFFICIAL, OfficialSplit
from curate.downloading.layout import Laid, UnknownLayout, lay_out_folders, lay_out_oxford
from curate.downloading.transfer import RemoteFile, Transfer
from curate.downloading.unpack import BadArchive, unpack
from curate.errors import UserError
from curate.files.atomic import fsync_below, write_whole
from curate.files.disk import disk_in_words
from curate.files.lock import LOCK, locked
from curate.files.ours import MARK, WorkFolder
from curate.files.reading import read_file
from curate.printable import printable
from curate.progress import Progress, silent
from curate.web.fetch import Fetcher
from curate.web.network import Network
from curate.web.retries import FetchFailed

FOLDER = "download.florilegium"
_PLAN = "plan.json"
_LONGEST_PLAN = 1 << 16
_NO_DATA = {LOCK, "README.md"}
"""What may lie in a folder that a dataset is brought into; the README of `flower_data` says what goes there."""
LARGEST = 20 * 2**30
_OXFORD = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102"


@dataclass(frozen=True)
class PublicSet:
    """A dataset by name: its archive first, then the files that say what is what in it."""

    files: tuple[RemoteFile, ...]

    @property
    def archive(self) -> RemoteFile:
        """The file that holds the pictures."""
        return self.files[0]


PUBLIC: Mapping[str, PublicSet] = {
    # MD5 as torchvision's Flowers102 lists them.
    "flowers102": PublicSet(
        (
            RemoteFile(f"{_OXFORD}/102flowers.tgz", "md5:52808999861908f626f3c1f4e79d11fa"),
            RemoteFile(f"{_OXFORD}/imagelabels.mat", "md5:e0620be6f572b9609742df49c70aed4d"),
            RemoteFile(f"{_OXFORD}/setid.mat", "md5:a5357ecc9cb78c4bef273ce3793fc85c"),
        )
    ),
    "flowers102-udacity": PublicSet(
        (RemoteFile("https://s3.amazonaws.com/content.udacity-data.com/nd089/flower_data.tar.gz"),)
    ),
    # SHA-256 as TensorFlow Datasets' checksums of tf_flowers list it.
    "flower-photos": PublicSet(
        (
            RemoteFile(
                "http://download.tensorflow.org/example_images/flower_photos.tgz",
                "sha256:4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
            ),
        )
    ),
    "landmarks": PublicSet(
        (RemoteFile("https://udacity-dlnfd.s3-us-west-1.amazonaws.com/datasets/landmark_images.zip"),)
    ),
}


@dataclass(frozen=True)
class Downloaded:
    """What a download has laid down: pictures per split; `verified` where a published checksum agreed.

    `drawn` says that the archive came without a split, and that `split` has drawn one. `renamed`, as "old → new", are
    files that got another name, and `dropped` the files of the archive that are no pictures.
    """

    root: Path
    counts: dict[str, int]
    verified: bool
    drawn: bool
    renamed: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def download(
    what: str,
    out: Path,
    *,
    split: str = DEFAULT_OFFICIAL,
    network: Network | None = None,
    public: Mapping[str, PublicSet] = PUBLIC,
    wait: float | None = 0.0,
    progress: Progress = silent,
) -> Downloaded:
    """Bring a dataset of PUBLIC, or an archive of class folders from a URL or a file here, into the folder `out`,
    which is new, or holds nothing but a README.md, which stays. The archive that is a file here stays as it is.

    Broken transfers resume, and a run that was stopped goes on where it was. `split` is for flowers102 alone:
    "official" (1,020 / 1,020 / 6,149) or "udacity" (6,552 / 818 / 819), whose train holds most of the official
    test pictures. `wait` is how many seconds to wait for another download that is at work there, None for as long as
    it takes. Raises UserError for what the user can put right.
    """
    here = Path(what) if what not in public and os.path.isfile(what) else None  # noqa: PTH113  Path's raises for a long name
    chosen = PublicSet((RemoteFile(here.absolute().as_uri()),)) if here else _chosen(what, split, public)
    out = Path(out)
    work = WorkFolder(out / FOLDER)
    _check_target(out, work)
    doing = f"download {what} --out {out}"
    made = not out.exists()
    with (
        disk_in_words(out),
        locked(out, doing, wait=wait, progress=progress),
        _nothing_left_of_nothing(work, made=made),
    ):
        _check_target(out, work)
        work.make()
        _claim(work.path, f"{what} {split}", out)
        if here:
            laid = _lay_out_ours(here, work.path, out, progress)
        else:
            paths = asyncio.run(_bring(chosen, work.path, network or Network(), progress))
            laid = _lay_out(paths, work.path, out, progress)
        fsync_below(out)  # before the archive goes
        work.remove()
        drawn = open_dataset(out).layout == "raw"
        if drawn:
            from curate.split import split as draw_split

            draw_split(out, progress=progress)
    files = open_dataset(out).files()
    counts = {name: sum(file.split == name for file in files) for name in SPLITS}
    verified = all(file.digest for file in chosen.files)
    return Downloaded(out, counts, verified, drawn, laid.renamed, laid.dropped)


def _chosen(what: str, split: str, public: Mapping[str, PublicSet]) -> PublicSet:
    if split not in get_args(OfficialSplit):
        raise UserError(f"There is no split '{split}': choose {' or '.join(get_args(OfficialSplit))}.")
    if what == "flowers102" and split == "udacity":
        return public["flowers102-udacity"]
    if what in public:
        return public[what]
    if "://" in what:
        return PublicSet((RemoteFile(what),))
    names = ", ".join(name for name in public if "-udacity" not in name)
    raise UserError(f"There is no dataset '{what}': choose one of {names}, or give an archive's URL or file.")


def _lay_out_ours(archive: Path, work: Path, out: Path, progress: Progress) -> Laid:
    """The same of an archive of the user's, which is only read."""
    unpacked = WorkFolder(work / "unpacked")
    unpacked.remove()
    unpacked.make()
    try:
        unpack(archive, unpacked.path / "archive", progress=progress)
        return lay_out_folders(unpacked.path / "archive", out)
    except (BadArchive, UnknownLayout) as error:
        raise UserError(f"{error} It is as it was: give another.") from error
    finally:
        unpacked.remove()


def _lay_out(paths: list[Path], work: Path, out: Path, progress: Progress) -> Laid:
    """Unpack the archive and lay out what it holds. One that is at fault itself is moved aside, to be fetched anew."""
    unpacked = WorkFolder(work / "unpacked")
    unpacked.remove()
    unpacked.make()
    try:
        unpack(paths[0], unpacked.path / "archive", progress=progress)
        if len(paths) > 1:
            return lay_out_oxford(unpacked.path / "archive", paths[1], paths[2], out)
        return lay_out_folders(unpacked.path / "archive", out)
    except (BadArchive, UnknownLayout) as error:
        aside = paths[0].with_name(f"{paths[0].name}.refused")
        paths[0].replace(aside)
        raise UserError(f"{error} It lies in {aside} now; the same command fetches it anew.") from error
    finally:
        unpacked.remove()


def _check_target(out: Path, work: WorkFolder) -> None:
    if work.is_ours():
        return  # a download that was stopped: it goes on
    try:
        occupied = out.exists() and (not out.is_dir() or any(path.name not in _NO_DATA for path in out.iterdir()))
    except OSError as error:
        raise UserError(f"The folder {out} cannot be read ({error.strerror}): choose another with --out.") from error
    if occupied:
        raise UserError(f"{out} is not empty: give a new folder with --out.")


def _claim(work: Path, plan: str, out: Path) -> None:
    """Put on record what is being downloaded here, so that another download does not go on with its files."""
    begun = _begun(work / _PLAN)
    if begun is None:
        for path in work.iterdir():
            if path.is_file() and path.name != MARK:
                path.unlink()  # nobody knows any more what it is a part of
    elif begun != plan:
        raise UserError(f"In {out} the download of '{printable(begun)}' is not finished: finish it, or remove {work}.")
    write_whole(work / _PLAN, json.dumps(plan))


def _begun(note: Path) -> str | None:
    """What is being downloaded, as the note says; None where there is none that can be read."""
    try:
        begun = json.loads(read_file(note, _LONGEST_PLAN))
    except (OSError, ValueError, RecursionError):
        return None
    return begun if isinstance(begun, str) else None


@contextmanager
def _nothing_left_of_nothing(work: WorkFolder, *, made: bool) -> Iterator[None]:
    """Where a download fails before its first byte, leave no folder behind that stands in the way of the next.

    To be entered with the lock: the work is of nobody else then. `made` says that the folder was not there before.
    """
    try:
        yield
    except UserError:
        if work.is_ours() and all(path.name in (MARK, _PLAN) for path in work.path.iterdir()):
            work.remove()
            if made and [path.name for path in work.path.parent.iterdir()] == [LOCK]:
                (work.path.parent / LOCK).unlink()
                with suppress(OSError):  # somebody has put something there meanwhile
                    work.path.parent.rmdir()
        raise


async def _bring(chosen: PublicSet, work: Path, network: Network, progress: Progress) -> list[Path]:
    paths = []
    async with Fetcher(network) as fetcher:
        for file in chosen.files:
            try:
                paths.append(await Transfer(fetcher, file, work, LARGEST).run(progress))
            except FetchFailed as failed:
                again = "run the same command again to go on" if failed.passing else "check the address"
                raise UserError(f"{file.url} could not be downloaded ({failed.reason}): {again}.") from failed
    return paths
