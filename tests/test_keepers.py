"""Which copy stays is a policy with a name, and each decision says why."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from curate.catalog import Catalog, Picture
from curate.clean import clean
from curate.cleaning.keepers import POLICIES, Evidence, worth
from curate.dataset import open_dataset
from curate.defaults import ConflictMode, PolicyName
from curate.errors import UserError
from curate.quarantine import Decision
from curate.scan import scan
from tests.pictures import paint, save


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """One picture four times: large and soft, small and sharp, old, and credited."""
    folder = tmp_path / "data" / "raw" / "rose"
    sharp = paint(1, (400, 320))
    save(paint(2), folder / "another.jpg")
    save(sharp.resize((100, 80)).resize((480, 384)), folder / "large.jpg", quality=95)
    save(sharp, folder / "sharp.jpg", quality=95)
    save(sharp.resize((360, 288)), folder / "old.jpg")
    save(sharp.resize((340, 272)), folder / "credited.jpg")
    for age, name in enumerate(("another", "large", "sharp", "credited", "old")):
        moment = 1_700_000_000 - 1000 * age
        os.utime(folder / f"{name}.jpg", (moment, moment))
    credit(tmp_path / "data", "raw/rose/credited.jpg")
    return tmp_path / "data"


def credit(root: Path, path: str, fetched_at: str = "2030-01-01T00:00:00+00:00") -> None:
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        scan(dataset, catalog)
        (sha256,) = catalog.db.execute("SELECT sha256 FROM pictures WHERE path = ?", (path,)).fetchone()
        catalog.db.execute(
            "INSERT INTO credits (sha256, url, source, source_id, landing_page, title, author, license, license_url, "
            "provenance_group, fetched_at) VALUES (?, 'https://e.org/1', 'e', '1', 'https://e.org', 't', 'A. Uthor', "
            "'by', 'https://l.org', '', ?)",
            (sha256, fetched_at),
        )


def judged(root: Path, keep: PolicyName) -> dict[str, Decision]:
    return {Path(it.path).stem: it for it in clean(root, dry_run=True, keep=keep).plan.decisions}


@pytest.mark.parametrize(
    ("policy", "keeper", "why"),
    [
        ("largest", "large", "it is larger (480 × 384 against 400 × 320)"),
        ("sharpest", "sharp", "it is sharper"),
        ("first-seen", "old", "it was there first (2023-11-14 21:06:40 against 2023-11-14 21:40:00)"),
        ("most-credited", "credited", "more is known of its source (5 of 5 facts against 0)"),
    ],
)
def test_each_policy_keeps_its_own_and_says_why(copies: Path, policy: PolicyName, keeper: str, why: str) -> None:
    found = judged(copies, policy)
    assert found.keys() == {"large", "sharp", "old", "credited"} - {keeper}
    assert {decision.keeper for decision in found.values()} == {f"raw/rose/{keeper}.jpg"}
    assert why in found["sharp" if keeper != "sharp" else "large"].detail
    assert all(0 <= decision.distance <= 8 for decision in found.values())


def test_every_policy_is_tested_and_described() -> None:
    assert set(POLICIES) == {"best", "largest", "sharpest", "first-seen", "most-credited"}
    assert all(policy.summary for policy in POLICIES.values())


Copy = tuple[tuple[int, int], str, int]


def two(root: Path, *copies: Copy) -> tuple[str, str]:
    """(name of the copy that stays, why) by the default policy, of copies given as (size, name, quality)."""
    for size, name, quality in copies:
        save(paint(1, (400, 320)).resize(size), root / "raw" / "rose" / name, quality=quality)
    (decision,) = clean(root, dry_run=True).plan.decisions
    return Path(decision.keeper).name, decision.detail.split("that one stays: ")[1]


FULL, TENTH_LESS, HALF = (400, 320), (380, 304), (200, 160)


@pytest.mark.parametrize(
    ("one", "other", "keeper", "why"),
    [
        ((HALF, "a.jpg", 98), (FULL, "b.jpg", 80), "b.jpg", "it holds finer detail"),
        ((FULL, "a.jpg", 50), (FULL, "b.jpg", 90), "b.jpg", "it is less compressed"),
        ((FULL, "a.jpg", 12), (FULL, "b.jpg", 90), "b.jpg", "it is less compressed"),
        ((FULL, "a.jpg", 95), (FULL, "b.png", 0), "b.png", "it is stored without loss"),
    ],
    ids=["resolution", "recompression", "much recompression", "lossless"],
)
def test_the_default_weighs(tmp_path: Path, one: Copy, other: Copy, keeper: str, why: str) -> None:
    stays, reason = two(tmp_path / "data", one, other)
    assert stays == keeper
    assert why in reason


def test_a_known_source_counts_where_nothing_tells_the_copies_apart(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "raw" / "rose"
    for name in ("a", "b"):
        save(paint(1, (400, 320)), folder / f"{name}.jpg", comment=name.encode())
    credit(tmp_path / "data", "raw/rose/b.jpg")
    (decision,) = clean(tmp_path / "data", dry_run=True).plan.decisions
    assert decision.keeper == "raw/rose/b.jpg"
    assert decision.detail.endswith("that one stays: its source is known")


@pytest.mark.parametrize("policy", POLICIES)
def test_bytes_behind_a_picture_count_for_nothing(tmp_path: Path, policy: PolicyName) -> None:
    """Of two copies the poorer has a video behind it: no policy takes that for detail."""
    folder = tmp_path / "data" / "raw" / "rose"
    save(paint(1, (400, 320)), folder / "z.jpg", quality=60)
    save(paint(1, (400, 320)), folder / "poor.jpg", quality=30)
    poor = folder / "poor.jpg"
    poor.write_bytes(poor.read_bytes() + bytes(range(256)) * 4000)
    for path in folder.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    dataset = open_dataset(tmp_path / "data")
    with Catalog.open(dataset.catalog_path) as catalog:
        scan(dataset, catalog)
        pictures = {Path(picture.path).name: picture for picture in catalog.pictures()}
        evidence = Evidence.gather(dataset.root, catalog, {}, frozenset())
    good = pictures["z.jpg"]
    assert evidence.encoded(pictures["poor.jpg"]) < evidence.encoded(good) == good.size < pictures["poor.jpg"].size
    if policy != "sharpest":
        assert min(pictures.values(), key=lambda it: POLICIES[policy].rank(it, evidence)) == good


def test_a_border_makes_no_picture_larger(tmp_path: Path) -> None:
    """A copy with a wide white border has the more pixels, and is not the better one."""
    folder = tmp_path / "data" / "raw" / "rose"
    save(paint(1, (400, 320)), folder / "z.jpg")
    save(ImageOps.expand(paint(1, (400, 320)), 50, "white"), folder / "bordered.jpg")
    save(paint(2), folder / "another.jpg")
    (decision,) = clean(tmp_path / "data", dry_run=True).plan.decisions
    assert (Path(decision.path).name, Path(decision.keeper).name) == ("bordered.jpg", "z.jpg")
    assert "this one has a bar or a border" in decision.detail
    assert "“border”" in decision.detail


def test_mirrored_copies_are_found_when_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "raw" / "rose"
    save(paint(1), folder / "a.jpg")
    save(paint(1, (160, 128)).transpose(Image.Transpose.FLIP_LEFT_RIGHT), folder / "b.jpg")
    assert clean(tmp_path / "data", dry_run=True).plan.decisions == []
    (decision,) = clean(tmp_path / "data", geometry=True, yes=True).plan.decisions
    assert (decision.path, decision.keeper) == ("raw/rose/b.jpg", "raw/rose/a.jpg")
    assert "“mirrored”" in decision.detail


def test_a_download_counts_from_when_it_was_fetched(copies: Path) -> None:
    credit(copies, "raw/rose/sharp.jpg", "2001-01-01T00:00:00+00:00")
    assert judged(copies, "first-seen")["old"].keeper == "raw/rose/sharp.jpg"


def test_no_policy_takes_a_picture_out_of_test(tmp_path: Path) -> None:
    save(paint(1, (400, 320)), tmp_path / "data" / "train" / "rose" / "large.jpg")
    save(paint(1), tmp_path / "data" / "test" / "rose" / "small.jpg", quality=50)
    for policy in POLICIES:
        (decision,) = clean(tmp_path / "data", dry_run=True, keep=policy).plan.decisions  # type: ignore[arg-type]
        assert (decision.path, decision.reason) == ("train/rose/large.jpg", "leak")


def test_an_unknown_policy_is_one_sentence(copies: Path) -> None:
    with pytest.raises(UserError, match=r"no policy called 'nicest': choose among best, largest, "):
        clean(copies, keep="nicest")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no way with conflicts called 'fight'"):
        clean(copies, conflicts="fight")  # type: ignore[arg-type]


@pytest.fixture
def disputed(tmp_path: Path) -> Path:
    """A rose thrice, of which the smallest copy lies among the tulips; and one picture that is nobody's copy."""
    root = tmp_path / "data"
    save(paint(1, (400, 320)), root / "raw" / "rose" / "large.jpg")
    save(paint(1, (300, 240)), root / "raw" / "rose" / "middle.jpg")
    save(paint(1), root / "raw" / "tulip" / "small.jpg")
    save(paint(2), root / "raw" / "tulip" / "tulip.jpg")
    return root


