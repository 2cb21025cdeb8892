"""Draws a small garden: class folders of pictures for the main job, where no real ones are at hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import hypot, tau
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from curate.errors import UserError
from curate.progress import Progress, silent
from demo.flower import Pose, Species, draw_flower, draw_stem
from demo.scenery import develop, draw_grass, enlarge, paint_background

_WHITE, _PINK, _MAGENTA, _PURPLE = (238, 236, 228), (228, 140, 184), (190, 48, 124), (134, 80, 176)
_YELLOW, _GOLD, _RED, _BLUE = (242, 208, 30), (222, 154, 18), (206, 38, 26), (88, 92, 196)
_LEMON, _BLACK, _LIME = (252, 222, 70), (34, 24, 34), (158, 168, 52)

SPECIES = (
    Species(
        name="chamomile",
        petals=(12, 17),
        rings=(1, 1),
        width=(0.15, 0.2),
        bluntness=0.55,
        skew=0.25,
        notch=0.03,
        teeth=0,
        tints=(_WHITE,),
        base=(226, 222, 170),
        disc=(0.3, 0.4),
        disc_colours=(_GOLD, _LEMON),
        stamens=0,
        leaf_width=0.08,
        size=0.85,
    ),
    Species(
        name="oxeye daisy",
        petals=(17, 25),
        rings=(1, 2),
        width=(0.1, 0.15),
        bluntness=0.5,
        skew=0.35,
        notch=0.05,
        teeth=0,
        tints=(_WHITE,),
        base=(214, 214, 190),
        disc=(0.22, 0.31),
        disc_colours=(_GOLD, _LEMON),
        stamens=0,
        leaf_width=0.16,
        size=1,
    ),
    Species(
        name="aster",
        petals=(24, 36),
        rings=(1, 2),
        width=(0.055, 0.09),
        bluntness=0.7,
        skew=0.1,
        notch=0,
        teeth=0,
        tints=(_PURPLE, _BLUE, _PINK, _WHITE),
        base=(206, 190, 214),
        disc=(0.2, 0.3),
        disc_colours=(_GOLD, _LEMON),
        stamens=0,
        leaf_width=0.12,
        size=0.9,
    ),
    Species(
        name="cosmos",
        petals=(7, 9),
        rings=(1, 1),
        width=(0.3, 0.4),
        bluntness=0.8,
        skew=0.9,
        notch=0,
        teeth=0.09,
        tints=(_PINK, _MAGENTA, _WHITE),
        base=(150, 44, 104),
        disc=(0.16, 0.22),
        disc_colours=(_GOLD, _LEMON),
        stamens=0,
        leaf_width=0.04,
        size=1,
    ),
    Species(
        name="buttercup",
        petals=(5, 5),
        rings=(1, 1),
        width=(0.46, 0.56),
        bluntness=0.8,
        skew=0.6,
        notch=0,
        teeth=0,
        tints=(_YELLOW,),
        base=(214, 186, 30),
        disc=(0.24, 0.34),
        disc_colours=(_LIME, _LEMON),
        stamens=36,
        leaf_width=0.2,
        size=0.7,
    ),
    Species(
        name="cinquefoil",
        petals=(5, 5),
        rings=(1, 1),
        width=(0.4, 0.5),
        bluntness=0.9,
        skew=0.9,
        notch=0.17,
        teeth=0,
        tints=(_YELLOW, (246, 222, 96)),
        base=(226, 150, 20),
        disc=(0.2, 0.28),
        disc_colours=(_GOLD, _LEMON),
        stamens=24,
        leaf_width=0.3,
        size=0.75,
    ),
    Species(
        name="corn poppy",
        petals=(4, 5),
        rings=(1, 1),
        width=(0.66, 0.84),
        bluntness=0.75,
        skew=0.75,
        notch=0,
        teeth=0.05,
        tints=(_RED, (222, 78, 30)),
        base=(70, 14, 20),
        disc=(0.26, 0.36),
        disc_colours=((86, 100, 60), _BLACK),
        stamens=44,
        leaf_width=0.1,
        size=1.1,
    ),
    Species(
        name="garden anemone",
        petals=(6, 9),
        rings=(1, 2),
        width=(0.34, 0.46),
        bluntness=0.75,
        skew=0.5,
        notch=0,
        teeth=0,
        tints=(_RED, _PURPLE, _MAGENTA, _WHITE),
        base=(232, 222, 222),
        disc=(0.26, 0.36),
        disc_colours=((44, 40, 60), _BLACK),
        stamens=50,
        leaf_width=0.12,
        size=1,
    ),
)
COUNTS = (64, 54, 48, 43, 39, 36, 30, 24)
"""Pictures a class, dealt out anew for each seed: unbalanced on purpose, as what one scrapes is."""


@dataclass(frozen=True)
class Garden:
    """What was drawn. `files` are posix paths relative to the folder, sorted."""

    species: tuple[str, ...]
    counts: dict[str, int]
    files: tuple[str, ...]


def draw_garden(
    folder: Path,
    seed: int,
    progress: Progress = silent,
    *,
    counts: Sequence[int] | None = None,
    note: Callable[[bytes], None] = lambda _picture: None,
) -> Garden:
    """Fill `folder` with `<species>/<picture>.jpg`: the same bytes for the same seed and counts.

    `counts` are the numbers of pictures, one for each of `SPECIES`, in any order: the seed deals them out; `COUNTS` by
    default. `note` is told of each picture's bytes before they are written. Raises UserError where `folder` is a file
    or holds anything already.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder}: something is there already; name a new folder for the garden.")
    rng = np.random.default_rng(seed)
    dealt = rng.permutation(COUNTS if counts is None else counts).tolist()
    shots = [(kind, shot) for kind, count in enumerate(dealt) for shot in range(count)]
    numbers = rng.choice(np.arange(1000, 10000), len(shots), replace=False)
    noise = rng.normal(0, 14, (1100, 1100, 3)).astype(np.int16)
    files = []
    with progress("Drawing the garden", len(shots)) as advance:
        for (kind, shot), number in zip(shots, numbers, strict=True):
            species = SPECIES[kind]
            file = folder / species.name / f"IMG_{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = _take_picture(species, noise, np.random.default_rng([seed, kind, shot]))
            note(picture)
            file.write_bytes(picture)
            files.append(file.relative_to(folder).as_posix())
            advance(1)
    names = tuple(species.name for species in SPECIES)
    return Garden(names, dict(zip(names, dealt, strict=True)), tuple(sorted(files)))


