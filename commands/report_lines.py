"""What several reports say in the same words, and how much of a long list they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commands.console import say

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_ROWS = 40
MOST_CLASSES = 10


def unreadable(files: Sequence[tuple[str, str]]) -> None:
    """What may be whole and could not be read: how many for each reason, and one of them."""
    reasons: dict[str, list[str]] = {}
    for path, reason in files:
        reasons.setdefault(reason, []).append(path)
    for reason, paths in reasons.items():
        say(f"Left in place, {len(paths):,} {reason}: such as {paths[0]}.")


def companions_in_words(count: int) -> str:
    """How many files belong to pictures; "" where none does."""
    return f"Companions (captions, annotations and other files that belong to a picture): {count:,}" if count else ""


def class_and_name(label: str, name: str) -> str:
    """A class folder and, where it has one, what people call it."""
    return label if name in ("", label) else f"{label} {name}"
