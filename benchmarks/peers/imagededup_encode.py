"""imagededup's pHash of every picture below a folder, as JSON: FOLDER."""

import importlib
import json
import sys
import time


def main(folder: str) -> None:
    hasher = importlib.import_module("imagededup.methods").PHash(verbose=False)
    started = time.perf_counter()
    hashes = hasher.encode_images(image_dir=folder, recursive=True)
    print(json.dumps({"seconds": time.perf_counter() - started, "pictures": len(hashes)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
