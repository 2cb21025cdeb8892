"""`clean --merge c1=42`: two classes become one, at the cost of no picture, and may be parted again."""

import json
from functools import partial
from pathlib import Path

import pytest
from PIL import ImageChops

import florilegium as fl
from curate.catalog import Catalog
from curate.catalog.placements import placed_in
from curate.clean import clean
from curate.cleaning.plan import read_plan
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.restore import restore
from curate.show import sheet_of_plan
from curate.split import split
from testing.killing import kill_at_deed, list_deeds
from tests.commanding import command
from tests.pictures import contents, save, scene


def united(folder: Path) -> Path:
    """Two datasets in one: c1 shares six pictures with 42, has three of its own, and one of a name that 42 has too."""
    for seed in (*range(10), 15):
        save(scene(seed), folder / "42" / f"{seed}.jpg", quality=95)
    for seed in range(6):
        save(scene(seed), folder / "c1" / f"shared {seed}.jpg", quality=50)
    for seed in range(20, 23):
        save(scene(seed), folder / "c1" / f"own {seed}.jpg")
    save(scene(30), folder / "c1" / "7.jpg")
    for seed in range(40, 44):
        save(scene(seed), folder / "tulip" / f"{seed}.jpg")
    return folder


@pytest.fixture(params=["flat", "raw"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    united(tmp_path / "data" if request.param == "flat" else tmp_path / "data" / "raw")
    return tmp_path / "data"


def top(root: Path) -> Path:
    return root / "raw" if (root / "raw").exists() else root


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.rglob("*.jpg")}


def test_no_picture_is_lost_and_names_that_collide_get_their_own(root: Path) -> None:
    before = {(top(root) / "c1" / name).read_bytes() for name in names(top(root) / "c1")}
    report = clean(root, merge=["c1=42"], yes=True)
    assert report.plan.conflicts == []
    assert (report.moved, report.merged, report.unmoved) == (6, 4, [])
    wanted = {
        *(f"{seed}.jpg" for seed in (*range(10), 15)),
        *(f"own {seed}.jpg" for seed in range(20, 23)),
        "7 (2).jpg",
    }
    assert names(top(root) / "42") == wanted
    assert not (top(root) / "c1").exists()  # a class without a picture is none
    left = {file.read_bytes() for folder in (root, report.dataset.quarantine) for file in folder.rglob("*.jpg")}
    assert before <= left
    assert clean(root).plan.decisions == []
    assert clean(root, merge=["c1=42"]).plan.decisions == []  # the same command again


def test_without_it_they_are_conflicts_and_the_way_out_is_named(root: Path) -> None:
    report = clean(root, dry_run=True)
    (pair,) = report.plan.pairs
    assert (pair.first, pair.second, pair.shared, pair.merge) == ("42", "c1", 6, "c1=42")
    assert "42 and c1 share 6 pictures: one class under two names?" in command("clean", root, "--dry-run").out


def test_restore_parts_them_again(root: Path) -> None:
    before = contents(top(root))
    run = clean(root, merge=["c1=42"], yes=True).run
    report = restore(root, run="last")
    assert run
    assert report is not None
    assert len(report.restored) == 10
    assert report.occupied == []
    assert contents(top(root)) == before
    assert {one.reason for one in clean(root, dry_run=True).plan.decisions} == {"conflict"}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("chosen", "back"),
    [({"reasons": ["merge"]}, 4), ({"reasons": ["duplicate"]}, 6), ({"labels": ["c1"]}, 10), ({"labels": ["42"]}, 0)],
)
def test_restore_takes_back_what_is_asked_for(root: Path, chosen: dict[str, list[str]], back: int) -> None:
    clean(root, merge=["c1=42"], yes=True)
    report = restore(root, **chosen)  # type: ignore[arg-type]
    assert report is not None
    assert len(report.restored) == back
    assert len(names(top(root) / "c1")) == back


def test_one_picture_comes_back_by_its_old_path(root: Path) -> None:
    clean(root, merge=["c1=42"], yes=True)
    old = (top(root) / "c1" / "7.jpg").relative_to(root).as_posix()
    report = restore(root, pictures=[old])
    assert report is not None
    assert report.restored == [old]
    assert not (top(root) / "42" / "7 (2).jpg").exists()


def test_what_has_taken_the_old_place_stays_there(root: Path) -> None:
    clean(root, merge=["c1=42"], yes=True)
    save(scene(99), top(root) / "c1" / "7.jpg")
    report = restore(root, reasons=["merge"])
    assert report is not None
    assert len(report.occupied) == 1
    assert (top(root) / "42" / "7 (2).jpg").exists()


