"""Of each set of copies that Immaculate finds by SSCD, a neural copy detector, all but the first leave: FOLDER…"""

import importlib
import json
import sys
import time
from pathlib import Path


def leaving(folder: str) -> dict[str, str]:
    """Name of a file that leaves → name of the one that stays."""
    found = importlib.import_module("immaculate").find_duplicates(folder, method="sscd")
    leave: dict[str, str] = {}
    for one in [*found.near, *found.exact]:
        stays, *others = sorted(Path(path).name for path in one)
        leave |= dict.fromkeys(others, stays)
    return leave


def main(*folders: str) -> None:
    started = time.perf_counter()
    leave = {folder: leaving(folder) for folder in folders}
    print(json.dumps({"seconds": time.perf_counter() - started, "leaving": leave}))


if __name__ == "__main__":
    main(*sys.argv[1:])
