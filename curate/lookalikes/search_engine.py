"""Where the heavy parts of a search run: on this machine, or wherever the same functions give the same answers."""

from typing import Protocol

from curate.lookalikes.candidates import CandidatePairs
from curate.lookalikes.looks import Looks
from curate.lookalikes.pair_search import LocalPairSearch, PairSearch
from curate.lookalikes.second_look import Verdicts, look_again
from curate.progress import Progress


class SearchEngine(PairSearch, Protocol):
    """Finds pairs of hashes, and looks at pictures again."""

    def verdicts(self, candidates: CandidatePairs, looks: Looks, progress: Progress) -> Verdicts:
        """As `curate.lookalikes.second_look.look_again`."""
        ...


class LocalSearch(LocalPairSearch):
    """Both in threads of this process."""

    def verdicts(self, candidates: CandidatePairs, looks: Looks, progress: Progress) -> Verdicts:
        """The verdict on each candidate."""
        return look_again(candidates, looks, progress)
