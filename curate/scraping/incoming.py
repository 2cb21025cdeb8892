"""The files that are on their way into a dataset, and the lock that lets one process at a time bring them."""

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from curate.errors import UserError
from curate.fetch import SNIFFED, Fetched, sniff
from curate.scraping.findings import Finding, Findings
from curate.web.retries import FetchFailed


class Incoming:
    """A folder of whole files `<candidate id>.<sha256>.<extension>`, and of parts that are no such thing yet.

    A file that bears its sha256 in its name is whole, because the rename to that name comes after the last byte;
    so a process killed at any instant leaves nothing that has to be guessed at, and nothing to fetch twice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others out. Raises UserError where one is at work.

        SQLite holds the lock, because its locks end with the process that held them, on every platform.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = sqlite3.connect(self.folder / "lock", timeout=0, isolation_level=None)
        except (OSError, sqlite3.OperationalError) as error:
            raise UserError(f"The folder {self.folder} cannot be written ({error}): check your rights.") from error
        with closing(lock):
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                raise UserError(
                    f"Another scrape or download is at work in {self.folder.parent}: wait for it, or stop it."
                ) from error
            yield

    def recover(self, root: Path, findings: Findings) -> None:
        """Finish what a stopped run left: moves that were decided, files that were whole, parts that were not."""
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith("lock"):
                continue
            number, _, rest = path.name.partition(".")
            finding = findings.by_id(int(number)) if number.isdigit() and not rest.endswith("part") else None
            if finding is not None and finding.status == "kept":
                self.deliver(path, root / finding.path)
            elif finding is not None and finding.status in ("found", "refused", "retry", "fetched"):
                findings.mark_fetched(finding.id, rest.partition(".")[0])
            else:
                path.unlink()

    def whole(self, finding: Finding) -> Path | None:
        """The whole file of a candidate that was fetched, if it lies here."""
        return next(self.folder.glob(f"{finding.id}.{finding.sha256}.*"), None) if finding.sha256 else None

    def deliver(self, path: Path, target: Path) -> None:
        """Move a file to its place in the dataset."""
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)

    def copy(self, source: Path, stem: str, largest: int) -> Fetched:
        """Bring in a local file as the fetcher brings in a URL. Raises FetchFailed."""
        part = self.folder / f"{stem}.part"
        try:
            with source.open("rb") as file:
                head = file.read(SNIFFED)
                extension = sniff(head)
                if extension is None:
                    raise FetchFailed("not a picture", f"{source.name} is no picture")
                if source.stat().st_size > largest:
                    raise FetchFailed("too large", f"larger than {largest / 2**20:g} MiB")
                file.seek(0)
                with part.open("wb") as target:
                    shutil.copyfileobj(file, target)
            with part.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            path = self.folder / f"{stem}.{sha256}.{extension}"
            part.replace(path)
        except OSError as error:
            raise FetchFailed("unreadable", f"{source} cannot be read ({error.strerror})") from error
        finally:
            part.unlink(missing_ok=True)
        return Fetched(path, sha256, path.stat().st_size, extension, source.as_uri())
