"""Draws one flower: petals, centre, stem and leaves, posed in space, as polygons on a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin, tau

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

Colour = tuple[float, float, float]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Species:
    """What all flowers of a kind have in common; ranges are (low, high), lengths in radii of the flower.

    At x = (1 − cos u) / 2 of its length a petal's half-width is width · sin(u)^bluntness · x^skew: a low
    bluntness gives a strap, a high one a point; a high skew moves the widest place to the tip.
    """

    name: str
    petals: tuple[int, int]
    rings: tuple[int, int]
    width: tuple[float, float]
    bluntness: float
    skew: float
    notch: float
    """Depth of the one dent that makes the tip a heart's."""
    teeth: float
    """Depth of the small teeth along the tip."""
    tints: tuple[Colour, ...]
    base: Colour
    disc: tuple[float, float]
    disc_colours: tuple[Colour, Colour]
    """Ground and florets; with stamens, threads and anthers."""
    stamens: int
    leaf_width: float
    size: float
    """Against the other species."""


@dataclass(frozen=True)
class Pose:
    """Where a flower stands in the picture and how it is seen; pixels and radians."""

    x: float
    y: float
    radius: float
    squeeze: float
    """1 seen from the front, towards 0 from the side."""
    tilt: float
    """The direction in which it is squeezed."""
    cup: float
    """How far the petals rise towards their tips, in radii."""
    light: float
    """The direction that the light comes from."""

    def project(self, points: Points) -> Points:
        """Points (…, 2) in the flower's plane, unit radius → points (…, 2) in the picture."""
        across, along = points[..., 0], points[..., 1]
        height = self.cup * (across**2 + along**2)
        flat = along * self.squeeze - height * (1 - self.squeeze**2) ** 0.5
        c, s = cos(self.tilt), sin(self.tilt)
        turned = np.stack([across * c - flat * s, across * s + flat * c], axis=-1)
        placed: Points = turned * self.radius + (self.x, self.y)
        return placed


def draw_flower(draw: ImageDraw.ImageDraw, species: Species, pose: Pose, rng: np.random.Generator) -> None:
    """Petals ring by ring from the outside in, then the centre."""
    tint = species.tints[rng.integers(len(species.tints))]
    tint = tuple(channel + shift for channel, shift in zip(tint, rng.normal(0, 11, 3), strict=True))
    rings = int(rng.integers(species.rings[0], species.rings[1] + 1))
    count = int(rng.integers(species.petals[0], species.petals[1] + 1))
    width = rng.uniform(*species.width)
    turn = rng.uniform(0, tau)
    for ring in range(rings):
        reach = 1 - 0.2 * ring
        angles = turn + tau / count * (np.arange(count) + 0.5 * ring) + rng.normal(0, 0.22 / count**0.5, count)
        for angle in rng.permutation(angles):
            _draw_petal(draw, species, pose, float(angle), reach, width, _shade(tint, pose, float(angle), rng), rng)
    _draw_centre(draw, species, pose, rng)


def _draw_petal(
    draw: ImageDraw.ImageDraw,
    species: Species,
    pose: Pose,
    angle: float,
    reach: float,
    width: float,
    tint: Colour,
    rng: np.random.Generator,
) -> None:
    """Nested outlines shade it from base to tip; the outermost and darkest parts it from its neighbours."""
    length = reach * rng.normal(1, 0.06)
    outline = _petal_outline(species, width * rng.normal(1, 0.08), rng.normal(0, 0.06))
    direction = np.array([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]])
    near = pose.radius > 45
    scales, shades = (_SCALES, _SHADES) if near else (_SCALES[::3], _SHADES[::3])
    layers = pose.project((outline * scales * length) @ direction)
    for layer, (share, light) in zip(layers, shades, strict=True):
        draw.polygon(_flat(layer), fill=_rgb(_mix(tint, species.base, share), light))
    if near:
        bows = np.sin(_ALONG * 2.6) * width * _BOWS + 0.03 * _BOWS * _ALONG
        veins = pose.project((np.stack(np.broadcast_arrays(_ALONG, bows), axis=-1) * length) @ direction)
        for vein in veins:
            draw.line(_flat(vein), fill=_rgb(_mix(tint, species.base, 0.2), 0.9))


_SHADES = (  # from the rim inwards: share of the base's colour, light
    (0.0, 0.74), (0.0, 0.97), (0.05, 1.0), (0.1, 1.02), (0.22, 1.02), (0.38, 1.02), (0.56, 1.0), (0.78, 0.96),
)  # fmt: skip
_SCALES = np.array([(s, s**0.5 * (0.97 if s < 1 else 1.02)) for s in (1, 0.98, 0.86, 0.74, 0.6, 0.48, 0.36, 0.25)])
_SCALES = _SCALES[:, None, :]
_BOWS = np.array([-0.5, -0.2, 0.15, 0.5])[:, None]
_ALONG = np.linspace(0.1, 0.88, 7)
_TURN = np.linspace(0, tau, 37)[:-1]


def _petal_outline(species: Species, width: float, bend: float) -> Points:
    """(36, 2) points around a petal of unit length that lies along the x axis with its base at 0."""
    along = (1 - np.cos(_TURN)) / 2
    side = np.sign(np.sin(_TURN)) * np.abs(np.sin(_TURN)) ** species.bluntness * along**species.skew
    from_tip = _TURN - pi
    dent = species.notch * np.exp(-((from_tip / 0.33) ** 2))
    teeth = species.teeth * (0.5 - 0.5 * np.cos(7 * from_tip)) * np.exp(-((from_tip / 0.9) ** 2))
    return np.stack([along - dent - teeth, side * width + bend * along**2], axis=-1)


