"""Small tables of iNaturalist Open Data in the layout of the real ones, and a place on loopback that serves them."""

import asyncio
import gzip
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testing.webserver import Reply, Request, Server
from tests.pictures import draw

PLANTS = "48460/47126"
ANIMALS = "48460/1"
TAXA: tuple[tuple[str, ...], ...] = (
    ("48460", "", "100.0", "stateofmatter", "Life", "true"),
    ("1", "48460", "70.0", "kingdom", "Animalia", "true"),
    ("47126", "48460", "70.0", "kingdom", "Plantae", "true"),
    ("120", f"{PLANTS}/5/110", "10.0", "species", "Echinops ritro", "true"),  # before the genus it belongs to
    ("110", f"{PLANTS}/5", "20.0", "genus", "Echinops", "true"),
    ("121", f"{PLANTS}/5/110", "10.0", "species", "Echinops ruthenicus", "false"),
    ("210", f"{ANIMALS}/2", "20.0", "genus", "Echinops", "true"),
    ("220", f"{ANIMALS}/2/210", "10.0", "species", "Echinops telfairi", "true"),
    ("130", f"{PLANTS}/6", "10.0", "hybrid", "Petunia × atkinsiana", "true"),
    ("1100", f"{PLANTS}/7", "10.0", "species", 'Rosa "odd" quote', "true"),
)
HEADERS = {
    "taxa": "taxon_id\tancestry\trank_level\trank\tname\tactive",
    "observations": "observation_uuid\tobserver_id\tlatitude\tlongitude\tpositional_accuracy\ttaxon_id\tquality_grade\t"
    "observed_on\tanomaly_score",
    "photos": "photo_uuid\tphoto_id\tobservation_uuid\tobserver_id\textension\tlicense\twidth\theight\tposition",
    "observers": "observer_id\tlogin\tname",
}


def uuid(number: int) -> str:
    """The same UUID for the same number; neighbours differ in every part."""
    digits = f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


@dataclass
class Tables:
    """Rows to be written; `observe` adds an observation with its photos."""

    taxa: list[Sequence[object]] = field(default_factory=lambda: list(TAXA))
    observations: list[Sequence[object]] = field(default_factory=list)
    photos: list[Sequence[object]] = field(default_factory=list)
    observers: list[Sequence[object]] = field(
        default_factory=lambda: [(1, "ann", "Ann Botanist"), (2, "ben", ""), (3, "eve", "Eve")]
    )

    def observe(
        self,
        number: int,
        taxon: int,
        *photos: int,
        observer: int = 1,
        grade: str = "research",
        licence: str = "CC-BY",
        place: tuple[object, object] = (52.5, 13.4),
        day: str = "2021-05-01",
        size: tuple[object, object] = (2048, 1536),
        extension: str = "jpg",
    ) -> None:
        self.observations.append((uuid(number), observer, *place, 10, taxon, grade, day, "0.25"))
        for position, photo in enumerate(photos):
            self.photos.append(
                (uuid(10**6 + photo), photo, uuid(number), observer, extension, licence, *size, position)
            )

    def contents(self) -> Mapping[str, str]:
        rows = {
            "taxa": self.taxa, "observations": self.observations, "photos": self.photos, "observers": self.observers
        }  # fmt: skip
        return {
            name: "".join(f"{line}\n" for line in (HEADERS[name], *("\t".join(map(str, row)) for row in rows[name])))
            for name in HEADERS
        }

    def write(self, folder: Path, *, packed: bool = True) -> Path:
        """The four tables in a folder, packed by gzip or not."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.contents().items():
            if packed:
                (folder / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
            else:
                (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
        return folder


@dataclass
class Bucket:
    """Serves files with ranges and versions, and any photo as a picture of its own; `with bucket.server:`.

    `breaks` are the bytes after which the next answers to GET break off. `asked` are the paths that were asked for,
    with the method and the first byte. `versions` are those of single files, `no_head` refuses requests for headers
    alone, and `unchanged` counts the answers that a file is still the one that the caller has.
    """

    files: dict[str, bytes]
    breaks: list[int] = field(default_factory=list)
    version: str = '"1"'
    versions: dict[str, str] = field(default_factory=dict)
    no_head: bool = False
    unchanged: int = 0
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    server: Server = field(init=False)

    def __post_init__(self) -> None:
        self.server = Server(self._answer)

    def _answer(self, request: Request) -> Reply:
        photo = re.fullmatch(r"/photos/(\d+)/large\.\w+", request.path)
        if photo is not None:
            return Reply(draw(int(photo[1]), (400, 300)), "image/jpeg")
        data = self.files.get(request.path.removeprefix("/"))
        if data is None:
            return Reply(b"gone", "text/plain", 404)
        version = self.versions.get(request.path.removeprefix("/"), self.version)
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        start = int(wanted[1]) if wanted and request.headers.get("if-range") == version else 0
        self.asked.append((request.method, request.path.removeprefix("/"), start))
        if self.no_head and request.method == "HEAD":
            return Reply(b"", "text/plain", 405)
        if request.headers.get("if-none-match") == version:
            self.unchanged += 1
            return Reply(b"", "application/gzip", 304, {"ETag": version})
        headers = {"ETag": version, "Content-Length": str(len(data) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        if request.method == "GET" and self.breaks:
            part = body[: self.breaks.pop(0)]

            async def send(writer: asyncio.StreamWriter) -> None:
                writer.write(part)
                await writer.drain()

            return Reply(b"", "application/gzip", 206 if start else 200, headers, send)
        return Reply(body, "application/gzip", 206 if start else 200, headers)
