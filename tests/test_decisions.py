"""What a person decided is respected from then on: by each plan, after a kill, under another name, in a new catalog."""

import resource
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from curate.catalog import Catalog
from curate.catalog.beginning_anew import begin_anew
from curate.catalog.decisions import DecisionRow, decisions_since
from curate.clean import CleanReport, clean
from curate.cleaning.audit_scores import AuditedPicture, write_scores
from curate.cleaning.suspects import plan_suspects
from curate.dataset import open_dataset
from curate.decisions import ASIDE, KEEP, KEEPER, RELABEL, DecisionRecord, Overtaken, decide, undo
from curate.errors import UserError
from curate.restore import restore
from curate.split import split
from tests.commanding import command
from tests.pictures import contents, paint, save
from tests.reviewing import garden

COPY, SMALL = "raw/rose/copy.jpg", "raw/rose/small.jpg"
STRAY, THIRD = "raw/tulip/stray.jpg", "raw/rose/3.jpg"
BROKEN, DARK = "raw/tulip/broken.jpg", "raw/tulip/dark.jpg"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return garden(tmp_path / "data")


def say(root: Path, path: str, action: str, causes: str, value: str = "", who: str = "Ada") -> int:
    """Put a decision on record, as the page does; the number of its batch."""
    if not (root / "catalog.sqlite").exists():
        clean(root, dry_run=True)
    with Catalog.open(root / "catalog.sqlite") as catalog:
        (picture,) = (one for one in catalog.pictures() if one.path == path)
        row = DecisionRow(0, picture.sha256, path, picture.label, causes, action, value, 0)
        return decide(catalog, DecisionRecord.read(catalog), who, action, lambda: [row])


def proposed(root: Path, **options: object) -> dict[str, str]:
    """Path → reason of what a dry run proposes."""
    return {one.path: one.reason for one in planned(root, **options).plan.decisions}


def planned(root: Path, **options: object) -> CleanReport:
    return clean(root, dry_run=True, **options)  # type: ignore[arg-type]


EVERYTHING = {COPY: "duplicate", SMALL: "duplicate", STRAY: "conflict", THIRD: "conflict", BROKEN: "broken"}


def test_what_was_brought_back_does_not_leave_again(root: Path) -> None:
    """Whatever the reason; that is said each time, and `--again` proposes it all the same."""
    assert proposed(root) == EVERYTHING
    assert command("clean", root, "--yes").code == 0
    assert command("restore", root).code == 0
    before = contents(root / "raw")
    for _ in range(2):  # the second time from what is remembered
        done = command("clean", root, "--yes")
        assert (done.code, contents(root / "raw")) == (0, before)
        assert "5 pictures stay because a person decided so (--again proposes them again)." in done.out
    assert proposed(root, again=True) == EVERYTHING
    assert command("clean", root, "--yes", "--again").code == 0
    assert not (root / COPY).exists()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("path", "cause", "options"),
    [
        (COPY, "duplicate", {}),
        (SMALL, "duplicate", {}),
        (STRAY, "conflict", {}),
        (STRAY, "conflict", {"conflicts": "keep-best"}),
        (BROKEN, "broken", {}),
        (DARK, "dark", {"remove": ["dark"]}),
    ],
)
def test_a_kept_picture_is_not_proposed_for_that_cause_and_others_are(
    root: Path, path: str, cause: str, options: dict[str, object]
) -> None:
    before = proposed(root, **options)
    assert before[path] == cause
    batch = say(root, path, KEEP, cause)
    assert proposed(root, **options) == {one: reason for one, reason in before.items() if one != path}
    assert planned(root, **options).plan.held_back == 1
    moved = root / path.replace(".jpg", " renamed.jpg")
    (root / path).rename(moved)
    assert moved.relative_to(root).as_posix() not in proposed(root, **options), "the bytes are what was looked at"
    moved.rename(root / path)
    with Catalog.open(root / "catalog.sqlite") as catalog:
        undo(catalog, DecisionRecord.read(catalog), "Ada", batch)
    assert proposed(root, **options) == before


def test_a_picture_kept_for_one_cause_leaves_for_another(root: Path) -> None:
    say(root, DARK, KEEP, "duplicate")
    assert proposed(root, remove=["dark"])[DARK] == "dark"
    say(root, DARK, KEEP, "*")
    assert DARK not in proposed(root, remove=["dark"])


