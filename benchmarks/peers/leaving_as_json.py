"""What one tool would have leave each folder, and the seconds that it took, as JSON: TOOL FOLDER…"""

import importlib
import json
import sys
import time


def main(tool: str, *folders: str) -> None:
    """Ask `leaving` of `TOOL_leaving.py`, which lies beside this file."""
    leaving = importlib.import_module(f"{tool}_leaving").leaving
    started = time.perf_counter()
    leave = {folder: leaving(folder) for folder in folders}
    print(json.dumps({"seconds": time.perf_counter() - started, "leaving": leave}))


if __name__ == "__main__":
    main(*sys.argv[1:])
