"""The split of a dataset whose files stay as they lie, read by its manifest."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from curate.dataset import SPLITS, ClassFolder, Dataset, Listing, PictureFile, natural_key
from curate.fixed.fixed_dataset import FixedDataset
from curate.fixed.manifest import read_manifest


@dataclass(frozen=True)
class SplitView(FixedDataset):
    """A dataset with the split that its manifest says. `assigned` is path → split.

    What the manifest puts in no split, and what came later, is in no class folder of it.
    """

    assigned: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def class_folders(self) -> list[ClassFolder]:
        """A folder for each label in each split, by split; all other folders are those of the files themselves."""
        return list(self._in_splits)

    def files(self) -> list[PictureFile]:
        """Every picture, each in the split that it is in by the manifest, or lies in by itself."""
        return [replace(file, split=self.split_of(file.path)) for file in super().files()]

    def split_of(self, path: str) -> str | None:
        """The split of a picture by the manifest, or else by where it lies."""
        return self.assigned.get(path) or super().split_of(path)

    def listing(self, folder: ClassFolder) -> Listing:
        """The pictures of one class folder, of the split's or of the dataset's own."""
        found = self._in_splits.get(folder)
        return super().listing(folder) if found is None else Listing(found.pictures, 0, 0)

    @cached_property
    def _in_splits(self) -> dict[ClassFolder, Listing]:
        found: dict[ClassFolder, Listing] = {}
        for one in sorted(self.pictures, key=lambda one: (one.name, one.path)):
            if split := self.assigned.get(one.path):
                folder = ClassFolder(f"{self.split_manifest.name}/{split}/{one.label}", one.label, split)
                found.setdefault(folder, Listing([], 0, 0)).pictures.append((one.path, one.stat))
        folders = sorted(found, key=lambda one: (SPLITS.index(str(one.split)), natural_key(one.label)))
        return {folder: found[folder] for folder in folders}


def as_split(dataset: Dataset) -> Dataset:
    """The dataset with the split that its manifest says; itself, where there is no manifest, or no need of one.

    Raises `UserError` as `read_manifest` does.
    """
    if not isinstance(dataset, FixedDataset):
        return dataset
    assigned = {row.path: row.split for row in read_manifest(dataset.split_manifest, "split") if row.split}
    if not assigned:
        return dataset
    return SplitView(
        dataset.root, dataset.layout, dataset.home, dataset.pictures, dataset.strangers, dataset.names, dataset.credits,
        assigned,
    )  # fmt: skip
