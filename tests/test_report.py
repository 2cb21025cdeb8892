"""`report`: each figure is the command's own, what others wrote is text, and no file of anybody's is replaced."""

import base64
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from markupsafe import Markup

import florilegium as fl
from pages.html import _environment, coded
from pages.report.thumbnails import make_thumbnails
from tests.commanding import Ended, command
from tests.pictures import contents
from tests.reading_reports import ReadReport, compare_with_commands
from tests.training_ground import COLOURS, grow, picture
from tests.walked_garden import NASTY, Walked, hostile_garden
from tests.without_rights import needs_rights, read_only, without_privileges

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Walked:
    return Walked(tmp_path_factory.mktemp("walked"))


@pytest.fixture(scope="module")
def read(walked: Walked) -> ReadReport:
    return walked.report(walked.place / "report.html")


# Figures


def test_each_figure_is_the_commands_own(walked: Walked, read: ReadReport) -> None:
    printed = {**walked.printed, "evaluate": walked.printed["valid"]}
    folders = {"data": walked.data, "evaluated": walked.place / "valid"}
    assert compare_with_commands(read, printed, folders) > 30


def test_figures_on_test_come_from_an_evaluation_that_opened_it(walked: Walked, tmp_path: Path) -> None:
    record = walked.checkpoint.with_suffix(".opened.json")
    before = record.read_bytes()
    found = walked.report(tmp_path / "report.html", "--evaluation", walked.place / "test")
    printed = {**walked.printed, "evaluate": walked.printed["test"]}
    compare_with_commands(found, printed, {"data": walked.data, "evaluated": walked.place / "test"})
    assert any(line.startswith("On test, as evaluate wrote into") for line in found.lines["errors"])
    assert "Test has been opened 1 time with this checkpoint." in found.lines["errors"]
    assert record.read_bytes() == before, "a report has opened test"


def test_what_left_stands_beside_what_it_duplicates(walked: Walked, read: ReadReport) -> None:
    groups = [group for group in read.groups["set-aside"] if group]
    assert any(group.startswith("duplicate: the same picture as raw/rose/large.jpg") for group in groups)
    assert any(group.startswith("conflict: one picture under the labels “iris” and “rose”") for group in groups)
    assert {"raw/rose/small.jpg", "raw/rose/large.jpg", "raw/rose/an iris.jpg"} <= set(read.pictures["set-aside"])
    assert "raw/iris/dark.jpg" in read.pictures["quality"]


def test_all_shown_pictures_are_credited(walked: Walked, read: ReadReport) -> None:
    """By number: each that has a credit on record leads to it."""
    there = set(re.findall(r'<li id="(credit-\d+)">', read.source))
    assert {link[1:] for link in read.links if link.startswith("#credit-")} == there
    assert there
    assert len(read.items) == len(there)
    for item in read.items:  # as the local web offers them
        assert re.fullmatch(r".+ by Botanist \d, (CC BY.* 4\.0|CC0 1\.0|public domain), via openverse", item), item
    assert "https://creativecommons.org/licenses/by/4.0/" in read.links


def test_an_edited_evaluation_is_refused(walked: Walked, tmp_path: Path) -> None:
    for name, old, new in (("evaluation.json", '"correct": ', '"correct": 1'), ("pictures.csv", ",1\n", ",0\n")):
        folder = shutil.copytree(walked.place / "test", tmp_path / name)
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")
        done = command("report", walked.data, "--evaluation", folder, "--out", tmp_path / "report.html")
        assert "not as `evaluate` wrote it" in done.sentence
    assert not (tmp_path / "report.html").exists()


def test_another_checkpoint_than_the_evaluated_one_is_refused(walked: Walked, tmp_path: Path) -> None:
    other = shutil.copy(walked.checkpoint, tmp_path / "model_1.00.pth")
    done = command(
        "report",
        walked.data,
        "--evaluation",
        walked.place / "test",
        "--checkpoint",
        other,
        "--out",
        tmp_path / "r.html",
    )
    assert "leave --checkpoint out" in done.sentence


def test_pictures_outside_the_dataset_are_not_shown(walked: Walked, tmp_path: Path) -> None:
    """An evaluation from elsewhere may name any file: none comes into a page that is passed on."""
    from train.evaluation_files import read_evaluation

    figures, answers = read_evaluation(walked.place / "test")
    assert figures.split == "test"
    moved = shutil.copytree(walked.data, tmp_path / "copy", symlinks=True)
    done = command("report", moved, "--evaluation", walked.place / "test", "--out", tmp_path / "r.html")
    assert done.code == 0, done.err
    found = ReadReport(tmp_path / "r.html")
    assert found.pictures["errors"] == []
    assert all(Path(one.path).is_relative_to(walked.data) for one in answers)


