"""What the page shows by the feature bank: pictures that are alike, and a map; and a cache that stays within bounds."""

import asyncio
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import open_dataset
from pages.loopback import listen
from pages.review.gallery import ReviewGallery
from pages.review.likeness import Likeness
from pages.review.thumbnails import FOLDER, Thumbnails
from tests.reviewing import garden
from train.features.bank import CLEAN, BankKey, FeatureBank

DIM = 8
KEY = BankKey("timm:tiny", "0" * 64, {}, "float32", DIM)


@pytest.fixture
def gallery(tmp_path: Path) -> ReviewGallery:
    root = garden(tmp_path / "data")
    clean(root, dry_run=True)
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        return ReviewGallery.read(dataset, catalog)


def fill(bank: Path, gallery: ReviewGallery, key: BankKey = KEY) -> dict[str, torch.Tensor]:
    """Features by which each class is a bundle of directions, and 0.jpg and 4.jpg of the roses are nearly one."""
    vectors = {}
    generator = torch.Generator().manual_seed(0)
    for picture in gallery.pictures:
        if picture.broken:
            continue
        vector = 0.3 * torch.randn(DIM, generator=generator)
        vector[0 if picture.label == "rose" else 1] += 3
        vectors[picture.path] = vector
    vectors["raw/rose/4.jpg"] = vectors["raw/rose/0.jpg"] * 2 + 0.01
    vectors["raw/rose/copy.jpg"], vectors["raw/tulip/stray.jpg"] = vectors["raw/rose/1.jpg"], vectors["raw/rose/3.jpg"]
    with FeatureBank(bank, key) as store:
        store.put((one.sha256, CLEAN, vectors[one.path]) for one in gallery.pictures if not one.broken)
    return vectors


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_nearest_come_first_and_no_copy_of_it(gallery: ReviewGallery, tmp_path: Path, precision: str) -> None:
    key = BankKey("timm:tiny", "0" * 64, {}, precision, DIM)  # type: ignore[arg-type]
    fill(tmp_path / "bank", gallery, key)
    asked = Likeness(tmp_path / "bank")
    found = asked.alike(gallery, gallery.number_at["raw/rose/0.jpg"], 5)
    paths = [gallery.pictures[number].path for number in found.numbers]
    assert paths[0] == "raw/rose/4.jpg"
    assert all(path.startswith("raw/rose/") or path == "raw/tulip/stray.jpg" for path in paths[:4])
    assert (len(paths), found.why) == (5, "")
    copy = asked.alike(gallery, gallery.number_at["raw/rose/1.jpg"], 50)
    assert "raw/rose/copy.jpg" not in {gallery.pictures[number].path for number in copy.numbers}
    broken = asked.alike(gallery, gallery.number_at["raw/tulip/broken.jpg"], 5)
    assert list(broken.numbers) == []
    assert "no features of this picture" in broken.why


def test_an_empty_bank_names_the_command_that_fills_it(gallery: ReviewGallery, tmp_path: Path) -> None:
    asked = Likeness(tmp_path / "none")
    assert "audit" in asked.alike(gallery, 0, 5).why
    assert asked.map(gallery)["ids"] == []
    assert "audit" in asked.map(gallery)["why"]


def test_a_map_has_each_picture_once_in_the_unit_square(gallery: ReviewGallery, tmp_path: Path) -> None:
    """By the two principal components, as numpy's own decomposition has them."""
    vectors = fill(tmp_path / "bank", gallery)
    found = Likeness(tmp_path / "bank").map(gallery)
    assert found["method"] == "pca"
    assert sorted(found["ids"]) == sorted(gallery.ids[at] for at, one in enumerate(gallery.pictures) if not one.broken)
    assert {len(found[name]) for name in ("ids", "x", "y", "label", "split", "suspicion")} == {len(found["ids"])}
    points = np.array([found["x"], found["y"]]).T
    assert (points.min(), points.max()) == (0, 1)
    assert [found["labels"][at] for at in found["label"]] == [
        gallery.pictures[gallery.by_id[one]].label for one in found["ids"]
    ]
    once = {"raw/rose/copy.jpg", "raw/tulip/stray.jpg"}  # of the same bytes as others
    shown = [gallery.pictures[gallery.by_id[one]].path for one in found["ids"]]
    points = points[[path not in once for path in shown]]
    rows = np.stack([vectors[path].numpy() for path in shown if path not in once])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    _, _, axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    first = (rows - rows.mean(axis=0)) @ axes[0]
    assert abs(np.corrcoef(first, points[:, 0])[0, 1]) > 0.999