def test_of_several_files_of_the_same_bytes_the_one_that_was_looked_at_is_kept(root: Path) -> None:
    shutil.copy2(root / COPY, root / "raw/rose/third.jpg")
    assert {COPY, "raw/rose/third.jpg"} <= proposed(root).keys()
    say(root, COPY, KEEP, "duplicate")
    found = proposed(root)
    assert COPY not in found
    assert "raw/rose/third.jpg" in found


def test_a_kept_picture_and_its_placed_copy_are_one(root: Path) -> None:
    split(root, ratio=(0.6, 0.2, 0.2))
    placed = next(file for file in root.glob("t*/rose/copy.jpg")).relative_to(root).as_posix()
    assert {COPY, placed} <= proposed(root).keys()
    say(root, placed, KEEP, proposed(root)[placed])
    assert not {COPY, placed} & proposed(root).keys()


def test_the_copy_that_a_person_chose_stays_in_every_later_plan(root: Path) -> None:
    """By whatever policy; and the other leaves in its place, also for one that is found later."""
    batch = say(root, SMALL, KEEPER, "duplicate")
    for policy in ("best", "largest", "sharpest", "first-seen"):
        found = {one.path: one for one in planned(root, keep=policy).plan.decisions}
        assert SMALL not in found
        assert (found["raw/rose/2.jpg"].reason, found["raw/rose/2.jpg"].keeper) == ("duplicate", SMALL)
        assert "a person chose it" in found["raw/rose/2.jpg"].detail
    save(paint(1), root / "raw/rose/other.jpg")
    shutil.copy2(root / "raw/rose/2.jpg", root / "raw/rose/later.jpg")
    found = {one.path: one for one in planned(root).plan.decisions}
    assert found["raw/rose/later.jpg"].keeper == SMALL
    assert clean(root, yes=True).moved
    assert (root / SMALL).exists()
    assert not (root / "raw/rose/2.jpg").exists()
    assert SMALL not in proposed(root)
    with Catalog.open(root / "catalog.sqlite") as catalog:
        undo(catalog, DecisionRecord.read(catalog), "Ada", batch)
    restore(root)
    assert proposed(root) == {SMALL: "duplicate"}, "nobody's word any more"


def test_of_one_picture_under_two_labels_the_chosen_one_stays(root: Path) -> None:
    say(root, STRAY, KEEPER, "conflict")
    found = {one.path: one for one in planned(root).plan.decisions}
    assert STRAY not in found
    assert (found[THIRD].reason, found[THIRD].keeper) == ("conflict", STRAY)


def test_a_plans_file_takes_nothing_that_was_kept_after_it_was_written(root: Path) -> None:
    """A line that was written since is a person's own word."""
    assert command("clean", root, "--dry-run").code == 0
    say(root, COPY, KEEP, "duplicate")
    done = command("clean", root, "--plan", root / "plan.jsonl")
    assert done.code == 0
    assert "1 picture stays because a person decided so" in done.out
    assert (root / COPY).exists()
    assert not (root / SMALL).exists()
    restore(root)
    plan = root.parent / "mine.jsonl"
    command("clean", root, "--again", "--dry-run", "--save-plan", plan)
    assert command("clean", root, "--plan", plan).code == 0
    assert not (root / COPY).exists()


def audited(root: Path, *wanted: tuple[str, float, float, str]) -> list[AuditedPicture]:
    """An audit on record that says of pictures (path, irrelevant, mislabelled, proposed)."""
    dataset = open_dataset(root)
    clean(root, dry_run=True)
    with Catalog.open(dataset.catalog_path) as catalog:
        known = {picture.path: picture for picture in catalog.pictures()}
        lines = [
            AuditedPicture(path, known[path].label, stray, wrong, into, 0, 0, 0, (), known[path].sha256)
            for path, stray, wrong, into in wanted
        ]
        write_scores(dataset.home / "audit.jsonl", lines, catalog)
    return lines


def suspects(root: Path, lines: Sequence[AuditedPicture]) -> dict[str, str]:
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        return {one.path: one.reason for one in plan_suspects(dataset, catalog, lines, 0.8, of_proposed={})}


