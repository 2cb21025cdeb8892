"""What a section of a report is made of, as its template takes it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from markupsafe import Markup

from pages.report.charts.svg import ChartFigure
from pages.report.said import SaidTable

Tone = Literal["", "leaves", "stays", "wrong"]
"""What a frame says of a picture: nothing, that it left, that it stays in the place of one that left, or an error."""


@dataclass(frozen=True)
class ShownPicture:
    """A picture to be drawn small: its file, its content by sha256 ("" where nobody knows it), and words below it.

    `file` is None for one that lies outside the dataset: that is not for a report on it to show.
    """

    file: Path | None
    sha256: str
    title: str
    words: tuple[str, ...] = ()
    tone: Tone = ""


@dataclass(frozen=True)
class Words:
    """Sentences."""

    kind: ClassVar = "words"
    lines: Sequence[str]


@dataclass(frozen=True)
class MissingStage:
    """A stage that has not been: what is missing, and the command that makes it."""

    kind: ClassVar = "missing"
    what: str
    command: str = ""


@dataclass(frozen=True)
class ChartRow:
    """Charts side by side, as far as there is room; `small` ones in columns of one width."""

    kind: ClassVar = "charts"
    charts: Sequence[ChartFigure]
    title: str = ""
    small: bool = False


@dataclass(frozen=True)
class TableBlock:
    """A table; a long one is folded. `bars` are drawn in a last column, one for each row."""

    kind: ClassVar = "table"
    table: SaidTable
    folded: bool = False
    bars: Sequence[Markup] = ()


@dataclass(frozen=True)
class PictureGroup:
    """Pictures that are looked at together: a copy and what stays, a suspect and its nearest; with words about them."""

    pictures: Sequence[ShownPicture]
    words: str = ""


@dataclass(frozen=True)
class Gallery:
    """Groups of pictures. `words` say how many of how many are shown; `compact` ones stand without their paths."""

    kind: ClassVar = "gallery"
    title: str
    groups: Sequence[PictureGroup]
    words: str = ""
    compact: bool = False


ReportBlock = Words | MissingStage | ChartRow | TableBlock | Gallery


@dataclass(frozen=True)
class ReportSection:
    """A part of a report under a heading; `name` is its anchor."""

    name: str
    title: str
    blocks: Sequence[ReportBlock] = field(default_factory=list)