@pytest.mark.parametrize(
    ("mode", "leave"),
    [
        ("quarantine", {"large": "conflict", "middle": "conflict", "small": "conflict"}),
        ("keep-best", {"middle": "duplicate", "small": "conflict"}),
        ("report", {"middle": "duplicate"}),
    ],
)
def test_what_becomes_of_one_picture_under_two_labels(
    disputed: Path, mode: ConflictMode, leave: dict[str, str]
) -> None:
    report = clean(disputed, conflicts=mode, yes=True)
    assert {Path(it.path).stem: it.reason for it in report.plan.decisions} == leave
    assert {(conflict.first_label, conflict.second_label) for conflict in report.plan.conflicts} == {("rose", "tulip")}
    again = clean(disputed, conflicts=mode, yes=True)
    assert again.plan.decisions == []
    assert len(again.plan.conflicts) == (1 if mode == "report" else 0)


def test_with_keep_best_a_conflict_names_the_one_that_stays(disputed: Path) -> None:
    (decision,) = (
        it for it in clean(disputed, conflicts="keep-best", yes=True).plan.decisions if it.reason == "conflict"
    )
    assert decision.keeper == "raw/rose/large.jpg"
    assert "“rose” and “tulip”" in decision.detail
    assert "it holds finer detail" in decision.detail


