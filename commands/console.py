"""The face: tables, progress bars with a rate, and one sentence for a mistake.

Results go to standard output, progress and mistakes to standard error, so that output can be piped.
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from curate.errors import UserError

_USERS_TO_MEND = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def say(text: str) -> None:
    """Print one line of result; long lines are left whole for the terminal to fold."""
    from rich.console import Console

    Console().print(text, highlight=False, markup=False, soft_wrap=True)


def heading(text: str) -> None:
    """Announce a stage, on standard error, among the bars."""
    from rich.console import Console

    Console(stderr=True).print(text, style="bold", highlight=False, markup=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, last_is_total: bool = False) -> None:
    """Print a table; columns whose cells are all numbers are set to the right."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    cells = [[str(cell) for cell in row] for row in rows]
    printed = Table(title=escape(title), title_justify="left", title_style="bold", header_style="bold")
    for number, name in enumerate(columns):
        numeric = all(row[number].strip("+-%").replace(",", "").replace(".", "").isdigit() for row in cells)
        printed.add_column(escape(name), justify="right" if cells and numeric else "left", overflow="fold")
    for number, row in enumerate(cells):
        if last_is_total and number == len(cells) - 1:
            printed.add_section()
        printed.add_row(*(escape(cell) for cell in row))
    console = Console()
    # A pipe has no width: there, let each row keep to one line.
    console.print(printed, soft_wrap=not console.is_terminal)


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

    columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(),
               TextColumn("{task.fields[rate]}"), TimeRemainingColumn(elapsed_when_finished=True))  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, rate="")
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
    with Progress(TextColumn("{task.description}"), console=shown, transient=True) as progress:
        task = progress.add_task(description, total=None)

        def advance(done: int) -> None:
            progress.advance(task, done)
            count = progress.tasks[0].completed
            rate = count / max(time.monotonic() - started, 1e-6)
            progress.update(task, description=f"{description}: {count:,.0f} at {rate:.1f}/s")

        yield advance


def run(command: Callable[[], object]) -> NoReturn:
    """Run the command line; a mistake that the user can mend is one sentence and exit code 2, without a traceback."""
    share_processors()
    try:
        command()
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in _USERS_TO_MEND:
            raise
        place = f"{error.filename} cannot be written or read" if error.filename else "A file cannot be written or read"
        _fail(f"{place} ({error.strerror}): check the disk's free space and your rights, and run the command again.")
    sys.exit(0)


def share_processors() -> None:
    """Keep numpy's and scipy's BLAS from starting threads of their own, unless the environment asks for them.

    The commands share the processors out themselves; and each such thread begins by spinning for some hundredths of a
    second, in which a hundred pictures could be read. It has to be said before numpy is imported.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _fail(sentence: str) -> NoReturn:
    from rich.console import Console

    Console(stderr=True).print(sentence, style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(2)