def _take_picture(species: Species, noise: NDArray[np.int16], rng: np.random.Generator) -> bytes:
    """One JPEG. Drawn at twice its size: Pillow's polygons have no smooth edges of their own."""
    size = (int(rng.integers(320, 501)), int(rng.integers(320, 501)))
    double = (2 * size[0], 2 * size[1])
    background = paint_background(size, rng)
    light = rng.uniform(0, tau)
    if rng.random() < 0.45:
        draw = ImageDraw.Draw(background)
        for pose in _scatter(species, background.size, int(rng.integers(2, 9)), (0.05, 0.12), light, rng):
            draw_flower(draw, species, pose, rng)
    canvas = enlarge(background, double, rng)
    draw = ImageDraw.Draw(canvas)
    if rng.random() < 0.3:
        draw_grass(draw, double, int(rng.integers(4, 22)), rng)
    poses = _arrange(species, double, light, rng)
    centre = rng.uniform(0.2, 0.8) * double[0]
    for pose in poses:
        foot = (0.5 * (pose.x + centre) + rng.normal(0, 0.08) * double[0], double[1] + 20.0)
        draw_stem(draw, species, pose, foot, rng)
    for pose in poses:
        draw_flower(draw, species, pose, rng)
    if rng.random() < 0.25:
        draw_grass(draw, double, int(rng.integers(1, 6)), rng)
    stream = BytesIO()
    picture = develop(canvas.reduce(2), noise, rng)
    picture.save(stream, "JPEG", quality=int(rng.integers(80, 96)))
    return stream.getvalue()


def _arrange(species: Species, size: tuple[int, int], light: float, rng: np.random.Generator) -> list[Pose]:
    """A portrait, a few, or a patch; the flower nearest to the lens comes last."""
    count, reach = (
        (1, (0.2, 0.46)),
        (int(rng.integers(2, 4)), (0.15, 0.28)),
        (int(rng.integers(4, 9)), (0.1, 0.17)),
    )[rng.choice(3, p=(0.45, 0.35, 0.2))]
    return sorted(_scatter(species, size, count, reach, light, rng), key=lambda pose: pose.radius)


def _scatter(
    species: Species,
    size: tuple[int, int],
    count: int,
    reach: tuple[float, float],
    light: float,
    rng: np.random.Generator,
) -> list[Pose]:
    """Up to `count` flowers that hide little of each other; `reach`: radii as shares of the short side."""
    poses: list[Pose] = []
    squeeze, tilt = rng.uniform(0.42, 1) ** 0.7, rng.uniform(0, tau)
    for _ in range(4 * count):
        radius = rng.uniform(*reach) * min(size) * species.size
        x, y = (rng.uniform(0.14, 0.86) * side for side in size)
        if all(hypot(x - other.x, y - other.y) > 0.85 * (radius + other.radius) for other in poses):
            seen = float(np.clip(squeeze + rng.normal(0, 0.1), 0.36, 1))
            poses.append(Pose(x, y, radius, seen, tilt + rng.normal(0, 0.3), rng.uniform(0, 0.35), light))
        if len(poses) == count:
            break
    return poses
