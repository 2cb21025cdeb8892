"""Which files of each folder imgcheck's policy of the highest resolution removes: read by `leaving_as_json.py`."""

import importlib
from pathlib import Path

THRESHOLD = 3  # its own default


def leaving(folder: str) -> dict[str, str]:
    """Name of a file that leaves → name of the one that stays."""
    hashing, grouping = importlib.import_module("imgcheck.hashing"), importlib.import_module("imgcheck.grouping")
    paths = hashing.get_image_paths(folder, hashing.DEFAULT_EXTENSIONS)
    hashed = hashing.compute_hashes(paths, algo="phash", hash_size=8, rotation_invariant=True)
    clusters = grouping.cluster_duplicates(
        hashed, threshold=THRESHOLD, method="single", keep_policy="highest_resolution"
    )
    return {Path(path).name: Path(one.kept).name for one in clusters for path in one.duplicates}
