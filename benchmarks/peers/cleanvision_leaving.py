"""Of each of cleanvision's sets of duplicates all but the first name leave: read by `leaving_as_json.py`."""

import importlib
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