def _draw_centre(draw: ImageDraw.ImageDraw, species: Species, pose: Pose, rng: np.random.Generator) -> None:
    """A button of florets in the sunflower's spiral, or a knob among stamens."""
    size = rng.uniform(*species.disc)
    dark, bright = (tuple(c + rng.normal(0, 8) for c in colour) for colour in species.disc_colours)
    if species.stamens:
        _draw_stamens(draw, species, pose, size, rng)
        size *= 0.45
    draw.polygon(_flat(pose.project(_circle(20) * size)), fill=_rgb(dark, 0.72))
    draw.polygon(_flat(pose.project(_circle(20) * (size * 0.9))), fill=_rgb(dark))
    count = int(np.clip(pose.radius * 0.9, 8, 70))
    steps = np.arange(count) + 0.5
    spiral = np.stack([np.cos(steps * 2.39996), np.sin(steps * 2.39996)], axis=-1)
    florets = pose.project(spiral * (size * 0.9 * np.sqrt(steps / count))[:, None])
    grain = max(1.0, pose.radius * size * 0.8 / count**0.5)
    lights = rng.uniform(0.8, 1.12, count)
    for (x, y), light, out in zip(florets.tolist(), lights.tolist(), (steps / count).tolist(), strict=True):
        draw.ellipse((x - grain, y - grain, x + grain, y + grain), fill=_rgb(_mix(bright, dark, 0.6 * out), light))


def _draw_stamens(
    draw: ImageDraw.ImageDraw, species: Species, pose: Pose, size: float, rng: np.random.Generator
) -> None:
    count = species.stamens if pose.radius > 40 else species.stamens // 2
    angles, reach = rng.uniform(0, tau, count), size * rng.uniform(0.62, 1.1, count)
    tips = pose.project(np.stack([np.cos(angles), np.sin(angles)], axis=-1) * reach[:, None])
    thread, anther = (_rgb(colour, 0.9) for colour in species.disc_colours)
    grain = max(1.0, pose.radius * 0.026)
    for x, y in tips.tolist():
        draw.line((pose.x, pose.y, x, y), fill=thread, width=max(1, round(grain * 0.7)))
        draw.ellipse((x - grain, y - grain, x + grain, y + grain), fill=anther)


def draw_stem(
    draw: ImageDraw.ImageDraw,
    species: Species,
    pose: Pose,
    foot: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """A bowed stem from the flower to `foot`, with up to four leaves."""
    green = (rng.uniform(50, 105), rng.uniform(95, 150), rng.uniform(30, 70))
    start, end = np.array([pose.x, pose.y]), np.array(foot)
    bow = (start + end) / 2 + rng.normal(0, 0.35, 2) * pose.radius
    t = np.linspace(0, 1, 9)[:, None]
    path = (1 - t) ** 2 * start + 2 * t * (1 - t) * bow + t**2 * end
    thick = max(2, round(pose.radius * rng.uniform(0.05, 0.09)))
    draw.line(_flat(path), fill=_rgb(green, 0.6), width=thick + 2, joint="curve")
    draw.line(_flat(path), fill=_rgb(green), width=thick, joint="curve")
    for place in rng.uniform(2, 7, int(rng.integers(0, 5))).astype(int):
        length = pose.radius * rng.uniform(0.6, 1.3)
        draw_leaf(draw, path[place], length, species.leaf_width, rng.uniform(0, tau), green, rng)


def draw_leaf(
    draw: ImageDraw.ImageDraw,
    base: Points,
    length: float,
    width: float,
    angle: float,
    green: Colour,
    rng: np.random.Generator,
) -> None:
    """A pointed leaf with a midrib and one half in shade; `length` in pixels, `width` as a share of it."""
    along = (1 - np.cos(_TURN)) / 2
    side = np.sin(_TURN) ** 3 * 0.4 + np.sin(_TURN) * 0.6
    blade = np.stack([along, side * width + rng.normal(0, 0.15) * along**2], axis=-1) * length
    c, s = cos(angle), sin(angle)
    points = blade @ np.array([[c, s], [-s, c]]) + base
    light = rng.uniform(0.75, 1.1)
    draw.polygon(_flat(points), fill=_rgb(green, light))
    draw.polygon(_flat(points[:19]), fill=_rgb(green, light * 0.86))
    draw.line((*points[0].tolist(), *points[18].tolist()), fill=_rgb(green, light * 1.25), width=2)


def _circle(corners: int) -> Points:
    angles = np.linspace(0, tau, corners + 1)[:-1]
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _shade(tint: Colour, pose: Pose, angle: float, rng: np.random.Generator) -> Colour:
    """Petals that lean towards the light are brighter."""
    light = 1 + 0.12 * cos(angle + pose.tilt - pose.light) + rng.normal(0, 0.045)
    return (tint[0] * light, tint[1] * light, tint[2] * light)


def _mix(one: Sequence[float], other: Sequence[float], share: float) -> Colour:
    r, g, b = (a + (z - a) * share for a, z in zip(one, other, strict=True))
    return (r, g, b)


def _rgb(colour: Sequence[float], light: float = 1.0) -> tuple[int, int, int]:
    r, g, b = (max(0, min(255, round(channel * light))) for channel in colour)
    return (r, g, b)


def _flat(points: Points) -> list[float]:
    flat: list[float] = points.ravel().tolist()
    return flat