def test_a_dry_run_moves_nothing_and_its_plan_can_be_carried_out(root: Path) -> None:
    before = contents(top(root))
    file = clean(root, merge=["c1=42"], dry_run=True).plan_file
    assert file is not None
    assert contents(top(root)) == before
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["reason"] for line in lines} == {"duplicate", "merge"}
    moves = {Path(line["path"]).name: Path(line["move_to"]).name for line in lines if line["reason"] == "merge"}
    assert moves["7.jpg"] == "7 (2).jpg"
    assert all("move_to" not in line for line in lines if line["reason"] == "duplicate")
    report = clean(root, plan=file)
    assert (report.moved, report.merged) == (6, 4)
    again = clean(root, plan=file)
    assert (again.moved, again.merged, again.plan.decisions) == (0, 0, [])


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("move_to", "words"),
    [
        ("raw/42/0.jpg", "another file lies at"),
        ("raw/nowhere/a.jpg", "no place in another class"),
        ("train/42/a.jpg", "no place in another class"),
        ("raw/42", "no place in another class"),
        ("raw/42/new.png", "does not end as"),
        ("raw/42/new", "does not end as"),
        ("../42/a.jpg", "no path inside"),
    ],
)
def test_a_line_that_moves_a_picture_is_checked(tmp_path: Path, move_to: str, words: str) -> None:
    united(tmp_path / "data" / "raw")
    root = tmp_path / "data"
    before = contents(root / "raw")
    file = clean(root, merge=["c1=42"], dry_run=True).plan_file
    assert file is not None
    line = next(line for line in map(json.loads, file.read_text().splitlines()) if line["reason"] == "merge")
    (tmp_path / "plan.jsonl").write_text(json.dumps(line | {"move_to": move_to}) + "\n")
    with pytest.raises(UserError, match=words):
        clean(root, plan=tmp_path / "plan.jsonl")
    assert contents(root / "raw") == before


def test_placed_copies_go_with_their_picture_and_the_split_does_not_move(tmp_path: Path) -> None:
    united(tmp_path / "data" / "raw")
    root = tmp_path / "data"
    split(root)
    held = {file.name: file.parts[-3] for file in root.glob("*/c1/own *.jpg") if file.parts[-3] != "raw"}
    clean(root, merge=["c1=42"], yes=True)
    assert not list(root.glob("*/c1"))
    assert {file.name: file.parts[-3] for file in root.glob("*/42/own *.jpg") if file.parts[-3] != "raw"} == held
    with Catalog.open(open_dataset(root).catalog_path) as catalog:
        moved = {path for path in placed_in(catalog, ".") if "/own " in path}
    assert {root / path for path in moved} == {file for file in root.glob("*/42/own *") if file.parts[-3] != "raw"}
    split(root)
    assert {file.name: file.parts[-3] for file in root.glob("*/42/own *.jpg") if file.parts[-3] != "raw"} == held


def test_companions_go_with_their_picture_and_come_back(tmp_path: Path) -> None:
    root = united(tmp_path / "data")
    (root / "c1" / "7.txt").write_text("mine")
    (root / "42" / "7.txt").write_text("theirs")
    (root / "c1" / "shared 1.txt").write_text("of a copy")
    before = {path: path.read_text() for path in root.rglob("*.txt")}
    report = clean(root, merge=["c1=42"], yes=True)
    assert (report.merged, report.companions) == (4, 2)
    assert (root / "42" / "7 (2).txt").read_text() == "mine"
    assert (root / "42" / "7.txt").read_text() == "theirs"
    assert not (root / "c1").exists()
    back = restore(root, pictures=["c1/7.jpg"])
    assert back is not None
    assert (back.restored, back.companions) == (["c1/7.jpg"], ["c1/7.txt"])
    restore(root)
    assert {path: path.read_text() for path in root.rglob("*.txt")} == before


def merge(root: Path) -> None:
    clean(root, merge=["c1=42"], yes=True)


@pytest.mark.parametrize("there", ["42/7.txt", "42/7.jpg.xmp"])
def test_no_picture_comes_to_another_s_companion_or_leaves_its_own(there: str, tmp_path: Path) -> None:
    """The place of the picture is free and that of its caption is not, or a caption waits there for no picture."""
    root = united(tmp_path / "data")
    (root / "42" / "7.jpg").unlink()
    (root / there).write_text("a stranger's")
    (root / "c1" / "7.txt").write_text("its own")
    clean(root, merge=["c1=42"], yes=True)
    assert (root / there).read_text() == "a stranger's"
    assert not (root / "42" / "7.jpg").exists()
    assert (root / "42" / "7 (2).jpg").is_file()
    assert (root / "42" / "7 (2).txt").read_text() == "its own"
    assert not (root / "c1").exists()


def test_two_classes_with_one_caption_s_name_keep_both(tmp_path: Path) -> None:
    root = united(tmp_path / "data")
    for at, (label, name) in enumerate((("c1", "p.jpg"), ("tulip", "p.png"))):
        save(scene(60 + at), root / label / name)
        (root / label / "p.txt").write_text(label)
    clean(root, merge=["c1=42", "tulip=42"], yes=True)
    assert (root / "42" / "p.txt").read_text() == "c1"
    assert (root / "42" / "p (2).txt").read_text() == "tulip"
    assert (root / "42" / "p (2).png").is_file()


