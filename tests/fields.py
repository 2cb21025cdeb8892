"""Pictures that tests draw for themselves: soft fields of colour, no two alike unless they are meant to be."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.phash import phash

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


def bridge(number: int, radius: int) -> tuple[Field, Field, Field]:
    """Two pictures further apart than the radius, and one that is within it of both."""
    for turn in range(200):
        a = field(1_000_000 + number * 1000 + turn)
        b = np.clip(a + np.random.default_rng(turn).normal(0, 35, a.shape), 0, 255)
        middle = (a + b) / 2
        hashes = [phash(picture(colours)) for colours in (a, b, middle)]
        apart, left, right = ((hashes[i] ^ hashes[j]).bit_count() for i, j in ((0, 1), (0, 2), (1, 2)))
        if apart > radius + 1 and max(left, right) < radius:
            return a, b, middle
    raise AssertionError("no bridge found")


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder by its path, but for the catalog and links that lead nowhere."""
    return {
        (Path(folder) / name).relative_to(root).as_posix(): (Path(folder) / name).read_bytes()
        for folder, _, names in os.walk(root)
        for name in names
        if not name.startswith("catalog.sqlite") and (Path(folder) / name).exists()
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
