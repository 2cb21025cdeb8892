"""A drawn garden to try things on, where no photographs are at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from curate.defaults import DEFAULT_SEED
from florilegium.arguments import checked
from florilegium.dataset import Dataset
from florilegium.progress import AUTO, chosen

if TYPE_CHECKING:
    from florilegium.progress import Watch


@checked
def draw_garden(
    folder: str | Path, *, seed: int = DEFAULT_SEED, share: float = 1.0, faults: bool = True, progress: Watch = AUTO
) -> Dataset:
    """Draw 338 pictures of 8 flowers (or a `share` of them, above 0 to 1) into the new folder `<folder>/raw/`.

    With `faults`, 27 known ones are planted for `clean` to find: broken files, copies, copies under another label.
    The same `seed` draws the same garden. Raises `UserError` where something is there already, and for a share that
    leaves a class too few pictures.
    """
    from curate.errors import UserError
    from demo.faults import plant_faults
    from demo.garden import COUNTS
    from demo.garden import draw_garden as draw

    least = 6  # of each class: train, valid and test each need some, and the faults their originals
    counts = tuple(round(share * count) for count in COUNTS)
    if not (0 < share <= 1) or min(counts) < least:
        raise UserError(f"A share of {share} is no garden: give {least / min(COUNTS):.2f} to 1.")
    raw = Path(folder) / "raw"
    draw(raw, seed, chosen(progress), counts=counts)
    if faults:
        plant_faults(raw, seed)
    return Dataset(folder)
