"""A text file that appears whole or not at all, whenever the process dies."""

import os
import secrets
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Write UTF-8 `text` under a name of its own, then give it the name `file`; raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
