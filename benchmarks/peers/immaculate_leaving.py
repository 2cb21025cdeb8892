"""Of the copies that Immaculate finds by SSCD, a neural detector, one stays: read by `leaving_as_json.py`."""

import importlib
from pathlib import Path


def leaving(folder: str) -> dict[str, str]:
    """Name of a file that leaves → name of the one that stays."""
    found = importlib.import_module("immaculate").find_duplicates(folder, method="sscd")
    leave: dict[str, str] = {}
    for one in [*found.near, *found.exact]:
        stays, *others = sorted(Path(path).name for path in one)
        leave |= dict.fromkeys(others, stays)
    return leave
