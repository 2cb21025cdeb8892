"""Different pictures that look alike, each set drawn from a seed: flags, products, forms, icons, digits and more.

No two pictures of a set are copies: each differs from the others in what a person would name it by.
"""

import io
import string
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from curate.lookalikes.edits import encode
from curate.rendering import Font

Drawn = Iterator[tuple[str, bytes]]
"""Names of files with their bytes."""

_COLOURS = ("#002395", "#ffffff", "#ed2939", "#009246", "#000000", "#fdda24", "#f77f00", "#14b53a")
_WORDS = [
    "the",
    "garden",
    "lies",
    "behind",
    "a",
    "wall",
    "and",
    "its",
    "gate",
    "is",
    "open",
    "from",
    "April",
    "to",
    "October",
    "every",
    "bed",
    "bears",
    "a",
    "number",
    "which",
    "stands",
    "on",
    "the",
    "plan",
    "at",
    "the",
    "entrance",
    "roses",
    "want",
    "sun",
    "ferns",
    "want",
    "shade",
    "water",
    "lilies",
    "need",
    "a",
    "pond",
    "of",
    "two",
    "feet",
    "at",
    "least",
    "whoever",
    "picks",
    "a",
    "flower",
    "pays",
    "a",
    "shilling",
    "to",
    "the",
    "gardener",
    "who",
    "keeps",
    "a",
    "book",
    "of",
    "all",
    "that",
    "grows",
    "here",
    "seeds",
    "are",
    "sold",
    "in",
    "autumn",
]
_NAMES = (
    "Rose Field",
    "Iris Brook",
    "Lily Marsh",
    "Basil Stone",
    "Heather Moor",
    "Violet Hill",
    "Reed Lake",
    "Fern Wood",
)


def png(picture: Image.Image) -> bytes:
    return encode(picture, "PNG", compress_level=1)


def font(size: int) -> Font:
    found = ImageFont.load_default(size)
    assert isinstance(found, Font)
    return found


