"""`clean` finds what is broken, double or of two minds, keeps the best copy, says why, and loses nothing."""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageFilter

from curate.catalog import Catalog
from curate.clean import CleanReport, clean
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.quarantine import Decision, Moves, set_aside
from curate.split import split
from demo.faults import BROKEN, FaultKind, plant_faults
from tests.pictures import contents, encoded, paint, save

REPOSITORY = Path(__file__).resolve().parent.parent


def decisions(report: CleanReport) -> dict[str, Decision]:
    return {decision.path: decision for decision in report.plan.decisions}


def reasons(report: CleanReport) -> dict[str, str]:
    return {decision.path: decision.reason for decision in report.plan.decisions}


@pytest.fixture
def roses(tmp_path: Path) -> Path:
    """Six different pictures of two classes, below raw/."""
    for number in range(6):
        save(paint(number), tmp_path / "data" / "raw" / ("rose" if number < 3 else "tulip") / f"{number}.jpg")
    return tmp_path / "data"


def test_an_intact_folder_stays_as_it_is(roses: Path) -> None:
    before = contents(roses)
    report = clean(roses, yes=True)
    assert (report.plan.decisions, report.moved, report.resumed, report.run) == ([], 0, 0, "")
    assert contents(roses) == before


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("half.jpg", encoded(paint(9))[:3000], "cut off"),
        ("most.png", encoded(paint(9), "PNG")[:-2000], "cut off"),
        ("empty.jpg", b"", "empty"),
        ("page.jpg", b"  <!DOCTYPE html><html>not found</html>", "web page"),
        ("text.jpg", b"Too many requests", "not a picture"),
        ("bomb.png", encoded(Image.new("1", (20_000, 20_000)), "PNG"), "pixels"),
    ],
)
def test_a_broken_file_leaves_with_a_reason_in_words(roses: Path, name: str, data: bytes, reason: str) -> None:
    (roses / "raw" / "rose" / name).write_bytes(data)
    decision = decisions(clean(roses, yes=True))[f"raw/rose/{name}"]
    assert decision.reason == "broken"
    assert reason in decision.detail
    assert (roses / "quarantine" / "broken" / "raw" / "rose" / name).read_bytes() == data
    assert not (roses / "raw" / "rose" / name).exists()


def test_the_best_of_the_copies_stays_and_why_is_said(roses: Path) -> None:
    rose = roses / "raw" / "rose"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    save(paint(0).resize((120, 96)), rose / "small.jpg")
    save(paint(0), rose / "squeezed.jpg", quality=40)
    save(paint(0).transpose(Image.Transpose.ROTATE_90), rose / "turned.jpg", exif=exif, quality=70)
    save(paint(0), rose / "web.webp", quality=60)
    save(paint(0).convert("L"), rose / "grey.jpg", quality=60)
    shutil.copy(rose / "0.jpg", rose / "0 (copy).jpg")
    report = clean(roses, yes=True)
    found = decisions(report)
    kept = Path(roses / "raw/rose/0.jpg").exists() + Path(roses / "raw/rose/0 (copy).jpg").exists()
    assert kept == 1, "of two files with the same bytes, one stays"
    copies = {"small.jpg", "squeezed.jpg", "turned.jpg", "web.webp", "grey.jpg"}
    assert {Path(path).name for path in found} - {"0.jpg", "0 (copy).jpg"} == copies
    for decision in found.values():
        assert decision.reason == "duplicate"
        assert decision.keeper in {"raw/rose/0.jpg", "raw/rose/0 (copy).jpg"}
        assert (roses / decision.keeper).exists()
        assert decision.keeper in decision.detail
        assert 0 <= decision.distance <= 8
    assert "it holds finer detail" in found["raw/rose/small.jpg"].detail
    assert "less compressed" in found["raw/rose/squeezed.jpg"].detail


