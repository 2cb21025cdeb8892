"""cleanvision's issues of every picture below a folder, all that it looks for, as JSON: FOLDER."""

import importlib
import json
import sys
import time


def main(folder: str) -> None:
    lab = importlib.import_module("cleanvision").Imagelab(data_path=folder)
    started = time.perf_counter()
    lab.find_issues(verbose=False)
    print(json.dumps({"seconds": time.perf_counter() - started, "pictures": len(lab.issues)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
