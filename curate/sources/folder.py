"""A local folder of pictures: `folder:DIR`, with one subfolder per class or all of one class.

A `metadata.csv` in it (the form of `curate.credits`: file_name, author, license, …) credits its pictures. A folder that
has changed is read again.
"""

import csv
import hashlib
from pathlib import Path
from typing import ClassVar

from curate.credits import cell_content
from curate.errors import UserError
from curate.sources.protocol.headed_table import read_headed_table
from curate.sources.protocol.image_search import Candidate, CandidatePage, Query, SourceOptions, whole_number
from curate.sources.protocol.licenses import read_license
from curate.sources.protocol.picture_urls import provenance_group
from curate.sources.protocol.records import read_records
from curate.sources.protocol.row_columns import in_our_columns
from curate.sources.urls import unmatched
from curate.web.api import Api

PAGE_SIZE = 500


class Search:
    """Lists files; a class is the subfolder that bears its folder's or its human name."""

    home: ClassVar[str] = ""
    turn: ClassVar[int | None] = None
    tells_licenses: ClassVar[bool] = True
    required_keys: ClassVar[tuple[str, ...]] = ()
    warning: ClassVar[str] = ""

    def __init__(self, api: Api, options: SourceOptions) -> None:  # noqa: ARG002
        if not options.argument:
            raise UserError("The source 'folder' needs one: --source folder:DIR.")
        self._root = Path(options.argument).expanduser().resolve()
        if not self._root.is_dir():
            raise UserError(f"There is no folder {options.argument}: give one with --source folder:DIR.")
        try:
            self._subfolders = [path for path in self._root.iterdir() if path.is_dir() and not path.is_symlink()]
        except OSError as error:
            raise UserError(f"The folder {self._root} cannot be read ({error.strerror}): check your rights.") from error
        if len(options.labels) > 1 and not self._subfolders:
            raise UserError(
                f"{self._root} does not say which class its pictures belong to: choose one with --classes, "
                "or put them into a subfolder per class."
            )
        self._credits = _read_credits(self._root / "metadata.csv")
        self.state = self._fingerprint()
        own = [folder.name for folder in self._subfolders]
        self._note = unmatched(self._root, "subfolder", own, options)

    async def page(self, query: Query, wanted: int, cursor: str | None) -> CandidatePage:  # noqa: ARG002
        """The number of files listed so far is the cursor."""
        start = whole_number(cursor, 0)
        files = self._files(query)
        part = files[start : start + PAGE_SIZE]
        following = start + PAGE_SIZE
        found, odd = read_records(part, lambda path: [self._candidate(path)])
        note, self._note = self._note, ""
        return CandidatePage(found, str(following) if following < len(files) else None, odd, note)

    def _fingerprint(self) -> str:
        """Changes with each file that is added, removed or replaced, and with the credits."""
        digest = hashlib.sha256()
        for path in sorted(self._root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                stat = path.stat()
                digest.update(f"{path.relative_to(self._root)!a} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def _files(self, query: Query) -> list[Path]:
        folders = (
            [path for path in self._subfolders if query.is_called(path.name)] if self._subfolders else [self._root]
        )
        found = [path for folder in folders for path in folder.rglob("*")]
        hidden = (".", "metadata.csv")
        return sorted(
            path for path in found if path.is_file() and not path.is_symlink() and not path.name.startswith(hidden)
        )

    def _candidate(self, path: Path) -> Candidate:
        name = path.relative_to(self._root).as_posix()
        credit = self._credits.get(name, {})
        landing_page = credit.get("landing_page", "")
        return Candidate(
            url=path.as_uri(),
            source_id=name,
            landing_page=landing_page,
            title=credit.get("title", "") or path.stem,
            author=credit.get("author", ""),
            license=read_license(credit.get("license"), url=credit.get("license_url") or None),
            provenance_group=provenance_group(landing_page),
        )


def _read_credits(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = [
            in_our_columns({name: cell_content(cell) for name, cell in row.items()})
            for row in read_headed_table(text, "file_name")
        ]
    except KeyError:
        return {}  # a table of something else
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}): correct it, or move it away.") from error
    return {row["file_name"].removeprefix("./"): row for row in rows}
