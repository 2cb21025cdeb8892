"""The split of a dataset whose files stay as they lie, written as a manifest."""

from collections.abc import Mapping

from curate.dataset import SPLITS, Dataset
from curate.fixed.fixed_dataset import FixedDataset
from curate.fixed.manifest import ManifestRow, write_manifest
from curate.splitting.assignment import Splits
from curate.splitting.picture_table import NOWHERE, PictureTable


def write_split(dataset: Dataset, table: PictureTable, assigned: Splits, held_back: Mapping[int, str]) -> None:
    """Write where each picture of a table goes, and why it goes nowhere. Raises `UserError` as `write_manifest`."""
    assert isinstance(dataset, FixedDataset)
    rows = (
        ManifestRow(
            path, table.labels[table.label[at]], "" if assigned[at] == NOWHERE else SPLITS[assigned[at]],
            held_back.get(at, ""), table.digest(at),
        )
        for at, path in enumerate(table.paths)
    )  # fmt: skip
    write_manifest(dataset.split_manifest, "split", rows)