@pytest.mark.thorough
def test_killed_at_a_move_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    start, whole = united(tmp_path / "start"), united(tmp_path / "whole")
    clean(start, dry_run=True, merge=["c1=42"])
    merge(whole)
    deeds = list_deeds(partial(merge, united(tmp_path / "counted")))
    moves = [instant for instant, name in enumerate(deeds) if name == "rename_exclusively"]
    assert len(moves) >= 10
    for number, instant in enumerate([moves[0], *moves[2:-1:4], moves[-1]]):
        root = united(tmp_path / f"killed {number}")
        assert kill_at_deed(partial(merge, root), instant)
        everything = set(contents(root).values()) | set(contents(tmp_path / f"killed {number}.florilegium").values())
        assert everything >= set(contents(start).values()), instant
        clean(root)  # the plain command goes on where the merge was killed
        assert contents(root) == contents(whole), instant
        restore(root)
        assert contents(root) == contents(start), instant


@pytest.mark.thorough
def test_what_an_interrupted_merge_has_yet_to_move_is_called_off(tmp_path: Path) -> None:
    start = united(tmp_path / "start")
    deeds = list_deeds(partial(merge, united(tmp_path / "counted")))
    moves = [instant for instant, name in enumerate(deeds) if name == "rename_exclusively"]
    root = united(tmp_path / "data")
    assert kill_at_deed(partial(merge, root), moves[-2])
    restore(root)
    assert contents(root) == contents(start)
    assert clean(root, dry_run=True).plan.decisions != []
    assert not any(decision.move_to for decision in clean(root, dry_run=True).plan.decisions)


def test_a_picture_that_changed_meanwhile_stays(tmp_path: Path) -> None:
    root = united(tmp_path / "data")
    plan = clean(root, merge=["c1=42"], dry_run=True).plan
    save(scene(77), root / "c1" / "own 20.jpg")
    with pytest.raises(UserError, match="has changed since"):
        clean(root, plan=plan, yes=True)
    assert (root / "c1" / "own 21.jpg").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["c1"], "names no two classes"),
        (["c1="], "names no two classes"),
        (["c1=c1"], "names no two classes"),
        (["c1=42", "c1=tulip"], "cannot become both"),
        (["c1=42", "42=tulip"], "give c1=tulip"),
        (["c1=nowhere"], "There is no class nowhere"),
        (["nowhere=42"], "There is no class nowhere"),
    ],
)
def test_what_cannot_be_merged_is_said(tmp_path: Path, words: list[str], sentence: str) -> None:
    root = united(tmp_path / "data")
    with pytest.raises(UserError, match=sentence):
        clean(root, merge=words, yes=True)
    assert len(names(root / "c1")) == 10


def test_in_the_terminal_and_from_python(tmp_path: Path) -> None:
    root = united(tmp_path / "data")
    plan = fl.open(root).clean(merge={"c1": "42"}, progress=None)
    assert "6 of 25 pictures would leave" in repr(plan)
    assert "4 would move to another class" in repr(plan)
    assert plan._repr_html_()
    done = command("clean", root, "--merge", "c1=42", "--yes")
    assert done.code == 0
    assert "Moved to their new class: 4 pictures." in done.out
    assert command("restore", root, "--reason", "merge").code == 0
    assert len(names(root / "c1")) == 4


def test_the_plan_is_shown_before_it_is_carried_out_and_after(tmp_path: Path) -> None:
    root = united(tmp_path / "data")
    file = clean(root, merge=["c1=42"], dry_run=True).plan_file
    assert file is not None
    before = sheet_of_plan(open_dataset(root), read_plan(file))
    clean(root, plan=file)
    assert ImageChops.difference(sheet_of_plan(open_dataset(root), read_plan(file)), before).getbbox() is None


def test_a_strangers_record_moves_nothing_outside(tmp_path: Path) -> None:
    root = united(tmp_path / "data")
    merge(root)
    mine = save(scene(5), tmp_path / "mine.jpg")
    catalog_path = open_dataset(root).catalog_path
    with Catalog.open(catalog_path) as catalog, catalog.transaction() as db:
        db.execute("UPDATE class_moves SET path = '../mine too.jpg', state = 'moved'")
    with pytest.raises(UserError, match="is no path inside"):
        restore(root)
    with Catalog.open(catalog_path) as catalog, catalog.transaction() as db:
        db.execute("UPDATE class_moves SET path = 'c1/a.jpg', move_to = '../mine.jpg', state = 'moving'")
    with pytest.raises(UserError, match="is no path inside"):
        clean(root)
    assert mine.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "data.florilegium", "mine.jpg"]
