"""What was written, for whoever says so. Nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class WrittenReport:
    """The file that was written, its size, and how many pictures it shows; `left_out` would have made it too large."""

    file: Path
    bytes: int
    shown: int
    pictures: int
    left_out: int
