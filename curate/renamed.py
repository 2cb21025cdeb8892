"""Where the catalog and the quarantine of a dataset lie that was given another name."""

from pathlib import Path

from curate.dataset import Dataset

_ENDING = ".florilegium"


def homes_of_renamed_datasets(dataset: Dataset) -> list[Path]:
    """The homes beside a flat dataset that have a quarantine, and whose own dataset is no longer there.

    Renaming the dataset does not rename its home. Another layout keeps both within the dataset, and has none beside it.
    """
    if dataset.layout != "flat":
        return []
    try:
        beside = sorted(dataset.home.parent.iterdir())
    except OSError:
        return []
    return [
        home
        for home in beside
        if home.name.endswith(_ENDING)
        and home != dataset.home
        and (home / "quarantine").is_dir()
        and not home.with_name(home.name.removesuffix(_ENDING)).exists()
    ]
