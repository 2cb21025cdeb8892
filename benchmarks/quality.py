"""What the quality checks flag: real photographs, the same spoilt in known ways, and pages of text.

    uv run python benchmarks/quality.py [--flowers DIR] [--every 8]

The thresholds of `curate.quality` were set on this table, and hold where it has few flags in the first rows and many
in the rows that a check is for.
"""

import argparse
import io
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from curate.inspect import inspect_many
from curate.parallel import ordered_map
from curate.quality import CHECKS, Scores, flags

WORDS = ("petal", "stamen", "of", "the", "flowering", "garden", "lily", "into", "a", "sepals", "rose", "orchid", "leaf")


def blurred(radius: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.filter(ImageFilter.GaussianBlur(radius * min(image.size) / 500))


def enlarged(times: int) -> Callable[[Image.Image], Image.Image]:
    def edit(image: Image.Image) -> Image.Image:
        small = image.resize((image.width // times, image.height // times))
        return small.resize(image.size, Image.Resampling.BICUBIC)

    return edit


def dimmed(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: ImageEnhance.Brightness(image).enhance(factor)


def washed(part: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: Image.blend(image, Image.new("RGB", image.size, "white"), part)


def greyed(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: ImageEnhance.Contrast(image).enhance(factor)


def framed(colour: str, share: float, below: float = 0.0) -> Callable[[Image.Image], Image.Image]:
    """A frame of a share of the short side, wider below by another share of the height."""

    def frame(image: Image.Image) -> Image.Image:
        wide = round(share * min(image.size))
        size = image.width + 2 * wide, image.height + 2 * wide + round(below * image.height)
        sheet = Image.new("RGB", size, colour)
        sheet.paste(image, (wide, wide))
        return sheet

    return frame


SPOILT: dict[str, Callable[[Image.Image], Image.Image]] = {
    "halved": lambda image: image.reduce(2),
    "blurred, σ 1/125": blurred(4),
    "blurred, σ 1/100": blurred(5),
    "blurred, σ 1/83": blurred(6),
    "blurred, σ 1/62": blurred(8),
    "enlarged 6 times": enlarged(6),
    "enlarged 10 times": enlarged(10),
    "dimmed to 0.3": dimmed(0.3),
    "dimmed to 0.2": dimmed(0.2),
    "7/10 white": washed(0.7),
    "17/20 white": washed(0.85),
    "contrast × 0.2": greyed(0.2),
    "contrast × 0.1": greyed(0.1),
    "60 pixels wide": lambda image: image.resize((60, 45)),
    "a strip of a quarter": lambda image: image.crop((0, 0, image.width, image.height // 4)),
    "white frame": framed("white", 0.04),
    "black frame": framed("black", 0.08),
    "wide white frame": framed("white", 0.15),
    "instant picture": framed("white", 0.06, 0.2),
}


def page(seed: int) -> Image.Image:
    """A page of words in random size, spacing and paper; each fourth is light on dark."""
    choose = random.Random(seed)
    width, height = choose.choice([(1240, 1754), (1654, 1240), (800, 1100), (600, 800)])
    paper = 20 if seed % 4 == 0 else choose.choice([255, 250, 240])
    image = Image.new("RGB", (width, height), (paper,) * 3)
    draw, size, margin = ImageDraw.Draw(image), choose.choice([14, 18, 24, 32, 44]), choose.randint(20, 120)
    font = ImageFont.load_default(size)
    for top in range(margin, height - margin, int(size * choose.choice([1.3, 1.6]))):
        line = ""
        while draw.textlength(line, font=font) < width - 2 * margin:
            line += choose.choice(WORDS) + " "
        draw.text((margin, top), line, fill=(255 - paper if paper < 100 else 30,) * 3, font=font)
    return image


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def scored(path: Path) -> dict[str, Scores]:
    data = path.read_bytes()
    image = Image.open(io.BytesIO(data)).convert("RGB")
    copies = {"as it is": data} | {name: encoded(edit(image)) for name, edit in SPOILT.items()}
    return dict(zip(copies, (facts.scores for facts in inspect_many((d, "") for d in copies.values())), strict=True))


def row(name: str, found: list[Scores]) -> None:
    shares = [np.mean([check.flag in flags(scores) for scores in found]) for check in CHECKS]
    print(f"{name:22}{len(found):6,}", *(f"{share:8.1%}" if share else " " * 7 + "·" for share in shares))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, default=REPOSITORY.parent / "shared" / "flowers")
    parser.add_argument("--every", type=int, default=8, help="spoil every n-th photograph")
    options = parser.parse_args()
    paths = sorted(options.flowers.glob("*/*/*.jpg"))
    whole = [facts.scores for facts in inspect_many((path.read_bytes(), "") for path in paths)]
    print(f"{'flagged':22}{'of':>6}", *(f"{check.flag:>8}" for check in CHECKS))
    print(f"{'score below':28}", *(f"{check.threshold:8.2f}" for check in CHECKS))
    row("photographs", whole)
    for quantile in (0.1, 1, 50):
        levels = np.percentile(np.array(whole), quantile, axis=0)
        print(f"  scores, {f'{quantile:g}%':>18}", *(f"{level:8.2f}" for level in levels))
    spoilt = list(ordered_map(scored, paths[:: options.every]))
    for name in spoilt[0]:
        row(name, [scores[name] for scores in spoilt])
    row("pages of text", [facts.scores for facts in inspect_many((encoded(page(n)), "") for n in range(80))])


if __name__ == "__main__":
    main()
