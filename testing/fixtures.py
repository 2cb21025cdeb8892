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
    def home(self) -> str:
        """The service that it was given to, where others only pass it on."""
        return ("inaturalist", "wikimedia", "flickr")[self.observation % 3]

    @property
    def taken_at(self) -> str:
        """When it was taken, to the second, in local time."""
        return f"2021-05-01T{self.observation % 24:02}:{self.observation // 24 % 60:02}:{self.number % 2 * 30:02}"

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
        self.deepest = 1_000
        """Pictures below a category, beyond which Wikimedia looks at the category alone."""
        self.relayed = relayed
        self.strays = strays
        self._words = names
        self._divided = divided
        files = sorted(path for path in folder.glob("*/*") if path.is_file())
        self.pictures = [_picture(number, path, licenses[number % len(licenses)]) for number, path in enumerate(files)]
        self.labels = sorted({picture.label for picture in self.pictures})

    def search(self, service: str, words: str) -> list[ServedPicture]:
        """The pictures of the class whose folder, name or query the words are, as far as the service has them."""
        wanted = words.lower().strip()
        found = [picture for picture in self.pictures if wanted in self._terms(picture.label)]
        return [picture for picture in found if self._has(service, picture)]

    def _has(self, service: str, picture: ServedPicture) -> bool:
        if self._divided:
            return picture.number % len(SERVICE_NAMES) == SERVICE_NAMES.index(service)
        if not self.relayed or service == picture.home:
            return True
        # One photo of an observation is often among what others pass on, and the next one is not.
        return picture.number % 4 > 0 if service == "openverse" else service == "gbif" and picture.home == "inaturalist"

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