@pytest.mark.parametrize("copy", ["rose (1)", "rose - Copy", "rose-2", "rose copy", "rose_1", "rose!", "rose 10"])
def test_of_equal_bytes_the_one_whose_name_was_not_added_to_stays(copy: str, tmp_path: Path) -> None:
    save(paint(1), original := tmp_path / "data" / "raw" / "rose" / "rose.jpg")
    shutil.copy2(original, original.with_name(f"{copy}.jpg"))
    (decision,) = clean(tmp_path / "data", dry_run=True).plan.decisions
    assert (decision.path, decision.keeper) == (f"raw/rose/{copy}.jpg", "raw/rose/rose.jpg")


def test_a_notice_served_for_every_picture_does_not_make_a_pair_of_each_two(tmp_path: Path) -> None:
    notice = save(paint(1, (64, 64)), tmp_path / "notice.jpg")
    for number in range(400):
        place = tmp_path / "data" / "raw" / f"{number % 8}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(notice, place / f"{number}.jpg")
    save(paint(2), tmp_path / "data" / "raw" / "0" / "flower.jpg")
    report = clean(tmp_path / "data", yes=True)
    assert report.moved == 400
    assert len(report.plan.conflicts) <= 400 * 3


# -- what a picture is worth


def lossy(name: str, pixels: int, bits: float = 0.5) -> Picture:
    """A JPEG of so many pixels in one row, with so many bits of file for each."""
    size = round(pixels * bits / 8)
    return Picture(name, "", "", "", size, 0, name, "JPEG", pixels, 1, 0, "", "present")


