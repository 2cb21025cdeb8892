"""Pictures that tests draw for themselves: soft fields of colour, no two alike unless they are meant to be."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.catalog import Picture
from curate.duplicates import find_near_duplicates
from curate.inspect import inspect
from tests.painting import OURS

Field = NDArray[np.float64]


def field(number: int) -> Field:
    """An 8 × 8 grid of colours that only this number gives: float64[8, 8, 3] in 0…255."""
    return np.random.default_rng(number).uniform(0, 255, (8, 8, 3))


def picture(colours: Field, side: int = 96) -> Image.Image:
    grid = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
    return grid.resize((side, side), Image.Resampling.BICUBIC)


def encoded(colours: Field, quality: int = 90) -> bytes:
    stream = BytesIO()
    picture(colours).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def dataset(root: Path, counts: dict[str, int], first: int = 0) -> None:
    """`counts[label]` different pictures in each class folder below root, numbered from `first` on."""
    number = first
    for label, count in counts.items():
        for at in range(count):
            write(root / label / f"picture {first + at}.jpg", encoded(field(number)))
            number += 1


def three_classes(root: Path) -> Path:
    """Seventy different pictures of three classes below raw/, with signs beyond ASCII in their names."""
    dataset(root / "raw", {"1": 40, "lily of Ünïcödé 百合": 20, "10": 10})
    return root


def bridge(number: int, folder: Path) -> tuple[Field, Field, Field]:
    """Two pictures that the search tells apart, and one that it takes for either of them; tried out in a folder."""
    for turn in range(20):
        a = field(1_000_000 + number * 1000 + turn)
        b = np.clip(a + np.random.default_rng(turn).normal(0, 60, a.shape), 0, 255)
        middle = (a + b) / 2
        rows = [_row(folder / f"{at}.jpg", encoded(colours, 95)) for at, colours in enumerate((a, b, middle))]
        pairs = {frozenset(pair) for *pair, _ in find_near_duplicates(folder, rows).verified()}
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
