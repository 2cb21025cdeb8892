"""Two shots of one scene: for each threshold the share of pairs that a method binds together, and of strangers.

    uv run python -m benchmarks.bursts [--flowers DIR] [--pairs 200] [--strangers 600] [--seed 0] [--bank DIR]

A pair is two views of one photograph, as from two shots: shifted by 3 to 15% of the frame, scaled by up to 10%, lit
differently by up to 25%, warped smoothly as by parallax, with noise, both saved anew. Strangers are other
photographs, one view each; all pairs among these, and a first view with them, count as strangers. A method gives each
picture an array, and two arrays a score: the more, the more alike. Then, what `split` binds: the search's copies and
near pictures, by radius; and shots of one scene, which features propose among all pictures at once, and pixels confirm.
At last, what the same finds among the photographs themselves.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates, zoom
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))

from benchmarks.groups import SAME_AS_ANOTHER
from curate.catalog import Picture
from curate.defaults import MAX_RADIUS
from curate.duplicates import find_near_duplicates
from curate.image import load_pixels
from curate.inspect import inspect
from curate.lookalikes.edits import encode
from curate.lookalikes.looks import look_at
from curate.lookalikes.registration import IDENTITY, register
from curate.lookalikes.scene import are_one_scene, look_for_scene
from curate.parallel import ordered_map
from train.features.likeness import mutual_neighbours

Floats = NDArray[np.float32]
Scores = NDArray[np.float64]

SIDE = 320
"""Pixels of the longer side of a view."""


@dataclass(frozen=True)
class Method:
    """`see` gives for each file of a list what is compared; `score` compares two stacks of it, row by row."""

    name: str
    thresholds: tuple[float, ...]
    see: Callable[[Sequence[bytes]], NDArray[Any]]
    score: Callable[[NDArray[Any], NDArray[Any]], Scores]


# ---- the two shots


def shot(picture: Image.Image, rng: np.random.Generator, *, second: bool) -> bytes:
    """One view: the middle of a photograph, or for a second one what a moved camera would see."""
    picture = picture.convert("RGB")
    picture.thumbnail((SIDE * 5 // 4, SIDE * 5 // 4), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture, np.float32)
    height, width = (round(0.8 * side) for side in pixels.shape[:2])
    down, across = np.mgrid[:height, :width].astype(np.float32)
    if second:
        scale, angle = rng.uniform(0.9, 1.1), rng.uniform(0, 2 * np.pi)
        reach = rng.uniform(0.03, 0.15)
        warp = [zoom(rng.normal(0, 1, (4, 4)), (height / 4, width / 4), order=3)[:height, :width] for _ in range(2)]
        parallax = 0.008 * width
        down = (down - height / 2) * scale + height / 2 + reach * np.sin(angle) * height + parallax * warp[0]
        across = (across - width / 2) * scale + width / 2 + reach * np.cos(angle) * width + parallax * warp[1]
    at = np.stack([down + pixels.shape[0] * 0.1, across + pixels.shape[1] * 0.1])
    seen = np.stack([map_coordinates(pixels[..., c], at, order=1, mode="reflect") for c in range(3)], axis=2)
    light = rng.uniform(0.75, 1.25) if second else 1.0
    seen = seen * light + rng.normal(0, 3, seen.shape)
    return encode(Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8)), quality=int(rng.integers(75, 93)))


ONE_SCENE = frozenset(
    frozenset(pair.split())
    for pair in (
        "07943 07945", "03428 03444", "06553 06559", "04209 04223", "03692 03729", "05073 05077", "01835 01929",
        "00824 00831",
    )
)  # fmt: skip
"""Photographs that are two shots of one scene as they are, by their numbers: seen by eye."""


def photographs(flowers: Path) -> list[Path]:
    return [path for path in sorted(flowers.glob("*/*/*.jpg")) if path.stem not in SAME_AS_ANOTHER]


def drawn(flowers: Path, count: int, seed: int) -> list[int]:
    """So many photographs, by their places among all."""
    places: list[int] = np.random.default_rng(seed).permutation(len(photographs(flowers)))[:count].tolist()
    return places


def shots(flowers: Path, pairs: int, strangers: int, seed: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """First views, second views of the same scenes, and single views of others."""
    paths, order = photographs(flowers), drawn(flowers, pairs + strangers, seed)

    def views(task: tuple[int, int]) -> list[bytes]:
        number, at = task
        rng, picture = np.random.default_rng([seed, at]), load_pixels(paths[at])
        return [shot(picture.copy(), rng, second=second) for second in ((False, True) if number < pairs else (False,))]

    made = list(ordered_map(views, list(enumerate(order))))
    return [view[0] for view in made[:pairs]], [view[1] for view in made[:pairs]], [view[0] for view in made[pairs:]]


# ---- the methods


def _hashes(files: Sequence[bytes]) -> NDArray[np.uint64]:
    return np.array([inspect(data).phash for data in files], dtype=np.uint64)


def _bits_shared(first: NDArray[Any], second: NDArray[Any]) -> Scores:
    return np.asarray(-np.bitwise_count(first ^ second).astype(np.float64))


def _lumas(files: Sequence[bytes]) -> NDArray[np.uint8]:
    return np.stack([look_at(data).luma for data in files])


def _detail(first: NDArray[Any], second: NDArray[Any]) -> Scores:
    """The correlation of detail after registration from the whole frame."""
    parts = []
    for start in range(0, len(first), 4_096):
        some = first[start : start + 4_096]
        frame = np.tile(np.array(IDENTITY, np.float32), (len(some), 1))
        parts.append(register(some, second[start : start + 4_096], frame, frame).detail.astype(np.float64))
    return np.nan_to_num(np.concatenate(parts))


def _features(bank: Path, files: Sequence[bytes]) -> Floats:
    """Of the frozen EfficientNet-Lite0, of length 1; computed once and kept in the bank."""
    import torch

    from train.backbones import load_backbone
    from train.features.extract import extract
    from train.features.prepare import PictureRef

    with tempfile.TemporaryDirectory() as folder:
        refs = []
        for at, data in enumerate(files):
            refs.append(PictureRef(Path(folder) / f"{at}.jpg"))
            refs[-1].path.write_bytes(data)
        cpu = torch.device("cpu")
        found = extract(load_backbone("efficientnet_lite0"), refs, bank=bank, device=cpu, precision="float32")
    features = found.features[:, 0].numpy()
    return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True), np.float32)


def _cosine(first: NDArray[Any], second: NDArray[Any]) -> Scores:
    return np.asarray(np.einsum("pd,pd->p", first, second), np.float64)


def methods(bank: Path) -> tuple[Method, ...]:
    return (
        Method("pHash, bits apart", (-4, -8, -12, -16, -20), _hashes, _bits_shared),
        Method("detail after registration", (0.9, 0.8, 0.7, 0.6, 0.5), _lumas, _detail),
        Method("features of lite0, cosine", (0.95, 0.9, 0.85, 0.8, 0.75, 0.7), partial(_features, bank), _cosine),
    )


def strange_pairs(scenes: int, rng: np.random.Generator, most: int = 50_000) -> tuple[NDArray[np.intp], ...]:
    """Pairs of different scenes: all, or so many of them drawn."""
    first, second = np.triu_indices(scenes, 1)
    chosen = rng.permutation(len(first))[:most]
    return first[chosen], second[chosen]


def bound_by_split(files: Sequence[bytes], pairs: int, radius: int) -> tuple[int, int]:
    """Of `pairs` first views, as many second views and then the others: (pairs bound together, strangers bound)."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = []
        for at, data in enumerate(files):
            (Path(folder) / f"{at}.jpg").write_bytes(data)
            pictures.append(Picture.of(inspect(data), path=f"{at}.jpg", label="shot", split=""))
        found = find_near_duplicates(Path(folder), pictures, radius)
    apart = [abs(second - first) for first, second in zip(found.first.tolist(), found.second.tolist(), strict=True)]
    return apart.count(pairs), len(apart) - apart.count(pairs)


