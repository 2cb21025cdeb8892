"""Which files of a folder imgcheck's policy of the highest resolution removes, as JSON: FOLDER [THRESHOLD]."""

import importlib
import json
import sys
import time
from pathlib import Path


def main(folder: str, threshold: str = "3") -> None:
    hashing, grouping = importlib.import_module("imgcheck.hashing"), importlib.import_module("imgcheck.grouping")
    started = time.perf_counter()
    paths = hashing.get_image_paths(folder, hashing.DEFAULT_EXTENSIONS)
    hashed = hashing.compute_hashes(paths, algo="phash", hash_size=8, rotation_invariant=True)
    clusters = grouping.cluster_duplicates(
        hashed, threshold=int(threshold), method="single", keep_policy="highest_resolution"
    )
    leaving = {Path(path).name: Path(one.kept).name for one in clusters for path in one.duplicates}
    print(json.dumps({"seconds": time.perf_counter() - started, "leaving": leaving}))


if __name__ == "__main__":
    main(*sys.argv[1:])
