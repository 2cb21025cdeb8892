"""Which processes descend from which, as Linux tells in /proc; elsewhere none is known."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_PARENT, _STARTED = 1, 19  # places among what follows the name in /proc/PID/stat: proc(5)'s fields 4 and 22


class ProcessKey(NamedTuple):
    """A process: its number and the tick at which it started, since numbers are given again."""

    pid: int
    started: int

    def is_alive(self) -> bool:
        """Whether it still runs; one that has ended and waits to be reaped does not."""
        found = _stat(self.pid)
        return found is not None and found[0] != "Z" and int(found[_STARTED]) == self.started


def children_of(pid: int) -> set[ProcessKey]:
    """The processes that `pid` has started, and that run."""
    return _by_parent().get(pid, set())


def with_descendants(processes: Iterable[ProcessKey]) -> set[ProcessKey]:
    """`processes`, those that they have started, and so on."""
    by_parent, found, new = _by_parent(), set[ProcessKey](), set(processes)
    while new:
        found |= new
        new = {child for one in new for child in by_parent.get(one.pid, ())} - found
    return found


def _by_parent() -> dict[int, set[ProcessKey]]:
    children: dict[int, set[ProcessKey]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        found = _stat(pid)
        if found is not None:
            children.setdefault(int(found[_PARENT]), set()).add(ProcessKey(pid, int(found[_STARTED])))
    return children


def _stat(pid: int) -> list[str] | None:
    """The fields of its state from the third on; None where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()  # the name before it may hold anything
