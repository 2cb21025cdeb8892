"""The terminal: lines, tables, progress bars with a rate, and one sentence for a mistake.

Results go to standard output, progress and mistakes to standard error, so that output can be piped. All that the
commands print passes through here, and is made fit for a terminal: names of files and classes, titles and URLs were
written by others.
"""

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol, TextIO

from curate.printable import printable

_WHOLE_NAME: Final = 24  # letters
_NO_WIDTH: Final = 1 << 20  # columns


class ReportSink(Protocol):
    """What takes lines and tables in the terminal's place."""

    def say(self, text: str) -> None:
        """Take one line of result."""

    def table(
        self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, last_is_total: bool = False
    ) -> None:
        """Take a table, as the function `table` does."""


_page: ContextVar[ReportSink | None] = ContextVar("_page", default=None)


@contextmanager
def onto(page: ReportSink) -> Iterator[None]:
    """Have `say` and `table` go to a page, and not to standard output."""
    before = _page.set(page)
    try:
        yield
    finally:
        _page.reset(before)


def say(text: str) -> None:
    """Print one line of result."""
    page = _page.get()
    if page is not None:
        page.say(text)
    else:
        _print(text)


def heading(text: str) -> None:
    """Announce a stage, on standard error, among the bars."""
    _print(text, to_stderr=True, style="bold")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, last_is_total: bool = False) -> None:
    """Print a table; columns whose cells are all numbers are set to the right.

    A terminal's width is kept to. A pipe and a file have none: there each row is one line, whole.
    """
    page = _page.get()
    if page is not None:
        page.table(title, columns, rows, last_is_total=last_is_total)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(str(cell)) for cell in row] for row in rows]
    printed = Table(header_style="bold")
    for number, name in enumerate(columns):
        numeric = is_numeric(row[number] for row in cells)
        # What a row is called stays whole where it is no longer than names are; the other columns fold
        longest = max((len(row[number]) for row in cells), default=0)
        whole = number == 0 and longest <= _WHOLE_NAME
        printed.add_column(
            Text(printable(name)),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=whole,
            min_width=longest if numeric else None,  # a figure in two lines is another figure
        )
    for number, row in enumerate(cells):
        if last_is_total and number == len(cells) - 1:
            printed.add_section()
        printed.add_row(*map(Text, row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_NO_WIDTH)  # else it is taken for 80 columns, and a column has a letter a line
    _print(title, style="bold")
    console.print(printed)


def is_numeric(cells: Iterable[str]) -> bool:
    """Whether a column has cells, and all of them are numbers."""
    listed = list(cells)
    return bool(listed) and all(cell.strip("+-%").replace(",", "").replace(".", "").isdigit() for cell in listed)


@contextmanager
def bars(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """One progress bar with count, rate and time left: the `Progress` that the commands pass on."""
    if total == 0:
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description:24}", markup=False), BarColumn(), MofNCompleteColumn(),
               TextColumn("{task.fields[rate]}"), TimeRemainingColumn(elapsed_when_finished=True))  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(printable(description), total=total, rate="")
        started = time.monotonic()

        def advance(done: int) -> None:
            # Over the whole of the work, and not rich's own: that guesses wildly where work comes in few large steps.
            progress.advance(task, done)
            rate = progress.tasks[0].completed / max(time.monotonic() - started, 1e-6)
            progress.update(task, rate=f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")

        yield advance


@contextmanager
def counter(description: str) -> Iterator[Callable[[int], None]]:
    """A count with its rate, for work whose end is not known; shown on a terminal alone."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    shown = Console(stderr=True)
    if not shown.is_terminal:
        yield lambda _done: None
        return
    started = time.monotonic()
    description = printable(description)
    with Progress(TextColumn("{task.description}", markup=False), console=shown, transient=True) as progress:
        task = progress.add_task(description, total=None)

        def advance(done: int) -> None:
            progress.advance(task, done)
            count = progress.tasks[0].completed
            rate = count / max(time.monotonic() - started, 1e-6)
            progress.update(task, description=f"{description}: {count:,.0f} at {rate:.1f}/s")

        yield advance


def mistake(sentence: str) -> None:
    """Say on standard error what went wrong."""
    _print(sentence, to_stderr=True, style="red")


def note(line: str) -> None:
    """Print a plain line on standard error."""
    _print(line, to_stderr=True)


def json_line(value: object) -> None:
    """Print a value as one line of JSON; all but ASCII is spelt out where anything in it is not for terminals, or where
    the stream has no such signs: what it would put in their place is no JSON.
    """
    line = json.dumps(value, ensure_ascii=False)
    if printable(line) != line or not _has_signs(line):
        line = json.dumps(value).replace("\x7f", "\\u007f")
    sys.stdout.write(f"{line}\n")


def _has_signs(text: str) -> bool:
    """Whether standard output's encoding can say it."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def clean_what_others_print() -> None:
    """Have Python's warnings and the log lines of libraries cleaned like our own lines: they name files and URLs."""
    warnings.showwarning = _show_warning
    logging.setLogRecordFactory(_CleanRecord)


class _CleanRecord(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802  the library's own name
        return "\n".join(map(printable, super().getMessage().split("\n")))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    note(f"Warning: {message} ({category.__name__}, {filename}:{lineno})")


def _print(text: str, *, to_stderr: bool = False, style: str | None = None) -> None:
    """One line, left whole for the terminal to fold, with nothing in it that moves a cursor."""
    from rich.console import Console

    Console(stderr=to_stderr).print(
        printable(text), style=style, highlight=False, markup=False, emoji=False, soft_wrap=True
    )
