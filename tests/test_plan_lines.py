"""A plan's lines by themselves: what is written is what is read, and what is no decision is named."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from curate.catalog import Catalog
from curate.catalog.own_files import note_intended, note_written
from curate.cleaning.plan import FIELDS, PlanLine, check_plan, read_plan, write_plan
from curate.dataset import Dataset
from curate.errors import UserError
from curate.quarantine import Decision
from tests.pictures import write
from tests.test_conflicts import picture

DATA = b"the bytes of a picture"
SHA256 = sha256(DATA).hexdigest()
FULL = Decision("raw/a/ü\u2028🌷.jpg", SHA256, "duplicate", "the same “bytes”", "raw/a/1.jpg", 3)
BARE = Decision("raw/a/2.jpg", SHA256, "broken", "")


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    root = tmp_path / "data"
    for name in ("1", "2", "3"):
        write(root / f"raw/a/{name}.jpg", DATA)
    return Dataset(root, "raw", root)


@pytest.fixture
def catalog(data: Dataset) -> Iterator[Catalog]:
    with Catalog.open(data.catalog_path) as catalog:
        catalog.put([picture(f"raw/a/{name}.jpg", SHA256) for name in ("1", "2", "3")])
        yield catalog


def test_what_is_written_is_what_is_read(data: Dataset, catalog: Catalog) -> None:
    file = data.root / "plan.jsonl"
    write_plan(file, [FULL, BARE], catalog)
    written = file.stat().st_mtime
    assert read_plan(file) == [PlanLine(FULL, f"{file}, line 1", written), PlanLine(BARE, f"{file}, line 2", written)]
    lines = file.read_text("utf-8").split("\n")
    assert [tuple(json.loads(line)) for line in lines[:2]] == [FIELDS, FIELDS]
    assert lines[2:] == [""]
    assert "🌷" in lines[0]  # to be read by people
    first = file.read_bytes()
    write_plan(file, [FULL, BARE], catalog)
    assert file.read_bytes() == first


def test_a_plan_that_was_edited_is_not_replaced_unless_by_force(data: Dataset, catalog: Catalog) -> None:
    file = data.root / "plan.jsonl"
    write_plan(file, [FULL], catalog)
    file.write_text(file.read_text("utf-8").replace("same", "very same"), "utf-8")
    edited = file.read_bytes()
    with pytest.raises(UserError):
        write_plan(file, [BARE], catalog)
    assert file.read_bytes() == edited
    write_plan(file, [BARE], catalog, force=True)
    assert [line.decision for line in read_plan(file)] == [BARE]


def test_a_file_elsewhere_that_is_no_plan_is_not_replaced_on_a_catalogs_word(
    data: Dataset, catalog: Catalog, tmp_path: Path
) -> None:
    """A catalog from elsewhere may say of any file that it is ours."""
    notes = tmp_path / "notes.txt"
    notes.write_text("my own\n")
    digest = sha256(notes.read_bytes()).hexdigest()
    note_intended(catalog, notes, digest)
    note_written(catalog, notes, digest)
    with pytest.raises(UserError, match=r"notes\.txt, line 1 is not JSON"):
        write_plan(notes, [BARE], catalog)
    assert notes.read_text() == "my own\n"
    write_plan(tmp_path / "plan.jsonl", [BARE], catalog)  # and a plan of ours there is
    write_plan(tmp_path / "plan.jsonl", [FULL], catalog)
    assert [line.decision for line in read_plan(tmp_path / "plan.jsonl")] == [FULL]


def line(**values: object) -> str:
    return json.dumps({"path": "raw/a/2.jpg", "reason": "broken", "sha256": SHA256, **values})


def test_only_three_fields_have_to_be_there_and_further_ones_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "plan.jsonl"
    file.write_bytes(
        b"\xef\xbb\xbf"
        + f"\n  \n{line(note=[1], distance=0)}\r\n{line(path='b', distance=64)}\n{line(path='c')}".encode()
    )
    first, second, third = read_plan(file)
    assert first == PlanLine(
        Decision("raw/a/2.jpg", SHA256, "broken", "", "", 0), f"{file}, line 3", file.stat().st_mtime
    )
    assert (second.decision.distance, second.where) == (64, f"{file}, line 4")
    assert third.decision == Decision("c", SHA256, "broken", "", "", -1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (line()[:-1] + f', "distance": {"9" * 5000}}}', r"is not JSON \(a number in it has thousands of digits\)"),
        (line(distance=10**4000), "has to be -1, or bits from 0 to 64"),
        (line(distance=-2), "has to be -1, or bits from 0 to 64"),
        (line(distance=65), "has to be -1, or bits from 0 to 64"),
        (line(distance=1.0), '"distance" has to be a whole number'),
        (line(detail=None), '"detail" has to be text'),
        (line(keeper=1), '"keeper" has to be text'),
        (line(detail="\ud83d"), '"detail" holds half a character'),
        (line(path=""), "is no path inside the dataset"),
        (line(path="raw/../../x"), "is no path inside the dataset"),
        (line(reason="Broken"), "has to be one word of the letters a to z"),
        (line(reason="a" * 32), "has to be one word of the letters a to z"),
        (line(reason="two words"), "has to be one word of the letters a to z"),
        (line(reason="broken\n"), "has to be one word of the letters a to z"),
        ('{"path": "a", "reason": "b"}', 'has no "sha256": a decision needs path, reason and sha256'),
        ("[]", "it has to be a JSON object; correct it, or write one with --dry-run"),
        ("true", "is no line of a plan"),
        ("{", "is not JSON"),
    ],
)
def test_what_is_no_decision_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "plan.jsonl"
    file.write_text(f"{line(path='first')}\n{text}\n", "utf-8")
    with pytest.raises(UserError, match=says) as caught:
        read_plan(file)
    assert str(caught.value).startswith(f"{file}, line 2")


def test_a_word_of_31_letters_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "plan.jsonl").write_text(line(reason="a" * 31))
    assert read_plan(tmp_path / "plan.jsonl")[0].decision.reason == "a" * 31


def test_a_picture_twice_names_both_lines(tmp_path: Path) -> None:
    file = tmp_path / "plan.jsonl"
    file.write_text(f"{line()}\n{line(path='b')}\n{line()}\n")
    with pytest.raises(UserError, match=r"line 3: raw/a/2.jpg leaves already by .*line 1; delete one of the two"):
        read_plan(file)


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_plan(tmp_path / "none.jsonl")
    (tmp_path / "plan.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is not a plan: it is not text in UTF-8"):
        read_plan(tmp_path / "plan.jsonl")


def check(data: Dataset, catalog: Catalog, *decisions: Decision) -> list[Decision]:
    return check_plan([PlanLine(it, f"line {at}") for at, it in enumerate(decisions, 1)], data, catalog)


def leaves(name: str, keeper: str = "", sha256: str = SHA256) -> Decision:
    return Decision(f"raw/a/{name}.jpg", sha256, "duplicate", "", keeper and f"raw/a/{keeper}.jpg")


def test_decisions_that_hold_are_to_be_carried_out_in_their_order(data: Dataset, catalog: Catalog) -> None:
    decisions = [leaves("3", "1"), leaves("2", "1")]
    assert check(data, catalog, *decisions) == decisions
    assert check(data, catalog) == []


def test_a_picture_that_changed_or_is_not_there_is_named(data: Dataset, catalog: Catalog) -> None:
    with pytest.raises(UserError, match=r"line 2: raw/a/1.jpg has changed since the plan was made"):
        check(data, catalog, leaves("2"), leaves("1", sha256="0" * 64))
    with pytest.raises(UserError, match=r"line 1: .* holds no picture raw/a/9.jpg; delete the line"):
        check(data, catalog, leaves("9"))


def test_a_keeper_has_to_stay_whole_and_be_there(data: Dataset, catalog: Catalog) -> None:
    with pytest.raises(UserError, match=r"line 1: raw/a/2.jpg leaves because raw/a/3.jpg stays, which leaves too"):
        check(data, catalog, leaves("2", "3"), leaves("3"))
    with pytest.raises(UserError, match=r"raw/a/9.jpg stays, which is broken or not there; delete the line or write"):
        check(data, catalog, leaves("2", "9"))
    catalog.put([picture("raw/a/1.jpg", SHA256, broken="cut off")])
    with pytest.raises(UserError, match=r"raw/a/1.jpg stays, which is broken or not there"):
        check(data, catalog, leaves("2", "1"))


def test_what_an_earlier_run_of_the_plan_took_is_done(data: Dataset, catalog: Catalog) -> None:
    write(data.quarantine / "duplicate/raw/a/2.jpg", DATA)
    (data.root / "raw/a/2.jpg").unlink()
    catalog.set_state("raw/a/2.jpg", "quarantined")
    with catalog.transaction() as db:
        db.execute(
            "INSERT INTO quarantine (run, path, stored, sha256, reason, detail, keeper, distance, state) "
            "VALUES ('', 'raw/a/2.jpg', 'duplicate/raw/a/2.jpg', ?, 'duplicate', '', '', -1, 'moved')",
            (SHA256,),
        )
    assert check(data, catalog, leaves("2"), leaves("3")) == [leaves("3")]
    with pytest.raises(UserError, match=r"holds no picture raw/a/2.jpg"):  # it was another one of that name
        check(data, catalog, leaves("2", sha256="0" * 64))


def test_a_link_that_leads_nowhere_has_no_bytes(data: Dataset, catalog: Catalog) -> None:
    (data.root / "raw/a/1.jpg").unlink()
    (data.root / "raw/a/1.jpg").symlink_to("nowhere")
    assert check(data, catalog, leaves("1", sha256="")) == [leaves("1", sha256="")]
