"""What a command says, as a page shows it: lines, and tables whose cells are text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SaidTable:
    """A table; `numeric` tells for each column whether it is set to the right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    last_is_total: bool = False


def table_of(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, last_is_total: bool = False
) -> SaidTable:
    """A table of any cells; columns whose cells are all numbers, shares or counts, are numeric."""
    cells = tuple(tuple(str(cell) for cell in row) for row in rows)
    numeric = tuple(_is_numeric([row[at] for row in cells]) for at in range(len(columns)))
    return SaidTable(title, tuple(columns), cells, numeric, last_is_total)


def _is_numeric(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(cell.strip("+-−%").replace(",", "").replace(".", "").isdigit() for cell in filled)


@dataclass
class SaidByCommand:
    """What one command says, in order; it takes lines and tables as a terminal does."""

    parts: list[str | SaidTable] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Take one line."""
        self.parts.append(text)

    def table(
        self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, last_is_total: bool = False
    ) -> None:
        """Take a table."""
        self.parts.append(table_of(title, columns, rows, last_is_total=last_is_total))

    @property
    def lines(self) -> list[str]:
        """The lines alone."""
        return [part for part in self.parts if isinstance(part, str)]

    @property
    def tables(self) -> list[SaidTable]:
        """The tables alone."""
        return [part for part in self.parts if isinstance(part, SaidTable)]
