"""How many files each class has in each split, and outside of all."""

from collections import defaultdict

from curate.dataset import SPLITS, Dataset

RAW = "raw"
"""What the pictures in no split are counted as."""


def count_files(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Label → split → files that are pictures or pose as such, for each class folder's label in natural order; those in
    no split are "raw", which comes first.
    """
    counts = defaultdict[str, dict[str, int]](lambda: dict.fromkeys((RAW, *SPLITS), 0))
    for folder in dataset.class_folders():
        counts[folder.label][folder.split or RAW] += len(dataset.files_in(folder))
    return {label: counts[label] for label in dataset.labels()}


def totals_of(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    """Split → files of all classes."""
    return {split: sum(one[split] for one in counts.values()) for split in (RAW, *SPLITS)}
