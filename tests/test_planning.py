"""Facts → decisions, on rows and pairs written down here: nothing is decoded."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from curate.catalog import Catalog, Picture
from curate.cleaning import planning
from curate.cleaning.clean_cache import is_known_clean, remember_clean
from curate.cleaning.clean_options import CleanOptions
from curate.cleaning.placed_copies import part_placements
from curate.cleaning.planning import CleaningPlan, Leak, find_leaks, make_plan
from curate.dataset import Dataset
from curate.duplicates import NearDuplicates
from curate.errors import UserError
from curate.lookalikes.fingerprint import VARIANTS
from curate.quality import CHECKS
from curate.quarantine import Decision
from tests.test_conflicts import found, picture
from tests.test_split_together import credit


def planned(
    root: Path, monkeypatch: pytest.MonkeyPatch, pictures: Sequence[Picture], there: NearDuplicates, **options: object
) -> CleaningPlan:
    """The plan for these rows, given in order of path, where the search for near-duplicates finds just that."""
    assert [row.path for row in pictures] == sorted(row.path for row in pictures)
    monkeypatch.setattr(planning, "find_copies", lambda *_, **__: there)
    with Catalog.open(root / "catalog.sqlite") as catalog:
        catalog.put(pictures)
        return make_plan(Dataset(root, "raw", root), catalog, CleanOptions(**options))  # type: ignore[arg-type]


def reasons(plan: CleaningPlan) -> dict[str, tuple[str, str]]:
    return {decision.path: (decision.reason, decision.keeper) for decision in plan.decisions}


def larger(path: str, width: int, sha256: str = "", split: str = "") -> Picture:
    """A lossless picture of this width, so that the widest of several copies is the best."""
    row = picture(path, sha256, split=split)
    return Picture(**{name: getattr(row, name) for name in row.__slots__} | {"width": width, "format": "PNG"})


def test_a_copy_leaves_for_the_better_one_and_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [larger("raw/a/1.png", 20), larger("raw/a/2.png", 40), larger("raw/a/3.png", 30)]
    plan = planned(tmp_path, monkeypatch, rows, found([[0], [1], [2]], (0, 1, 3), (1, 2, 5)))
    assert reasons(plan) == {"raw/a/1.png": ("duplicate", "raw/a/2.png"), "raw/a/3.png": ("duplicate", "raw/a/2.png")}
    assert [decision.distance for decision in plan.decisions] == [3, 5]
    assert "the same picture as raw/a/2.png (pHash 3 of 64 bits apart); that one stays: it is larger" in (
        plan.decisions[0].detail
    )
    assert (plan.leaks, plan.conflicts) == ([], [])


def test_decisions_are_in_natural_order_of_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [picture(f"raw/a/{name}.jpg", broken="empty") for name in ("1", "10", "9")]
    plan = planned(tmp_path, monkeypatch, rows, found([]))
    assert [decision.path for decision in plan.decisions] == ["raw/a/1.jpg", "raw/a/9.jpg", "raw/a/10.jpg"]
    assert {(decision.reason, decision.detail, decision.distance) for decision in plan.decisions} == {
        ("broken", "empty", -1)
    }


def test_the_view_by_which_two_met_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [larger("raw/a/1.png", 20), larger("raw/a/2.png", 40)]
    border = next(at for at, view in enumerate(VARIANTS) if view.name == "border")
    plan = planned(tmp_path, monkeypatch, rows, found([[0], [1]], (0, 1, 3), view=(border,)))
    assert "(pHash 3 of 64 bits apart, one seen as “border”)" in plan.decisions[0].detail
    first = planned(tmp_path, monkeypatch, rows, found([[0], [1]], (0, 1, 3), view=(0,)))
    assert f"one seen as “{VARIANTS[0].name}”" in first.decisions[0].detail
    whole = planned(tmp_path, monkeypatch, rows, found([[0], [1]], (0, 1, 3), view=(-1,)))
    assert "(pHash 3 of 64 bits apart)" in whole.decisions[0].detail


def test_a_variant_is_named_for_its_own_pair_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [larger("raw/a/1.png", 20), larger("raw/a/2.png", 40), larger("raw/a/3.png", 30)]
    plan = planned(tmp_path, monkeypatch, rows, found([[0], [1], [2]], (0, 1, 3), (1, 2, 5), view=(0, -1)))
    assert ["one seen as" in decision.detail for decision in plan.decisions] == [True, False]


def test_copies_of_a_picture_in_doubt_leave_with_it_and_say_which_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third is like one under another label, which the first and the second, its better copies, are not."""
    rows = [larger("raw/a/1.png", 40), larger("raw/a/2.png", 30), larger("raw/a/3.png", 20), larger("raw/b/4.png", 10)]
    plan = planned(tmp_path, monkeypatch, rows, found([[0], [1], [2], [3]], (0, 1, 4), (0, 2, 5), (2, 3, 6)))
    assert reasons(plan) == {row.path: ("conflict", "") for row in rows}
    assert [decision.detail for decision in plan.decisions[:2]] == [
        "the same picture as raw/a/3.png (pHash 5 of 64 bits apart), whose label is in doubt",
        "the same picture as raw/a/1.png (pHash 4 of 64 bits apart), whose label is in doubt",
    ]


