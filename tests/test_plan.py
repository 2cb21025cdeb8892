"""A plan is written line by line, may be edited by hand, and is carried out whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from curate.clean import clean
from curate.cleaning.plan import FIELDS, read_plan
from curate.errors import UserError
from tests.pictures import contents, paint, save
from tests.test_quarantine import give_back


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two broken files, a copy and a conflict."""
    root = tmp_path / "data"
    for number in range(4):
        save(paint(number), root / "raw" / ("rose" if number < 2 else "tulip 🌷") / f"{number}.jpg")
    (root / "raw" / "rose" / "broken.jpg").write_bytes(b"no picture")
    (root / "raw" / "tulip 🌷" / "line\u2028separator.jpg").write_bytes(b"")
    save(paint(2), root / "raw" / "tulip 🌷" / "copy.jpg", quality=60)
    save(paint(0), root / "raw" / "tulip 🌷" / "also.jpg", quality=60)
    return root


def planned(root: Path) -> list[dict[str, object]]:
    file = clean(root, dry_run=True).plan_file
    assert file == root / "plan.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").split("\n") if line]


def written(root: Path, *lines: object) -> Path:
    file = root.parent / "my plan.jsonl"
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), "utf-8")
    return file


def test_a_dry_run_writes_one_decision_a_line(root: Path) -> None:
    lines = planned(root)
    assert [line["path"] for line in lines] == [it.path for it in clean(root, dry_run=True).plan.decisions]
    assert all(tuple(line) == FIELDS for line in lines)
    assert {line["reason"] for line in lines} == {"broken", "duplicate", "conflict"}
    (copy,) = (line for line in lines if line["reason"] == "duplicate")
    assert copy["keeper"] == "raw/tulip 🌷/2.jpg"


def test_two_dry_runs_write_the_same_bytes_and_the_file_is_no_class(root: Path) -> None:
    clean(root, dry_run=True)
    first = (root / "plan.jsonl").read_bytes()
    clean(root, dry_run=True)
    assert (root / "plan.jsonl").read_bytes() == first


def test_a_plan_does_what_clean_does(root: Path, tmp_path: Path) -> None:
    before = contents(root)
    clean(root, dry_run=True, save_plan=tmp_path / "elsewhere" / "plan.jsonl")
    report = clean(root, plan=tmp_path / "elsewhere" / "plan.jsonl")
    assert report.moved == 5
    by_plan = contents(root)
    give_back(root)
    assert contents(root) == before
    clean(root, yes=True)
    assert contents(root) == by_plan


def test_a_plan_is_carried_out_once(root: Path) -> None:
    plan = written(root, *planned(root))
    assert clean(root, plan=plan).moved == 5
    after = contents(root)
    again = clean(root, plan=plan)
    assert (again.moved, again.resumed) == (0, 0)
    assert contents(root) == after


def test_an_edited_plan_is_followed(root: Path) -> None:
    kept, *rest = (line for line in planned(root) if line["reason"] != "conflict")
    sha256 = contents(root)["raw/rose/1.jpg"]
    mine = {"path": "raw/rose/1.jpg", "reason": "ugly", "sha256": sha256, "note": "I never liked it"}
    report = clean(root, plan=written(root, *rest, "", mine))
    assert report.moved == 3
    assert (root / str(kept["path"])).exists()
    assert (root / "quarantine" / "ugly" / "raw" / "rose" / "1.jpg").exists()
    assert give_back(root, ["ugly"]).restored == ["raw/rose/1.jpg"]


