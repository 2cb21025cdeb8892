"""Of each of cleanvision's sets of duplicates all but the first name leave, as JSON: FOLDER."""

import importlib
import json
import sys
import time
from pathlib import Path


def main(folder: str) -> None:
    lab = importlib.import_module("cleanvision").Imagelab(data_path=folder)
    started = time.perf_counter()
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, verbose=False)
    leaving: dict[str, str] = {}
    for one in [*lab.info["exact_duplicates"]["sets"], *lab.info["near_duplicates"]["sets"]]:
        stays, *others = sorted(Path(path).name for path in one)
        leaving |= dict.fromkeys(others, stays)
    print(json.dumps({"seconds": time.perf_counter() - started, "leaving": leaving}))


if __name__ == "__main__":
    main(*sys.argv[1:])
