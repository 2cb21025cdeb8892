"""What the local web has to offer: a folder of pictures, each with an author and a licence, and who finds which."""

import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

SERVICE_NAMES = ("openverse", "wikimedia", "inaturalist", "gbif", "flickr")
# Six of eight pictures are openly licensed; the last two are what a careful scraper must leave.
LICENSES = ("by", "by-sa", "cc0", "by", "by-sa", "pdm", "by-nc", "all rights reserved")


@dataclass(frozen=True)
class ServedPicture:
    """One picture on offer. `number` is its place among all; `license` a code, or "all rights reserved"."""

    number: int
    label: str
    path: Path
    width: int
    height: int
    license: str

    @property
    def author(self) -> str:
        """Whom to credit."""
        return f"Botanist {self.observation % 7}"

    @property
    def observation(self) -> int:
        """Two neighbours of one class were taken of one plant."""
        return 1000 + self.number // 2

    @property
    def kind(self) -> str:
        """Its media type."""
        return mimetypes.guess_type(self.path.name)[0] or "application/octet-stream"


class Offer:
    """The pictures that all services share, or have divided among them, and which class a search means."""

    def __init__(
        self,
        folder: Path,
        names: Mapping[str, tuple[str, str]],
        *,
        divided: bool = False,
        relayed: bool = False,
        strays: bool = False,
        licenses: Sequence[str] = LICENSES,
    ) -> None:
        self.base = ""
        self.relayed = relayed
        self.strays = strays
        self._words = names
        self._divided = divided
        files = sorted(path for path in folder.glob("*/*") if path.is_file())
        self.pictures = [_picture(number, path, licenses[number % len(licenses)]) for number, path in enumerate(files)]
        self.labels = sorted({picture.label for picture in self.pictures})

    def search(self, service: str, words: str) -> list[ServedPicture]:
        """The pictures of the class whose folder, name or query the words are."""
        wanted, place, services = words.lower().strip(), SERVICE_NAMES.index(service), len(SERVICE_NAMES)
        return [
            picture
            for picture in self.pictures
            if wanted in self._terms(picture.label) and (not self._divided or picture.number % services == place)
        ]

    def url(self, service: str, picture: ServedPicture, size: str = "original") -> str:
        """Where a service keeps a picture."""
        return f"{self.base}/{service}/pictures/{picture.number}/{size}{picture.path.suffix}"

    def _terms(self, label: str) -> set[str]:
        return {label.lower(), *(term.lower() for term in self._words.get(label, ()))}


def _picture(number: int, path: Path, license_: str) -> ServedPicture:
    try:
        with Image.open(path) as image:
            width, height = image.size
    except OSError:
        width, height = 0, 0
    return ServedPicture(number, path.parent.name, path, width, height, license_)
