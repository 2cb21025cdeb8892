"""Candidates for 102 taxa from generated tables of iNaturalist Open Data, of 100 million photos: time and memory.

    uv run python -m benchmarks.open_data [--rows 100000000] [--taxa 102] [--folder DIR] [--keep]

The tables have the layout of the real ones: columns, words, UUIDs in no order, photos of one observation one behind the
other, 700,000 observers of whom few have most of the observations. 1.4 million taxa stand in genera of ten, and the
taxa that are asked for have 1 observation in 25 between them, the first one most. About 75 bytes of disk are needed
for each row of photos, for the photos and the observations together; DIR is a new folder, and is removed at the end
without `--keep`. The source runs in a process of its own, whose largest resident memory counts; the second run finds
what the first has kept, and `unpack` unpacks the tables and looks at nothing. Generating comes before and is not timed.
"""

import argparse
import asyncio
import gzip
import json
import multiprocessing
import re
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

from benchmarks.peak import peak_rss
from curate.sources import open_source
from curate.sources.open_data.table_rows import whole_rows
from curate.sources.protocol.image_search import Query, SourceOptions
from curate.sources.protocol.licenses import OPEN
from curate.web.fetch import Fetcher
from curate.web.network import Network

ROWS = 100_000_000
TAXA = 1_400_000
OBSERVERS = 700_000
IN_A_GENUS = 10
PER_PART = 500_000  # observations that are made at once
SHARE_WANTED = 0.04
BYTES_A_ROW = 75
FIRST_TAXON = 50_000
LICENSES = (b"CC-BY-NC", b"CC-BY", b"CC0", b"CC-BY-SA", b"CC-BY-NC-SA", b"CC-BY-NC-ND", b"CC-BY-ND", b"PD")
SHARES = (0.70, 0.12, 0.07, 0.02, 0.06, 0.02, 0.005, 0.005)
SIDES = np.array([2048, 1536, 1365, 1152, 1024, 800])
HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), dtype=np.uint8).reshape(256, 2)
DAYS = [str(np.datetime64("2011-01-01") + day).encode() for day in range(5500)]
OBSERVATIONS = (
    b"observation_uuid\tobserver_id\tlatitude\tlongitude\tpositional_accuracy\ttaxon_id\tquality_grade\tobserved_on\t"
    b"anomaly_score\n"
)
PHOTOS = b"photo_uuid\tphoto_id\tobservation_uuid\tobserver_id\textension\tlicense\twidth\theight\tposition\n"

Letters = NDArray[np.uint8]
"""Texts of one column, uint8[rows, width]; 0 for no letter."""
Numbers = NDArray[np.int64]


def uuids(rng: np.random.Generator, count: int) -> Letters:
    """Random ones, all 36 letters."""
    drawn = np.frombuffer(rng.bytes(16 * count), np.uint8).reshape(count, 16)
    digits = HEX[drawn].reshape(count, 32)
    letters = np.full((count, 36), ord("-"), np.uint8)
    for begin, end, first in ((0, 8, 0), (9, 13, 8), (14, 18, 12), (19, 23, 16), (24, 36, 20)):
        letters[:, begin:end] = digits[:, first : first + end - begin]
    return letters


def decimal(values: Numbers, width: int) -> Letters:
    """Whole numbers without leading zeros."""
    letters, rest = np.zeros((len(values), width), np.uint8), values.copy()
    for place in range(width - 1, -1, -1):
        letters[:, place] = ord("0") + rest % 10
        rest //= 10
    leading = np.cumsum(letters != ord("0"), axis=1) == 0
    leading[:, -1] = False
    letters[leading] = 0
    return letters


