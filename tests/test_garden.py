"""The drawn garden is varied, unbalanced, reproducible, and free of near-duplicates of its own."""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import run

import imagehash
import numpy as np
import pytest
from PIL import Image

from curate.errors import UserError
from demo import garden
from demo.garden import SPECIES, Garden, draw_garden

RADIUS = 10


def digests(folder: Path) -> dict[str, str]:
    files = sorted(folder.rglob("*.jpg"))
    return {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Garden]:
    folder = tmp_path_factory.mktemp("garden")
    return folder, draw_garden(folder, seed=1337)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures a class, for what does not depend on how many there are."""
    monkeypatch.setattr(garden, "COUNTS", (2,) * len(SPECIES))


def test_what_it_tells_is_what_lies_there(drawn: tuple[Path, Garden]) -> None:
    folder, told = drawn
    there = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
    assert list(told.files) == there
    assert told.counts == Counter(Path(file).parent.name for file in there)
    assert set(told.species) == set(told.counts) == {species.name for species in SPECIES}


def test_at_least_six_species_about_forty_each_and_unbalanced(drawn: tuple[Path, Garden]) -> None:
    counts = list(drawn[1].counts.values())
    assert len(counts) >= 6
    assert sum(counts) / len(counts) >= 40
    assert max(counts) >= 2 * min(counts) >= 40


def test_every_picture_is_a_whole_upright_jpeg_of_the_promised_size(drawn: tuple[Path, Garden]) -> None:
    folder, told = drawn
    for file in told.files:
        with Image.open(folder / file) as picture:
            picture.load()
            assert (picture.format, picture.mode, len(picture.getexif())) == ("JPEG", "RGB", 0)
            assert 320 <= min(picture.size) <= max(picture.size) <= 500
            assert np.asarray(picture).std() > 8, f"{file} is flat"


def test_distinct_drawings_are_no_near_duplicates(drawn: tuple[Path, Garden]) -> None:
    folder, told = drawn
    hashes = []
    for file in told.files:
        with Image.open(folder / file) as picture:
            hashes.append(imagehash.phash(picture).hash.ravel())
    bits = np.array(hashes, dtype=np.int32)
    distance = bits @ (1 - bits).T + (1 - bits) @ bits.T
    upper = np.triu_indices(len(bits), k=1)
    assert distance[upper].min() > RADIUS


@pytest.mark.thorough
def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path: Path, few: None) -> None:
    draw_garden(tmp_path / "here", seed=5)
    code = (
        "from demo import garden; from pathlib import Path; import sys;"
        "garden.COUNTS = (2,) * 8; garden.draw_garden(Path(sys.argv[1]), seed=5)"
    )
    repository = Path(garden.__file__).parent.parent
    run([sys.executable, "-c", code, str(tmp_path / "there")], cwd=repository, check=True)
    assert len(digests(tmp_path / "here")) == 16
    assert digests(tmp_path / "here") == digests(tmp_path / "there")


@pytest.mark.thorough
def test_another_seed_gives_another_garden(tmp_path: Path, few: None) -> None:
    one, other = tmp_path / "1", tmp_path / "2"
    draw_garden(one, seed=1)
    draw_garden(other, seed=2)
    assert not set(digests(one).values()) & set(digests(other).values())


def test_the_global_random_state_is_left_alone(tmp_path: Path, few: None) -> None:
    np.random.seed(7)
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    draw_garden(tmp_path, seed=1)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


@pytest.mark.thorough
def test_progress_counts_every_picture(tmp_path: Path, few: None) -> None:
    told: list[int] = []

    @contextmanager
    def watch(description: str, total: int) -> Iterator[object]:
        told.append(-total)
        yield told.append

    draw_garden(tmp_path, seed=1, progress=watch)  # type: ignore[arg-type]
    assert told == [-16] + [1] * 16


def test_it_never_draws_over_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="something is there already"):
        draw_garden(tmp_path, seed=1)
    with pytest.raises(UserError, match="something is there already"):
        draw_garden(tmp_path / "mine.txt", seed=1)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
