"""Decisions on pictures that changed, moved or went, and a carrying out that was killed: nothing is dropped unsaid."""

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from curate.carry_out import CarriedOut, Intended, carry_out, intended, note_carried_out
from curate.catalog import Catalog
from curate.catalog.decisions import CARRY_OUT, LAPSE
from curate.dataset import open_dataset
from curate.decisions import ASIDE, RELABEL, RESTORE, DecisionRecord, Overtaken, decide, undo
from curate.scan import scan
from curate.split import split
from tests.commanding import command
from tests.pictures import contents, encoded, scene
from tests.reviewing import garden
from tests.test_decisions import COPY, DARK, say

ROSE, OTHER = "raw/rose/0.jpg", "raw/rose/4.jpg"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return garden(tmp_path / "data")


def counted(root: Path) -> Intended:
    """What a page that opens now says that carrying out would do."""
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        scan(dataset, catalog)
        note_carried_out(dataset, catalog, "Ada")
        return intended(dataset, catalog, [])


def begun(root: Path) -> int:
    """How many pictures a run that was killed has yet to move, or to put down as moved."""
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        return intended(dataset, catalog, []).unfinished


def done(root: Path) -> CarriedOut:
    return carry_out(root, [], counted(root).token, "Ada")


def waiting(root: Path) -> list[str]:
    """The pictures of all decisions that are still to be carried out."""
    found = counted(root)
    return sorted([*(one.path for one in found.decisions), *(file.path for file in found.back)])


def changed(root: Path) -> None:
    (root / ROSE).write_bytes(encoded(scene(500)))


def removed(root: Path) -> None:
    (root / ROSE).unlink()


def copied_over(root: Path) -> None:
    """Two files have its content, so that nobody can tell which one was meant."""
    for name in ("one.jpg", "two.jpg"):
        shutil.copy(root / ROSE, root / "raw/rose" / name)
    (root / ROSE).unlink()


def moved_to_a_class(root: Path) -> None:
    """By hand, to another one than the decision says."""
    (root / "raw/lily").mkdir()
    (root / ROSE).rename(root / "raw/lily/0.jpg")


def left_for_another_reason(root: Path) -> None:
    plan = root.parent / "plan.jsonl"
    command("clean", root, "--dry-run", "--remove", "dark", "--save-plan", plan)
    line = next(line for line in plan.read_text().splitlines() if DARK in line)
    plan.write_text(f"{line}\n")
    assert command("clean", root, "--plan", plan).code == 0


LAPSED = [
    (changed, ROSE, ASIDE, "ugly", "raw/rose/0.jpg is not set aside (ugly): the file was changed since."),
    (removed, ROSE, ASIDE, "ugly", "raw/rose/0.jpg is not set aside (ugly): the file has gone since."),
    (removed, ROSE, RELABEL, "tulip", "raw/rose/0.jpg is not moved to the class tulip: the file has gone since."),
    (copied_over, ROSE, ASIDE, "ugly", "lies at raw/rose/one.jpg and 1 more, so decide there."),
    (moved_to_a_class, ROSE, RELABEL, "tulip", "lies at raw/lily/0.jpg, so decide there."),
    (moved_to_a_class, ROSE, ASIDE, "duplicate", "lies at raw/lily/0.jpg, so decide there."),
    (left_for_another_reason, DARK, ASIDE, "ugly", "it lies in the quarantine already (dark)."),
]


