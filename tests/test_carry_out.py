"""Decisions are carried out exactly, with their placed copies and companions, and to the end after a kill."""

import shutil
import sys
from functools import partial
from pathlib import Path

import pytest

from curate.carry_out import CarriedOut, carry_out, intended
from curate.catalog import Catalog
from curate.catalog.decisions import CARRY_OUT
from curate.clean import clean
from curate.cleaning.plan import PlanLine, read_plan
from curate.dataset import open_dataset
from curate.decisions import ASIDE, KEEP, RELABEL, RESTORE, DecisionRecord, Overtaken
from curate.errors import UserError
from curate.files.lock import locked
from curate.restore import restore
from curate.split import split
from tests.pictures import contents, encoded, scene
from tests.reviewing import garden
from tests.test_decisions import BROKEN, COPY, DARK, SMALL, STRAY, say


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return garden(tmp_path / "data")


def lines_of(root: Path) -> list[PlanLine]:
    file = root / "plan.jsonl"
    return read_plan(file) if file.exists() else []


def token_of(root: Path) -> str:
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        return intended(dataset, catalog, lines_of(root)).token


def carried(root: Path) -> CarriedOut:
    """As the page does it: where something has changed since it was looked at, it is looked at again."""
    try:
        return carry_out(root, lines_of(root), token_of(root), "Ada")
    except Overtaken:
        return carry_out(root, lines_of(root), token_of(root), "Ada")


def answered(root: Path) -> Path:
    """Six decisions of all kinds; the quarantine holds one picture that is to come back."""
    clean(root, dry_run=True)
    say(root, BROKEN, ASIDE, "broken", "broken")
    carried(root)
    with Catalog.open(root / "catalog.sqlite") as catalog:
        (aside,) = (one for one in catalog.absent() if one.path == BROKEN)
    say_of_absent(root, aside.path, aside.sha256)
    say(root, COPY, ASIDE, "duplicate", "duplicate")
    say(root, DARK, ASIDE, "dark", "night")
    say(root, STRAY, RELABEL, "conflict", "rose")
    say(root, SMALL, KEEP, "duplicate")
    return root


def say_of_absent(root: Path, path: str, sha256: str) -> None:
    from curate.catalog.decisions import DecisionRow
    from curate.decisions import decide

    with Catalog.open(root / "catalog.sqlite") as catalog:
        row = DecisionRow(0, sha256, path, "tulip", "broken", RESTORE, "", 0)
        decide(catalog, DecisionRecord.read(catalog), "Ada", RESTORE, lambda: [row])


def test_carrying_out_does_what_was_decided_and_says_so(root: Path) -> None:
    answered(root)
    before = contents(root / "raw")
    done = carried(root)
    assert (done.moved, done.relabelled, done.restored, list(done.unmoved)) == (2, 1, 1, [])
    now = contents(root / "raw")
    assert set(before) - set(now) == {"rose/copy.jpg", "tulip/dark.jpg", "tulip/stray.jpg"}
    assert set(now) - set(before) == {"rose/stray.jpg", "tulip/broken.jpg"}
    with Catalog.open(root / "catalog.sqlite") as catalog:
        record = DecisionRecord.read(catalog)
    rows = [row for number, one in record.batches.items() if one.action == CARRY_OUT for row in record.rows[number]]
    assert {row.path for row in rows} == {BROKEN, COPY, DARK, STRAY}
    assert all(row.value.startswith("20") for row in rows if row.action != RESTORE), "the run that moved it"
    assert carried(root) == CarriedOut(0, 0, 0, [])


def test_placed_copies_and_companions_go_with_their_picture(root: Path) -> None:
    (root / "raw/tulip/dark.txt").write_text("a caption")
    split(root, ratio=(0.6, 0.2, 0.2))
    copies = [file for file in root.glob("[!r]*/tulip/dark.jpg") if "quarantine" not in file.parts]
    assert copies
    say(root, DARK, ASIDE, "dark", "night")
    assert carried(root).moved == 1
    assert not [file for file in root.glob("*/tulip/dark.*") if "quarantine" not in file.parts]
    restore(root)
    assert (root / "raw/tulip/dark.txt").read_text() == "a caption"
    assert all(copy.exists() for copy in copies)


def test_what_has_changed_or_whose_place_is_taken_stays(root: Path) -> None:
    """The others are carried out all the same."""
    say(root, COPY, ASIDE, "duplicate", "duplicate")
    say(root, DARK, ASIDE, "dark", "night")
    token = token_of(root)
    (root / DARK).write_bytes(encoded(scene(500)))
    with pytest.raises(Overtaken, match="changed"):
        carry_out(root, lines_of(root), token, "Ada")
    done = carried(root)
    assert done.moved == 1
    assert not (root / COPY).exists()
    assert (root / DARK).exists(), "the decision was about other bytes"


def test_a_copy_whose_keeper_leaves_too_is_said_beforehand(root: Path) -> None:
    clean(root, dry_run=True)
    say(root, COPY, ASIDE, "duplicate", "duplicate")
    say(root, "raw/rose/1.jpg", ASIDE, "*", "ugly")
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        found = intended(dataset, catalog, lines_of(root))
    assert any("so does the copy that was to stay" in warning for warning in found.warnings)
    assert any("rose" in warning for warning in found.warnings), "more than a tenth of the class"
    assert found.by_reason == {"duplicate": 1, "ugly": 1}
    assert carried(root).moved == 2


def test_another_command_at_work_is_waited_for_by_nobody(root: Path) -> None:
    say(root, DARK, ASIDE, "dark", "night")
    token = token_of(root)
    import threading

    refused: list[UserError] = []

    def work() -> None:
        try:
            carry_out(root, [], token, "Ada")
        except UserError as error:
            refused.append(error)

    with locked(root, "split"):  # of this thread: another one has to wait, as another process has
        other = threading.Thread(target=work)
        other.start()
        other.join()
    assert [type(error).__name__ for error in refused] == ["Busy"]
    assert (root / DARK).exists()


def test_what_another_command_carried_out_is_on_record_too(root: Path) -> None:
    say(root, COPY, ASIDE, "duplicate", "duplicate")
    clean(root, yes=True)
    assert not (root / COPY).exists()
    assert carried(root) == CarriedOut(0, 0, 0, [])
    with Catalog.open(root / "catalog.sqlite") as catalog:
        record = DecisionRecord.read(catalog)
    (batch,) = (number for number, one in record.batches.items() if one.action == CARRY_OUT)
    assert [row.path for row in record.rows[batch]] == [COPY]


if sys.platform != "win32":
    from testing.killing import kill_at_deed, list_deeds

    @pytest.mark.thorough
    def test_carrying_out_that_is_killed_is_carried_to_its_end(root: Path, tmp_path: Path) -> None:
        answered(root)
        before = tmp_path / "before"
        shutil.copytree(root, before)
        work = partial(carried_quietly, root)
        deeds = len(list_deeds(work))
        wanted = contents(root)
        for instant in sorted({round(step * (deeds - 1) / 11) for step in range(12)}):
            shutil.rmtree(root)
            shutil.copytree(before, root)
            kill_at_deed(work, instant)
            carried(root)
            assert contents(root) == wanted, instant
            assert carried(root) == CarriedOut(0, 0, 0, []), instant

    def carried_quietly(root: Path) -> None:
        carried(root)