def test_equal_bytes_are_named_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [larger("raw/a/1.png", 20, "s"), larger("raw/a/2.png", 20, "s")]
    plan = planned(tmp_path, monkeypatch, rows, found([[0, 1]]))
    assert reasons(plan) == {"raw/a/2.png": ("duplicate", "raw/a/1.png")}
    assert plan.decisions[0].detail.startswith("the same bytes as raw/a/1.png; that one stays: ")
    assert plan.decisions[0].distance == 0


def test_one_picture_under_two_labels_leaves_under_both_or_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is a second copy under the first label: whose label is in doubt, its copies leave with it."""
    rows = [larger("raw/a/1.png", 40), larger("raw/a/2.png", 10), larger("raw/b/3.png", 20)]
    there = found([[0], [1], [2]], (0, 1, 4), (0, 2, 3))
    both = planned(tmp_path, monkeypatch, rows, there)
    assert reasons(both) == {row.path: ("conflict", "") for row in rows}
    details = {decision.path: decision.detail for decision in both.decisions}
    assert details["raw/a/1.png"].startswith("one picture under the labels “a” and “b”: the same picture as raw/b/3")
    assert details["raw/b/3.png"].startswith("one picture under the labels “a” and “b”: the same picture as raw/a/1")
    assert (
        details["raw/a/2.png"] == "the same picture as raw/a/1.png (pHash 4 of 64 bits apart), whose label is in doubt"
    )
    assert {decision.path: decision.distance for decision in both.decisions}["raw/a/2.png"] == 4
    best = planned(tmp_path, monkeypatch, rows, there, conflicts="keep-best")
    assert reasons(best) == {"raw/a/2.png": ("duplicate", "raw/a/1.png"), "raw/b/3.png": ("conflict", "raw/a/1.png")}
    assert best.decisions[1].detail.startswith("one picture under the labels “a” and “b”: the same picture as raw/a")
    reported = planned(tmp_path, monkeypatch, rows, there, conflicts="report")
    assert reasons(reported) == {"raw/a/2.png": ("duplicate", "raw/a/1.png")}
    assert {(it.first, it.second) for it in reported.conflicts} == {("raw/a/1.png", "raw/b/3.png")}


def test_an_unknown_word_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for option, what in (("keep", "policy"), ("conflicts", "way with conflicts")):
        with pytest.raises(UserError, match=f"There is no {what} called 'zz': choose among "):
            planned(tmp_path, monkeypatch, [], found([]), **{option: "zz"})
    with pytest.raises(UserError, match="There is no quality flag called 'zz': choose among "):
        planned(tmp_path, monkeypatch, [], found([]), remove=["zz"])


def test_a_flagged_picture_leaves_only_below_the_threshold_and_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = CHECKS[0]
    rows = []
    for name, score in (("at", check.threshold), ("below", check.threshold / 2)):
        row = picture(f"raw/a/{name}.jpg")
        scores = (score, *[1.0] * (len(CHECKS) - 1))
        rows.append(Picture(**{name: getattr(row, name) for name in row.__slots__} | {"scores": scores}))
    asked = planned(tmp_path, monkeypatch, rows, found([[0]]), remove=[check.flag])
    assert reasons(asked) == {"raw/a/below.jpg": (check.flag, "")}
    assert check.means in asked.decisions[0].detail
    assert reasons(planned(tmp_path, monkeypatch, rows, found([[0], [1]]))) == {}
    assert reasons(planned(tmp_path, monkeypatch, rows, found([[0], [1]]), remove=[CHECKS[1].flag])) == {}


def test_copies_in_two_splits_are_a_leak_and_leave_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [larger("test/a/1.png", 20, split="test"), larger("train/a/2.png", 40, split="train")]
    plan = planned(tmp_path, monkeypatch, rows, found([[0], [1]], (0, 1, 3)))
    assert reasons(plan) == {"train/a/2.png": ("leak", "test/a/1.png")}
    assert plan.leaks == [Leak("train/a/2.png", "test/a/1.png")]
    one = [larger("test/a/1.png", 20, split="test"), larger("test/a/2.png", 40, split="test")]
    (tmp_path / "other").mkdir()
    plan = planned(tmp_path / "other", monkeypatch, one, found([[0], [1]], (0, 1, 3)))
    assert reasons(plan) == {"test/a/1.png": ("duplicate", "test/a/2.png")}
    assert plan.leaks == []


def test_a_picture_without_a_split_leaks_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [larger("raw/a/1.png", 40), larger("train/a/2.png", 20, split="train")]
    plan = planned(tmp_path, monkeypatch, rows, found([[0], [1]], (0, 1, 3)))
    assert reasons(plan) == {"raw/a/1.png": ("duplicate", "train/a/2.png")}
    assert plan.leaks == []


def test_a_placed_copy_is_its_picture_once_more() -> None:
    rows = [
        picture("raw/a/1.jpg", "s"), picture("raw/a/10.jpg", "s"), picture("raw/b/1.jpg", "s"),
        picture("train/a/10.jpg", "s", split="train"),  # of the same name
        picture("test/a/3.jpg", "s", split="test"),  # of no such name: the first in natural order
        picture("train/c/1.jpg", "s", split="train"),  # under another label: a picture of its own
        picture("train/a/2.jpg", "t", split="train"),  # other bytes
    ]  # fmt: skip
    sources, placed = part_placements(rows)
    assert sources == [*rows[:3], *rows[5:]]
    assert placed == {"raw/a/10.jpg": [rows[3]], "raw/a/1.jpg": [rows[4]]}


def test_broken_files_are_nobodys_copies() -> None:
    """Empty files have the same bytes, and each is broken by itself."""
    rows = [picture("raw/a/1.jpg", "s", broken="empty"), picture("train/a/1.jpg", "s", split="train", broken="empty")]
    assert part_placements(rows) == (rows, {})
    rows[0] = picture("raw/a/1.jpg", "s")
    assert part_placements(rows) == (rows, {})


def test_leaks_are_found_among_placed_copies() -> None:
    pictures = [picture("raw/a/1.jpg", "s"), picture("raw/a/2.jpg", "t"), picture("raw/a/3.jpg", "u")]
    placed = [picture("test/a/1.jpg", "s", split="test"), picture("train/a/2.jpg", "t", split="train")]
    there = found([[0], [1], [2]], (0, 1, 4), (1, 2, 5))
    assert find_leaks(there, pictures, placed) == [Leak("train/a/2.jpg", "test/a/1.jpg")]
    assert find_leaks(there, pictures) == []
    same = [picture("valid/a/1.jpg", "s", split="valid"), picture("train/a/1.jpg", "s", split="train")]
    assert find_leaks(found([[0], [1], [2]]), pictures, same) == [Leak("train/a/1.jpg", "valid/a/1.jpg")]


def test_leaks_are_in_natural_order() -> None:
    pictures = [
        picture(f"{to}/a/{number}.jpg", split=to) for number in (10, 9) for to in ("train", "valid")
    ]  # fmt: skip
    leaks = find_leaks(found([[0], [1], [2], [3]], (0, 1, 4), (2, 3, 4)), pictures)
    assert leaks == [Leak("train/a/9.jpg", "valid/a/9.jpg"), Leak("train/a/10.jpg", "valid/a/10.jpg")]


def test_placed_copies_leave_with_their_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        larger("raw/a/1.png", 20, "s"), larger("raw/a/2.png", 40, "t"),
        larger("train/a/1.png", 20, "s", "train"), larger("train/a/2.png", 40, "t", "train"),
    ]  # fmt: skip
    plan = planned(tmp_path, monkeypatch, rows, found([[0], [1]], (0, 1, 3)))
    assert reasons(plan) == {
        "raw/a/1.png": ("duplicate", "raw/a/2.png"), "train/a/1.png": ("duplicate", "raw/a/2.png"),
    }  # fmt: skip
    assert plan.decisions[1].detail == f"placed copy of raw/a/1.png: {plan.decisions[0].detail}"


@pytest.mark.parametrize(
    ("places", "stays", "reason", "merit"),
    [
        (["train/a/1.png", "test/a/1.png"], "test/a/1.png", "leak", "it is in test"),
        (["valid/a/0.png", "valid/a/1.png"], "valid/a/1.png", "duplicate", "it bears the name of raw/a/1.png"),
        (["valid/a/1.png", "train/a/1.png"], "valid/a/1.png", "leak", "it is in valid"),
    ],
)
def test_of_several_placed_copies_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: list[str], stays: str, reason: str, merit: str
) -> None:
    """In the split furthest from training, under the picture's own name."""
    rows = [larger("raw/a/1.png", 20, "s"), *(larger(path, 20, "s", path.split("/")[0]) for path in sorted(places))]
    plan = planned(tmp_path, monkeypatch, rows, found([[0]]))
    (gone,) = set(places) - {stays}
    detail = f"the same bytes as {stays}; that one stays: {merit}"
    assert plan.decisions == [Decision(gone, "s", reason, detail, stays, 0, "exact")]


