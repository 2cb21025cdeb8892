"""What a scrape is asked to bring, and which candidates it need not even fetch."""

from dataclasses import dataclass

from curate.defaults import DEFAULT_LIMIT, DEFAULT_MIN_SIZE
from curate.sources.protocol.image_search import Candidate


@dataclass(frozen=True)
class ScrapeOptions:
    """Pictures per class, codes of the licences wanted (None: any, unknown ones too), pixels of the shorter side."""

    limit: int = DEFAULT_LIMIT
    licenses: frozenset[str] | None = None
    min_size: int = DEFAULT_MIN_SIZE

    @property
    def words(self) -> str:
        """What of it decides the answers of a search."""
        return "any" if self.licenses is None else ",".join(sorted(self.licenses))

    def refusal(self, candidate: Candidate) -> tuple[str, str] | None:
        """(kind, reason) for which a candidate falls away by what its source says of it, or None."""
        license_ = candidate.license
        if self.licenses is not None and license_.code not in self.licenses:
            return "licence", f"its licence is {license_.name}"
        sides = [side for side in (candidate.width, candidate.height) if side]
        if sides and min(sides) < self.min_size:
            return "too small", f"announced as {candidate.width} × {candidate.height} pixels"
        return None