def test_one_picture_under_two_labels_leaves_under_both(roses: Path) -> None:
    save(paint(0), roses / "raw" / "tulip" / "also.jpg", quality=60)
    report = clean(roses, yes=True)
    found = decisions(report)
    assert reasons(report) == {"raw/rose/0.jpg": "conflict", "raw/tulip/also.jpg": "conflict"}
    for path, other in (("raw/rose/0.jpg", "raw/tulip/also.jpg"), ("raw/tulip/also.jpg", "raw/rose/0.jpg")):
        assert "“rose” and “tulip”" in found[path].detail
        assert other in found[path].detail
        assert (roses / "quarantine" / "conflict" / path).exists()
    (conflict,) = report.plan.conflicts
    assert {(conflict.first, conflict.first_label), (conflict.second, conflict.second_label)} == {
        ("raw/rose/0.jpg", "rose"), ("raw/tulip/also.jpg", "tulip"),
    }  # fmt: skip


def test_copies_of_a_picture_under_two_labels_leave_with_it(roses: Path) -> None:
    save(paint(0), roses / "raw" / "rose" / "again.jpg", quality=70)
    shutil.copy(roses / "raw" / "rose" / "0.jpg", roses / "raw" / "tulip" / "also.jpg")
    assert reasons(clean(roses, yes=True)) == dict.fromkeys(
        ("raw/rose/0.jpg", "raw/rose/again.jpg", "raw/tulip/also.jpg"), "conflict"
    )


def test_flat_strangers_of_different_colours_are_not_copies(roses: Path) -> None:
    for name, colour in (("red", (200, 20, 20)), ("green", (20, 160, 20)), ("blue", (20, 20, 220))):
        save(Image.new("RGB", (90, 90), colour), roses / "raw" / "rose" / f"{name}.png")
    assert clean(roses, yes=True).plan.decisions == []


@pytest.fixture
def arrived(tmp_path: Path) -> Path:
    """A dataset that comes as train/, valid/ and test/, two classes each, all pictures different."""
    for number, to in enumerate(["train"] * 6 + ["valid"] * 2 + ["test"] * 2):
        save(paint(number), tmp_path / "data" / to / ("a" if number % 2 else "b") / f"{number}.jpg")
    return tmp_path / "data"


def test_a_dataset_that_came_split_keeps_its_split(arrived: Path) -> None:
    before = contents(arrived)
    assert clean(arrived, yes=True).plan.decisions == []
    assert contents(arrived) == before


@pytest.mark.parametrize("held_out", ["valid", "test"])
def test_what_leaks_is_reported_and_taken_from_train(arrived: Path, held_out: str) -> None:
    label, number = ("b", 6) if held_out == "valid" else ("b", 8)
    # Larger than the one it is a copy of: all the same it is the one in train that leaves.
    save(paint(number, (400, 320)), arrived / "train" / label / "leak.jpg", quality=95)
    report = clean(arrived, yes=True)
    (decision,) = report.plan.decisions
    assert (decision.path, decision.reason) == (f"train/{label}/leak.jpg", "leak")
    assert decision.keeper == f"{held_out}/{label}/{number}.jpg"
    assert f"it is in {held_out}" in decision.detail
    assert [(leak.first, leak.second) for leak in report.plan.leaks] == [(decision.path, decision.keeper)]
    assert clean(arrived, yes=True).plan.leaks == []


def test_a_leak_of_pictures_that_lie_below_raw_as_well_is_found(arrived: Path) -> None:
    """Somebody's own script copied raw/ into splits, and put near-duplicates on both sides."""
    save(paint(8), arrived / "train" / "b" / "leak.jpg", quality=60)
    for file in [*arrived.glob("t*/*/*.jpg"), *arrived.glob("valid/*/*.jpg")]:
        raw = arrived / "raw" / file.parent.name / file.name
        raw.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, raw)
    report = clean(arrived, yes=True)
    assert [(leak.first, leak.second) for leak in report.plan.leaks] == [("train/b/leak.jpg", "test/b/8.jpg")]
    assert reasons(report) == {"raw/b/leak.jpg": "leak", "train/b/leak.jpg": "leak"}


def test_a_raw_picture_placed_in_two_splits_stays_in_the_held_out_one(arrived: Path) -> None:
    for place in ("raw/b", "train/b"):
        (arrived / place).mkdir(parents=True, exist_ok=True)
        shutil.copy2(arrived / "test" / "b" / "8.jpg", arrived / place / "8.jpg")
    report = clean(arrived, yes=True)
    assert [(leak.first, leak.second) for leak in report.plan.leaks] == [("train/b/8.jpg", "test/b/8.jpg")]
    assert reasons(report) == {"train/b/8.jpg": "leak"}