@pytest.mark.thorough
@pytest.mark.parametrize(("happens", "path", "action", "value", "said"), LAPSED)
def test_what_cannot_be_carried_out_is_said_and_dropped_once(
    root: Path, happens: object, path: str, action: str, value: str, said: str
) -> None:
    """In the count, in the answer and in the history, where it can be taken up again; the rest is carried out."""
    assert callable(happens)
    batch = say(root, path, action, "", value)
    say(root, OTHER, ASIDE, "", "ugly")
    happens(root)
    found = counted(root)
    assert any(warning.endswith(said) for warning in found.warnings), found.warnings
    assert found.paths(moving=False) == [OTHER]
    before = contents(root / "raw")
    out = carry_out(root, [], found.token, "Ada")
    assert (out.moved, out.relabelled, out.unmoved) == (1, 0, [])
    assert [str(lapse) for lapse in out.lapsed] == [warning for warning in found.warnings if warning.endswith(said)]
    assert set(before) - set(contents(root / "raw")) == {OTHER.removeprefix("raw/")}

    assert (waiting(root), counted(root).warnings) == ([], [])
    with Catalog.open(root / "catalog.sqlite") as catalog:
        record = DecisionRecord.read(catalog)
        assert record.batches[record.last].action == LAPSE
        with pytest.raises(Overtaken, match="is to be undone first"):
            undo(catalog, record, "Ada", batch)
        undo(catalog, record, "Ada", record.last)
    assert any(warning.endswith(said) for warning in counted(root).warnings)


def test_a_decision_goes_with_a_picture_whose_file_was_renamed(root: Path) -> None:
    """Out of the dataset wherever its one file lies, and to another class from the class in which it was seen."""
    say(root, ROSE, ASIDE, "", "ugly")
    say(root, OTHER, RELABEL, "", "tulip")
    (root / "raw/lily").mkdir()
    (root / ROSE).rename(root / "raw/lily/new.jpg")
    (root / OTHER).rename(root / "raw/rose/new.jpg")
    assert waiting(root) == ["raw/lily/new.jpg", "raw/rose/new.jpg"]
    out = done(root)
    assert (out.moved, out.relabelled, out.unmoved, out.lapsed) == (1, 1, [], [])
    assert (root / "quarantine/ugly/raw/lily/new.jpg").exists()
    assert (root / "raw/tulip/new.jpg").exists()
    assert (waiting(root), counted(root).warnings) == ([], [])


def test_what_was_moved_by_hand_to_the_class_that_was_said_is_done(root: Path) -> None:
    say(root, ROSE, RELABEL, "", "tulip")
    (root / ROSE).rename(root / "raw/tulip/new.jpg")
    found = counted(root)
    assert (found.decisions, found.lapses, found.warnings) == ([], [], [])
    with Catalog.open(root / "catalog.sqlite") as catalog:
        record = DecisionRecord.read(catalog)
        assert record.batches[record.last].action == CARRY_OUT


def test_no_last_copy_leaves_for_a_decision_on_another_file(root: Path) -> None:
    """The copy was to leave and is gone; the one that stays has the same bytes."""
    say(root, COPY, ASIDE, "duplicate", "duplicate")
    (root / COPY).unlink()
    assert done(root).moved == 0
    assert (root / "raw/rose/1.jpg").exists()


def test_what_a_person_brought_back_by_hand_is_no_longer_to_come(root: Path) -> None:
    say(root, DARK, ASIDE, "", "ugly")
    assert done(root).moved == 1
    with Catalog.open(root / "catalog.sqlite") as catalog:
        record = DecisionRecord.read(catalog)
        (row,) = (row for row in record.rows[1] if row.path == DARK)
        decide(catalog, record, "Ada", RESTORE, lambda: [row._replace(action=RESTORE, value="")])
    (root / "quarantine/ugly" / DARK).unlink()
    assert "is not brought back: it lies in the quarantine no longer." in counted(root).warnings[0]
    assert (done(root).restored, counted(root).warnings) == (0, [])