def test_a_folder_is_known_clean_until_anything_that_was_judged_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = picture("raw/a/1.jpg", "s")
    with Catalog.open(tmp_path / "catalog.sqlite") as catalog:
        assert not is_known_clean(catalog, "radius 8")
        catalog.put([row])
        remember_clean(catalog, "radius 8")
        assert is_known_clean(catalog, "radius 8")
        assert not is_known_clean(catalog, "radius 4")
        with monkeypatch.context() as patched:
            patched.setattr("curate.cleaning.clean_cache.plan_method", lambda: "another way to judge")
            assert not is_known_clean(catalog, "radius 8")
        remember_clean(catalog, "radius 4")  # which does not forget the other
        assert is_known_clean(catalog, "radius 8")
        for name, value in (("sha256", "t"), ("width", 11), ("height", 11), ("size", 2), ("broken", "cut off")):
            catalog.put([Picture(**{name: getattr(row, name) for name in row.__slots__} | {name: value})])
            assert not is_known_clean(catalog, "radius 8"), name
            catalog.put([row])
            assert is_known_clean(catalog, "radius 8")
        catalog.set_state(row.path, "missing")
        assert not is_known_clean(catalog, "radius 8")
        catalog.put([row])
        credit(catalog, "s", "an observation")  # who is credited may stay for it
        assert not is_known_clean(catalog, "radius 8")
        remember_clean(catalog, "radius 8")
        assert is_known_clean(catalog, "radius 8")
        assert not is_known_clean(catalog, "radius 4")
        with catalog.transaction() as db:
            db.execute(
                "INSERT INTO quarantine (run, path, stored, sha256, reason, detail, keeper, distance, state) "
                "VALUES ('', 'raw/a/1.jpg', 'duplicate/raw/a/1.jpg', 's', 'duplicate', '', '', -1, 'moving')"
            )
        assert not is_known_clean(catalog, "radius 8")  # an interrupted move is still to be done
