"""A plan that empties a class, or takes more than a tenth of one, says so first and has to be confirmed."""

from functools import partial
from pathlib import Path

import pytest
from PIL import ImageDraw

import florilegium as fl
from curate.catalog import Catalog, Picture
from curate.clean import clean
from curate.cleaning.losses import ClassLoss, DrasticPlan, Tally, losses_of, tally
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.quarantine import Decision
from curate.split import split
from testing.killing import kill_at_deed, list_deeds
from tests.commanding import command
from tests.pictures import contents, encoded, save, scene


def plant(root: Path, counts: dict[str, int], copies: dict[str, int]) -> Path:
    """Classes of so many different pictures below raw/, and of the first of them so many copies, saved again."""
    seed = 0
    for label, count in counts.items():
        for number in range(count):
            save(scene(100 + seed), root / "raw" / label / f"{number:02}.jpg", quality=95)
            if number < copies.get(label, 0):
                save(scene(100 + seed), root / "raw" / label / f"copy {number:02}.jpg", quality=40)
            seed += 1
    return root


def twins(root: Path) -> Path:
    """Two classes copied from each other, whole."""
    for seed in range(6):
        save(scene(seed), root / "raw" / "rose" / f"{seed}.jpg")
        save(scene(seed), root / "raw" / "roses" / f"{seed}.jpg")
    return root


def losses(root: Path) -> list[tuple[str, int, int]]:
    return [(loss.label, loss.leaving, loss.pictures) for loss in clean(root, dry_run=True).plan.losses]


def test_a_tenth_may_leave_and_no_more(tmp_path: Path) -> None:
    root = plant(tmp_path / "data", {"rose": 18, "tulip": 17}, {"rose": 2, "tulip": 2})
    assert losses(root) == [("tulip", 2, 19)]
    (root / "raw" / "tulip" / "copy 01.jpg").unlink()
    assert losses(root) == []
    assert clean(root).moved == 3


def test_what_costs_too_much_moves_nothing_until_it_is_confirmed(tmp_path: Path) -> None:
    root = twins(tmp_path / "data")
    before = contents(root)
    with pytest.raises(DrasticPlan, match=r"empty rose \(6 of 6 pictures\), roses \(6 of 6 pictures\): .*--yes"):
        clean(root)
    assert contents(root) == before
    assert clean(root, dry_run=True).moved == 0
    assert clean(root, yes=True).moved == 12


def test_the_worst_comes_first_and_the_sentence_stays_short(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "data",
        {"a": 4, "b": 4, "c": 4, "d": 4, "e": 9},
        {"a": 1, "b": 3, "c": 2, "d": 1, "e": 1},
    )
    assert losses(root) == [("b", 3, 7), ("c", 2, 6), ("a", 1, 5), ("d", 1, 5)]
    with pytest.raises(UserError, match=r"a tenth of b \(3 of 7 pictures\), c \(2 of 6 pictures\), a .* and 1 more:"):
        clean(root)


def test_broken_files_cost_nothing_unless_they_are_all(tmp_path: Path) -> None:
    root = plant(tmp_path / "data", {"rose": 5, "tulip": 5}, {})
    for number in range(5):
        (root / "raw" / "rose" / f"broken {number}.jpg").write_bytes(encoded(scene(70 + number))[:2000])
    assert losses(root) == []
    for number in range(2):
        lost = root / "raw" / "pages" / f"{number}.jpg"
        lost.parent.mkdir(exist_ok=True)
        lost.write_text(f"<!DOCTYPE html><html>{number} not found</html>")
    assert clean(root, dry_run=True).plan.losses == [ClassLoss("pages", 0, 0, 2)]
    with pytest.raises(UserError, match=r"would empty pages \(none of its 2 files gives pixels\)"):
        clean(root)