GOOD = {"path": "raw/rose/broken.jpg", "reason": "broken", "sha256": "?"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{'path': 1}", "line 2 is not JSON"),
        ('{"path": ', "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ('"raw/rose/1.jpg"', "line 2 is no line of a plan"),
        ({"path": "raw/rose/1.jpg", "reason": "x"}, 'line 2 has no "sha256"'),
        ({**GOOD, "path": 5}, 'line 2: "path" has to be text'),
        ({**GOOD, "distance": True}, 'line 2: "distance" has to be a whole number'),
        ({**GOOD, "path": "../outside.jpg"}, "line 2: '../outside.jpg' is no path inside"),
        ({**GOOD, "path": "/etc/passwd"}, "is no path inside"),
        ({**GOOD, "path": "raw//rose/1.jpg"}, "is no path inside"),
        ({**GOOD, "path": "raw/rose/\ud83d.jpg"}, "half a character"),
        ({**GOOD, "reason": "../../up"}, "has to be one word"),
        ({**GOOD, "path": "raw/rose/none.jpg"}, "line 2: .*holds no picture raw/rose/none.jpg; delete the line"),
        ({**GOOD, "path": "catalog.sqlite"}, "holds no picture catalog.sqlite"),
        ({**GOOD, "path": "raw/rose/1.jpg"}, "line 2: raw/rose/1.jpg has changed since the plan was made"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named_and_nothing_is_done(root: Path, line: object, says: str) -> None:
    first = planned(root)[0]
    before = contents(root)
    plan = written(root, first, line)
    with pytest.raises(UserError, match=says) as caught:
        clean(root, plan=plan)
    assert "\n" not in str(caught.value)
    assert contents(root) == before


def test_a_picture_that_changed_since_is_not_moved_though_size_and_time_are_the_same(root: Path) -> None:
    plan = written(root, *planned(root))
    file = root / "raw" / "rose" / "broken.jpg"
    stat = file.stat()
    file.write_bytes(b"no Picture")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    before = contents(root)
    with pytest.raises(UserError, match=r"line 2: raw/rose/broken.jpg has changed since"):
        clean(root, plan=plan)
    assert contents(root) == before


def test_a_picture_named_twice_is_a_mistake(root: Path) -> None:
    first = planned(root)[0]
    with pytest.raises(UserError, match=r"line 2: .* leaves already by .*, line 1"):
        read_plan(written(root, first, first))


@pytest.mark.parametrize("loss", ["leaves", "gone", "broken"])
def test_a_copy_does_not_leave_when_its_keeper_does_not_stay(root: Path, loss: str) -> None:
    (copy,) = (line for line in planned(root) if line["reason"] == "duplicate")
    keeper = root / str(copy["keeper"])
    lines = [copy]
    if loss == "leaves":
        lines.append({**copy, "path": copy["keeper"], "keeper": "", "sha256": contents(root)[str(copy["keeper"])]})
    elif loss == "gone":
        keeper.unlink()
    else:
        keeper.write_bytes(b"now broken")
    before = contents(root)
    with pytest.raises(UserError, match=r"line 1: .*copy\.jpg leaves because .*2\.jpg stays, which"):
        clean(root, plan=written(root, *lines))
    assert contents(root) == before


def test_a_missing_or_alien_plan_is_one_sentence(root: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl cannot be read"):
        clean(root, plan=root / "none.jsonl")
    with pytest.raises(UserError, match="is not text in UTF-8"):
        clean(root, plan=root / "raw" / "rose" / "0.jpg")
    with pytest.raises(UserError, match="cannot be written"):
        clean(root, dry_run=True, save_plan=root / "raw" / "rose" / "0.jpg" / "plan.jsonl")


def test_an_empty_plan_does_nothing(root: Path) -> None:
    before = contents(root)
    assert clean(root, plan=written(root)).moved == 0
    assert contents(root) == before


def test_a_dry_run_of_a_plan_checks_it_and_leaves_it(root: Path) -> None:
    plan = written(root, *planned(root)[:2])
    before = plan.read_bytes()
    report = clean(root, plan=plan, dry_run=True, save_plan=root.parent / "checked.jsonl")
    assert len(report.plan.decisions) == 2
    assert plan.read_bytes() == before
    assert (root / "raw" / "rose" / "broken.jpg").exists()


@pytest.mark.parametrize("distance", [2**70, 65, -2])
def test_a_distance_that_is_none_is_named(tmp_path: Path, distance: int) -> None:
    file = tmp_path / "plan.jsonl"
    line = {"path": "raw/a/1.jpg", "reason": "mine", "sha256": "", "distance": distance}
    file.write_text(json.dumps(line))
    with pytest.raises(UserError, match=r'line 1: "distance" has to be -1, or bits from 0 to 64'):
        read_plan(file)