def scene(rng: np.random.Generator, width: int = 480, height: int = 360) -> Image.Image:
    """Soft fields of colour, shapes and grain, as a photograph has them."""
    fields = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    picture = fields.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(24):
        x, y, side = rng.integers(0, width), rng.integers(0, height), rng.integers(8, width // 5)
        colour = tuple(rng.integers(0, 255, 3).tolist())
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((int(x), int(y), int(x + side), int(y + side * rng.uniform(0.4, 1.4))), fill=colour)
    return grainy(picture, rng, 5)


def grainy(picture: Image.Image, rng: np.random.Generator, grain: float, light: float = 1.0) -> Image.Image:
    """Lit by a factor, with noise of so many levels."""
    pixels = np.asarray(picture, np.float32) * light
    pixels += rng.normal(0, grain, pixels.shape).astype(np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _words(rng: np.random.Generator, count: int) -> str:
    return " ".join(rng.choice(_WORDS, count).tolist())


def _letters(rng: np.random.Generator, count: int) -> str:
    return "".join(rng.choice(list(string.ascii_uppercase + string.digits), count).tolist())


# ---- flags and products


def _flags(count: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """Three upright bands, no two neighbours of one colour."""
    triples = [triple for triple in product(_COLOURS, repeat=3) if triple[0] != triple[1] != triple[2]]
    for at in rng.permutation(len(triples))[:count].tolist():
        flag = Image.new("RGB", (600, 400))
        draw = ImageDraw.Draw(flag)
        for band, colour in enumerate(triples[at]):
            draw.rectangle((200 * band, 0, 200 * band + 199, 399), fill=colour)
        yield flag


def flat_flags(rng: np.random.Generator) -> Drawn:
    for number, flag in enumerate(_flags(90, rng)):
        yield f"{number:03}.png", png(flag)


def cloth_flags(rng: np.random.Generator) -> Drawn:
    """Each flag waves in one of four winds."""
    y = np.linspace(0, 1, 400)[:, None, None]
    winds = [0.7 + 0.3 * np.sin(y * rng.uniform(4, 9) + rng.uniform(0, 6)) for _ in range(4)]
    for number, flag in enumerate(_flags(90, rng)):
        pixels = np.asarray(flag, np.float64) * winds[number % 4]
        yield f"{number:03}.jpg", encode(grainy(Image.fromarray(pixels.astype(np.uint8)), rng, 6))


def products(rng: np.random.Generator) -> Drawn:
    """One bottle in one light; each picture shows it with another label."""
    for number in range(90):
        picture = Image.linear_gradient("L").resize((480, 640)).convert("RGB")
        picture = Image.blend(picture, Image.new("RGB", picture.size, "#e8e4da"), 0.8)
        draw = ImageDraw.Draw(picture)
        draw.rounded_rectangle((150, 190, 330, 610), 30, fill="#1f3d2a")
        draw.polygon(((150, 220), (205, 130), (275, 130), (330, 220)), fill="#1f3d2a")
        draw.rectangle((205, 40, 275, 140), fill="#1f3d2a")
        draw.rectangle((200, 30, 280, 60), fill="#7a1522")
        draw.rectangle((165, 230, 178, 590), fill="#4f7a60")
        paper = ("#f4efe0", "#f2ead0", "#efe9dc")[int(rng.integers(3))]
        draw.rectangle((150, 320, 330, 500), fill=paper)
        draw.rectangle((156, 326, 324, 494), outline="#806020", width=2)
        draw.text((240, 350), str(rng.choice(_NAMES)).upper(), fill="#40200a", font=font(20), anchor="mm")
        draw.text((240, 400), f"{_letters(rng, 3)} {1980 + number % 45}", fill="#40200a", font=font(32), anchor="mm")
        draw.text((240, 450), _words(rng, 3), fill="#40200a", font=font(14), anchor="mm")
        draw.text(
            (240, 475),
            f"{rng.integers(10, 150) / 10:.1f}% vol  {rng.integers(1, 9) * 25} cl",
            fill="#40200a",
            font=font(12),
            anchor="mm",
        )
        yield f"{number:03}.jpg", encode(grainy(picture.filter(ImageFilter.GaussianBlur(0.7)), rng, 2))


def signs(rng: np.random.Generator) -> Drawn:
    """Road signs that say how fast one may drive, on one sky."""
    for speed in range(5, 135, 5):
        sign = Image.new("RGB", (300, 300), "#9fc4e8")
        draw = ImageDraw.Draw(sign)
        draw.ellipse((20, 20, 280, 280), fill="white", outline="#c1121f", width=30)
        draw.text((150, 150), str(speed), fill="black", font=font(110 if speed < 100 else 84), anchor="mm")
        yield f"{speed:03}.jpg", encode(grainy(sign, rng, 2))


# ---- paper


def forms(rng: np.random.Generator) -> Drawn:
    """One printed form, filled in for different persons."""
    fields = ("Name", "Street", "Town", "Born on", "Number", "Plant", "Bed", "Price", "Paid on", "Signed")
    for number in range(30):
        page = Image.new("L", (620, 877), 250)
        draw = ImageDraw.Draw(page)
        draw.text((60, 50), "APPLICATION FOR A GARDEN BED", fill=20, font=font(24))
        draw.text((60, 90), "Fill in with ink. One form for each bed.", fill=60, font=font(14))
        for row, field in enumerate(fields):
            y = 150 + 62 * row
            draw.text((60, y), field, fill=40, font=font(16))
            draw.rectangle((180, y - 10, 560, y + 30), outline=90, width=2)
            filled = str(rng.choice(_NAMES)) if field == "Name" else f"{_words(rng, 2)} {rng.integers(1, 2000)}"
            draw.text((190 + int(rng.integers(0, 12)), y - 4), filled, fill=70, font=font(20))
        draw.text((60, 800), "Office use only", fill=60, font=font(14))
        yield f"{number:03}.jpg", encode(grainy(page, rng, 2), quality=85)


def pages(rng: np.random.Generator) -> Drawn:
    """Pages of one book: the same type area, other words."""
    for number in range(20):
        page = Image.new("L", (620, 877), 252)
        draw = ImageDraw.Draw(page)
        draw.text((310, 50), "ON GARDENS", fill=30, font=font(16), anchor="mm")
        for row in range(34):
            line, words = "", iter(_words(rng, 30).split())
            while font(16).getlength(line) < 455:
                line += f"{next(words)} "
            draw.text((70, 90 + 21 * row), line, fill=30, font=font(16))
        draw.text((310, 840), str(number + 11), fill=30, font=font(14), anchor="mm")
        yield f"{number:03}.png", png(page)


def tables(rng: np.random.Generator) -> Drawn:
    """One sheet of figures, the figures differ."""
    for number in range(40):
        page = Image.new("RGB", (640, 480), "white")
        draw = ImageDraw.Draw(page)
        for row, column in product(range(16), range(8)):
            box = (80 * column, 30 * row, 80 * column + 80, 30 * row + 30)
            draw.rectangle(box, outline="#c0c0c0", fill="#dde8f5" if row == 0 else "white")
            text = "ABCDEFGH"[column] if row == 0 else f"{rng.uniform(0, 1000):.1f}"
            draw.text((box[2] - 8, box[1] + 15), text, fill="black", font=font(14), anchor="rm")
        yield f"{number:03}.png", png(page)


def charts(rng: np.random.Generator) -> Drawn:
    """Bars and lines over the same axes."""
    for number in range(80):
        chart = Image.new("RGB", (640, 480), "white")
        draw = ImageDraw.Draw(chart)
        for step in range(6):
            draw.line((60, 420 - 70 * step, 600, 420 - 70 * step), fill="#d8d8d8")
            draw.text((50, 420 - 70 * step), str(20 * step), fill="black", font=font(14), anchor="rm")
        heights = rng.uniform(20, 350, 9)
        points = [(90 + 60 * at, 420 - float(height)) for at, height in enumerate(heights)]
        if number % 2:
            draw.line(points, fill="#1f77b4", width=3)
        else:
            for x, y in points:
                draw.rectangle((x - 20, y, x + 20, 420), fill="#1f77b4")
        yield f"{number:03}.png", png(chart)


# ---- small drawings


def captchas(rng: np.random.Generator) -> Drawn:
    for number in range(100):
        picture = Image.new("RGB", (160, 60), "#f0f0f0")
        for at, letter in enumerate(_letters(rng, 5)):
            sign = Image.new("L", (40, 50))
            ImageDraw.Draw(sign).text((20, 25), letter, fill=255, font=font(34), anchor="mm")
            sign = sign.rotate(float(rng.uniform(-25, 25)), Image.Resampling.BICUBIC)
            picture.paste("#303060", (5 + 29 * at, int(rng.integers(0, 10))), sign)
        draw = ImageDraw.Draw(picture)
        for _ in range(4):
            draw.line(rng.integers(0, (160, 60, 160, 60)).tolist(), fill="#8080a0", width=2)
        yield f"{number:03}.png", png(picture)


def _icon(rng: np.random.Generator, side: int, mode: str, ground: str | tuple[int, ...], ink: str) -> Image.Image:
    """A few strokes on a grid of eighths, drawn four times as large and reduced."""
    icon = Image.new(mode, (side * 4, side * 4), ground)
    draw, unit, width = ImageDraw.Draw(icon), side // 2, max(4, side // 4)
    for _ in range(int(rng.integers(2, 5))):
        (left, right), (top, bottom) = (np.sort(rng.choice(9, 2, replace=False)) * unit for _ in range(2))
        match int(rng.integers(4)):
            case 0:
                draw.line((left, top, right, bottom), fill=ink, width=width)
            case 1:
                draw.rectangle((left, top, right, bottom), outline=ink, width=width)
            case 2:
                draw.ellipse((left, top, right, bottom), outline=ink, width=width)
            case _:
                draw.arc(
                    (left, top, right, bottom), float(rng.uniform(0, 360)), float(rng.uniform(360, 640)), ink, width
                )
    return icon.resize((side, side), Image.Resampling.LANCZOS)


def _different(draw: Callable[[], Image.Image], count: int) -> Drawn:
    """So many drawings, no two of which have the same pixels at a quarter of the scale."""
    seen: set[bytes] = set()
    while len(seen) < count:
        picture = draw()
        small = picture.resize((picture.width // 4, picture.height // 4)).tobytes()
        if small not in seen:
            seen.add(small)
            yield f"{len(seen):05}.png", png(picture)


def icons(rng: np.random.Generator, count: int = 500) -> Drawn:
    yield from _different(lambda: _icon(rng, 64, "RGB", "white", "black"), count)


def white_drawings(rng: np.random.Generator) -> Drawn:
    """White strokes on a ground that is transparent: laid on white, all of them are blank."""
    yield from _different(lambda: _icon(rng, 128, "RGBA", (255, 255, 255, 0), "white"), 40)


def black_drawings(rng: np.random.Generator) -> Drawn:
    """Black strokes on a ground that is transparent and black below."""
    yield from _different(lambda: _icon(rng, 128, "RGBA", (0, 0, 0, 0), "black"), 40)


def digits(rng: np.random.Generator, count: int = 1_000) -> Drawn:
    """Digits of 28 × 28, white on black, each slanted and turned in its own way."""
    for number in range(count):
        digit = Image.new("L", (28, 28))
        ImageDraw.Draw(digit).text((14, 14), str(number % 10), fill=255, font=font(22), anchor="mm")
        slant, scale, turn = rng.normal(0, 0.2), rng.uniform(0.85, 1.3), rng.normal(0, 0.15)
        shift = 14 - np.array([[scale, slant], [turn, scale]]) @ (14, 14) + rng.normal(0, 1.0, 2)
        matrix = (scale, slant, float(shift[0]), turn, scale, float(shift[1]))
        digit = digit.transform((28, 28), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
        yield f"{number:05}.png", png(grainy(digit.filter(ImageFilter.GaussianBlur(0.5)), rng, 3))


def chessboards(rng: np.random.Generator) -> Drawn:
    """One board with the men elsewhere."""
    for number in range(60):
        board = Image.new("RGB", (320, 320), "#f0d9b5")
        draw = ImageDraw.Draw(board)
        for row, column in product(range(8), range(8)):
            if (row + column) % 2:
                draw.rectangle((40 * column, 40 * row, 40 * column + 39, 40 * row + 39), fill="#b58863")
        for at in rng.permutation(64)[:20].tolist():
            x, y, fill = 40 * (at % 8), 40 * (at // 8), "white" if rng.random() < 0.5 else "black"
            draw.ellipse((x + 8, y + 8, x + 31, y + 31), fill=fill, outline="#404040")
            draw.text((x + 20, y + 20), str(rng.choice(list("KQRBNP"))), fill="#808080", font=font(16), anchor="mm")
        yield f"{number:03}.png", png(board)


# ---- animations


def _animations(rng: np.random.Generator, file_format: str, suffix: str, count: int = 20) -> Drawn:
    first = scene(rng, 240, 180)
    for number in range(count):
        file = io.BytesIO()
        further = [scene(rng, 240, 180) for _ in range(3)]
        first.save(file, file_format, save_all=True, append_images=further, duration=100, loop=0)
        yield f"{number:03}.{suffix}", file.getvalue()


def gifs(rng: np.random.Generator) -> Drawn:
    """Animations that begin with the same frame and go on otherwise."""
    yield from _animations(rng, "GIF", "gif")


def apngs(rng: np.random.Generator) -> Drawn:
    yield from _animations(rng, "PNG", "png")


def webps(rng: np.random.Generator) -> Drawn:
    yield from _animations(rng, "WEBP", "webp")


SETS: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "flags, flat": flat_flags, "flags, cloth": cloth_flags, "bottles": products, "speed signs": signs, "forms": forms,
    "pages": pages, "tables": tables, "charts": charts, "captchas": captchas, "line icons": icons,
    "white on transparent": white_drawings, "black on transparent": black_drawings, "digits 28 × 28": digits,
    "chessboards": chessboards, "GIF, one first frame": gifs, "APNG, one first frame": apngs,
    "WebP, one first frame": webps,
}  # fmt: skip


def draw(name: str, folder: Path, seed: int = 0) -> int:
    """Write one of the sets into a new folder; the number of its files."""
    folder.mkdir(parents=True)
    files = 0
    for files, (file, data) in enumerate(SETS[name](np.random.default_rng([seed, len(name)])), start=1):  # noqa: B007
        (folder / file).write_bytes(data)
    return files