def place_in_train(root: Path) -> None:
    for file in sorted(root.glob("raw/*/*")):
        target = root / "train" / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(file)


def test_placed_copies_are_no_duplicates(roses: Path) -> None:
    place_in_train(roses)
    before = contents(roses)
    report = clean(roses, yes=True)
    assert (report.plan.decisions, report.plan.leaks) == ([], [])
    assert contents(roses) == before


def test_a_placed_copy_leaves_with_its_picture_and_no_other(roses: Path) -> None:
    rose = roses / "raw" / "rose"
    save(paint(1), rose / "worse.jpg", quality=50)
    shutil.copy2(rose / "0.jpg", rose / "z.jpg")
    place_in_train(roses)
    report = clean(roses, yes=True)
    assert set(reasons(report)) == {f"{top}/rose/{name}" for top in ("raw", "train") for name in ("worse.jpg", "z.jpg")}
    assert "placed copy of raw/rose/worse.jpg" in decisions(report)["train/rose/worse.jpg"].detail
    assert (roses / "train" / "rose" / "0.jpg").exists()


def test_empty_files_in_raw_and_train_are_broken_each_by_itself(roses: Path) -> None:
    place_in_train(roses)
    for path in ("raw/rose/empty.jpg", "train/rose/other.jpg"):
        (roses / path).touch()
    report = clean(roses, yes=True)
    assert reasons(report) == {"raw/rose/empty.jpg": "broken", "train/rose/other.jpg": "broken"}
    assert all("placed" not in decision.detail for decision in report.plan.decisions)


def test_a_flat_folder_shows_the_same_classes_to_torchvision_as_before(tmp_path: Path) -> None:
    flat = tmp_path / "my flowers 🌸"
    for number in range(4):
        save(paint(number), flat / "rosé" / f"{number}.jpg")
    save(paint(5), flat / "tulip" / "5.jpg")
    (flat / "tulip" / "broken.jpg").write_bytes(b"no picture")
    report = clean(flat, yes=True)
    assert report.moved == 1
    with os.scandir(flat) as entries:  # how torchvision.datasets.folder.find_classes lists
        assert sorted(entry.name for entry in entries) == ["rosé", "tulip"]
    home = tmp_path / "my flowers 🌸.florilegium"
    assert (home / "quarantine" / "broken" / "tulip" / "broken.jpg").exists()
    assert (home / "catalog.sqlite").exists()


def test_dry_run_moves_nothing_and_says_the_same(roses: Path) -> None:
    (roses / "raw" / "rose" / "broken.jpg").write_bytes(b"no picture")
    save(paint(1), roses / "raw" / "rose" / "copy.jpg", quality=50)
    before = contents(roses)
    dry = clean(roses, dry_run=True)
    assert contents(roses) == before
    assert (dry.moved, dry.run) == (0, "")
    wet = clean(roses, yes=True)
    assert wet.plan == dry.plan
    assert wet.moved == len(dry.plan.decisions) == 2


def test_a_second_run_changes_nothing(roses: Path) -> None:
    plant = roses / "raw" / "rose"
    (plant / "broken.jpg").write_bytes(b"no picture")
    for quality in (80, 70, 60, 50, 40, 30):
        save(paint(1), plant / f"q{quality}.jpg", quality=quality)
    shutil.copy(plant / "0.jpg", roses / "raw" / "tulip" / "0.jpg")
    clean(roses, yes=True)
    after = contents(roses)
    again = clean(roses, yes=True)
    assert (again.plan.decisions, again.moved, again.resumed) == ([], 0, 0)
    assert contents(roses) == after


def test_any_name_will_do(tmp_path: Path) -> None:
    names = ["with space", "ünï¢ødé", "花 🌷", "new\nline", "semi;colon'quote\"", "-dash", "a" * 240, "%s {x} [b]"]
    for number, name in enumerate(names):
        save(paint(number), tmp_path / "data" / "raw" / name[:80] / f"{name}.jpg")
        (tmp_path / "data" / "raw" / name[:80] / f"{name} b.jpg").write_bytes(b"")
    before = contents(tmp_path / "data")
    report = clean(tmp_path / "data", yes=True)
    assert report.moved == len(names)
    assert sorted(contents(tmp_path / "data").values()) == sorted(before.values())