def test_a_bank_that_is_none_of_ours_says_nothing(gallery: ReviewGallery, tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "x.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 200)
    (tmp_path / "bank" / "pipe.sqlite").symlink_to("/etc/passwd")
    assert Likeness(tmp_path / "bank").map(gallery)["ids"] == []


STAND_IN = """
import pathlib, time
class UMAP:
    def __init__(self, n_neighbors, metric, random_state, n_jobs):
        assert metric == "cosine" and n_neighbors < 15
    def fit_transform(self, rows):
        while not pathlib.Path({looked!r}).exists():
            time.sleep(0.01)
        return rows[:, :2] if {works} else rows[:1]
"""
"""The package is an extra: this stands in for it, with the interface that it documents."""


@pytest.mark.thorough
@pytest.mark.parametrize("works", [True, False])
def test_umap_takes_the_maps_place_once_it_has_come(
    gallery: ReviewGallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, works: bool
) -> None:
    """Where it fails, the plane stays."""
    fill(tmp_path / "bank", gallery)
    looked = tmp_path / "looked"
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "umap.py").write_text(STAND_IN.format(looked=str(looked), works=works))
    monkeypatch.syspath_prepend(tmp_path / "extra")
    asked = Likeness(tmp_path / "bank")
    first = asked.map(gallery)
    assert (first["method"], first["coming"]) == ("pca", True)
    looked.touch()
    assert asked._mapping is not None
    asked._mapping.join(60)
    found = asked.map(gallery)
    assert (found["method"], found["coming"]) == ("umap" if works else "pca", False)


def test_a_map_under_way_ends_with_the_page(
    gallery: ReviewGallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "bank", gallery)
    (tmp_path / "umap.py").write_text(STAND_IN.format(looked=str(tmp_path / "never"), works=True))
    monkeypatch.syspath_prepend(tmp_path)
    asked = Likeness(tmp_path / "bank")
    asked.map(gallery)
    assert asked._mapping is not None
    asked.stop()
    asked._mapping.join(30)
    assert not asked._mapping.is_alive()


def test_the_bank_is_read_without_pytorch() -> None:
    from tests.test_architecture import loaded_after

    loaded = loaded_after("import pages.review.app, train.features.bank_vectors")
    assert not loaded & {"torch", "torchvision", "timm"}


def test_thumbnails_stay_within_their_bound(tmp_path: Path) -> None:
    """Those that were looked at longest ago go; what is not ours stays, and a folder of somebody else's is not used."""
    kept = Thumbnails(tmp_path, most_bytes=40_000)
    picture = b"\xff\xd8" + b"x" * 1000 + b"\xff\xd9"
    for number in range(100):
        kept._keep(f"{number:064x}", 160, picture)
        file = tmp_path / FOLDER / f"{number:064x}"[:2] / f"{number:064x}"[2:]
        stamp = 1_000_000 + number
        os.utime(file.with_name(f"{file.name}-160.jpg"), (stamp, stamp))
    Thumbnails(tmp_path, most_bytes=40_000)
    left = sorted(file.name for file in (tmp_path / FOLDER).glob("*/*.jpg"))
    assert 25 <= len(left) <= 40
    assert left[-1] == f"{99:062x}-160.jpg"
    other = tmp_path / "other" / FOLDER
    other.mkdir(parents=True)
    (other / "mine.txt").write_text("mine")
    nowhere = Thumbnails(tmp_path / "other")
    nowhere._keep("a" * 64, 160, picture)
    assert [file.name for file in other.rglob("*")] == ["mine.txt"]


def test_of_a_dataset_that_is_gone_no_thumbnail_is_kept(tmp_path: Path) -> None:
    """Else its folder would be made again under the old name."""
    home = tmp_path / "data"
    home.mkdir()
    kept = Thumbnails(home)
    home.rename(tmp_path / "elsewhere")
    kept._keep("b" * 64, 160, b"\xff\xd8\xff\xd9")
    assert not home.exists()


def test_small_answers_do_not_wait_for_nagle() -> None:
    """Asyncio turns Nagle's algorithm off where a socket says that it is TCP: else each small answer takes 40 ms."""

    async def accepted() -> int:
        listening = listen()
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            own = writer.get_extra_info("socket")
            found.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        server = await asyncio.start_server(connected, sock=listening.sockets[0])
        _, writer = await asyncio.open_connection(listening.host, listening.port)
        no_delay = await found
        writer.close()
        server.close()
        return no_delay

    assert asyncio.run(accepted())
