"""Reports as HTML: the lines and tables that the command line prints, and pictures inlined, for a notebook's cell."""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

from commands.console import is_numeric
from curate.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from PIL import Image

_CELL = "text-align:left"
_NUMBER = "text-align:right"


class HtmlPage:
    """What was said, in order. All text is escaped: names, titles and paths were written by others."""

    def __init__(self) -> None:
        self.lines: list[str] = []  # what was said in words alone
        self._parts: list[str] = []

    @property
    def html(self) -> str:
        """The whole page."""
        return f"<div>{''.join(self._parts)}</div>"

    def say(self, text: str) -> None:
        """Add one line of text."""
        self.lines.append(printable(text))
        self._parts.append(f"<p>{_text(text)}</p>")

    def table(
        self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, last_is_total: bool = False
    ) -> None:
        """Add a table; columns whose cells are all numbers are set to the right."""
        cells = [[str(cell) for cell in row] for row in rows]
        styles = [_NUMBER if is_numeric(row[number] for row in cells) else _CELL for number in range(len(columns))]
        head = "".join(f'<th style="{style}">{_text(name)}</th>' for style, name in zip(styles, columns, strict=True))
        body = []
        for number, row in enumerate(cells):
            tag = "th" if last_is_total and number == len(cells) - 1 else "td"
            shown = zip(styles, row, strict=True)
            body.append("".join(f'<{tag} style="{style}">{_text(cell)}</{tag}>' for style, cell in shown))
        self._parts.append(
            f"<table><caption>{_text(title)}</caption><thead><tr>{head}</tr></thead><tbody>"
            f"{''.join(f'<tr>{row}</tr>' for row in body)}</tbody></table>"
        )

    def draw(self, picture: Image.Image, description: str) -> None:
        """Add a picture, RGB, with a description for those who do not see it."""
        stream = BytesIO()
        picture.save(stream, "JPEG", quality=88)
        data = base64.b64encode(stream.getvalue()).decode("ascii")
        self._parts.append(
            f'<img alt="{_text(description)}" width="{picture.width}" style="max-width:100%" '
            f'src="data:image/jpeg;base64,{data}">'
        )


def _text(text: str) -> str:
    return escape(printable(text))
