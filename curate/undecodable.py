"""Files and folders whose names are no text in UTF-8: nothing can name them in a catalog, so they are passed over."""

import os
from dataclasses import dataclass
from pathlib import Path

from curate.files.inside import is_text
from curate.folders import is_hidden_folder
from curate.shell import shell_word


@dataclass(frozen=True)
class Undecodable:
    """How many `files` and `folders` have such names, with the files in these folders; and the path of one of them."""

    files: int = 0
    folders: int = 0
    example: Path | None = None

    def __str__(self) -> str:
        counts = [(self.files, "file"), (self.folders, "folder")]
        said = " and ".join(f"{count:,} {what}{'s' if count > 1 else ''}" for count, what in counts if count)
        return f"{said}, such as {shell_word(str(self.example))}" if self.example else said


def undecodable_in(root: Path, never: set[str]) -> Undecodable:
    """Look through a folder, but for what is hidden, links, and its own folders called as in `never`."""
    files, folders, example = 0, 0, None
    open_folders = [(str(root), False)]
    while open_folders:
        folder, inside = open_folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    odd = not (name.isascii() or is_text(name))
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if not (odd or inside or is_folder) or name.startswith(".") or is_hidden_folder(name):
                        continue
                    if not is_folder:
                        files += 1
                    elif not (folder == str(root) and name in never):
                        open_folders.append((entry.path, inside or odd))
                        folders += odd
                    if odd:
                        example = min(example or entry.path, entry.path)
        except OSError:
            continue
    return Undecodable(files, folders, Path(example) if example else None)
