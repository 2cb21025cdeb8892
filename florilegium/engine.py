"""Where the stages' work runs, from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.defaults import DEFAULT_ENGINE
from florilegium.arguments import checked

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


@checked
def on_engine(engine: str = DEFAULT_ENGINE) -> AbstractContextManager[None]:
    """Have the stages' work done by an engine within a `with`: "local", "ray" for Ray on this machine, "ray:HOST:PORT"
    or "ray:auto" for a cluster.

    What the stages give is the same. Ray is started, or joined, when it is first needed, and left at the block's end.
    Raises `UserError` for a text that names no engine and, within the block, where Ray cannot be had.
    """
    from curate.engine.engines import on_engine as run

    return run(engine)
