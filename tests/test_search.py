"""The answer of a search is that of a search from scratch, whatever came and went before; and it costs what came."""

import io
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from curate.inspect import inspect
from curate.lookalikes.contents import Contents, Row
from curate.lookalikes.edits import captioned, cropped, encode
from curate.lookalikes.looks import Looks
from curate.lookalikes.neighbours import NOTHING, Neighbours
from curate.lookalikes.search import search
from tests.pictures import scene


@cache
def shelf() -> dict[bytes, tuple[Row, bytes]]:
    """sha256 → its row and its file's bytes: photographs with copies, flat pictures, and a crowd."""
    files = []
    for seed in range(4):
        original = scene(seed, 160, 120)
        files += [encode(original, quality=95), encode(original, quality=50), encode(cropped(original, 0.06))]
        files += [encode(original.transpose(Image.Transpose.FLIP_LEFT_RIGHT))]
    files += [encode(captioned(scene(seed, 160, 120), 0.1, below=False)) for seed in range(2)]
    for level in range(100, 106):
        stream = io.BytesIO()
        Image.new("RGB", (80 + level % 2, 80), (level, 130, 130)).save(stream, "PNG")
        files.append(stream.getvalue())
    files += crowd()
    found = {}
    for data in files:
        facts = inspect(data)
        row = (facts.sha256, facts.phash, facts.width, facts.height, facts.fingerprint)
        found[facts.sha256.encode()] = row, data
    return found


def crowd() -> list[bytes]:
    """The fine detail of 19 photographs under the light and shade of one, which alone the hashes see; and of one more
    in 20 strengths, of which each is held against the six next to it.
    """
    shade = levels(scene(50, 100, 100).filter(ImageFilter.GaussianBlur(6)))
    found = []
    strong = {60: np.linspace(0.6, 1, 20).tolist()}
    for seed in range(60, 80):
        photograph = scene(seed, 100, 100)
        detail = levels(photograph) - levels(photograph.filter(ImageFilter.GaussianBlur(2)))
        for strength in strong.get(seed, [0.8]):
            frame = np.clip(shade + strength * detail, 0, 255).astype(np.uint8)
            found.append(encode(Image.fromarray(frame), quality=90))
    return found


def levels(picture: Image.Image) -> NDArray[np.float64]:
    return np.asarray(picture, np.float64)


class Searched:
    """Searches among some of the shelf, and how often a picture was looked at."""

    def __init__(self, *, geometry: bool = False) -> None:
        self.geometry = geometry
        self.looks = 0

    def among(self, digests: Sequence[bytes], known: Neighbours | None = None) -> Neighbours:
        contents = Contents.of([[shelf()[digest][0] for digest in digests]])
        self.looks = 0

        def read(content: int) -> bytes:
            self.looks += 1
            return shelf()[bytes(contents.sha256[content])][1]

        return search(contents, Looks(read), 8, geometry=self.geometry, known=known)


@cache
def from_scratch(digests: tuple[bytes, ...], *, geometry: bool = False) -> Neighbours:
    return Searched(geometry=geometry).among(digests)


def differences(found: Neighbours, wanted: Neighbours) -> list[str]:
    """The columns in which two answers differ; what was seen of flat pictures is no answer.

    Where a picture lies is worked out of many at once, and so differs in the last digits.
    """
    names = [name for name in vars(found) if name not in ("flat", "placement")]
    names = [name for name in names if not np.array_equal(getattr(found, name), getattr(wanted, name))]
    return names or ([] if np.allclose(found.placement, wanted.placement, rtol=0, atol=1e-3) else ["placement"])


def drawn(seed: int, share: float) -> tuple[bytes, ...]:
    rng = np.random.default_rng(seed)
    return tuple(digest for digest in sorted(shelf()) if rng.random() < share)


@pytest.mark.thorough
@pytest.mark.parametrize("geometry", [False, True])
def test_additions_and_removals_give_what_a_search_from_scratch_gives(*, geometry: bool) -> None:
    searched = Searched(geometry=geometry)
    known = None
    crowds = set()
    for step, share in enumerate((0.15, 0.97, 1.0, 0.93, 0.2)):
        digests = drawn(step, share)
        known = searched.among(digests, known)
        assert known.is_sound()
        assert differences(known, from_scratch(digests, geometry=geometry)) == [], step
        crowds.add(int(known.gathered.max()))
        assert bool(len(known.apart)) == (int(known.gathered.max()) >= 0), "a crowd of copies and others was to be"
    assert crowds == {-1, 0}, "a crowd was to come, to change and to go"


@pytest.mark.thorough
def test_a_photograph_that_was_added_costs_its_own_pairs() -> None:
    digests = tuple(sorted(shelf()))
    searched = Searched()
    whole = searched.among(digests)
    anew = searched.looks
    copied = int(whole.first[np.flatnonzero(whole.same & (whole.gathered[whole.first] < 0))[0]])
    without = digests[:copied] + digests[copied + 1 :]
    known = from_scratch(without)
    found = searched.among(digests, known)
    assert differences(found, whole) == []
    assert 0 < searched.looks < anew / 10
    searched.among(digests, found)
    assert searched.looks == 0


@pytest.mark.thorough
def test_a_frame_that_was_added_costs_its_own_pairs_and_a_coarse_look_at_its_crowd() -> None:
    digests = tuple(sorted(shelf()))
    searched = Searched()
    whole = searched.among(digests)
    anew = searched.looks
    frame = int(np.flatnonzero(whole.gathered == 0)[3])
    members = int(np.count_nonzero(whole.gathered == 0))
    found = searched.among(digests, from_scratch(digests[:frame] + digests[frame + 1 :]))
    assert differences(found, whole) == []
    told = np.concatenate([np.column_stack([whole.first, whole.second]), whole.apart])
    partners = np.unique(told[(told == frame).any(axis=1)])
    assert members <= searched.looks <= members + 4 * len(partners), "and a few at each of its own pairs"
    assert searched.looks < anew / 2


@pytest.mark.thorough
def test_what_left_takes_its_pairs_along_without_a_search() -> None:
    whole = from_scratch(tuple(sorted(shelf())))
    alone = np.flatnonzero((whole.gathered < 0) & ~np.isin(np.arange(len(whole.sha256)), whole.flat[:, :2]))
    gone = set(whole.sha256[alone[::3]].tolist())
    left = tuple(digest for digest in sorted(shelf()) if digest not in gone)
    among = whole.among(np.array(left, "S64"))
    assert among is not None
    assert among.is_sound()
    assert differences(among, from_scratch(left)) == []


@pytest.mark.parametrize("kind", ["frame", "flat", "new"])
def test_where_a_search_would_say_more_it_is_made(kind: str) -> None:
    digests = tuple(sorted(shelf()))
    whole = from_scratch(digests)
    at = int(np.flatnonzero(whole.gathered >= 0)[0]) if kind == "frame" else int(whole.flat[0, 0])
    asked = [*digests, b"f" * 64] if kind == "new" else [digest for place, digest in enumerate(digests) if place != at]
    assert whole.among(np.array(asked, "S64")) is None


def test_nothing_is_found_among_nothing() -> None:
    assert differences(Searched().among([]), NOTHING) == []
    assert differences(Searched().among([], from_scratch(drawn(0, 0.15))), NOTHING) == []
