"""Walks the commands from a folder as people have it to a prediction, by nothing but what each command says comes next.

    python -m tests.walking FOLDER

Every command that a "Next" names is run once, as it was printed, and at last what else was offered. Training alone gets
a small network with random weights, so that no weights are downloaded.
"""

import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from curate.printable import printable
from tests.commanding import Ended, command
from tests.training_ground import TINY

_MOST = 40
_PROGRAM = re.compile(r"(?:[^\s`]*python[^\s`]*|uv run) [^\s`]*cli\.py ")
_QUICK = {"train": ["--backbone", TINY, "--weights", "none", "--views", "1", "--device", "cpu"]}
_GOALS = {"predict", "predict-random"}


@dataclass
class Walk:
    """The commands that were run, as their words; `dead_ends` are those that led nowhere, with what they said."""

    taken: list[list[str]] = field(default_factory=list)
    dead_ends: list[str] = field(default_factory=list)

    @property
    def stages(self) -> set[str]:
        """The names of the commands that were run."""
        return {words[0] for words in self.taken}

    @property
    def predicted(self) -> bool:
        """Whether the way came to a prediction."""
        return bool(self.stages & _GOALS)


def walk(start: Path) -> Walk:
    """Begin with `clean START --dry-run`, and run every command that is named, until no new one is."""
    found = Walk()
    waiting, offered = [["clean", str(start), "--dry-run"]], list[list[str]]()
    while (waiting or offered) and len(found.taken) < _MOST:
        words = (waiting or offered).pop(0)
        if words in found.taken:
            continue
        found.taken.append(words)
        ended = command(*words, *_QUICK.get(words[0], []))
        onward = list(commands_in(ended.out + ended.err, following=True))
        offered += commands_in(ended.out + ended.err)
        if "Traceback" in ended.err or (ended.code != 0 and not onward):
            found.dead_ends.append(f"{shlex.join(words)} ended with {ended.code}: {_last_words(ended)}")
        elif ended.code == 2 and len(found.taken) > 1:  # only the first command, which nobody has named, may be wrong
            found.dead_ends.append(f"{shlex.join(words)} is a mistake: {_last_words(ended)}")
        waiting += onward
    if waiting:
        found.dead_ends.append(f"{len(found.taken)} commands lead on and on, next to {shlex.join(waiting[0])}")
    return found


def commands_in(said: str, *, following: bool = False) -> Iterator[list[str]]:
    """The words of each command that a text names, without the program's own; or of those alone that come next."""
    for line in said.splitlines():
        for start in _PROGRAM.finditer(line):
            quoted = line[: start.start()].endswith("`")
            if following and not (quoted or line[: start.start()].endswith("Next: ")):
                continue
            rest = line[start.end() :]
            text = rest.split("`")[0] if quoted else re.split(r"; |\. (?=[A-Z])| carves ", rest)[0]
            yield shlex.split(text.rstrip("."))


def _last_words(ended: Ended) -> str:
    return printable((ended.err.strip() or ended.out.strip()).splitlines()[-1])


def main() -> None:
    """Walk from a folder and say where the way went."""
    import os

    start = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as place:  # checkpoints and runs go where the command is run
        os.chdir(place)
        found = walk(start)
        os.chdir("/")
    for words in found.taken:
        print(shlex.join(words))
    print("\n".join(found.dead_ends) or "No dead end.")
    sys.exit(0 if found.predicted and not found.dead_ends else 1)


if __name__ == "__main__":
    main()
