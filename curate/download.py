"""The public datasets, brought whole and laid out as train/, valid/ and test/."""

import asyncio
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from curate.dataset import SPLITS, open_dataset
from curate.errors import UserError
from curate.fetch import Fetcher
from curate.progress import Progress, silent
from curate.scraping.incoming import Incoming
from curate.web.layout import lay_out_folders, lay_out_oxford
from curate.web.network import Network
from curate.web.retries import FetchFailed
from curate.web.transfer import RemoteFile, Transfer
from curate.web.unpack import unpack

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

    `drawn` says that the archive came without a split, and that `split` has drawn one.
    """

    root: Path
    counts: dict[str, int]
    verified: bool
    drawn: bool


def download(
    what: str,
    out: Path,
    *,
    split: str = "official",
    network: Network | None = None,
    public: Mapping[str, PublicSet] = PUBLIC,
    progress: Progress = silent,
) -> Downloaded:
    """Bring a dataset of PUBLIC, or an archive of class folders from a URL, into the empty or new folder `out`.

    Broken transfers resume, and a run that was stopped goes on where it was. `split` is for flowers102 alone:
    "official" (1,020 / 1,020 / 6,149) or "udacity" (6,552 / 818 / 819), whose train holds most of the official
    test pictures. Raises UserError for what the user can put right.
    """
    chosen = _chosen(what, split, public)
    out = Path(out)
    work = out / "downloads"
    _check_target(out, work)
    with _nothing_left_of_nothing(work), Incoming(work).locked():
        _claim(work, f"{what} {split}", out)
        paths = asyncio.run(_bring(chosen, work, network or Network(), progress))
        unpacked = work / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        unpack(paths[0], unpacked, progress=progress)
        if len(paths) > 1:
            lay_out_oxford(unpacked, paths[1], paths[2], out)
        else:
            lay_out_folders(unpacked, out)
    shutil.rmtree(work)
    drawn = open_dataset(out).layout == "raw"
    if drawn:
        from curate.split import split as draw_split

        draw_split(out, progress=progress)
    files = open_dataset(out).files()
    counts = {name: sum(file.split == name for file in files) for name in SPLITS}
    return Downloaded(out, counts, all(file.digest for file in chosen.files), drawn)


def _chosen(what: str, split: str, public: Mapping[str, PublicSet]) -> PublicSet:
    if split not in ("official", "udacity"):
        raise UserError(f"There is no split '{split}': choose official or udacity.")
    if what == "flowers102" and split == "udacity":
        return public["flowers102-udacity"]
    if what in public:
        return public[what]
    if "://" in what:
        return PublicSet((RemoteFile(what),))
    names = ", ".join(name for name in public if "-udacity" not in name)
    raise UserError(f"There is no dataset '{what}': choose one of {names}, or give a URL.")


def _check_target(out: Path, work: Path) -> None:
    if work.is_dir():
        return  # a download that was stopped: it goes on
    try:
        occupied = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise UserError(f"The folder {out} cannot be read ({error.strerror}): choose another with --out.") from error
    if occupied:
        raise UserError(f"{out} is not empty: give a new folder with --out.")


def _claim(work: Path, plan: str, out: Path) -> None:
    """Put on record what is being downloaded here, so that another download does not go on with its files."""
    note = work / "plan.json"
    if note.is_file():
        begun = json.loads(note.read_text(encoding="utf-8"))
        if begun != plan:
            raise UserError(f"In {out} the download of '{begun}' is not finished: finish it, or remove {work}.")
    note.write_text(json.dumps(plan), encoding="utf-8")


@contextmanager
def _nothing_left_of_nothing(work: Path) -> Iterator[None]:
    """Where a download fails before its first byte, leave no folder behind that stands in the way of the next."""
    made = not work.parent.exists()
    try:
        yield
    except UserError:
        if not any(path.name not in ("lock", "plan.json") for path in work.iterdir()):
            shutil.rmtree(work)
            if made:
                work.parent.rmdir()
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
