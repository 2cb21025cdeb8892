"""Pictures that tests draw for themselves, no two alike unless they are meant to be, and what lies in their folders."""

import hashlib
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.catalog import Picture
from curate.duplicates import find_near_duplicates
from curate.inspect import inspect

OURS = re.compile(r"catalog\.sqlite(-wal|-shm|-journal)?|plan\.jsonl|\.florilegium\.(lock|split|quarantine)")
"""The names of the files that the program keeps beside the pictures."""


def paint(seed: int, size: tuple[int, int] = (200, 160)) -> Image.Image:
    """Soft patches of random colour under a little grain, as RGB."""
    rng = np.random.default_rng(seed)
    patches = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize(
        (200, 160), Image.Resampling.BICUBIC
    )
    grain = rng.normal(0, 3, (160, 200, 1))
    pixels = np.clip(np.asarray(patches) + grain, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)


def save(picture: Image.Image, path: Path, **options: Any) -> Path:
    """Write a picture as its suffix says, JPEGs at quality 90, in folders made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jpg":
        options = {"quality": 90, **options}
    picture.save(path, **options)
    return path


def encoded(picture: Image.Image, file_format: str = "JPEG", **options: Any) -> bytes:
    """The bytes of a picture file."""
    stream = io.BytesIO()
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def contents(folder: Path) -> dict[str, str]:
    """Every picture file below a folder, hidden ones too: path → sha256, without the catalog's own files."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not OURS.fullmatch(file.name)
    }


def scene(seed: int, width: int = 192, height: int = 128) -> Image.Image:
    """A picture with light and detail at every scale, of which no two seeds look alike."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3))
    for cells in (3, 6, 12, 24, 48):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        pixels += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), dtype=float) / cells**0.5
    pixels -= pixels.min()
    return Image.fromarray((pixels * (255 / pixels.max())).astype(np.uint8))


def draw(seed: int, size: tuple[int, int] = (160, 120), quality: int = 85) -> bytes:
    """A JPEG of soft blotches; another seed gives a picture that no hash takes for this one."""
    blotches = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def plant(folder: Path, counts: dict[str, int], size: tuple[int, int] = (160, 120)) -> Path:
    """Class folders with so many different pictures each."""
    seed = 0
    for label, count in counts.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / label / f"{number:04d}.jpg").write_bytes(draw(seed, size))
            seed += 1
    return folder


def plant_one(folder: Path, label: str, count: int) -> Path:
    """One class with so many names of one file: for searches, which look at no pixels."""
    (folder / label).mkdir(parents=True)
    first = folder / label / "0000.jpg"
    first.write_bytes(draw(0, (400, 300)))
    for number in range(1, count):
        (folder / label / f"{number:04d}.jpg").hardlink_to(first)
    return folder


Field = NDArray[np.float64]


def field(number: int) -> Field:
    """An 8 × 8 grid of colours that only this number gives: float64[8, 8, 3] in 0…255."""
    return np.random.default_rng(number).uniform(0, 255, (8, 8, 3))


def field_picture(colours: Field, side: int = 96) -> Image.Image:
    grid = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
    return grid.resize((side, side), Image.Resampling.BICUBIC)


def encoded_field(colours: Field, quality: int = 90) -> bytes:
    stream = io.BytesIO()
    field_picture(colours).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def dataset(root: Path, counts: dict[str, int], first: int = 0) -> None:
    """`counts[label]` different pictures in each class folder below root, numbered from `first` on."""
    number = first
    for label, count in counts.items():
        for at in range(count):
            write(root / label / f"picture {first + at}.jpg", encoded_field(field(number)))
            number += 1


def three_classes(root: Path) -> Path:
    """Seventy different pictures of three classes below raw/, with signs beyond ASCII in their names."""
    dataset(root / "raw", {"1": 40, "lily of Ünïcödé 百合": 20, "10": 10})
    return root


def labelled(number: int, colour: str) -> bytes:
    """A JPEG of one picture with a label of that colour on it: other colours, red and blue, are near and no copies."""
    picture = field_picture(field(number), side=160)
    picture.paste(colour, (60, 60, 80, 80))
    return encoded(picture, quality=92)


def bridge(number: int, folder: Path) -> tuple[Field, Field, Field]:
    """Two pictures that the search tells apart, and one that is near to either of them; tried out in a folder."""
    for turn in range(20):
        middle = field(1_000_000 + number * 1000 + turn)
        a, b = middle.copy(), middle.copy()  # each is another picture in a quarter, and both together in half of it
        a[:, :2] = np.where(a[:, :2] < 128, a[:, :2] + 45, a[:, :2] - 45)
        b[:, 6:] = np.where(b[:, 6:] < 128, b[:, 6:] + 45, b[:, 6:] - 45)
        rows = [_row(folder / f"{at}.jpg", encoded_field(colours, 95)) for at, colours in enumerate((a, b, middle))]
        pairs = {frozenset(pair) for pair in find_near_duplicates(folder, rows).near()}
        if pairs == {frozenset({0, 2}), frozenset({1, 2})}:
            return a, b, middle
    raise AssertionError("no bridge found")


def _row(file: Path, data: bytes) -> Picture:
    write(file, data)
    return Picture.of(inspect(data), path=file.name, label="", split="", size=len(data))


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder by its path, but for the catalog and links that lead nowhere."""
    return {
        (Path(folder) / name).relative_to(root).as_posix(): (Path(folder) / name).read_bytes()
        for folder, _, names in os.walk(root)
        for name in names
        if not OURS.fullmatch(name) and (Path(folder) / name).exists()
    }


def placed(out: Path) -> dict[str, str]:
    """label/name → split, of every file in an output; a file in two splits fails."""
    found: dict[str, str] = {}
    for split in ("train", "valid", "test"):
        for file in (out / split).rglob("*"):
            if file.is_file():
                name = file.relative_to(out / split).as_posix()
                assert name not in found, f"{name} lies in {found[name]} and in {split}"
                found[name] = split
    return found
