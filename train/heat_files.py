"""Heat maps as files: a PNG for each picture that was answered, in one folder."""

from pathlib import Path
from typing import Final

from PIL import Image

from curate.errors import UserError
from curate.file_names import FreeNames
from curate.image import load_pixels
from curate.printable import printable
from curate.rendering import save_drawing, thumbnail
from train.heat_plot import overlay
from train.predict import Prediction, Predictor

_SIDE: Final = 768  # pixels of a drawn map's longer side at most


class HeatMapFolder:
    """Draws the map of each prediction's first guess into a folder, `rose.jpg` as `rose.jpg.png`."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError where the folder can't be made."""
        self.folder = folder
        self._names = FreeNames()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"The folder {folder} for heat maps cannot be made ({error.strerror}): give another with --explain."
            ) from error

    def draw(self, predictor: Predictor, prediction: Prediction) -> tuple[Path, Image.Image]:
        """The file that was written, and what was drawn.

        Raises BrokenImage where the picture can be read no longer, and UserError where a file that is not ours stands
        in its place, or the network has no places.
        """
        path = Path(prediction.path)
        heat = predictor.explain(load_pixels(path, at_least=predictor.at_least), prediction.guesses[0].label)
        picture = load_pixels(path, at_least=_SIDE)  # sharper than what the network is given
        file = self.folder / self._names.take(f"{printable(path.name)}.png", "again")
        drawn = overlay(thumbnail(picture, _SIDE, _SIDE), heat)
        save_drawing(drawn, file)
        return file, drawn
