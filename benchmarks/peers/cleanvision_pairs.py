"""cleanvision's exact and near duplicates of a folder, as JSON pairs of file names: FOLDER OUT."""

import importlib
import json
import sys
from itertools import combinations
from pathlib import Path


def main(folder: str, out: str) -> None:
    lab = importlib.import_module("cleanvision").Imagelab(data_path=folder)
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, verbose=False)
    sets = [*lab.info["exact_duplicates"]["sets"], *lab.info["near_duplicates"]["sets"]]
    named = [sorted(Path(path).name for path in one) for one in sets]
    Path(out).write_text(json.dumps([pair for one in named for pair in combinations(one, 2)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
