"""Which pictures may show one scene, by the features in the bank: what `split` asks. Nothing heavy without a bank."""

from pathlib import Path

from curate.defaults import Bind
from curate.errors import UserError
from curate.progress import Progress, silent
from curate.splitting.scenes import FindAlike


def alike_in(
    bank: Path, root: Path, *, bind: Bind, network: str | None = None, progress: Progress = silent
) -> FindAlike | None:
    """What tells the pictures of the dataset `root` that are alike by features in the folder `bank`; None for nothing.

    With `network` its features are computed first, as far as the bank lacks them. Raises `UserError` where that cannot
    be, and where near pictures are free to part.
    """
    if bind != "near":
        if network:
            raise UserError("--features tells shots of one scene, which --bind copies lets part: give one of the two.")
        return None
    if not network and not any(bank.glob("*.sqlite")):
        return None
    # Only now: importing torch takes seconds.
    from train.features.likeness import fill_bank, likeness_in

    if network:
        fill_bank(root, network, bank, progress=progress)
    return likeness_in(bank)
