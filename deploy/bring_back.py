"""Copies checkpoints to a bucket: `python bring_back.py models s3://your-bucket/models`.

Every `.pth` of the folder goes, under its own name. One that is there already, in the same size, is left alone.
"""

import sys
from pathlib import Path

import fsspec


def bring_back(folder: Path, target: str) -> list[str]:
    """The addresses of what was copied."""
    system, place = fsspec.core.url_to_fs(target)
    copied = []
    for checkpoint in sorted(folder.glob("*.pth")):
        there = f"{place.rstrip('/')}/{checkpoint.name}"
        if system.exists(there) and system.size(there) == checkpoint.stat().st_size:
            continue
        system.makedirs(place, exist_ok=True)
        system.put_file(str(checkpoint), there)
        copied.append(system.unstrip_protocol(there))
    return copied


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