def test_audit_proposes_no_picture_that_a_person_kept(root: Path) -> None:
    """For that cause; where it lies in another class, whether it belongs there is another question."""
    one, other = "raw/rose/0.jpg", "raw/tulip/1.jpg"
    lines = audited(root, (one, 0.99, 0.9, "tulip"), (other, 0.1, 0.99, "rose"))
    assert suspects(root, lines) == {one: "irrelevant", other: "mislabelled"}
    assert proposed(root, remove=["irrelevant@0.9"])[one] == "irrelevant"
    say(root, one, KEEP, "irrelevant")
    assert suspects(root, lines) == {one: "mislabelled", other: "mislabelled"}
    assert one not in proposed(root, remove=["irrelevant@0.9"])
    assert proposed(root, remove=["irrelevant@0.9", "mislabelled@0.9"])[one] == "mislabelled"
    say(root, other, KEEP, "mislabelled")
    assert other not in suspects(root, lines)
    (root / other).rename(root / "raw/rose/moved.jpg")
    lines = audited(root, ("raw/rose/moved.jpg", 0.1, 0.99, "tulip"))
    assert suspects(root, lines) == {"raw/rose/moved.jpg": "mislabelled"}


def test_who_says_which_class_a_picture_belongs_to_is_not_asked_again(root: Path) -> None:
    path = "raw/rose/0.jpg"
    say(root, path, RELABEL, "mislabelled", "tulip")
    assert suspects(root, audited(root, (path, 0.99, 0.99, "tulip"))) == {}
    (root / path).rename(root / "raw/tulip/zero.jpg")
    assert suspects(root, audited(root, ("raw/tulip/zero.jpg", 0.9, 0.99, "rose"))) == {}


def test_a_later_decision_takes_the_place_of_an_earlier_one(root: Path) -> None:
    say(root, COPY, KEEP, "duplicate")
    say(root, COPY, ASIDE, "duplicate", "ugly")
    assert COPY in proposed(root), "whoever sets it aside no longer keeps it"
    first = say(root, COPY, KEEP, "duplicate")
    with Catalog.open(root / "catalog.sqlite") as catalog:
        record = DecisionRecord.read(catalog)
        with pytest.raises(Overtaken, match="followed by batch"):
            undo(catalog, record, "Ada", first - 2)
        undo(catalog, record, "Ada", first)
        with pytest.raises(Overtaken, match="undone already"):
            undo(catalog, record, "Ada", first)
        with pytest.raises(UserError, match="no decision of that number"):
            undo(catalog, record, "Ada", 99)


def test_decisions_outlive_the_catalog(root: Path) -> None:
    say(root, COPY, KEEP, "duplicate")
    assert command("clean", root, "--dry-run", "--force", "--rebuild-catalog").code == 0
    assert COPY not in proposed(root)
    with Catalog.open(root / "catalog.sqlite") as catalog:
        (row,) = decisions_since(catalog)
        assert (row.path, row.action, row.causes) == (COPY, KEEP, "duplicate")


