"""Each part of a remembered answer has a version, and answers what that version always answered.

The sets are drawn from integers, and graded, so that some of each lie near every threshold. Where a test here fails
because answers were meant to change: raise the version of that part in `curate.lookalikes.method`, and put its number
and the new digest here.
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curate import duplicates, quality
from curate.catalog import Catalog, Picture
from curate.cleaning import planning
from curate.cleaning.clean_options import CleanOptions
from curate.cleaning.keepers import POLICIES
from curate.cleaning.planning import make_plan
from curate.dataset import open_dataset
from curate.defaults import ConflictMode, PolicyName
from curate.inspect import inspect
from curate.lookalikes import (
    bars,
    candidates,
    colour,
    comparison,
    difference,
    fingerprint,
    flat,
    registration,
    small_look,
    tones,
)
from curate.lookalikes import scene as scenes
from curate.lookalikes.fingerprint import VARIANTS
from curate.lookalikes.method import PLAN_VERSIONS, SCENE_VERSIONS, SEARCH_VERSIONS
from curate.phash import pairs_within, phashes
from curate.scan import scan

GOLDEN = {
    "hash": (1, "bd1ca7db230145f9"),
    "windows": (1, "a2ab22975547b42e"),
    "candidates": (2, "6b65fd4d3263f405"),
    "registration": (1, "432b955f738d5ff5"),
    "colour": (1, "ed268314d8f9818c"),
    "search": (7, "2e0212505db4436f"),
    "quality": (1, "e7b0490003516a57"),
    "scene": (1, "4365283e9bace0d6"),
    "plan": (4, "faac37e8fdaeb6b8"),
}  # fmt: skip
"""Part → (its version, the digest of what it answers)."""


@cache
def drawn(seed: int, side: int = 64) -> NDArray[np.float64]:
    """A picture's levels, float64[side, side] in 0…255, with detail at several scales; of integers alone."""
    rng = np.random.default_rng(seed)
    levels = np.zeros((side, side))
    for cells, weight in ((4, 8), (8, 4), (16, 2), (32, 2), (64, 1)):
        cells = min(cells, side)
        levels += weight * np.kron(rng.integers(0, 256, (cells, cells)), np.ones((side // cells, side // cells)))
    return levels / 17


def mixed(seed: int, share: float, side: int = 64) -> NDArray[np.uint8]:
    """A picture of which a share is another one: uint8[side, side]."""
    return (drawn(seed, side) * (1 - share) + drawn(seed + 10_000, side) * share).astype(np.uint8)


def whole(pairs: int) -> NDArray[np.float32]:
    return np.tile(np.array(registration.IDENTITY, np.float32), (pairs, 1))


def flipped(bits: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """The first hash with 0 bits changed, the second with 1, and so on up to 15, and again."""
    rng = np.random.default_rng(seed)
    changed = bits.copy()
    for at in range(len(bits)):
        for bit in rng.permutation(64)[: at % 16].tolist():
            changed[at] ^= np.uint64(1 << bit)
    return changed


def hashes(seed: int, count: int) -> NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def of_hash() -> Iterator[object]:
    yield phashes(np.stack([mixed(seed, 0, 32) for seed in range(64)]))
    near = np.concatenate([first := hashes(1, 320), flipped(first, 2)])
    for radius in (0, 4, 8, 12):
        yield sorted(
            zip(
                *(np.concatenate(part).tolist() for part in zip(*pairs_within(near, radius).expand(), strict=True)),
                strict=True,
            )
        )


def of_windows() -> Iterator[object]:
    lumas = [mixed(seed, 0) for seed in range(24)]
    for rows in range(1, 32):
        framed = lumas[rows % 24].copy()
        framed[:rows], framed[:, : rows // 2] = 250, 250
        lumas.append(framed)
        stained = framed.astype(np.int64)
        stained[:rows] -= np.arange(64) % (rows + 1)
        lumas.append(stained.astype(np.uint8))
        drifting = framed.astype(np.float64)
        drifting[:9] = 250 - np.arange(9)[:, None] * rows / 20
        lumas.append(drifting.astype(np.uint8))
    lumas += [np.full((64, 64), 100, np.uint8) + (np.arange(64) < even).astype(np.uint8) for even in range(0, 64, 7)]
    lumas += [
        np.full((64, 64), 100, np.uint8) + 3 * (np.arange(64) < even).astype(np.uint8) for even in range(0, 64, 7)
    ]
    sizes = [(64 + 7 * (at % 9), 64 + 5 * (at % 7)) for at in range(len(lumas))]
    yield [found.hex() for found in fingerprint.fingerprints(np.stack(lumas), sizes, [b"abc"] * len(lumas))]


def of_candidates() -> Iterator[object]:
    views = np.stack([hashes(10 + view, 64) for view in range(len(VARIANTS))], axis=1)
    views = np.concatenate([views, np.stack([flipped(views[:, view], view) for view in range(len(VARIANTS))], axis=1)])
    wholes = np.concatenate([hashes(5, 64), flipped(hashes(5, 64), 6)])
    wholes[:32] = flipped(views[64:96, 3], 7)
    views[:64, len(fingerprint.FRAMED) - 1] = flipped(wholes[:64], 8)
    packed = [row.astype(">u8").tobytes() for row in views]
    for radius, framed, geometry in ((8, True, False), (12, True, True), (3, True, False), (8, False, True)):
        found = candidates.find_candidates(wholes, packed, radius, framed=framed, geometry=geometry)
        yield [getattr(found, name).tolist() for name in ("first", "second", "variant", "both", "distance")]


def of_registration() -> Iterator[object]:
    for stretch in (1.0, 0.93):
        shares = [(seed, step / 60) for seed in range(12) for step in range(60)]
        first = np.stack([mixed(seed, 0) for seed, _ in shares])
        second = np.stack([np.clip(mixed(seed, share) * stretch, 0, 255).astype(np.uint8) for seed, share in shares])
        yield registration.register(first, second, whole(len(shares)), whole(len(shares))).same.tolist()
    slope = np.linspace(-1, 1, 64)[:, None] * np.arange(200)[:, None, None]
    under = np.stack([mixed(at % 10, 0) for at in range(200)])
    lit = np.clip(under * 0.5 + 60 + slope / 2, 0, 255).astype(np.uint8)
    yield registration.register(under, lit, whole(200), whole(200)).same.tolist()
    faint = np.stack([(100 + (drawn(at % 8) - 128) * at / 4000).astype(np.uint8) for at in range(400)])
    yield registration.register(faint, faint, whole(400), whole(400)).same.tolist()
    moved = np.stack([mixed(at % 10, 0) for at in range(200)])
    placed = whole(200) + (np.arange(200)[:, None] / 2000).astype(np.float32)
    yield registration.register(moved, moved, placed, whole(200)).same.tolist()
    part = whole(200)
    part[:, 1] = np.arange(200) / 200
    yield registration.register(moved, moved, whole(200), part).same.tolist()


def of_colour() -> Iterator[object]:
    shares = [(seed, step / 80) for seed in range(0, 60, 2) for step in range(80)]
    first = np.stack([[mixed(seed, 0, 16), mixed(seed + 1, 0, 16)] for seed, _ in shares])
    second = np.stack([[mixed(seed, share, 16), mixed(seed + 1, share, 16)] for seed, share in shares])
    yield colour.coloured_alike(first, second, whole(len(shares)), whole(len(shares))).tolist()
    weak = (128 + (second.astype(np.float64) - 128) * np.arange(len(shares))[:, None, None, None] / 6000).astype(
        np.uint8
    )
    yield colour.coloured_alike(first, weak, whole(len(shares)), whole(len(shares))).tolist()


def bmp(levels: NDArray[np.uint8]) -> bytes:
    """A file whose bytes depend on no compressor's version."""
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "BMP")
    return stream.getvalue()


def coloured(seed: int, share: float = 0.0, side: int = 128) -> NDArray[np.uint8]:
    return np.stack([mixed(seed + plane, share, side) for plane in range(3)], axis=2)


def files() -> dict[str, NDArray[np.uint8]]:
    """Pictures of two classes with copies of every kind: mixed by degrees, cut, framed, turned, recoloured, flat."""
    found = {}
    for seed in range(0, 6, 3):
        original = coloured(seed)
        found[f"a/{seed}"] = original
        for step in range(1, 4):
            found[f"{'ab'[seed % 2]}/{seed} mixed {step}"] = coloured(seed, step / 6)
        found[f"a/{seed} cut"] = original[6:-6, 6:-6]
        found[f"b/{seed} small"] = original[::2, ::2]
        framed = np.full((150, 150, 3), 255, np.uint8)
        framed[11:-11, 11:-11] = original
        found[f"a/{seed} framed"] = framed
        found[f"a/{seed} mirrored"] = np.ascontiguousarray(original[:, ::-1])
        found[f"b/{seed} other colours"] = np.ascontiguousarray(original[:, :, ::-1])
        found[f"a/{seed} dark"] = (original * (0.05 + seed / 40)).astype(np.uint8)
    for level in range(12):
        found[f"a/flat {level}"] = np.full((60 + level % 3, 60, 3), 120 + level, np.uint8)
        rows = np.arange(66 + level % 3) * 11 // (66 + level % 3)
        grain = np.random.default_rng(9).integers(-1, 2, (11, 11, 1))[rows].repeat(6, axis=1).repeat(3, axis=2)
        found[f"a/grain {level}"] = (120 + level + grain).astype(np.uint8)
    return found


def small_files() -> dict[str, NDArray[np.uint8]]:
    """Pictures below 64 pixels, each mixed with another by degrees so small that some are copies, and some are near."""
    found = {}
    for seed in range(0, 6, 3):
        for step in range(16):
            found[f"a/{seed} mixed {step}"] = coloured(seed, step**2 / 1000, side=32)
        found[f"b/{seed} whole"] = np.kron(coloured(seed, side=32), np.ones((3, 3, 1), np.uint8))
    return found


def changed_files() -> dict[str, NDArray[np.uint8]]:
    """Pictures with a stain, a caption or other tones, by degrees; and drawings of bars and of accents."""
    found = {f"a/{seed}": coloured(seed) for seed in (0, 3, 6, 9)}
    for step in range(5):
        stained = coloured(0).astype(np.int64)
        stained[40:60, 40:60] += 11 + step
        found[f"a/stained {step}"] = np.clip(stained, 0, 255).astype(np.uint8)
        for seed, words, bar in ((3, 84 + 4 * step, 128), (6, 40, 104 - 4 * step)):
            captioned = coloured(seed)
            captioned[:14, :bar] = 255
            captioned[3:12, :words] = 30
            found[f"a/captioned {seed} {step}"] = captioned
        found[f"a/dark {step}"] = (coloured(9) * (0.08 + step / 200)).astype(np.uint8)
        stroke, accented = np.full((2, 128, 128, 3), 255, np.uint8)
        stroke[56:72, 40 - 3 * step : 88 + 3 * step] = 0
        accented[44:116, 28:100] = 0
        accented[58:102, 42:86] = 255
        reach = 0 if step == 0 else 34 + 4 * step
        accented[8:24, 60 - reach : 68 + reach] = 0
        found |= {f"b/stroke {step}": stroke, f"b/accented {step}": accented}
    return found


@cache
def written(made: Callable[[], dict[str, NDArray[np.uint8]]]) -> tuple[TemporaryDirectory[str], list[Picture]]:
    """The files made so, in a folder, and their rows; the folder goes with the process."""
    folder, rows = TemporaryDirectory(), []
    for name, levels in made().items():
        path, data = f"{name}.bmp", bmp(levels)
        (Path(folder.name) / path).parent.mkdir(exist_ok=True)
        (Path(folder.name) / path).write_bytes(data)
        rows.append(Picture.of(inspect(data), path=path, label=path[0], split="", folder=path[0], size=len(data)))
    return folder, rows


def of_search() -> Iterator[object]:
    for made, radius, geometry in (
        (changed_files, 8, False),
        (files, 8, False),
        (files, 4, True),
        (small_files, 8, False),
    ):
        folder, rows = written(made)
        found = duplicates.find_near_duplicates(Path(folder.name), rows, radius, geometry=geometry)
        yield [found.contents, found.first.tolist(), found.second.tolist(), found.distance.tolist()]
        yield [found.variant.tolist(), found.verdict.tolist()]


def of_quality() -> Iterator[object]:
    lumas = [(drawn(seed) * step / 40).astype(np.uint8) for seed in range(3) for step in range(41)]
    lumas += [(255 - drawn(seed) * step / 40).astype(np.uint8) for seed in range(3) for step in range(41)]
    lumas += [(128 + (drawn(7) - 128) * step / 60).astype(np.uint8) for step in range(60)]
    lumas += [np.kron(drawn(seed, 8)[:, :], np.ones((8, 8))).astype(np.uint8) for seed in range(20)]
    for ink in range(1, 60):
        page = np.full((64, 64), 245, np.uint8)
        page[3 : 3 + ink : 2, 4 : 4 + ink] = 20
        lumas.append(page)
    sides = np.array([(40 + 3 * at % 300, 40 + 7 * at % 211) for at in range(len(lumas))])
    yield [
        quality.flags(scores)
        for scores in quality.quality_scores(quality.LumaBatch(np.stack(lumas), sides[:, 0], sides[:, 1]))
    ]


def of_plan() -> Iterator[object]:
    folder, _ = written(files)
    dataset = open_dataset(Path(folder.name))
    with TemporaryDirectory() as place, Catalog.open(Path(place) / "catalog.sqlite") as catalog:
        scan(dataset, catalog)
        flags = ("dark", "faint")
        policies: tuple[PolicyName, ...] = get_args(PolicyName)
        modes: tuple[ConflictMode, ...] = get_args(ConflictMode)
        ways = [CleanOptions(keep=keep, conflicts="keep-best", remove=flags) for keep in policies]
        ways += [CleanOptions(conflicts=mode, remove=flags) for mode in modes]
        for options in ways:
            plan = make_plan(dataset, catalog, options)
            yield [(it.path, it.reason, it.keeper, it.distance) for it in plan.decisions]
            yield [(it.first, it.second, it.distance) for it in plan.conflicts]


def of_scene() -> Iterator[object]:
    for seed in range(3):
        for step in range(0, 10, 2):
            for share in (0.0, 0.1, 0.2, 0.3):
                grain = np.random.default_rng([seed, step]).integers(0, 5, (2, 512, 512), dtype=np.uint8)
                one, other = mixed(seed, 0, 512) // 2 + grain[0], mixed(seed, share, 512) // 2 + grain[1]
                corner = 100 + 4 * step
                views = one[100:356, 100:356], other[corner : corner + 256, 100 : 356 - 2 * step]
                lumas = [np.asarray(Image.fromarray(view).resize((256, 256))) for view in views]
                yield scenes.are_one_scene(*(scenes.SceneLook(luma, 256) for luma in lumas))


PARTS: dict[str, Callable[[], Iterator[object]]] = {
    "hash": of_hash, "windows": of_windows, "candidates": of_candidates, "registration": of_registration,
    "colour": of_colour, "search": of_search, "quality": of_quality, "plan": of_plan, "scene": of_scene,
}  # fmt: skip


@cache
def answers(part: str) -> list[str]:
    """All that a part answers to its drawn set, as it is."""
    return [*map(repr, PARTS[part]())]


def digest(part: str) -> str:
    """Of these answers: 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(answers(part)).encode()).hexdigest()[:16]


def test_every_part_has_a_version_and_a_drawn_set() -> None:
    assert PARTS.keys() == {**SEARCH_VERSIONS, **PLAN_VERSIONS, **SCENE_VERSIONS}.keys() == GOLDEN.keys()


@pytest.mark.thorough
@pytest.mark.parametrize("part", PARTS)
def test_a_version_answers_what_it_always_answered(part: str) -> None:
    version = {**SEARCH_VERSIONS, **PLAN_VERSIONS, **SCENE_VERSIONS}[part]
    found = digest(part)
    assert GOLDEN[part] == (version, found), f"{part} answers otherwise: raise its version, and put {found} here"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("part", "module", "constant", "value"),
    [
        ("windows", fingerprint, "FLAT", 0.9),
        ("windows", fingerprint, "_BORDER_SPREAD", 3.5),
        ("windows", fingerprint, "_BORDER_DRIFT", 5.0),
        ("windows", fingerprint, "_WIDEST_BORDER", 25),
        ("candidates", candidates, "VARIANT_RADIUS", 7),
        ("candidates", candidates, "_NO_BORDER", 5),
        ("registration", registration, "MIN_DETAIL", 0.87),
        ("registration", registration, "MIN_WHOLE", 0.86),
        ("registration", registration, "_MIN_TEXTURE", 0.6),
        ("registration", registration, "_MIN_COMMON", 0.24),
        ("registration", registration, "_FARTHEST", 0.05),
        ("colour", colour, "MIN_COLOUR", 0.61),
        ("colour", colour, "_FAINT", 2.9),
        ("search", flat, "_FLAT_COLOUR", 2),
        ("search", flat, "_FLAT_ASPECT", 0.01),
        ("search", small_look, "_BY_ROUNDING", 1.0),
        ("search", difference, "MAX_DIFFERENCE", 8.5),
        ("search", bars, "_BAR", 0.54),
        ("search", comparison, "LINE", 0.9),
        ("search", comparison, "LINE_OF_DRAWINGS", 0.95),
        ("search", comparison, "_PARTS_STRETCH", 1.5),
        ("search", tones, "_STEEP", 9.0),
        ("scene", scenes, "LEAST_CORRELATION", 0.65),
        ("plan", planning, "POLICIES", dict.fromkeys(POLICIES, POLICIES["first-seen"])),
    ],
)
def test_the_drawn_sets_tell_of_a_small_change(
    part: str, module: object, constant: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_they_are = answers(part)
    monkeypatch.setattr(module, constant, value)
    changed = map(repr, PARTS[part]())  # one after the other, up to the first that is another
    assert any(one != other for one, other in zip(changed, as_they_are, strict=True))
