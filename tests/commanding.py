"""Commands run in this process, as cli.py runs them: PyTorch is imported once for all of them."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What a command that could not be done says: one line, whatever stands in it."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert "Traceback" not in self.err
        (*_, last) = self.err.strip().splitlines()
        return last


def command(*arguments: object) -> Ended:
    """Run `cli.py` with these arguments; an exception that reaches the user as a traceback is raised."""
    from cli import app
    from commands import running

    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with (
        patch.object(sys, "argv", ["cli.py", *map(str, arguments)]),
        patch.dict("os.environ", COLUMNS="10000"),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            running.run(app)
        except SystemExit as ended:
            code = ended.code
    out.flush()
    return Ended(int(code or 0), out.buffer.getvalue().decode(), err.getvalue())
