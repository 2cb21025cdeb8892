"""What lies behind a flower, and the light over all of it."""

from math import cos, sin, tau

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from demo.flower import Colour, draw_leaf

COARSE = 4
"""Backgrounds are out of focus, so they are painted at a quarter of the picture's scale."""


def paint_background(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """One of six grounds at 1/COARSE of `size` (width, height); more may be drawn on it before `enlarge`."""
    small = (-(-size[0] // COARSE), -(-size[1] // COARSE))
    paint = (_meadow, _foliage, _bokeh, _soil, _sky, _wall)[rng.choice(6, p=(0.24, 0.22, 0.18, 0.14, 0.12, 0.1))]
    return paint(small, rng)


def enlarge(background: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Blurred by as much as the lens is open, at the picture's own scale."""
    blurred = background.filter(ImageFilter.BoxBlur(rng.uniform(0.4, 2.6)))
    return blurred.resize(size, Image.Resampling.BICUBIC)


def draw_grass(draw: ImageDraw.ImageDraw, size: tuple[int, int], count: int, rng: np.random.Generator) -> None:
    """Sharp blades that rise from below the picture's lower edge."""
    width, height = size
    for _ in range(count):
        x, lean = rng.uniform(0, width), rng.normal(0, 0.16) * height
        tall, thick = rng.uniform(0.12, 0.6) * height, rng.uniform(0.004, 0.013) * height
        green = _jitter((82, 128, 46), 26, rng)
        rise = np.linspace(0, 1, 7)
        spine, half = x + lean * rise**2, thick * (1 - rise**2)
        level = height - tall * rise
        sides = np.concatenate([np.stack([spine - half, level], 1), np.stack([spine + half, level], 1)[::-1]])
        draw.polygon(sides.ravel().tolist(), fill=green)


def develop(picture: Image.Image, noise: NDArray[np.int16], rng: np.random.Generator) -> Image.Image:
    """Uneven light, vignette, lens blur, white balance, exposure and noise, as in a photograph.

    `noise` is a plate of grain in grey levels (rows, columns, 3), larger than the picture; a part is used.
    """
    lit = ImageChops.multiply(picture, _light_field(rng).resize(picture.size, Image.Resampling.BILINEAR))
    if rng.random() < 0.45:
        lit = lit.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.3)))
    warmth, exposure, contrast = rng.normal(0, 0.07), rng.uniform(0.95, 1.45), rng.uniform(0.85, 1.15)
    levels = np.arange(256, dtype=np.float64)
    gains = exposure * np.array([1 + warmth, 1.0, 1 - warmth])
    curves = (levels * gains[:, None] - 118) * contrast + 118
    toned = lit.point(np.clip(curves, 0, 255).astype(np.uint8).ravel().tolist())
    top, left = (int(rng.integers(0, noise.shape[i] - toned.size[1 - i])) for i in (0, 1))
    grain = noise[top : top + toned.height, left : left + toned.width]
    grainy = np.asarray(toned, dtype=np.int16) + (grain >> int(rng.integers(1, 4)))
    return Image.fromarray(np.clip(grainy, 0, 255).astype(np.uint8))


def _light_field(rng: np.random.Generator) -> Image.Image:
    """(48, 48) factors up to 1: a slope, a vignette and, at times, the shadow of a branch."""
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    angle = rng.uniform(0, tau)
    field = 0.86 + rng.uniform(0, 0.2) * (x * cos(angle) + y * sin(angle)) - rng.uniform(0, 0.22) * (x**2 + y**2)
    if rng.random() < 0.5:
        field -= rng.uniform(0.05, 0.3) * (_cloud((48, 48), int(rng.integers(3, 7)), rng) > 0.2)
    grey = np.clip(field * 255, 50, 255).astype(np.uint8)
    return Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).filter(ImageFilter.BoxBlur(2))