def test_python_writes_the_same_report(walked: Walked, read: ReadReport, tmp_path: Path) -> None:
    result = fl.open(walked.data).report(tmp_path / "r.html", models=walked.place / "models", progress=None)
    assert result.file == tmp_path / "r.html"
    assert result.bytes == result.file.stat().st_size
    assert "it shows a picture in" in repr(result)
    found = ReadReport(result.file)
    assert found.lines.pop("") != [], "when it was made"
    for section in (*read.tables, *read.pictures):
        assert (found.lines[section], found.tables[section]) == (read.lines[section], read.tables[section])
        assert found.pictures[section] == read.pictures[section]


# One file, that refers to nothing


def test_the_policy_allows_this_style_and_script_alone(read: ReadReport) -> None:
    policy = read.metas["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", read.source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not {"style", "srcset", "onclick", "onload", "onerror"} & read.attributes
    assert not {"link", "iframe", "object", "form", "base"} & set(read.tags)


def test_the_page_shrinks_its_pictures_and_counts_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for number in range(6):
        files.append(tmp_path / f"{number}.jpg")
        picture(COLOURS["rose"], number, (900, 700)).save(files[-1])
    made, left_out = make_thumbnails([*files, files[0]])
    assert left_out == 0
    assert {max(one.width, one.height) for one in made.values()} == {160}
    size = len(made[files[0]].uri)
    monkeypatch.setattr("pages.report.thumbnails.MOST_BYTES", int(3.5 * size))
    fewer, left_out = make_thumbnails([*files, files[0]])
    assert left_out > 0
    assert sum(len(fewer[file].uri) for file in (*files, files[0])) <= 3.5 * size
    assert "left out" in fewer[files[-1]].why_not


# What others wrote


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_garden(tmp_path_factory.mktemp("hostile"))


def test_what_others_wrote_is_text(hostile: Path, tmp_path: Path) -> None:
    done = command("report", hostile, "--data-only", "--out", tmp_path / "r.html")
    assert done.code == 0, done.err
    found = ReadReport(tmp_path / "r.html")
    assert found.tags["script"] == 1
    assert found.tags["b"] == 0
    assert not {name for name in found.attributes if name.startswith("on")}
    assert all(link.startswith(("#", "https://a.example/")) for link in found.links)
    assert any(link.startswith("https://a.example/") for link in found.links)
    assert "\u202e" not in found.source, "an override turns the writing round"
    labels = [row[0] for row in found.table("classes", "Files of each class").rows]
    assert labels[0] == "<img src=x onerror=alert(2)>"
    assert labels[1] == NASTY.replace("/", "").replace("\u202e", "\\u202e")
    assert any(shown.endswith('/"><svg onload=alert(0)>.jpg') for shown in found.pictures["samples"])
    assert "<script>alert(1)</script>" in found.items[0]


def test_every_value_of_every_page_is_text() -> None:
    """In whichever template: no override turns the writing round, and what is set as code is escaped first."""
    assert str(coded("run `a <b>` & \u202e")) == "run <code>a &lt;b&gt;</code> &amp; \\u202e"
    parts = _environment().from_string("{{ name }}{% set made = markup %}{{ made }}")
    assert parts.render(name="<\u202e>", markup=Markup("<b>\n</b>")) == "&lt;\\u202e&gt;<b>\n</b>"


# Stages that have not been


def test_a_stage_that_has_not_been_is_named_with_its_command(tmp_path: Path) -> None:
    grow(tmp_path / "data", {"raw": 6})
    before = contents(tmp_path / "data")
    done = command("report", tmp_path / "data", "--models", tmp_path / "none", "--out", tmp_path / "r.html")
    assert done.code == 0, done.err
    found = ReadReport(tmp_path / "r.html")
    wanted = {
        "origins": "scrape", "set-aside": "clean", "audit": "audit", "split": "split", "model": "train",
    }  # fmt: skip
    for section, name in wanted.items():
        assert any(f"cli.py {name}" in line for line in found.lines[section]), (section, found.lines[section])
    assert found.lines["audit"][0].startswith("No audit yet.")
    assert found.lines["split"][0].startswith("Not split yet.")
    assert sys.executable not in found.source, "whoever reads it has another machine"
    assert contents(tmp_path / "data") == before


def test_a_flat_dataset_is_told_with_the_split_beside_it(tmp_path: Path) -> None:
    for label in ("rose", "iris"):
        (tmp_path / "flat" / label).mkdir(parents=True)
        for number in range(10):
            picture(COLOURS[label], number + len(label)).save(tmp_path / "flat" / label / f"{number}.jpg")
    split = command("split", tmp_path / "flat")
    assert split.code == 0
    assert command("report", tmp_path / "flat", "--data-only", "--out", tmp_path / "r.html").code == 0
    found = ReadReport(tmp_path / "r.html")
    table = found.table("classes", "Files of each class")
    assert table.columns[:6] == ["class", "name", "train", "valid", "test", "raw"]
    assert table.rows[-1][2:6] == ["16", "2", "2", "20"]
    assert command("report", tmp_path / "flat_split", "--data-only", "--out", tmp_path / "s.html").code == 0
    assert ReadReport(tmp_path / "s.html").tables == found.tables, "the split is told of with its dataset"
    assert not (tmp_path / "flat_split" / "catalog.sqlite").exists()


def test_a_checkpoint_of_other_classes_is_only_said_if_nobody_named_it(walked: Walked, tmp_path: Path) -> None:
    grow(tmp_path / "data", {"train": 4, "valid": 2}, classes=2)
    (tmp_path / "data" / "train" / "rose").rename(tmp_path / "data" / "train" / "other")
    (tmp_path / "data" / "valid" / "rose").rename(tmp_path / "data" / "valid" / "other")
    models = ("--models", walked.place / "models")
    assert command("report", tmp_path / "data", *models, "--out", tmp_path / "r.html").code == 0
    assert "No checkpoint in" in ReadReport(tmp_path / "r.html").lines["model"][0]
    named = command("report", tmp_path / "data", "--checkpoint", walked.checkpoint, "--out", tmp_path / "s.html")
    assert "other" in named.sentence


def test_a_checkpoint_that_is_not_there_is_said_before_pictures_are_read(tmp_path: Path) -> None:
    data = grow(tmp_path / "data", {"raw": 3})
    before = sorted(data.rglob("*"))
    done = command("report", data, "--checkpoint", tmp_path / "none.pth", "--out", tmp_path / "r.html")
    assert "There is no checkpoint" in done.sentence
    assert sorted(data.rglob("*")) == before, "the pictures were read into a catalog first"


def test_files_are_counted_as_files(tmp_path: Path) -> None:
    """A picture in raw that is placed in a split is two files, and one picture at the head of the report."""
    data = grow(tmp_path / "data", {"raw": 6})
    assert command("split", data).code == 0
    pictures = sum(file.is_file() for file in (data / "raw").rglob("*"))
    (next(iter((data / "raw").iterdir())) / "broken.jpg").write_bytes(b"no picture")
    assert written(data, tmp_path / "r.html").code == 0
    lines = ReadReport(tmp_path / "r.html").lines["quality"]
    assert any(re.match(rf"(None of|Of) {2 * pictures:,} files with pixels", line) for line in lines), lines
    assert "Files that give no pixels: 1." in lines


# Files of others


def written(data: Path, out: Path, *more: object) -> Ended:
    return command("report", data, "--data-only", "--out", out, *more)


def test_only_our_own_unedited_report_is_replaced(tmp_path: Path) -> None:
    data = grow(tmp_path / "data", {"raw": 3})
    out = tmp_path / "report.html"
    out.write_text("<p>mine</p>")
    assert "not as this program wrote it" in written(data, out).sentence
    assert out.read_text() == "<p>mine</p>"
    assert written(data, out, "--force").code == 0
    assert written(data, out).code == 0, "our own may be replaced"
    out.write_text(out.read_text(encoding="utf-8").replace("<h1>", "<h1>My "), encoding="utf-8")
    assert "not as this program wrote it" in written(data, out).sentence
    link = tmp_path / "link.html"
    link.symlink_to(tmp_path / "nowhere.html")
    assert "not as this program wrote it" in written(data, link).sentence


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("report.txt", "does not end in .html"),
        ("data/raw/rose/report.html", "is a place of pictures"),
        ("data/quarantine/report.html", "is a place of pictures"),
        ("folder.html", "is a folder"),
    ],
)
def test_a_report_goes_where_it_can(out: str, says: str, tmp_path: Path) -> None:
    data = grow(tmp_path / "data", {"raw": 3})
    (tmp_path / "folder.html").mkdir()
    assert says in written(data, tmp_path / out).sentence


def test_data_only_excludes_a_classifier(tmp_path: Path) -> None:
    data = grow(tmp_path / "data", {"raw": 3})
    done = written(data, tmp_path / "r.html", "--checkpoint", tmp_path / "x.pth")
    assert "--data-only" in done.sentence


@pytest.fixture
def locked_up(walked: Walked, tmp_path: Path) -> Iterator[Path]:
    copy = shutil.copytree(walked.data, tmp_path / "data", symlinks=True)
    with read_only(copy):
        yield copy


@pytest.mark.thorough
@needs_rights
def test_a_read_only_dataset_is_told_of_too(locked_up: Path, read: ReadReport, tmp_path: Path) -> None:
    """What the catalog knows is known there as well: the quarantine, the credits and the yields."""
    out = tmp_path / "out" / "r.html"
    out.parent.mkdir()
    asked = [sys.executable, str(REPOSITORY / "cli.py"), "report", str(locked_up), "--data-only", "--out", str(out)]
    done = subprocess.run(without_privileges(asked), cwd=out.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = ReadReport(out)
    for section in ("classes", "origins", "set-aside", "quality"):
        assert found.tables[section] == read.tables[section], section
    assert sorted(found.pictures["set-aside"]) == sorted(read.pictures["set-aside"])