def test_flags_count(tmp_path: Path) -> None:
    root = plant(tmp_path / "data", {"rose": 5}, {})
    night = scene(90).point(lambda level: level // 40)
    save(night, root / "raw" / "rose" / "night.png")
    assert clean(root, dry_run=True).plan.losses == []
    with pytest.raises(UserError, match=r"a tenth of rose \(1 of 6 pictures\)"):
        clean(root, remove=["dark"])


def test_placed_copies_are_not_counted_twice(tmp_path: Path) -> None:
    """Two of eighteen are over a tenth; two of the thirty-four files that lie in raw/ and the splits would not be."""
    root = plant(tmp_path / "data", {"rose": 16, "tulip": 4}, {})
    split(root)
    for number in range(2):
        save(scene(100 + number), root / "raw" / "rose" / f"copy {number}.jpg", quality=40)
    assert losses(root) == [("rose", 2, 18)]


def test_an_interrupted_run_was_confirmed_already(tmp_path: Path) -> None:
    root = twins(tmp_path / "data")
    deeds = list_deeds(partial(clean, twins(tmp_path / "counted"), yes=True))
    renames = [instant for instant, name in enumerate(deeds) if name == "rename_exclusively"]
    assert kill_at_deed(partial(clean, root, yes=True), renames[6])
    report = clean(root)  # and so needs no second word
    assert (report.resumed, report.moved) == (12, 0)
    assert not list((root / "raw").rglob("*.jpg"))


def test_a_plan_from_a_file_is_a_decision(tmp_path: Path) -> None:
    root = twins(tmp_path / "data")
    file = clean(root, dry_run=True).plan_file
    assert file is not None
    assert clean(root, plan=file).moved == 12


def test_the_terminal_says_it_first(tmp_path: Path) -> None:
    root = plant(tmp_path / "data", {"tulip": 8}, {"tulip": 1})
    twins(root)
    dry = command("clean", root, "--dry-run")
    first, second, third, fourth = dry.out.splitlines()[:4]
    assert first == "Empties rose: all of its 6 pictures leave."
    assert second == "Empties roses: all of its 6 pictures leave."
    assert third == "Takes 11% of tulip: 1 of its 9 pictures leave."
    assert (
        fourth == "rose and roses share 6 pictures: one class under two names? Then unite them with --merge rose=roses."
    )
    refused = command("clean", root)
    assert refused.sentence.startswith("Cleaning ")
    assert refused.out.splitlines()[:4] == [first, second, third, fourth]
    assert not (root / "quarantine").exists()
    done = command("clean", root, "--yes")
    assert done.code == 0
    assert "Moved to" in done.out


def test_classes_are_called_by_their_names(tmp_path: Path) -> None:
    root = twins(tmp_path / "data")
    (root / "cat_to_name.json").write_text('{"rose": "fire lily", "roses": "roses"}')
    assert "fire lily" in command("clean", root, "--dry-run").out.splitlines()[0]


def test_many_classes_are_a_few_lines(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "data", {f"c{number}": 2 for number in range(13)}, {f"c{number}": 1 for number in range(13)}
    )
    lines = command("clean", root, "--dry-run").out.splitlines()
    assert sum(line.startswith("Takes ") for line in lines) == 10
    assert "… and 3 more classes." in lines


def test_from_python(tmp_path: Path) -> None:
    root = twins(tmp_path / "data")
    plan = fl.open(root).clean(progress=None)
    assert "Empties rose: all of its 6 pictures leave." in plan._repr_html_()
    assert "share 6 pictures" in plan._repr_html_()
    with pytest.raises(fl.UserError, match="empty rose"):
        plan.carry_out(progress=None)
    mild = plan.without(pictures=[one.path for one in plan.plan.decisions if one.path != "raw/rose/0.jpg"])
    assert [str(loss) for loss in mild.plan.losses] == ["rose (1 of 6 pictures)"]
    with pytest.raises(fl.UserError, match=r"rose \(1 of 6 pictures\)"):
        mild.carry_out(progress=None)
    assert plan.carry_out(yes=True, progress=None).moved == 12


def test_near_pairs_are_counted_and_remembered(tmp_path: Path) -> None:
    """Two forms filled in otherwise are near: they stay, and the report says so, also when nothing has changed."""
    root = plant(tmp_path / "data", {"rose": 12}, {})
    for number in range(2):
        form = scene(300, 640, 480)
        ImageDraw.Draw(form).rectangle((200 + 20 * number, 200, 220 + 20 * number, 220), fill=(250, 250, 250))
        save(form, root / "raw" / "rose" / f"form {number}.png")
    first, second = (clean(root, dry_run=True) for _ in range(2))
    assert first.plan.decisions == second.plan.decisions == []
    assert first.plan.near == second.plan.near == 1
    assert "1 pair of pictures is near, and stays" in command("clean", root, "--dry-run").out
    with Catalog.open(open_dataset(root).catalog_path) as catalog:
        assert len(catalog.pictures()) == 14


# -- what is counted


def one(path: str, broken: str = "") -> Picture:
    folder, _, _ = path.rpartition("/")
    label = folder.rpartition("/")[2]
    return Picture(path, folder, label, "", 1, 0, path, "JPEG", 9, 9, 0, broken, "present")


def goes(path: str, move_to: str = "") -> Decision:
    return Decision(path, path, "duplicate", "it is double", move_to=move_to)


def test_a_class_without_one_picture_that_gives_pixels_is_the_worst_of_all() -> None:
    classes = Tally({"half": 4}, {"half/0": ("half", False), "half/1": ("half", False), "gone/0": ("gone", True)})
    found = losses_of([goes(path) for path in classes.leaving], classes)
    assert [(loss.label, loss.leaving, loss.broken) for loss in found] == [("gone", 0, 1), ("half", 2, 0)]


@pytest.mark.parametrize(("count", "ends"), [(3, "c2 (1 of 1 pictures):"), (4, "and 1 more:")])
def test_three_classes_are_named_and_further_ones_counted(tmp_path: Path, count: int, ends: str) -> None:
    root = tmp_path / "data"
    for label in range(count):
        save(scene(label), root / "raw" / f"c{label}" / "0.jpg")
        save(scene(label), root / "raw" / "whole" / f"{label}.jpg")
        for more in range(10):
            save(scene(100 + 10 * label + more), root / "raw" / "whole" / f"{label} {more}.jpg")
    with pytest.raises(DrasticPlan) as caught:
        clean(root)
    emptied = str(caught.value).split(" and take ")[0]
    assert ends in f"{emptied.split(': look')[0]}:"


def test_what_leaves_of_a_class_that_becomes_another_is_lost_to_the_other() -> None:
    """All that stays of "old" moves to "new"; where a class goes two ways, what leaves of it is its own loss."""
    pictures = [one(f"raw/{path}") for path in ("old/0", "old/1", "new/0", "torn/0", "torn/1", "torn/2")]
    decisions = [
        goes("raw/old/0", "raw/new/a"), goes("raw/old/1"), goes("raw/torn/0", "raw/new/b"),
        goes("raw/torn/1", "raw/old/c"), goes("raw/torn/2"),
    ]  # fmt: skip
    counted = tally(decisions, pictures)
    assert counted.pictures == {"new": 4, "old": 1, "torn": 1}
    assert counted.leaving == {"raw/old/1": ("new", False), "raw/torn/2": ("torn", False)}