def test_names_that_differ_in_case_or_unicode_form_only(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "raw" / "rose"
    names = ("A.jpg", "a.jpg", "\u00e9.jpg", "e\u0301.jpg")
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    if len(list(folder.iterdir())) < len(names):
        pytest.skip("this file system takes such names for one")
    save(paint(1), folder / "intact.jpg")
    clean(tmp_path / "data", yes=True)
    stored = tmp_path / "data" / "quarantine" / "broken" / "raw" / "rose"
    assert {file.name: file.read_bytes() for file in stored.iterdir()} == {name: name.encode() for name in names}


def test_a_link_that_leads_nowhere_is_broken_and_moves_as_a_link(roses: Path) -> None:
    link = roses / "raw" / "rose" / "link.jpg"
    link.symlink_to("nowhere.jpg")
    assert reasons(clean(roses, yes=True)) == {"raw/rose/link.jpg": "broken"}
    moved = roses / "quarantine" / "broken" / "raw" / "rose" / "link.jpg"
    assert moved.is_symlink()
    assert str(moved.readlink()) == "nowhere.jpg"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _: None, "There is no folder"),
        (lambda place: place.write_bytes(b"a file"), "is a file"),
        (lambda place: place.mkdir(), "holds no class folders"),
        (lambda place: save(paint(1), place / "loose.jpg"), "holds no class folders"),
    ],
    ids=["missing", "a file", "empty", "pictures and no class folders"],
)
def test_no_dataset_is_one_sentence(tmp_path: Path, make: Callable[[Path], object], says: str) -> None:
    make(tmp_path / "data")
    with pytest.raises(UserError, match=says) as caught:
        clean(tmp_path / "data", yes=True)
    assert str(tmp_path / "data") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_catalog_is_one_sentence_and_loses_nothing(roses: Path) -> None:
    (roses / "raw" / "rose" / "broken.jpg").write_bytes(b"no picture")
    clean(roses, yes=True)
    catalog = roses / "catalog.sqlite"
    data = bytearray(catalog.read_bytes())
    data[1024:] = bytes(len(data) - 1024)
    catalog.write_bytes(data)
    for stale in roses.glob("catalog.sqlite-*"):
        stale.unlink()
    before = contents(roses)
    with pytest.raises(UserError, match=r"catalog\.sqlite is damaged .*--rebuild-catalog"):
        clean(roses, yes=True)
    assert contents(roses) == before
    assert clean(roses, rebuild_catalog=True, yes=True).plan.decisions == []  # what the sentence says


def test_a_picture_that_changes_after_it_was_decided_upon_stays(roses: Path) -> None:
    broken = roses / "raw" / "rose" / "broken.jpg"
    broken.write_bytes(b"no picture")
    report = clean(roses, dry_run=True)
    with Catalog.open(roses / "catalog.sqlite") as catalog:
        save(paint(7), broken)
        mended = broken.read_bytes()
        moves = set_aside(open_dataset(roses), catalog, report.plan.decisions, "a run")
    assert moves == Moves([], ["raw/rose/broken.jpg"])
    assert broken.read_bytes() == mended
    assert clean(roses, yes=True).plan.decisions == []


def test_files_that_come_and_go_while_the_folder_is_read(roses: Path) -> None:
    """The progress bar is called between listing and reading: there the folder changes."""
    (roses / "raw" / "rose" / "broken.jpg").write_bytes(b"no picture")
    save(paint(0), roses / "raw" / "rose" / "copy.jpg", quality=60)
    steps = []

    @contextmanager
    def meddling(description: str, total: int) -> Iterator[Callable[[int], None]]:
        steps.append(description)
        (roses / "raw" / "tulip" / f"{3 + len(steps) % 3}.jpg").unlink(missing_ok=True)
        save(paint(40 + len(steps)), roses / "raw" / "tulip" / f"new {len(steps)}.jpg")
        if description.startswith("Moving"):
            (roses / "raw" / "rose" / "copy.jpg").unlink()
        yield lambda _: None

    report = clean(roses, progress=meddling, yes=True)
    assert len(steps) >= 3
    assert report.moved == 1, "the broken file; the copy was gone"
    assert clean(roses, yes=True).plan.decisions == []


