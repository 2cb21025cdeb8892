"""Which files of a folder imagededup would have removed, and for which that stays, as JSON: FOLDER [RADIUS]."""

import importlib
import json
import sys
import time


def main(folder: str, radius: str = "10") -> None:
    hasher = importlib.import_module("imagededup.methods").PHash(verbose=False)
    removed_of = importlib.import_module("imagededup.utils.general_utils").get_files_to_remove
    started = time.perf_counter()
    found = hasher.find_duplicates(image_dir=folder, max_distance_threshold=int(radius))
    leaving: dict[str, str] = {}
    gone = set(removed_of(found))
    for name, others in found.items():
        if name not in gone:
            leaving |= {other: name for other in others if other in gone and other not in leaving}
    # What left for a file that left in its turn has no keeper: the nearest file stands for it.
    leaving |= {name: found[name][0] for name in gone - leaving.keys()}
    print(json.dumps({"seconds": time.perf_counter() - started, "leaving": leaving}))


if __name__ == "__main__":
    main(*sys.argv[1:])