def spoil(catalog: Path) -> None:
    """Damage the table of pictures, as a disk does; the decisions are on other pages."""
    with closing(sqlite3.connect(catalog)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'pictures'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    with catalog.open("r+b") as stream:
        stream.seek((page - 1) * size)
        stream.write(b"\xff" * size)


def kept_in(catalog: Path) -> list[str]:
    with Catalog.open_read_only(catalog, even_damaged=True) as opened:
        return [row.path for row in decisions_since(opened)]


def test_what_can_be_read_of_a_damaged_catalog_is_taken_over(root: Path) -> None:
    """The decisions, and that the plan is ours; the damaged file is put aside as it is."""
    say(root, COPY, KEEP, "duplicate")
    spoil(root / "catalog.sqlite")
    with pytest.raises(UserError, match="damaged"):
        clean(root, dry_run=True)
    assert command("clean", root, "--dry-run", "--rebuild-catalog").code == 0
    assert COPY not in proposed(root)
    (aside,) = root.glob("catalog-*.sqlite")
    assert kept_in(aside) == [COPY]


@pytest.mark.thorough
@pytest.mark.parametrize("room", [0, 8192, 40_000])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_full_disk_loses_no_decision_of_a_catalog_made_anew(root: Path, room: int, *, damaged: bool) -> None:
    """The old catalog stays as it was, and nothing half lies beside it."""
    say(root, COPY, KEEP, "duplicate")
    if damaged:
        spoil(root / "catalog.sqlite")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(UserError, match=r"cannot be (written|read)"):
            clean(root, rebuild_catalog=True, dry_run=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert kept_in(root / "catalog.sqlite") == [COPY]
    assert not [path.name for path in root.iterdir() if path.name.startswith((".florilegium-", "catalog-"))]
    assert command("clean", root, "--dry-run", "--rebuild-catalog").code == 0
    assert COPY not in proposed(root)


def test_a_catalog_without_decisions_opens_as_ever(root: Path) -> None:
    clean(root, dry_run=True)
    with closing(sqlite3.connect(root / "catalog.sqlite")) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
    assert not {"decisions", "decision_batches"} & tables
    with Catalog.open_read_only(root / "catalog.sqlite") as catalog:
        assert DecisionRecord.read(catalog).batches == {}


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE decisions ADD COLUMN more TEXT",
        "ALTER TABLE decisions ADD COLUMN more TEXT AS (upper(path)) VIRTUAL",
        "ALTER TABLE decisions DROP COLUMN causes",
        """DROP TABLE decisions;
        CREATE TABLE decisions (id, batch, sha256, path, label, causes, action, value, replaced);
        INSERT INTO decisions VALUES (1, 1, x'00', 3, NULL, '', 'keep', '', 0)""",
        """DROP TABLE decision_batches;
        CREATE TABLE decision_batches (batch, made_at, who, action, undoes);
        INSERT INTO decision_batches VALUES ('one', 2, 3, 4, 5), (9, '', '', 'keep', 0)""",
        "DROP TABLE decisions; CREATE VIEW decisions AS SELECT * FROM pictures",
        "CREATE TRIGGER kept AFTER INSERT ON decisions BEGIN DELETE FROM pictures; END",
    ],
)
def test_decisions_that_this_program_did_not_write_are_refused(root: Path, statement: str) -> None:
    say(root, COPY, KEEP, "duplicate")
    with closing(sqlite3.connect(root / "catalog.sqlite")) as db:
        db.executescript(statement)
    with pytest.raises(UserError, match=r"did not (make|write)"):
        clean(root, dry_run=True)
    clean(root, rebuild_catalog=True, yes=True)


def test_odd_but_well_formed_decisions_harm_nothing(root: Path) -> None:
    """A stranger's catalog may say anything of any path; what leads outside is never followed."""
    batch = say(root, COPY, KEEP, "duplicate")
    with closing(sqlite3.connect(root / "catalog.sqlite")) as db:
        db.execute("UPDATE decision_batches SET made_at = 'never', who = char(27) || '[31m'")
        rows = [("../../outside", "eat", "../.."), ("/etc/passwd", "aside", "x"), (COPY, "relabel", "../rose")]
        db.executemany(
            "INSERT INTO decisions (batch, sha256, path, label, causes, action, value, replaced)"
            f" VALUES ({batch}, 'x', ?, '', '', ?, ?, 0)",
            rows,
        )
        db.execute("INSERT INTO decisions VALUES (77, 9, '', 'raw', '', '', 'keep', '', 3)")  # of no batch
        db.execute("INSERT INTO decision_batches VALUES (5, '', '', 'undo', 4), (6, '', '', 'undo', 6)")
        db.commit()
    assert COPY not in proposed(root)
    assert command("clean", root, "--yes").code == 0


