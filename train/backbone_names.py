"""Which networks a --backbone means: one, several joined by +, or `offline`, a set whose weights pip brings along.

The command line shows it in its help, so nothing heavy is imported here.
"""

from typing import Final

from curate.errors import UserError

OFFLINE: Final = "offline"
"""The name of OFFLINE_SET."""

OFFLINE_SET: Final = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
"""Those of the networks with packaged weights that are best side by side, by folds inside train."""


def networks_named(backbone: str) -> list[str]:
    """The networks that a --backbone means, in the order in which their features stand.

    Raises UserError for one that is named twice.
    """
    parts = [part.strip() for part in backbone.split("+")]
    names = [name for part in parts for name in (OFFLINE_SET if part.lower() == OFFLINE else (part,))]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"--backbone {backbone} names {name} twice: its features would say nothing new. Name it once."
            )
    return names
