"""Where the heavy parts of a search run: on this machine, or wherever the same functions give the same answers."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final, Protocol

from curate.errors import UserError
from curate.forked import standing_crew
from curate.lookalikes.candidates import CandidatePairs
from curate.lookalikes.looks import Looks
from curate.lookalikes.pair_search import LocalPairSearch, PairSearch
from curate.lookalikes.second_look import CANDIDATES_AT_ONCE, Verdicts, look_again, look_at_part
from curate.parallel import processors
from curate.progress import Progress

_AHEAD: Final = 4  # parts for each process


class SearchEngine(PairSearch, Protocol):
    """Finds pairs of hashes, and looks at pictures again."""

    def verdicts(self, candidates: CandidatePairs, looks: Looks, progress: Progress) -> Verdicts:
        """As `curate.lookalikes.second_look.look_again`."""
        ...


class LocalSearch(LocalPairSearch):
    """On this machine: pairs in threads of this process, second looks in as many processes as it has processors."""

    def verdicts(self, candidates: CandidatePairs, looks: Looks, progress: Progress) -> Verdicts:
        """The verdict on each candidate. Raises UserError where a process is killed."""
        if len(candidates) <= CANDIDATES_AT_ONCE:
            return look_again(candidates, looks, progress)
        with standing_crew(partial(_look, looks), len(candidates)) as crew:  # begun before the bar has a thread

            def looking(parts: Iterable[CandidatePairs]) -> Iterator[Verdicts]:
                for found, unread in crew.ordered(list(parts), raise_killed, ahead=_AHEAD * processors()):
                    looks.unread.update(unread)
                    yield found

            return look_again(candidates, looks, progress, looking=looking)


def _look(looks: Looks, part: CandidatePairs) -> tuple[Verdicts, set[int]]:
    """(the verdicts, the pictures that could not be read so far)."""
    return look_at_part(part, looks, workers=1), looks.unread


def raise_killed(_: object, exit_code: int) -> Any:
    """For a process that has ended in the middle of its work on copies."""
    raise UserError(
        f"A process that compared pictures ended with exit code {exit_code}, as happens where memory runs out: run the "
        "command again when less else runs."
    )
