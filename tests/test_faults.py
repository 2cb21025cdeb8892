"""Each planted fault really is the fault it is said to be, and nothing else is touched."""

import hashlib
import re
import shutil
from collections import Counter
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFilter, ImageOps

from curate.errors import UserError
from demo.faults import BROKEN, PLANTED, Fault, FaultKind, plant_faults

LABELS = ("rose", "tulipe 🌷", "10")


def paint(path: Path, seed: int, size: tuple[int, int] = (200, 160)) -> None:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.SHARPEN).save(path, quality=92)


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("painted")
    for number in range(45):
        paint(folder / LABELS[number % 3] / f"DSC_{10 * number:04}.jpg", number)
    return folder


def everything(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture
def planted(painted: Path, tmp_path: Path) -> tuple[Path, list[Fault]]:
    folder = tmp_path / "data"
    shutil.copytree(painted, folder)
    return folder, plant_faults(folder, seed=11)


def upright(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference in grey levels."""
    pair = (np.asarray(picture, dtype=np.float64) for picture in (one, other))
    return float(np.abs(next(pair) - next(pair)).mean())


def of_kind(planted: tuple[Path, list[Fault]], kind: FaultKind) -> list[tuple[Path, Path | None]]:
    folder, faults = planted
    found = [(folder / f.path, None if f.of is None else folder / f.of) for f in faults if f.kind is kind]
    assert len(found) == PLANTED[kind] > 0
    return found


def test_faults_are_added_and_nothing_else_changes(painted: Path, planted: tuple[Path, list[Fault]]) -> None:
    folder, faults = planted
    before, after = everything(painted), everything(folder)
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) == {fault.path for fault in faults}
    assert Counter(fault.kind for fault in faults) == PLANTED


def test_originals_are_distinct_and_no_faults_themselves(painted: Path, planted: tuple[Path, list[Fault]]) -> None:
    originals = [fault.of for fault in planted[1] if fault.of is not None]
    assert len(originals) == len(set(originals))
    assert set(originals) <= set(everything(painted))


def test_the_same_seed_plants_the_same_another_seed_others(painted: Path, tmp_path: Path) -> None:
    planted = []
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        shutil.copytree(painted, tmp_path / name)
        planted.append((plant_faults(tmp_path / name, seed), everything(tmp_path / name)))
    assert planted[0] == planted[1]
    assert planted[0][0] != planted[2][0]


def test_names_and_suffixes_give_nothing_away(planted: tuple[Path, list[Fault]]) -> None:
    for fault in planted[1]:
        name = Path(fault.path).name
        assert re.fullmatch(r"DSC_\d{4}\.(jpg|png|webp)", name)
        assert name.endswith(".jpg") or fault.kind is FaultKind.REFORMATTED
        assert 0 <= int(name[4:8]) <= 440 + 46
    stems = [file.stem for file in planted[0].rglob("*") if file.is_file()]
    assert len(stems) == len(set(stems))


def test_broken_files_do_not_decode(planted: tuple[Path, list[Fault]]) -> None:
    for fault in planted[1]:
        if fault.kind in BROKEN:
            with pytest.raises(OSError), Image.open(planted[0] / fault.path) as picture:  # noqa: PT011
                picture.load()


def test_truncated_files_open_and_begin_like_their_originals(planted: tuple[Path, list[Fault]]) -> None:
    for path, of in of_kind(planted, FaultKind.TRUNCATED):
        assert of is not None
        cut, whole = path.read_bytes(), of.read_bytes()
        assert whole.startswith(cut)
        assert 0.29 <= len(cut) / len(whole) <= 0.91
        with Image.open(path) as picture:
            picture.verify()  # passes: why `verify` is no check


def test_empty_files_are_empty_and_non_pictures_are_text(planted: tuple[Path, list[Fault]]) -> None:
    assert all(path.stat().st_size == 0 for path, _ in of_kind(planted, FaultKind.EMPTY))
    texts = {path.read_text("ascii") for path, _ in of_kind(planted, FaultKind.NOT_A_PICTURE)}
    assert len(texts) == 3
    assert any("<html>" in text for text in texts)
    assert any("<" not in text for text in texts)


@pytest.mark.parametrize("kind", [FaultKind.RE_ENCODED, FaultKind.REFORMATTED, FaultKind.ROTATED])
def test_copies_have_other_bytes_and_the_same_look(planted: tuple[Path, list[Fault]], kind: FaultKind) -> None:
    for path, of in of_kind(planted, kind):
        assert of is not None
        assert path.parent == of.parent
        assert path.read_bytes() != of.read_bytes()
        assert upright(path).size == upright(of).size
        assert difference(upright(path), upright(of)) < 5


def test_re_encoded_copies_are_smaller_jpegs(planted: tuple[Path, list[Fault]]) -> None:
    for path, of in of_kind(planted, FaultKind.RE_ENCODED):
        assert of is not None
        assert path.stat().st_size < of.stat().st_size


def test_resized_copies_are_of_sixty_percent(planted: tuple[Path, list[Fault]]) -> None:
    for path, of in of_kind(planted, FaultKind.RESIZED):
        assert of is not None
        assert upright(path).size == (120, 96)
        assert difference(upright(path), upright(of).resize((120, 96))) < 8


def test_reformatted_copies_are_png_and_webp_as_their_suffix_says(planted: tuple[Path, list[Fault]]) -> None:
    formats = set()
    for path, _ in of_kind(planted, FaultKind.REFORMATTED):
        with Image.open(path) as picture:
            assert picture.format == path.suffix[1:].upper()
            formats.add(picture.format)
    assert formats == {"PNG", "WEBP"}


def test_rotated_copies_are_stored_turned_all_three_ways(planted: tuple[Path, list[Fault]]) -> None:
    orientations = set()
    for path, of in of_kind(planted, FaultKind.ROTATED):
        assert of is not None
        with Image.open(path) as stored, Image.open(of) as original:
            orientations.add(stored.getexif()[ExifTags.Base.Orientation])
            turned_away = stored.resize(original.size).convert("RGB")
            assert difference(turned_away, original.convert("RGB")) > 20
    assert orientations == {3, 6, 8}


def test_one_picture_under_two_labels(planted: tuple[Path, list[Fault]]) -> None:
    pairs = of_kind(planted, FaultKind.TWO_LABELS)
    assert len(pairs) >= 2
    for path, of in pairs:
        assert of is not None
        assert path.parent != of.parent
        assert path.read_bytes() == of.read_bytes()


def test_unnumbered_names_and_hidden_folders(tmp_path: Path) -> None:
    names = ("a/a crimson", "a/a white", "b/b crimson", "b/b white", ".git/c crimson")
    for number, name in enumerate(names):
        paint(tmp_path / f"{name}.JPEG", number)
    faults = plant_faults(tmp_path, 1, {FaultKind.TWO_LABELS: 2, FaultKind.EMPTY: 1})
    assert all(re.fullmatch(r"[ab]/[ab] (crimson|white)-\d\.(JPEG|jpg)", fault.path) for fault in faults)


def test_unusable_pictures_are_passed_over(tmp_path: Path) -> None:
    paint(tmp_path / "a" / "1.jpg", 1)
    paint(tmp_path / "b" / "2.jpg", 2, size=(40, 40))
    (tmp_path / "b" / "3.jpg").write_bytes((tmp_path / "a" / "1.jpg").read_bytes()[:900])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (90, 90)).save(tmp_path / "b" / "4.jpg", exif=exif)
    assert [fault.of for fault in plant_faults(tmp_path, 1, {FaultKind.RESIZED: 1})] == ["a/1.jpg"]


def test_too_little_to_work_on_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        plant_faults(tmp_path / "nowhere", 1)
    paint(tmp_path / "a" / "1.jpg", 1)
    with pytest.raises(UserError, match="at least two class folders"):
        plant_faults(tmp_path, 1)
    paint(tmp_path / "b" / "2.jpg", 2)
    before = everything(tmp_path)
    with pytest.raises(UserError, match="need 22 intact JPEG pictures, and 2 are there"):
        plant_faults(tmp_path, 1)
    assert everything(tmp_path) == before


def test_on_real_photographs(flowers: Path, tmp_path: Path) -> None:
    for label in ("1", "21", "45", "60", "73"):
        shutil.copytree(flowers / "train" / label, tmp_path / label)
    for fault in plant_faults(tmp_path, seed=2):
        if fault.kind in BROKEN:
            with pytest.raises(OSError), Image.open(tmp_path / fault.path) as picture:  # noqa: PT011
                picture.load()
        else:
            assert fault.of is not None
            copy, original = (imagehash.phash(upright(tmp_path / path)) for path in (fault.path, fault.of))
            assert copy - original <= 4, fault
