"""The columns of a list that somebody made: others' names for what ours say, and those that say nothing to us."""

from collections.abc import Iterable, Mapping
from typing import Final

COLUMNS: Final = (
    *("url", "label", "title", "author", "license", "license_url", "landing_page", "provenance_group", "taken_at"),
    *("author_page", "citation", "source", "source_id"),
)
"""What a row may say, as we call it."""

_OTHERS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("image_url", "img_url", "image", "link", "src", "photo_url"), "url"),
    **dict.fromkeys(("class", "category", "class_name", "species"), "label"),
    **dict.fromkeys(("creator", "photographer", "owner", "credit", "rights_holder", "rightsholder"), "author"),
    **dict.fromkeys(("licence", "rights", "license_code", "licence_code", "license_name"), "license"),
    **dict.fromkeys(("licence_url", "rights_url", "license_link", "licence_link"), "license_url"),
    **dict.fromkeys(
        (
            "page",
            "source_page",
            "page_url",
            "landing",
            "landing_url",
            "foreign_landing_url",
            "source_url",
            "references",
        ),
        "landing_page",
    ),
    **dict.fromkeys(("creator_url", "author_url", "owner_url"), "author_page"),
    **dict.fromkeys(("date", "date_taken", "datetaken", "observed_on", "eventdate", "created"), "taken_at"),
    "caption": "title",
}
"""A column as others call it → ours. A column of our own name counts first."""

_PASSED_OVER: Final = {"file_name", "width", "height", "sha256", "key", "name"}
"""Columns of lists that this program writes itself, which are not read again."""


def named_by(column: str) -> tuple[str, ...]:
    """All names of a column: ours, then others'."""
    return (column, *(name for name, ours in _OTHERS.items() if ours == column))


def in_our_columns(row: Mapping[str, str]) -> dict[str, str]:
    """A row whose keys, in lower case, are ours where others' names mean the same; an empty cell says nothing."""
    found = {name: value for name, value in row.items() if name not in _OTHERS}
    for name, value in row.items():
        ours = _OTHERS.get(name, "")
        if ours and value and not found.get(ours):
            found[ours] = value
    return found


def unread_columns(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """The columns, in their order, that say something in a row and mean nothing to us."""
    known = {*COLUMNS, *_OTHERS, *_PASSED_OVER}
    return list(dict.fromkeys(name for row in rows for name, value in row.items() if value and name not in known))