def scenes(files: Sequence[bytes], bank: Path) -> tuple[int, list[tuple[int, int]]]:
    """What `split` finds with features, among all files at once: (pairs looked at, pairs of one scene)."""
    features = _features(bank, files)

    def look(pair: tuple[int, int]) -> bool:
        return are_one_scene(*(look_for_scene(files[at]) for at in pair))

    proposed = [(a, b) for a, b in mutual_neighbours(features)[0].tolist()]
    return len(proposed), [pair for pair, is_one in zip(proposed, ordered_map(look, proposed), strict=True) if is_one]


def largest_group(pairs: Sequence[tuple[int, int]], count: int) -> int:
    """How many pictures the largest chain of pairs holds together."""
    graph = coo_array((np.ones(len(pairs)), np.array(pairs, np.intp).reshape(-1, 2).T), shape=(count, count))
    return int(np.bincount(connected_components(graph, directed=False)[1]).max())


def print_scenes(
    first: Sequence[bytes], second: Sequence[bytes], others: Sequence[bytes], names: Sequence[str], bank: Path
) -> None:
    """`names` are the numbers of the photographs of the first views, and then of the others."""
    began = time.process_time()
    looked, found = scenes([*first, *second, *others], bank)
    together = sum(b - a == len(first) and a < len(first) for a, b in found)
    of = [*names[: len(first)], *names]
    real = sum(frozenset((of[a], of[b])) in ONE_SCENE for a, b in found)
    count = len(of)
    strange = (count * (count - 1) // 2) - len(first)
    seconds = time.process_time() - began
    print(
        f"{'features and pixels':28}{'bound together':>16}{'strangers bound':>17}{'looked at':>13}{'largest group':>15}"
    )
    print(
        f"{'mutual nearest':>28}{together / len(first):16.3f}{len(found) - together - real:17,}{looked:13,}"
        f"{largest_group(found, count):15}   of {strange:,} pairs, and {real} of real scenes, {seconds:.0f} s"
    )


def print_real(flowers: Path, bank: Path) -> None:
    """What is found among the photographs themselves, by name, to be looked at."""
    paths = photographs(flowers)
    looked, found = scenes([path.read_bytes() for path in paths], bank)
    group = largest_group(found, len(paths))
    print(f"\n{len(paths):,} photographs: {looked:,} pairs looked at, {len(found)} of one scene, groups of {group}:")
    print("  " + ", ".join(f"{paths[a].stem[6:]} and {paths[b].stem[6:]}" for a, b in found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, default=HERE.parent.parent.parent / "shared" / "flowers")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--strangers", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bank", type=Path, help="keeps the features for the next run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        compare(options, options.bank or Path(place))


def compare(options: argparse.Namespace, bank: Path) -> None:
    first, second, others = shots(options.flowers, options.pairs, options.strangers, options.seed)
    a, b = strange_pairs(len(first) + len(others), np.random.default_rng(options.seed))
    print(f"{len(first)} pairs of shots; {len(a):,} pairs of strangers\n")
    for method in methods(bank):
        try:
            seen, moved = method.see([*first, *others]), method.see(second)
        except ImportError as error:
            print(f"{method.name}: left out ({error})")
            continue
        bound, strange = method.score(seen[: len(first)], moved), method.score(seen[a], seen[b])
        print(f"{method.name:28}{'bound together':>16}{'strangers bound':>17}{'per million':>13}")
        for threshold in method.thresholds:
            wrong = int((strange >= threshold).sum())
            share = (bound >= threshold).mean()
            print(f"{threshold:>28g}{share:16.3f}{wrong:17,}{1e6 * wrong / len(a):13.0f}")
    print(f"{'what split binds, bits':28}{'bound together':>16}{'strangers bound':>17}")
    for radius in (4, 8, MAX_RADIUS):
        together, strange_ones = bound_by_split([*first, *second, *others], len(first), radius)
        print(f"{radius:>28}{together / len(first):16.3f}{strange_ones:17,}")
    places = drawn(options.flowers, options.pairs + options.strangers, options.seed)
    paths = photographs(options.flowers)
    print_scenes(first, second, others, [paths[at].stem.rpartition("_")[2] for at in places], bank)
    print("\nA stranger in the set is bound by mistake to any of n others: multiply its rate by n.")
    print_real(options.flowers, bank)


if __name__ == "__main__":
    main()