def _cloud(size: tuple[int, int], cells: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(height, width) smooth noise of about unit variance, with `cells` waves across."""
    seeds = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(seeds.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)


def _tinted(size: tuple[int, int], one: Colour, other: Colour, amount: NDArray[np.floating]) -> Image.Image:
    """From `one` to `other` by `amount` (height, width) in 0 to 1."""
    share = np.clip(amount, 0, 1)[..., None]
    mixed = np.array(one) * (1 - share) + np.array(other) * share
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8)).resize(size)


def _ramp(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.floating]:
    """(height, width) from 0 at the top to 1 at the bottom, slanted."""
    y, x = np.mgrid[0 : 1 : size[1] * 1j, -0.5 : 0.5 : size[0] * 1j]
    return np.asarray(y + rng.normal(0, 0.35) * x)


def _meadow(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    far, near = _jitter((150, 178, 98), 28, rng), _jitter((46, 84, 34), 18, rng)
    ground = _tinted(size, far, near, _ramp(size, rng) + 0.3 * _cloud(size, int(rng.integers(3, 8)), rng))
    draw_grass(ImageDraw.Draw(ground), size, int(rng.integers(15, 60)), rng)
    return ground


def _foliage(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    ground = _tinted(size, _jitter((14, 28, 14), 8, rng), _jitter((62, 96, 48), 18, rng), _cloud(size, 4, rng) + 0.5)
    draw = ImageDraw.Draw(ground)
    long = max(size) * rng.uniform(0.14, 0.4)
    for x, y in rng.uniform((0, 0), size, (int(rng.integers(14, 34)), 2)):
        green = _jitter((52, 92, 44), 24, rng)
        draw_leaf(draw, np.array([x, y]), long * rng.uniform(0.6, 1.3), 0.24, rng.uniform(0, tau), green, rng)
    return ground


def _bokeh(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    dark, bright = _jitter((22, 40, 26), 14, rng), _jitter((84, 120, 62), 26, rng)
    ground = _tinted(size, dark, bright, _cloud(size, 3, rng) * 0.6 + 0.45)
    draw = ImageDraw.Draw(ground, "RGBA")
    for x, y in rng.uniform((0, 0), size, (int(rng.integers(8, 30)), 2)).tolist():
        reach = rng.uniform(0.03, 0.13) * max(size)
        colour = (*_jitter(((190, 205, 130), (225, 215, 160), (150, 190, 170))[rng.integers(3)], 18, rng), 80)
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
    return ground


def _soil(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    dark, bright = _jitter((52, 38, 28), 12, rng), _jitter((142, 116, 88), 20, rng)
    rough = _cloud(size, 3, rng) * 0.35 + _cloud(size, 26, rng) * 0.25 + 0.4
    ground = _tinted(size, dark, bright, rough)
    draw = ImageDraw.Draw(ground)
    for x, y in rng.uniform((0, 0), size, (int(rng.integers(6, 26)), 2)).tolist():
        reach = rng.uniform(0.01, 0.05) * max(size)
        draw.ellipse((x - reach * 1.3, y - reach, x + reach * 1.3, y + reach), fill=_jitter((120, 108, 96), 26, rng))
    return ground


def _sky(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    blue, pale = _jitter((84, 140, 205), 22, rng), _jitter((212, 224, 234), 12, rng)
    ground = _tinted(size, blue, pale, _ramp(size, rng) * 0.7 + 0.4 * _cloud(size, int(rng.integers(2, 6)), rng))
    horizon = rng.uniform(0.45, 1.2) * size[1]
    hill = horizon + 0.09 * size[1] * _cloud((size[0], 1), 5, rng)[0]
    outline = [(float(x), float(y)) for x, y in enumerate(hill)]
    ImageDraw.Draw(ground).polygon([*outline, size, (0, size[1])], fill=_jitter((88, 122, 66), 22, rng))
    return ground


def _wall(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    plain = _jitter(((120, 112, 106), (176, 164, 150), (96, 74, 62))[rng.integers(3)], 16, rng)
    deep = (plain[0] * 0.45, plain[1] * 0.45, plain[2] * 0.5)
    return _tinted(size, plain, deep, _ramp(size, rng) + 0.5 * _cloud(size, int(rng.integers(2, 6)), rng))


def _jitter(colour: Colour, spread: float, rng: np.random.Generator) -> tuple[int, int, int]:
    """Lighter or darker as a whole, and a little in hue."""
    shifts = rng.normal(0, spread * 0.75) + rng.normal(0, spread * 0.35, 3)
    r, g, b = np.clip(np.array(colour) + shifts, 0, 255).astype(int).tolist()
    return (r, g, b)
