"""imagededup's near-duplicates of a folder, as JSON pairs of file names: FOLDER OUT [RADIUS]."""

import importlib
import json
import sys
from pathlib import Path


def main(folder: str, out: str, radius: str = "10") -> None:
    hasher = importlib.import_module("imagededup.methods").PHash(verbose=False)
    found = hasher.find_duplicates(image_dir=folder, max_distance_threshold=int(radius))
    pairs = {tuple(sorted((name, other))) for name, others in found.items() for other in others}
    Path(out).write_text(json.dumps(sorted(pairs)))


if __name__ == "__main__":
    main(*sys.argv[1:])