if sys.platform != "win32":
    from testing.killing import kill_at_deed, list_deeds

    def bring_back(root: Path) -> None:
        restore(root, reasons=["duplicate"], who="Ada")

    @pytest.mark.thorough
    def test_a_restore_that_is_killed_has_decided_all_the_same(root: Path, tmp_path: Path) -> None:
        """At any instant from the first move on: what is back stays, whatever the next command is."""
        clean(root, yes=True)
        before = tmp_path / "before"
        shutil.copytree(root, before)
        work = partial(bring_back, root)
        deeds = len(list_deeds(work))
        for instant in sorted({round(step * (deeds - 1) / 11) for step in range(12)}):
            shutil.rmtree(root)
            shutil.copytree(before, root)
            kill_at_deed(work, instant)
            came = {path for path in (COPY, SMALL) if (root / path).exists()}
            clean(root, yes=True)
            assert {path for path in came if not (root / path).exists()} == set(), instant

    @pytest.mark.parametrize("damaged", [False, True])
    def test_a_catalog_that_is_killed_while_it_begins_anew_has_the_decisions(
        root: Path, tmp_path: Path, *, damaged: bool
    ) -> None:
        """At any instant the old or the new one is there, also while a page has the catalog open."""
        clean(root, dry_run=True)
        say(root, COPY, KEEP, "duplicate")
        home, name = tmp_path / "home", "catalog.sqlite"
        home.mkdir()
        work = partial(begin_anew, home / name)

        def lay_out() -> None:
            shutil.rmtree(home)
            home.mkdir()
            shutil.copy(root / name, home / name)
            if damaged:
                spoil(home / name)

        lay_out()
        deeds = len(list_deeds(work))
        for instant in sorted({round(step * (deeds - 1) / 11) for step in range(12)}):
            lay_out()
            with closing(sqlite3.connect(home / name)) as page:
                page.execute("SELECT * FROM decisions").fetchall()
                kill_at_deed(work, instant)
            assert kept_in(home / name) == [COPY], instant
            begin_anew(home / name)
            with Catalog.open(home / name) as catalog:
                assert [row.path for row in decisions_since(catalog)] == [COPY], instant
                assert catalog.pictures() == []


def test_a_catalog_made_anew_knows_the_plan_that_is_ours(root: Path) -> None:
    """Nobody edited it, so no `--force` is needed; and one that somebody did edit is still theirs."""
    assert command("clean", root, "--dry-run").code == 0
    assert command("clean", root, "--dry-run", "--rebuild-catalog").code == 0
    assert command("clean", root, "--dry-run").code == 0
    with (root / "plan.jsonl").open("a") as plan:
        plan.write("\n")
    assert "not as this program wrote it" in command("clean", root, "--dry-run", "--rebuild-catalog").sentence


@pytest.mark.parametrize("dry", [True, False])
def test_what_waits_to_be_carried_out_is_said(root: Path, *, dry: bool) -> None:
    """`clean` does not carry out what was decided on the page, so who runs it is told that it waits."""
    assert "to be carried out" not in command("clean", root, "--dry-run").out
    first = say(root, DARK, ASIDE, "", "ugly")
    say(root, "raw/rose/0.jpg", RELABEL, "", "tulip")
    say(root, "raw/rose/1.jpg", KEEP, "duplicate")
    ran = command("clean", root, "--dry-run" if dry else "--yes")
    assert "2 decisions wait to be carried out on the page of `review`" in ran.out
    with Catalog.open(root / "catalog.sqlite") as catalog:
        undo(catalog, DecisionRecord.read(catalog), "Ada", first)
    assert "1 decision waits to be carried out" in command("clean", root, "--dry-run").out


def test_no_picture_leaves_as_the_copy_of_one_that_is_to_leave(root: Path) -> None:
    """Of two copies of which a person has one leave the other stays, also when `clean` runs in between."""
    keepers = {one.path: one.keeper for one in planned(root).plan.decisions}
    say(root, keepers[COPY], ASIDE, "", "ugly")
    assert COPY not in proposed(root)
    assert SMALL in proposed(root)
    assert planned(root).plan.held_back == 1
    assert COPY in proposed(root, again=True)
    clean(root, yes=True)
    assert (root / COPY).is_file()


@pytest.mark.parametrize("said", [STRAY, THIRD])
def test_a_class_that_a_person_named_settles_whose_label_is_right(root: Path, said: str) -> None:
    """Before it is carried out, too: neither copy leaves for a dispute that a person has settled."""
    say(root, said, RELABEL, "conflict", "rose" if said == STRAY else "tulip")
    assert not {STRAY, THIRD} & set(proposed(root))
    assert {STRAY, THIRD} <= set(proposed(root, again=True))


def test_copies_that_a_person_has_leave_are_still_proposed(root: Path) -> None:
    """Who accepts a proposal on the page, and then runs `clean`, has it carried out."""
    for path in (COPY, STRAY, THIRD):
        say(root, path, ASIDE, "", "duplicate" if path == COPY else "conflict")
    assert {COPY, STRAY, THIRD} <= set(proposed(root))
