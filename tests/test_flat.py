"""Flat pictures: walls and fields of noise are told apart without a look at each pair, and no copy of one is missed."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.catalog import Catalog
from curate.dataset import open_dataset
from curate.duplicates import find_near_duplicates
from curate.lookalikes import flat
from curate.lookalikes.alignment import Alignment
from curate.lookalikes.bearing_out import detail_of, may_be_borne_out
from curate.lookalikes.close_look import look_closely
from curate.lookalikes.comparison import Comparison
from curate.lookalikes.edits import encode
from curate.lookalikes.flat import is_flat_copy
from curate.lookalikes.looks import Looks
from curate.lookalikes.second_look import compared
from curate.scan import scan


def wall(seed: int, spread: float, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """A grey wall: light that falls off, and noise of that spread in levels."""
    rng = np.random.default_rng(seed)
    width, height = size
    pixels = 120 + np.linspace(-1, 1, width) + rng.normal(0, spread, (height, width))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def scratched(seed: int, size: tuple[int, int]) -> Image.Image:
    """A wall with some faint lines."""
    picture = np.asarray(wall(seed, 0.5, size)).copy()
    for at in np.random.default_rng([seed, 1]).integers(4, min(size) - 4, 4).tolist():
        picture[at, at // 2 :] += 6
    return Image.fromarray(picture)


def versions(picture: Image.Image) -> list[bytes]:
    half = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    lighter = picture.point(lambda level: level + 2)
    return [
        encode(picture, "PNG"),
        *(encode(picture, quality=quality) for quality in (90, 60, 30)),
        encode(half, "PNG"),
        encode(half, quality=75),
        encode(lighter, "PNG"),
        encode(picture.convert("RGB").crop((1, 1, picture.width, picture.height)), "PNG"),
    ]


@pytest.mark.thorough
@pytest.mark.parametrize("size", [(96, 72), (300, 200), (640, 480)])
def test_what_is_left_out_by_its_detail_is_no_copy(size: tuple[int, int]) -> None:
    walls = [wall(seed, spread, size) for seed, spread in enumerate((0.3, 1, 1, 3, 10, 30))]
    pictures = [versions(one) for one in [*walls, scratched(9, size)]]
    files = [data for of_one in pictures for data in of_one]
    looks = Looks(lambda at: files[at])
    per = len(pictures[0])
    copies = 0
    for start in range(0, len(files), per):
        own = list(combinations(range(start, start + per), 2))
        for one, other in [*own, *((start + at, (start + per + at) % len(files)) for at in range(per))]:
            detail = looks.detail(one), looks.detail(other)
            assert detail[0] is not None
            assert detail[1] is not None
            is_plain = looks.plain(one) is not None  # then its colour alone is compared
            if not is_plain and is_flat_copy(one, other, looks):
                copies += 1
                assert may_be_borne_out(detail[0], [detail[1]])[0], (start // per, one % per, other % per)
    assert copies > 40


def test_what_is_transparent_is_always_looked_at() -> None:
    picture = Image.new("RGBA", (90, 60), (255, 255, 255, 0))
    assert detail_of(look_closely(encode(picture, "PNG"))) is None


def test_a_crowd_of_walls_costs_no_look_at_each_pair_and_hides_no_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy comes after more strangers of its colour than are ever looked at beside one picture."""
    folder = tmp_path / "raw" / "wall"
    folder.mkdir(parents=True)
    for seed in range(60):
        (folder / f"{seed:02}.png").write_bytes(encode(wall(seed, 3, (300, 200)), "PNG"))
    for seed, name in ((0, "copy of 00"), (1, "zz copy of 01")):
        (folder / f"{name}.png").write_bytes(encode(wall(seed, 3, (300, 200)).point(lambda level: level + 1), "PNG"))
    looked: list[tuple[int, int]] = []

    def noted(first: int, second: int, guess: Alignment, looks: Looks) -> Comparison | None:
        looked.append((first, second))
        return compared(first, second, guess, looks)

    monkeypatch.setattr(flat, "compared", noted)
    data = open_dataset(tmp_path)
    with Catalog.open(data.catalog_path) as catalog:
        scan(data, catalog)
        pictures = catalog.intact()
        found = find_near_duplicates(data.root, pictures)
    together = {frozenset(Path(pictures[at].path).name for at in members) for members in found.contents}
    assert len(looked) < len(pictures)
    assert together == {
        frozenset({"00.png", "copy of 00.png"}),
        frozenset({"01.png", "zz copy of 01.png"}),
        *(frozenset({f"{seed:02}.png"}) for seed in range(2, 60)),
    }
