"""Copies checkpoints to a bucket: `python bring_back.py models s3://your-bucket/models`.

Every `.pth` of the folder goes, under its own name; under the next free one, such as `model-2.pth`, where another
checkpoint has that. What is there already is left alone.
"""

import hashlib
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import fsspec


def bring_back(folder: Path, target: str) -> list[str]:
    """The addresses of what was copied."""
    system, place = fsspec.core.url_to_fs(target)
    copied = []
    for checkpoint in sorted(folder.glob("*.pth")):
        for name in _names(checkpoint):
            there = f"{place.rstrip('/')}/{name}"
            if not system.exists(there):
                system.makedirs(place, exist_ok=True)
                system.put_file(str(checkpoint), there)
                copied.append(system.unstrip_protocol(there))
                break
            if _is_same(system, there, checkpoint):
                break
    return copied


def _names(checkpoint: Path) -> Iterator[str]:
    """Its own name, and then others."""
    yield checkpoint.name
    yield from (f"{checkpoint.stem}-{number}{checkpoint.suffix}" for number in count(2))


def _is_same(system: Any, there: str, checkpoint: Path) -> bool:
    """Whether the file there has the bytes of the checkpoint here."""
    if system.size(there) != checkpoint.stat().st_size:
        return False
    with system.open(there, "rb") as theirs, checkpoint.open("rb") as ours:
        return hashlib.file_digest(theirs, "sha256").digest() == hashlib.file_digest(ours, "sha256").digest()


def main() -> None:
    """Read the words, and do it."""
    if len(sys.argv) != 3:
        sys.exit("Two words are wanted: a folder of checkpoints, and where they go, such as s3://your-bucket/models.")
    folder, target = Path(sys.argv[1]), sys.argv[2]
    if not any(folder.glob("*.pth")):
        sys.exit(f"{folder} has no checkpoint: train first.")
    for address in bring_back(folder, target):
        print(address)  # noqa: T201


if __name__ == "__main__":
    main()
