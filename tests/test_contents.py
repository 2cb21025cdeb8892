"""Contents as columns: each once, in order, whatever order and parts their files came in."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curate.catalog import Catalog
from curate.catalog.hashes import hashes_of_intact
from curate.lookalikes.contents import Contents, Row
from curate.lookalikes.fingerprint import VARIANTS
from tests.test_conflicts import picture


def rows() -> list[Row]:
    """Pictures with windows, without, flat, and small; each third one twice."""
    rng = np.random.default_rng(0)
    found: list[Row] = []
    for number in range(60):
        print_ = (rng.bytes(8 * len(VARIANTS)), b"", rng.bytes(3))[number % 3]
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        phash = int(rng.integers(0, 2**64, dtype=np.uint64))
        row = (digest, phash, 40 + number, 300, print_)
        found += [row] * (1 + (number % 3 == 0))
    return found


@pytest.mark.parametrize("parts", [1, 2, 7, 90])
def test_every_content_is_there_once_with_what_is_its_own(parts: int) -> None:
    shuffled = [rows()[at] for at in np.random.default_rng(parts).permutation(len(rows())).tolist()]
    contents = Contents.of([shuffled[part::parts] for part in range(parts)])
    assert contents.sha256.tolist() == sorted({digest.encode() for digest, *_ in rows()})
    require_own(contents)


def require_own(contents: Contents) -> None:
    """Each content has its own facts, whichever others are there."""
    wanted = {digest.encode(): row for digest, *row in rows()}
    windows = dict(zip(contents.known.tolist(), contents.windows, strict=True))
    colours = dict(zip(contents.flat.tolist(), contents.colour, strict=True))
    assert contents.known.tolist() == sorted(windows)
    assert contents.flat.tolist() == sorted(colours)
    for at, digest in enumerate(contents.sha256.tolist()):
        phash, width, height, whole = wanted[digest]
        assert (contents.phash[at], contents.width[at], contents.height[at]) == (phash, width, height)
        there = windows[at].astype(">u8").tobytes() if at in windows else b""
        there = colours[at].tobytes() if at in colours else there
        assert there == whole


def test_small_pictures_have_no_windows_and_flat_ones_no_hashes() -> None:
    contents = Contents.of([rows()])
    structured = contents.structured
    assert not set(structured.tolist()) & set(contents.flat.tolist())
    hashed = contents.hashed(structured)
    assert len(hashed) == 40
    assert np.array_equal(hashed.wholes, contents.phash[structured])
    narrow = contents.width[structured] < 64
    assert hashed.small.tolist() == narrow.tolist()
    assert not narrow[hashed.known].any()
    assert len(hashed.known) == np.count_nonzero(contents.width[contents.known] >= 64)


def test_only_contents_that_are_asked_for() -> None:
    contents = Contents.of([rows()])
    some = contents.sha256[::4]
    part = contents.among(some)
    assert np.array_equal(part.sha256, some)
    require_own(part)
    for at in range(len(contents.sha256)):
        require_own(contents.among(contents.sha256[at:]))
    assert len(Contents.of([]).sha256) == len(Contents.of([[]]).sha256) == 0


def test_a_catalog_gives_the_same_columns_as_its_pictures(tmp_path: Path) -> None:
    names = ("sha256", "phash", "width", "height", "fingerprint")
    pictures = [
        replace(picture(f"raw/a/{at}.jpg"), **dict(zip(names, row, strict=True)))  # type: ignore[arg-type]
        for at, row in enumerate(rows())
    ]
    with Catalog.open(tmp_path / "catalog.sqlite") as catalog:
        catalog.put(pictures)
        catalog.put([picture("raw/a/broken.jpg", "f" * 64, broken="no picture")])
        found, wanted = Contents.of(hashes_of_intact(catalog)), Contents.of([rows()])
    assert all(np.array_equal(getattr(found, name), getattr(wanted, name)) for name in vars(wanted))