def degrees(values: Numbers) -> Letters:
    """Coordinates, given in units of 10⁻⁸ degrees."""
    point = np.full((len(values), 1), ord("."), np.uint8)
    behind = decimal(abs(values) % 10**8 + 10**8, 9)[:, 1:]
    return np.concatenate([words([b"", b"-"], values < 0), decimal(abs(values) // 10**8, 3), point, behind], axis=1)


def words(choices: Sequence[bytes], chosen: NDArray[np.generic]) -> Letters:
    """For each row the chosen one of a few words."""
    table = np.zeros((len(choices), max(map(len, choices))), np.uint8)
    for number, word in enumerate(choices):
        table[number, : len(word)] = np.frombuffer(word, np.uint8)
    return table[chosen.astype(np.intp)]


def rows_of(*columns: Letters) -> bytes:
    """The columns side by side, as lines of a table."""
    count = len(columns[0])
    ends = [np.full((count, 1), ord("\t"), np.uint8)] * (len(columns) - 1) + [np.full((count, 1), 10, np.uint8)]
    letters = np.concatenate([part for pair in zip(columns, ends, strict=True) for part in pair], axis=1).ravel()
    return bytes(letters[letters != 0].data)


def observations(rng: np.random.Generator, count: int, wanted: Numbers) -> tuple[Letters, Numbers, bytes]:
    """(UUIDs, observers, rows of the table)."""
    own, observer = uuids(rng, count), (rng.pareto(1.2, count) * 1000).astype(np.int64) % OBSERVERS + 1
    taxon = rng.integers(1, TAXA, count)
    shares = 1.0 / (np.arange(len(wanted)) + 3.0)
    asked_for = rng.random(count) < SHARE_WANTED
    taxon[asked_for] = rng.choice(wanted, int(asked_for.sum()), p=shares / shares.sum())
    places = (rng.integers(-9 * 10**9, 9 * 10**9, count), rng.integers(-18 * 10**9, 18 * 10**9, count))
    text = rows_of(
        own, decimal(observer, 7), degrees(places[0]), degrees(places[1]), decimal(rng.integers(1, 3000, count), 4),
        decimal(taxon, 7), words([b"research", b"needs_id", b"casual"], rng.choice(3, count, p=[0.6, 0.3, 0.1])),
        words(DAYS, rng.integers(0, len(DAYS), count)), degrees(rng.integers(10**6, 10**8, count)),
    )  # fmt: skip
    return own, observer, text


def photos(rng: np.random.Generator, own: Letters, observer: Numbers, first: int) -> tuple[int, int, bytes]:
    """(how many, the last one's number, rows of the table) for these observations."""
    each = rng.choice([1, 2, 3, 4], len(own), p=[0.5, 0.28, 0.15, 0.07])
    of = np.repeat(np.arange(len(own)), each)
    count = len(of)
    numbers = first + np.cumsum(rng.integers(1, 4, count))
    text = rows_of(
        uuids(rng, count), decimal(numbers, 9), own[of], decimal(observer[of], 7),
        words([b"jpg", b"jpeg", b"png"], rng.choice(3, count, p=[0.5, 0.49, 0.01])),
        words(LICENSES, rng.choice(len(LICENSES), count, p=SHARES)), decimal(rng.choice(SIDES, count), 4),
        decimal(rng.choice(SIDES, count), 4), decimal(np.arange(count) - np.repeat(np.cumsum(each) - each, each), 2),
    )  # fmt: skip
    return count, int(numbers[-1]), text


def packed(text: bytes) -> bytes:
    """A file of gzip; several of them, one behind the other, are one."""
    compressor = zlib.compressobj(4, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(text) + compressor.flush()


def generate(folder: Path, rows: int, taxa: int) -> dict[str, int]:
    """Write the four tables; rows of each."""
    rng = np.random.default_rng(7)
    wanted = np.array([FIRST_TAXON + IN_A_GENUS * number + 1 for number in range(taxa)])
    count, observed, last = 0, 0, 1000
    with (
        (folder / "observations.csv.gz").open("wb") as one,
        (folder / "photos.csv.gz").open("wb") as other,
        ThreadPoolExecutor(2) as threads,
    ):
        one.write(packed(OBSERVATIONS))
        other.write(packed(PHOTOS))
        under_way: list[tuple[BinaryIO, Future[bytes]]] = []
        while count < rows:
            own, observer, text = observations(rng, PER_PART, wanted)
            more, last, photo_text = photos(rng, own, observer, last)
            for file, part in under_way:
                file.write(part.result())
            under_way = [(one, threads.submit(packed, text)), (other, threads.submit(packed, photo_text))]
            count, observed = count + more, observed + PER_PART
        for file, part in under_way:
            file.write(part.result())
    with gzip.open(folder / "observers.csv.gz", "wt", compresslevel=4, encoding="utf-8") as table:
        table.write("observer_id\tlogin\tname\n")
        table.writelines(
            f"{one}\tbotanist{one}\t{f'Ann {one}' if one % 3 else ''}\n" for one in range(1, OBSERVERS + 1)
        )
    with gzip.open(folder / "taxa.csv.gz", "wt", compresslevel=4, encoding="utf-8") as table:
        table.write("taxon_id\tancestry\trank_level\trank\tname\tactive\n48460\t\t100.0\tstateofmatter\tLife\ttrue\n")
        table.write("47126\t48460\t70.0\tkingdom\tPlantae\ttrue\n")
        table.writelines(map(taxon_row, range(1, TAXA)))
    return {"photos": count, "observations": observed, "observers": OBSERVERS, "taxa": TAXA}


def taxon_row(number: int) -> str:
    """A genus, or one of the species behind it."""
    genus = number - number % IN_A_GENUS
    above = "48460/47126/211194/47125/47163/47605/48150"
    if number in (47126, 48460):
        return ""
    if number == genus:
        return f"{number}\t{above}\t20.0\tgenus\tGenus{genus}\ttrue\n"
    active = "true" if number % 50 else "false"
    return f"{number}\t{above}/{genus}\t10.0\tspecies\tGenus{genus} species{number}\t{active}\n"


@dataclass(frozen=True)
class Run:
    """What one process needed: seconds, seconds of processor time, bytes; and what it found."""

    wall: float
    processor: float
    peak: int
    classes: int
    photos: int
    listed: int


def find(folder: str, kept: str, taxa: int) -> Run:
    """Ask the source for every class's first page, in a process that does nothing else."""
    queries = tuple(query(number) for number in range(taxa))

    async def ask() -> tuple[int, int, int]:
        async with Fetcher(Network()) as fetcher:
            asked = SourceOptions(OPEN, queries=queries, kept=Path(kept))
            source = open_source(f"inaturalist_open_data:{folder}", fetcher, asked)
            pages = [await source.page(one, 100, None) for one in queries]
        words = [re.search(r"([\d,]+) of a wanted licence", page.note) for page in pages]
        photos = sum(int(found[1].replace(",", "")) for found in words if found is not None)
        return sum(bool(page.candidates) for page in pages), photos, sum(len(page.candidates) for page in pages)

    began = time.perf_counter()
    classes, found, listed = asyncio.run(ask())
    return Run(time.perf_counter() - began, time.process_time(), peak_rss(), classes, found, listed)


def unpack(folder: str) -> Run:
    """Unpack the tables and look at nothing: what no way of reading them can do without."""
    began = time.perf_counter()
    for name in ("taxa", "observations", "photos", "observers"):
        for _ in whole_rows(Path(folder) / f"{name}.csv.gz", lambda size: None):  # noqa: ARG005
            pass
    return Run(time.perf_counter() - began, time.process_time(), peak_rss(), 0, 0, 0)


def query(number: int) -> Query:
    """The query for one of the generated species that are asked for."""
    genus = FIRST_TAXON + IN_A_GENUS * number
    return Query(str(number), str(number), f"Genus{genus} species{genus + 1}", kingdom="Plantae")


def main() -> None:
    """Generate the tables, and print what finding the photos took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--taxa", type=int, default=102)
    parser.add_argument("--folder", type=Path, help="a folder with tables that were generated before is used again")
    parser.add_argument("--keep", action="store_true")
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="open-data-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        measure(folder, chosen.rows, chosen.taxa)
    finally:
        if not chosen.keep:
            shutil.rmtree(folder)


def measure(folder: Path, rows: int, taxa: int) -> None:
    """Print a table of a first run and one that finds what the first has kept."""
    note = folder / "generated.json"
    if not note.exists():
        room = shutil.disk_usage(folder).free // 2
        began = time.perf_counter()
        note.write_text(json.dumps(generate(folder, min(rows, room // BYTES_A_ROW), taxa)))
        print(f"generated in {time.perf_counter() - began:.0f} s", flush=True)
    made = json.loads(note.read_text())
    size = sum(path.stat().st_size for path in folder.glob("*.csv.gz"))
    print(", ".join(f"{count:,} {name}" for name, count in made.items()), f"({size / 1e9:.1f} GB packed)")
    print(f"{'run':8}{'s':>8}{'processor s':>14}{'peak MiB':>10}{'classes':>9}{'photos':>12}{'first pages':>13}")
    kept = folder / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as processes:
        for name in ("first", "second", "unpack"):
            work = (unpack, (str(folder),)) if name == "unpack" else (find, (str(folder), str(kept), taxa))
            run: Run = processes.apply(*work)
            print(
                f"{name:8}{run.wall:>8.1f}{run.processor:>14.1f}{run.peak >> 20:>10,}{run.classes:>9}{run.photos:>12,}"
                f"{run.listed:>13,}",
                flush=True,
            )


if __name__ == "__main__":
    main()
