"""Copies are found, strangers are not, and clusters stay round what is kept."""

import io
import random
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from curate.catalog import Catalog, Picture
from curate.dataset import open_dataset
from curate.duplicates import (
    NearDuplicates,
    find_near_duplicates,
    find_same_bytes,
    hashed_contents,
    in_pictures,
    looks_at,
    path_of_contents,
)
from curate.inspect import inspect
from curate.lookalikes.alignment import Alignment
from curate.lookalikes.clusters import Cluster, clusters
from curate.lookalikes.edits import EDITS, Edit, bordered, captioned, cropped, encode, scaled
from curate.lookalikes.fingerprint import FRAMED
from curate.lookalikes.neighbours import Neighbours
from curate.lookalikes.second_look import COPY, NEAR
from curate.scan import scan
from tests.pictures import scene


class Folder:
    """A folder of pictures, and their rows as a scan would write them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pictures: list[Picture] = []

    def add(self, data: bytes) -> int:
        position = len(self.pictures)
        path = f"a/{position}"
        (self.root / "a").mkdir(exist_ok=True)
        (self.root / path).write_bytes(data)
        facts = inspect(data)
        assert not facts.broken
        self.pictures.append(Picture.of(facts, path=path, folder="a", label="a", split="", size=len(data)))
        return position

    def find(self, radius: int = 8, *, framed: bool = True, geometry: bool = False) -> NearDuplicates:
        return find_near_duplicates(self.root, self.pictures, radius, framed=framed, geometry=geometry)

    def groups(self, found: NearDuplicates | None = None) -> list[set[int]]:
        return [{cluster.keeper, *members(cluster)} for cluster in self.clusters(found)]

    def clusters(self, found: NearDuplicates | None = None) -> list[Cluster]:
        found = found or self.find()
        return clusters(found, lambda position: position, looks_at(self.root, self.pictures, found.contents))


def members(cluster: Cluster) -> list[int]:
    return [copy.position for copy in cluster.copies]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@cache
def photograph(seed: int) -> Image.Image:
    return scene(seed, 480, 360)


@pytest.mark.thorough
@pytest.mark.parametrize("edit", [edit for edit in EDITS if edit.kind != "turned"], ids=lambda edit: edit.name)
def test_a_copy_is_found_with_its_original_and_with_nothing_else(folder: Folder, edit: Edit) -> None:
    for seed in range(8):
        folder.add(encode(photograph(seed)))
        folder.add(edit.make(photograph(seed)))
    assert folder.groups() == [{2 * seed, 2 * seed + 1} for seed in range(8)]


@pytest.mark.thorough
@pytest.mark.parametrize("edit", [edit for edit in EDITS if edit.kind == "turned"], ids=lambda edit: edit.name)
def test_turned_copies_are_found_when_asked_for_and_only_then(folder: Folder, edit: Edit) -> None:
    for seed in range(8):
        folder.add(encode(photograph(seed)))
        folder.add(edit.make(photograph(seed)))
    assert folder.groups(folder.find(geometry=True)) == [{2 * seed, 2 * seed + 1} for seed in range(8)]
    assert folder.groups() == []


def test_without_windows_only_what_fills_the_frame_is_found(folder: Folder) -> None:
    folder.add(encode(photograph(1)))
    folder.add(encode(cropped(photograph(1), 0.08)))
    assert folder.groups(folder.find(framed=False)) == []
    found = folder.find()
    assert folder.groups(found) == [{0, 1}]
    ((placement, _),) = found.placements().values()
    assert max(abs(a - b) for a, b in zip(placement.box, (0.08, 0.92, 0.08, 0.92), strict=True)) < 0.01


@pytest.mark.thorough
@pytest.mark.parametrize("edit", ["crop", "border"])
def test_small_crops_and_borders_are_found(edit: str, tmp_path: Path) -> None:
    """Recall is a share: a white border of 7% or more around a pale picture may be missed, about one in two hundred."""
    draw, found = random.Random(edit), 0
    for number in range(40):
        seed, share = draw.randrange(501), draw.uniform(0, 0.11)
        folder = Folder(tmp_path / str(number))
        folder.root.mkdir()
        folder.add(encode(photograph(seed)))
        copy = bordered(photograph(seed), share, "white") if edit == "border" else cropped(photograph(seed), share)
        folder.add(encode(copy, quality=80))
        folder.add(encode(photograph(seed + 1000)))
        groups = folder.groups()
        assert groups in ([], [{0, 1}]), "a stranger was merged"
        found += groups == [{0, 1}]
    assert found >= 39


def test_where_nothing_is_said_crops_are_found_and_mirrored_copies_are_not(folder: Folder) -> None:
    folder.add(encode(photograph(1)))
    folder.add(encode(cropped(photograph(1), 0.08)))
    folder.add(encode(ImageOps.mirror(photograph(1))))
    found = find_near_duplicates(folder.root, folder.pictures)
    assert [{first, second} for first, second, _ in found.copies()] == [{0, 1}]
    assert not list(found.near())


def test_a_caption_is_found_above_and_below(folder: Folder) -> None:
    folder.add(encode(photograph(3)))
    folder.add(encode(captioned(photograph(3), 0.09, below=True)))
    upside_down = captioned(photograph(4).transpose(Image.Transpose.ROTATE_180), 0.06, below=True)
    folder.add(encode(photograph(4)))
    folder.add(encode(upside_down.transpose(Image.Transpose.ROTATE_180)))
    assert folder.groups() == [{0, 1}, {2, 3}]


def test_recompressed_copies_are_found_where_equal_hashes_miss_them(folder: Folder) -> None:
    for seed in range(20):
        folder.add(encode(photograph(seed)))
        folder.add(encode(scaled(photograph(seed), 0.4, 0.4), quality=30))
    hashes = [picture.phash for picture in folder.pictures]
    assert any(hashes[at] != hashes[at + 1] for at in range(0, 40, 2))
    assert len(folder.groups()) == 20


def test_hidden_colours_under_transparency_make_no_difference(folder: Folder) -> None:
    shape = Image.new("L", (300, 200), 0)
    draw = ImageDraw.Draw(shape)
    draw.ellipse((60, 30, 250, 190), fill=255)
    draw.line((0, 10, 300, 150), fill=255, width=9)
    for seed in (1, 2):
        hidden = scene(seed, 300, 200)
        hidden.paste((90, 40, 160), mask=shape)
        hidden.putalpha(shape)
        folder.add(encode(hidden, "PNG"))
    assert folder.pictures[0].sha256 != folder.pictures[1].sha256
    assert folder.groups() == [{0, 1}]


def test_black_pictures_of_other_shapes_are_no_copies(folder: Folder) -> None:
    for size in ((100, 200), (200, 100)):
        folder.add(encode(Image.new("RGB", size, "black"), "PNG"))
    assert folder.groups() == []


def test_flat_pictures_are_the_same_only_in_one_colour(folder: Folder) -> None:
    for colour in ("black", "white", (250, 10, 10), (10, 10, 250)):
        folder.add(encode(Image.new("RGB", (200, 150), colour), "PNG"))
        folder.add(encode(Image.new("RGB", (400, 300), colour)))
    assert folder.groups() == [{0, 1}, {2, 3}, {4, 5}, {6, 7}]


def test_a_flat_picture_is_no_copy_of_one_with_something_on_it(folder: Folder) -> None:
    folder.add(encode(Image.new("RGB", (200, 200), "white"), "PNG"))
    page = Image.new("RGB", (200, 200), "white")
    page.paste((0, 0, 0), (40, 40, 50, 42))
    folder.add(encode(page, "PNG"))
    assert folder.groups() == []


def test_night_skies_are_told_apart_by_their_stars(folder: Folder) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        sky = Image.new("RGB", (300, 200), (3, 3, 6))
        for x, y in rng.integers(0, (297, 197), (60, 2)).tolist():
            sky.paste((220, 220, 200), (x, y, x + 3, y + 3))
        folder.add(encode(sky, "PNG"))
        folder.add(encode(sky, quality=85))
    assert folder.groups() == [{2 * seed, 2 * seed + 1} for seed in range(6)]


def test_similarly_lit_strangers_are_different(folder: Folder) -> None:
    # One picture's large light and shade, under the fine detail of two others.
    shade = np.asarray(photograph(1).filter(ImageFilter.GaussianBlur(24)), dtype=float)
    for seed in (2, 3):
        detail = np.asarray(photograph(seed), float) - np.asarray(photograph(seed).filter(ImageFilter.GaussianBlur(12)))
        folder.add(encode(Image.fromarray(np.clip(shade + detail, 0, 255).astype(np.uint8)), quality=95))
    found = folder.find()
    assert not list(found.near())
    assert not list(found.copies())


def test_one_shape_in_two_colours_is_two_pictures(folder: Folder) -> None:
    # As a shop shows its shirts; the luma is the same to the last level, the colours are not.
    luma, planes = photograph(1).convert("L"), scene(2, 480, 360).convert("YCbCr").split()
    for cb, cr in ((planes[1], planes[2]), (planes[2], planes[1])):
        folder.add(encode(Image.merge("YCbCr", (luma, cb, cr)), quality=95))
    found = folder.find()
    assert not list(found.copies())
    assert not list(found.near())


def star(seed: int, at: float) -> Image.Image:
    """One of a row of pictures that change into each other little by little."""
    return Image.blend(photograph(seed), photograph(seed + 1), at)


@pytest.mark.thorough
def test_a_chain_of_copies_does_not_become_one_heap(folder: Folder) -> None:
    """Each next picture is a copy of the one before, and the last shows another thing than the first."""
    for step in range(9):
        folder.add(encode(star(10, step / 32), quality=95))
    found = folder.find()
    pairs = {(min(a, b), max(a, b)) for a, b, _ in found.copies()}
    assert all((at, at + 1) in pairs for at in range(8))  # the chain is there, from end to end
    assert (0, 8) not in pairs
    stars = folder.clusters(found)
    assert len(stars) > 1
    for cluster in stars:
        for copy in cluster.copies:
            assert tuple(sorted((cluster.keeper, copy.position))) in pairs
    every = [position for cluster in stars for position in (cluster.keeper, *members(cluster))]
    assert len(every) == len(set(every))
    keepers = {cluster.keeper for cluster in stars}
    assert not any(a in keepers and b in keepers for a, b in pairs)


def test_the_best_ranked_is_kept_where_the_source_is_not_asked_for(folder: Folder) -> None:
    for quality in (30, 60, 90):
        folder.add(encode(photograph(2), quality=quality))
    found = folder.find()
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        (cluster,) = clusters(found, order.index)
        assert (cluster.keeper, members(cluster)) == (order[0], order[1:])


def test_a_file_that_went_away_matches_its_own_bytes_alone(folder: Folder) -> None:
    folder.add(encode(photograph(1), quality=90))
    folder.add(encode(photograph(1), quality=90))
    folder.add(encode(photograph(1), quality=60))
    (folder.root / folder.pictures[0].path).unlink()
    assert folder.groups() == [{0, 1}]


def test_pictures_without_a_fingerprint_are_compared_whole(folder: Folder) -> None:
    for quality in (90, 40):
        folder.add(encode(photograph(1), quality=quality))
    folder.pictures = [replace(picture, fingerprint=b"") for picture in folder.pictures]
    assert folder.groups() == [{0, 1}]


def test_many_byte_identical_pictures_cost_nothing(folder: Folder) -> None:
    folder.add(encode(photograph(1)))
    folder.pictures *= 100_000
    began = time.process_time()
    found = folder.find()
    (cluster,) = folder.clusters(found)
    assert len(cluster.copies) == 99_999
    assert time.process_time() - began < 5, "processor seconds: in pairs it would be hours"


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_flat_pictures_do_not_make_a_pair_of_each_two(folder: Folder, count: int) -> None:
    folder.add(encode(Image.new("RGB", (100, 100), "black"), "PNG"))
    black = folder.pictures[0]
    folder.pictures = [
        replace(black, sha256=f"{at:064x}", fingerprint=bytes((at % 5 * 40, 0, 0))) for at in range(count)
    ]
    found = folder.find()
    assert [len(cluster.copies) for cluster in folder.clusters(found)] == [count // 5 - 1] * 5
    assert len(found.first) == 0


@pytest.mark.thorough
def test_a_crowd_of_files_with_one_hash_is_compared_with_one_of_them(folder: Folder) -> None:
    # The same picture saved again and again with other metadata, and a stranger saved as often that shares its hash.
    def saved(picture: Image.Image, number: int) -> bytes:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=90, comment=str(number).encode())
        return file.getvalue()

    for picture in (photograph(1), photograph(2)):
        for number in range(20):
            folder.add(saved(picture, number))
    one = folder.pictures[0].phash
    folder.pictures = [replace(picture, phash=one) for picture in folder.pictures]
    found = folder.find()
    assert len(found.first) <= 10 * 40
    assert folder.groups(found) == [set(range(20)), set(range(20, 40))]
    for gone in folder.pictures:
        (folder.root / gone.path).unlink()
    assert folder.groups() == []


def test_real_photographs_hold_one_pair_of_copies_and_no_false_one(flowers: Path, tmp_path: Path) -> None:
    dataset = open_dataset(flowers)
    with Catalog.open(tmp_path / "catalog.sqlite") as catalog:
        scan(dataset, catalog)
        pictures = catalog.pictures()
    found = find_near_duplicates(flowers, pictures, geometry=True)
    (cluster,) = clusters(found, lambda position: pictures[position].path)
    paths = [pictures[position].path for position in (cluster.keeper, *members(cluster))]
    assert paths == ["train/94/image_07307.jpg", "train/94/image_07309.jpg"]
    assert not list(found.copies())


@pytest.mark.thorough
def test_real_photographs_edited_are_found(flowers: Path, folder: Folder) -> None:
    paths = sorted(flowers.glob("*/*/*.jpg"))[::160]
    mirrored = 0
    for path in paths:
        picture = Image.open(path).convert("RGB")
        folder.add(path.read_bytes())
        folder.add(encode(cropped(picture, 0.06), quality=70))
        folder.add(encode(bordered(picture, 0.05, "white")))
        mirrored = folder.add(encode(ImageOps.mirror(picture)))
    groups = folder.groups(folder.find(geometry=True))
    assert len(groups) == len(paths) == (mirrored + 1) // 4
    assert all(group == set(range(min(group), min(group) + 4)) for group in groups)


# -- what was found among contents, in terms of pictures


def row(number: int, letter: str) -> Picture:
    """The row of a picture whose content goes by a letter."""
    return Picture(f"a/{number}", "a", "a", "", 100, 0, letter * 64, "JPEG", 8, 6, 0, "", "present")


ROWS = [row(number, letter) for number, letter in enumerate("dbcaeadf")]
"""Of six contents, one of which three pictures have; f is like nothing, and b and e are one flat picture below."""


def found_among_rows() -> Neighbours:
    """In a part of c lies a, mirrored; d is a copy of b; and c is near the flat e."""
    pairs = Neighbours.of_pairs(
        np.array([letter * 64 for letter in "abcdef"], "S64"),
        np.array([2, 1, 4], np.int32), np.array([0, 3, 2], np.int32), np.array([3, 5, 7], np.uint8),
        np.array([COPY, COPY, NEAR], np.int8), np.array([[0, 1], [0, 4]], np.int32),
    )  # fmt: skip
    placement = pairs.placement.copy()
    placement[0] = 0.25, 0.5, 0.125, 1
    return replace(pairs, variant=np.array([len(FRAMED), 0, -1], np.int8), placement=placement)


def test_what_was_found_among_contents_is_told_of_the_pictures_that_have_them() -> None:
    """Contents are numbered by their first pictures, and pairs are in that order: flat ones of a group are one."""
    found = in_pictures(found_among_rows(), ROWS)
    assert found.contents == [[0, 6], [1, 4], [2], [3, 5], [7]]
    assert list(found.copies()) == [(1, 0, 5), (2, 3, 3)]
    assert list(found.near()) == [(1, 2)]
    assert found.distance.tolist() == [5, 7, 3]
    assert found.same.tolist() == [True, False, True]
    assert [column.dtype.name for column in (found.first, found.second, found.distance, found.verdict)] == [
        "int32", "int32", "uint8", "int8",
    ]  # fmt: skip
    assert found.placements() == {
        (1, 0): (Alignment(), 5),
        (2, 3): (Alignment(Image.Transpose.FLIP_LEFT_RIGHT, (0.25, 0.5, 0.125, 1.0)), 3),
    }


def test_the_same_bytes_are_found_without_a_look() -> None:
    found = find_same_bytes(ROWS)
    assert found.contents == [[0, 6], [1], [2], [3, 5], [4], [7]]
    assert not [*found.copies(), *found.near()]
    columns = (found.first, found.second, found.distance, found.verdict, found.variant, found.placement)
    assert [column.shape for column in columns] == [(0,)] * 5 + [(0, 4)]
    assert found.placements() == {}


def test_a_content_is_read_from_its_first_picture(tmp_path: Path) -> None:
    path = path_of_contents(ROWS, hashed_contents(ROWS))
    assert [path(content) for content in range(6)] == ["a/3", "a/1", "a/2", "a/0", "a/4", "a/7"]
    some = hashed_contents(ROWS).among(np.array(["c" * 64, "e" * 64], "S64"))
    assert [path_of_contents(ROWS, some)(content) for content in range(2)] == ["a/2", "a/4"]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "3").write_bytes(encode(photograph(1)))
    looks = looks_at(tmp_path, ROWS, [[0, 6], [3, 5]])
    assert looks.coarse(1) is not None
    assert looks.coarse(0) is None
