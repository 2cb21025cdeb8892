"""Of each of cleanvision's sets of duplicates in a folder all but the first name leave, as JSON: FOLDER…"""

import importlib
import json
import sys
import time
from pathlib import Path


def leaving(folder: str) -> dict[str, str]:
    """Name of a file that leaves → name of the one that stays."""
    lab = importlib.import_module("cleanvision").Imagelab(data_path=folder)
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, verbose=False)
    leave: dict[str, str] = {}
    for one in [*lab.info["exact_duplicates"]["sets"], *lab.info["near_duplicates"]["sets"]]:
        stays, *others = sorted(Path(path).name for path in one)
        leave |= dict.fromkeys(others, stays)
    return leave


def main(*folders: str) -> None:
    started = time.perf_counter()
    leave = {folder: leaving(folder) for folder in folders}
    print(json.dumps({"seconds": time.perf_counter() - started, "leaving": leave}))


if __name__ == "__main__":
    main(*sys.argv[1:])
