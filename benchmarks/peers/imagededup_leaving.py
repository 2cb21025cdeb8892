"""Which files of each folder imagededup would have removed, and for which that stays: read by `leaving_as_json.py`."""

import importlib

RADIUS = 10  # its own default


def leaving(folder: str) -> dict[str, str]:
    """Name of a file that leaves → name of the one that stays."""
    hasher = importlib.import_module("imagededup.methods").PHash(verbose=False)
    removed_of = importlib.import_module("imagededup.utils.general_utils").get_files_to_remove
    found = hasher.find_duplicates(image_dir=folder, max_distance_threshold=RADIUS)
    gone = set(removed_of(found))
    leave: dict[str, str] = {}
    for name, others in found.items():
        if name not in gone:
            leave |= {other: name for other in others if other in gone and other not in leave}
    # What left for a file that left in its turn has no keeper: the nearest file stands for it.
    return leave | {name: found[name][0] for name in gone - leave.keys()}