def test_what_was_done_is_put_on_record_once_by_whoever_comes_first(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that asks while files move sees what was moved, and so does the run that moved it."""
    say(root, DARK, ASIDE, "", "ugly")
    dataset = open_dataset(root)

    def after_another_window(*given: Any) -> int:
        monkeypatch.undo()
        with Catalog.open(dataset.catalog_path) as other:
            assert note_carried_out(dataset, other, "Grace") > 0
        return decide(*given)

    token = counted(root).token
    monkeypatch.setattr("curate.carry_out.decide", after_another_window)
    assert carry_out(root, [], token, "Ada").moved == 1
    with Catalog.open(dataset.catalog_path) as catalog:
        batches = DecisionRecord.read(catalog).batches.values()
    assert [batch.action for batch in batches] == [ASIDE, CARRY_OUT]


def placed(folder: Path) -> dict[str, str]:
    """Class and name → split, of what lies in the splits."""
    found = (file.relative_to(folder) for file in folder.glob("*/*/*") if file.is_file())
    return {file.relative_to(file.parts[0]).as_posix(): file.parts[0] for file in found if file.parts[0] != "raw"}


def relabelled_and_back(root: Path, out: Path | None) -> tuple[dict[str, str], str]:
    """Relabel a picture with a caption, place it, and take the relabelling back: what lay in the splits, and the words
    of `restore`.
    """
    (root / "raw/rose/0.txt").write_text("a rose")
    batch = say(root, ROSE, RELABEL, "", "tulip")
    assert done(root).relabelled == 1
    split(root, out=out)
    before = placed(out or root)
    said = command("restore", root)
    assert said.code == 0
    with Catalog.open(root / "catalog.sqlite") as catalog, pytest.raises(Overtaken, match="nothing is left to undo"):
        undo(catalog, DecisionRecord.read(catalog), "Ada", batch)
    return before, said.out


def test_what_split_placed_of_a_relabelled_picture_goes_back_with_it(root: Path) -> None:
    """To its old class, in the split that it is in: a split does not move, and no class has a picture too many."""
    before, _ = relabelled_and_back(root, None)
    part = before["tulip/0 (2).jpg"]
    moved = {"rose/0.jpg": part, "rose/0.txt": part}
    stays = {path: where for path, where in before.items() if path not in ("tulip/0 (2).jpg", "tulip/0 (2).txt")}
    assert placed(root) == stays | moved
    assert split(root).placement.removed == 0  # type: ignore[union-attr]
    assert placed(root) == stays | moved


def test_what_split_placed_in_another_folder_is_said_to_need_a_split(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "placed"
    _, said = relabelled_and_back(root, out)
    assert "placed by `split` still lie under the class that a picture has come back from" in " ".join(said.split())
    split(root, out=out)
    assert {path for path in placed(out) if path.startswith("tulip/0 (2)")} == set()


if sys.platform != "win32":
    from testing.killing import kill_at_deed, list_deeds

    @pytest.mark.thorough
    @pytest.mark.parametrize("knows", [True, False])
    def test_a_carrying_out_that_was_killed_is_finished_by_the_next(root: Path, tmp_path: Path, *, knows: bool) -> None:
        """Which answers with what it finished or, where the page has counted before the kill, says so and asks."""
        say(root, DARK, ASIDE, "", "ugly")
        say(root, OTHER, ASIDE, "", "ugly")
        say(root, ROSE, RELABEL, "", "tulip")
        split(root)
        stale = counted(root).token
        before = tmp_path / "before"
        root.rename(before)
        shutil.copytree(before, root)  # as for the kills: other files are read anew
        work = partial(carry_out, root, [], stale, "Ada")
        deeds = list_deeds(work)
        after = contents(root / "raw")
        moves = [at for at, deed in enumerate(deeds) if deed == "rename_exclusively"]
        for instant in (moves[len(moves) // 4], moves[-1]):
            shutil.rmtree(root)
            shutil.copytree(before, root)
            assert kill_at_deed(work, instant)
            unfinished = begun(root)
            assert 1 <= unfinished <= 3
            if knows:
                found = counted(root)
                assert found.unfinished == unfinished
                assert found.warnings[0].startswith(f"An earlier run was interrupted: {unfinished} picture")
                out = carry_out(root, [], found.token, "Ada")
                assert (out.moved + out.relabelled, out.relabelled, out.finished) == (unfinished, 1, unfinished)
                assert (out.unmoved, out.lapsed) == ([], [])
            else:
                said = rf"An interrupted carry-out was finished: {unfinished} pictures? moved\. .* look again"
                with pytest.raises(Overtaken, match=said):
                    carry_out(root, [], stale[::-1], "Ada")
            assert contents(root / "raw") == after, instant
            assert (waiting(root), counted(root).warnings) == ([], [])
