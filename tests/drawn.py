"""Pictures that the tests of the web draw for themselves: no two alike, unless one is asked to be."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


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
