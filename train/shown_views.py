"""What training sees: pictures in rows, the clean view first, then the drawn ones, on one sheet."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from PIL import Image

from curate.contact_sheet import Tile, contact_sheet
from curate.dataset import Dataset, PictureFile
from curate.files.reading import read_file
from curate.image import BrokenImage
from curate.parallel import ordered_map
from train.features.augmentation import Augmentation
from train.features.preprocessing import Preprocessing
from train.features.views import Views

# The view of a seed is cut at the same place and turned by the same angle whatever size a network wants. Nothing is
# normalised: these are to be looked at.
_SEEN: Final = Preprocessing(256, 224, "bilinear", (0.0,) * 3, (1.0,) * 3)


def sheet_of_views(
    dataset: Dataset,
    pictures: Sequence[PictureFile],
    names: Mapping[str, str],
    augmentation: Augmentation,
    count: int,
    seed: int,
) -> Image.Image:
    """An RGB sheet, a row a picture: the `count` views that the bank draws from this `seed`, each 224 × 224 pixels."""
    views = Views(count, seed, augmentation)

    def row(file: PictureFile) -> list[Tile]:
        name = names.get(file.label, file.label)
        try:
            data = read_file(dataset.root / file.path)
            seen = views.pixels(data, file.path, hashlib.sha256(data).hexdigest(), range(count), _SEEN)
        except OSError as error:
            return [Tile(None, name, f"{file.path}: cannot be read ({error.strerror})")]
        except BrokenImage as broken:
            return [Tile(None, name, f"{file.path}: {broken.reason}")]
        clean = Tile(Image.fromarray(seen[0]), name, file.path)
        return [clean, *(Tile(Image.fromarray(one), f"view {number}") for number, one in enumerate(seen[1:], start=2))]

    return contact_sheet(list(ordered_map(row, pictures)))