def test_everything_planted_in_real_photographs_is_found_and_nothing_else(flowers: Path, tmp_path: Path) -> None:
    for label in ("1", "21", "45", "60", "73"):
        shutil.copytree(flowers / "train" / label, tmp_path / "data" / "train" / label).chmod(0o755)
    originals = contents(tmp_path / "data")
    faults = plant_faults(tmp_path / "data" / "train", seed=3)
    report = clean(tmp_path / "data", yes=True)
    found = {path.removeprefix("train/"): reason for path, reason in reasons(report).items()}
    explained = set()
    for fault in faults:
        pair = {fault.path} if fault.kind in BROKEN or fault.of is None else {fault.path, fault.of}
        wanted = Counter(broken=1) if fault.kind in BROKEN else Counter(duplicate=1)
        if fault.kind is FaultKind.TWO_LABELS:
            wanted = Counter(conflict=2)
        assert Counter(found[path] for path in pair if path in found) == wanted, fault
        explained |= pair
    assert found.keys() <= explained
    assert set(originals.values()) <= set(contents(tmp_path / "data").values())


def test_quality_flags_are_counted_and_leave_only_when_asked(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(4):
        save(paint(number), root / "raw" / "rose" / f"{number}.jpg")
    dark = paint(9).point([value // 16 for value in range(256)] * 3)
    save(dark, root / "raw" / "rose" / "night.jpg")
    report = clean(root, yes=True)
    assert report.plan.decisions == []
    assert report.flagged["dark"] == 1
    (decision,) = clean(root, remove=["dark"], yes=True).plan.decisions
    assert (decision.path, decision.reason) == ("raw/rose/night.jpg", "dark")
    assert (root / "quarantine/dark/raw/rose/night.jpg").exists()
    with pytest.raises(UserError, match="quality flag called 'ugly'"):
        clean(root, remove=["ugly"], yes=True)


def test_flagged_pictures_that_are_placed_leave_with_their_copies(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(12):
        save(paint(number), root / "raw" / ("rose" if number % 2 else "tulip") / f"{number}.jpg")
    save(paint(50).filter(ImageFilter.GaussianBlur(9)), root / "raw" / "rose" / "blurred.jpg")
    split(root)
    (placed,) = (path for to in ("train", "valid", "test") for path in (root / to).rglob("blurred.jpg"))
    report = clean(root, remove=["blurred"], yes=True)
    assert {decision.path for decision in report.plan.decisions} >= {
        "raw/rose/blurred.jpg", placed.relative_to(root).as_posix(),
    }  # fmt: skip
    assert not placed.exists()
    assert clean(root, remove=["blurred"], yes=True).plan.decisions == []


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_no_reader_outlives_a_killed_command(tmp_path: Path) -> None:
    """In the middle of a long picture, too: each of these takes seconds."""
    root = tmp_path / "data"
    long = save(Image.new("RGB", (9_000, 9_000), "teal"), tmp_path / "long.png", compress_level=1)
    for number in range(60):  # fewer are not worth a fork
        file = root / "raw" / ("a" if number % 2 else "b") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.hardlink_to(long)
    code = "import sys; from pathlib import Path; from curate.clean import clean; clean(Path(sys.argv[1]), yes=True)"
    with subprocess.Popen([sys.executable, "-c", code, str(root)], cwd=REPOSITORY) as process:
        deadline = time.monotonic() + 60
        while not (children := children_of(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert children
        process.kill()
    deadline = time.monotonic() + 10
    while any(is_running(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(child) for child in children)


def stat_of(process: int) -> list[str]:
    """Its state, its parent and more, as /proc has them; nothing for one that is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def children_of(process: int) -> list[int]:
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [child for child in found if stat_of(child)[1:2] == [str(process)]]


def is_running(process: int) -> bool:
    return stat_of(process)[:1] not in ([], ["Z"])