@pytest.mark.parametrize(("larger", "stays"), [(1.2, "credited"), (1.3, "larger")])
def test_a_known_source_is_worth_a_quarter_more_pixels(larger: float, stays: str) -> None:
    pictures = [lossy("larger", round(8000 * larger)), lossy("credited", 8000)]
    evidence = Evidence(Path(), credit={"credited": 1})
    assert max(pictures, key=lambda picture: worth(picture, evidence)).path == stays


@pytest.mark.parametrize(("larger", "stays"), [(1.05, "plain"), (1.15, "framed")])
def test_a_border_costs_a_tenth_beyond_its_own_pixels(larger: float, stays: str) -> None:
    """Of the framed picture four fifths are picture: so many as are larger than the plain one by that."""
    pictures = [lossy("plain", 8000), lossy("framed", round(8000 * larger / 0.8))]
    evidence = Evidence(Path(), bordered=frozenset({"framed", "plain"}), _inside={"framed": 0.8, "plain": 1.0})
    assert max(pictures, key=lambda picture: worth(picture, evidence)).path == stays


def test_bits_beyond_enough_are_worth_nothing_and_too_few_cost_in_proportion() -> None:
    evidence = Evidence(Path())
    enough, twice, half = (worth(lossy("a", 8000, bits), evidence) for bits in (0.5, 1.0, 0.25))
    assert enough == twice == 8000
    assert half == 4000


def test_a_file_that_no_longer_decodes_has_no_sharpness_and_no_border(tmp_path: Path) -> None:
    (tmp_path / "gone").write_bytes(b"no picture")
    evidence = Evidence(tmp_path, bordered=frozenset({"gone"}))
    assert (evidence.sharpness(lossy("gone", 100)), evidence.inside(lossy("gone", 100))) == (0.0, 1.0)


def test_the_reasons_are_named_in_order_of_their_weight() -> None:
    """A known source is worth a quarter, and this one is larger by a tenth, then by a half; and is squeezed less."""
    evidence = Evidence(Path(), credit={"kept": 1})
    for pixels, words in ((8800, ["its source is known", "it is larger"]), (12000, ["it is larger", "its source"])):
        why = POLICIES["best"].why(lossy("kept", pixels), lossy("copy", 8000), evidence)
        assert [part.startswith(word) for part, word in zip(why.split(" and "), words, strict=True)] == [True, True]
    why = POLICIES["best"].why(lossy("kept", 8000), lossy("copy", 8000, 0.25), evidence)
    assert why == "it is less compressed (0.50 against 0.25 bits a pixel) and its source is known"


def test_sharpness_is_the_spread_of_the_laplacian_at_one_scale(tmp_path: Path) -> None:
    """Of a chessboard of single pixels it is four times the contrast, of a slope next to none; size counts little."""
    across, down = np.meshgrid(np.arange(640), np.arange(512))
    evidence = Evidence(tmp_path)

    def sharpness(name: str, levels: NDArray[np.integer], times: int = 1) -> float:
        picture = Image.fromarray(levels.astype(np.uint8))
        save(picture.resize((640 * times, 512 * times), Image.Resampling.NEAREST), tmp_path / f"{name}.png")
        return evidence.sharpness(lossy(f"{name}.png", 100))

    assert sharpness("chessboard", (across + down) % 2 * 50 + 100) == pytest.approx(200)
    assert sharpness("slope", across // 16 * 4) < 4
    squares = (across // 32 + down // 32) % 2 * 50 + 100
    assert sharpness("twice", squares, 2) == pytest.approx(sharpness("once", squares), rel=0.2)
