"""Small pictures for tests: each seed another picture, far from every other by pHash."""

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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
