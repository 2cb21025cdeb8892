"""Groups that the user gives, by folder, name or table: they never part, in splits, folds and proofs alike."""

import json
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

import florilegium as fl
from curate.catalog import Catalog
from curate.catalog.searches import recall_search
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.lookalikes.method import search_method
from curate.scan import scan
from curate.split import split
from curate.splitting.bonds import RECORD, read_bonds
from curate.splitting.group_by import group_pictures
from curate.splitting.picture_table import read_picture_table
from curate.verify import verify
from tests.commanding import command
from tests.pictures import encoded_field, field, placed, write

RATIO = (0.5, 0.25, 0.25)


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Two classes, each of ten patients: five have four views in a folder, five six tiles by name. All look unlike."""
    number = 0
    for label in ("benign", "malignant"):
        for patient in range(5):
            for view in range(4):
                name = f"patient{label[0]}{patient}/view{view}.jpg"
                write(tmp_path / "slides" / "raw" / label / name, encoded_field(field(number)))
                number += 1
            for tile in range(6):
                name = f"slide{label[0]}{patient}_tile{tile}.jpg"
                write(tmp_path / "slides" / "raw" / label / name, encoded_field(field(number)))
                number += 1
    return tmp_path / "slides"


def homes(root: Path, kind: str) -> dict[str, set[str]]:
    """Patient or slide → the splits that its pictures lie in."""
    found = defaultdict(set)
    for name, to in placed(root).items():
        group = name.split("/")[1].split("_")[0]
        if group.startswith(kind):
            found[group].add(to)
    return found


def parted(root: Path, kind: str) -> list[str]:
    return [group for group, splits in homes(root, kind).items() if len(splits) > 1]


def table(file: Path, *rows: str) -> Path:
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file


def names(root: Path, setting: str) -> dict[str, str]:
    """The group of each picture by its path below raw/."""
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        scan(dataset, catalog)
        pictures = read_picture_table(dataset, catalog)
    groups = group_pictures(setting, dataset, pictures).names
    return {path.removeprefix("raw/"): name for path, name in zip(pictures.paths, groups, strict=True)}


def test_without_groups_they_part(slides: Path) -> None:
    """What the other tests build on: nothing in the pixels holds them together."""
    split(slides, ratio=RATIO)
    assert parted(slides, "patient")
    assert parted(slides, "slide")


def test_subfolders_never_part(slides: Path) -> None:
    report = split(slides, ratio=RATIO, group_by="parent")
    assert len(homes(slides, "patient")) == 10
    assert parted(slides, "patient") == []
    assert {to for splits in homes(slides, "patient").values() for to in splits} == {"train", "valid", "test"}
    assert report.proof.groups == 0
    assert len(report.ungrouped) == 60
    assert report.ungrouped[0] == "raw/benign/slideb0_tile0.jpg"
    assert parted(slides, "slide")  # they are in no group


@pytest.mark.parametrize(
    ("pattern", "group"),
    [("(slide..)_", "slideb0"), ("slide..", "slideb0"), ("^slide(..)_tile([0-9])", "b0"), ("s(l)ide", "l")],
)
def test_an_expression_is_searched_in_the_path_and_its_first_group_is_the_name(
    slides: Path, pattern: str, group: str
) -> None:
    found = names(slides, pattern)
    assert found["benign/slideb0_tile3.jpg"] == group
    assert found["benign/patientb0/view1.jpg"] == ""


def test_names_that_an_expression_matches_never_part(slides: Path) -> None:
    report = split(slides, ratio=RATIO, group_by=r"(slide..)_|patient(..)/")
    assert len(report.ungrouped) == 40  # the first group is empty where the second one matched
    assert parted(slides, "slide") == []
    split(slides, ratio=RATIO, group_by="(?:slide|patient)..")
    assert parted(slides, "slide") == parted(slides, "patient") == []


def test_an_expression_is_not_matched_with_the_class(slides: Path) -> None:
    with pytest.raises(UserError, match="puts none of the 100 pictures"):
        split(slides, group_by="(benign)")


def test_one_name_is_one_group_under_every_class(slides: Path) -> None:
    split(slides, ratio=RATIO, group_by="patient.([0-9])/")
    lie: dict[object, set[str]] = defaultdict(set)
    for group, splits in homes(slides, "patient").items():
        lie[group[-1]] |= splits
    assert all(len(splits) == 1 for splits in lie.values())


@pytest.mark.parametrize(
    ("opening", "setting", "row"),
    [
        ("path,patient", "", "raw/{label}/{name}"),
        ("patient,path", "", "{label}/{name}"),
        ("File,site,patient", ":patient", "{name}"),
        ("filename;patient", "", "/data/elsewhere/{label}/{name}"),
        ("\ufefffilename\tpatient", ":patient", ".\\{label}\\{name}"),
    ],
)
def test_a_table_may_name_pictures_in_any_way_that_is_their_own(
    slides: Path, tmp_path: Path, opening: str, setting: str, row: str
) -> None:
    delimiter = next(sign for sign in ",;\t" if sign in opening)
    columns = opening.lower().removeprefix("\ufeff").split(delimiter)
    rows = []
    for label in ("benign", "malignant"):
        for slide in range(5):
            for tile in range(6):
                name = f"slide{label[0]}{slide}_tile{tile}.jpg"
                values = {"patient": f"{label} {slide // 2}", "site": "here"}
                path = row.format(label=label, name=name)
                rows.append(delimiter.join(values.get(column, path) for column in columns))
    file = table(tmp_path / "patients.csv", opening, *rows)
    report = split(slides, ratio=RATIO, group_by=f"{file}{setting}")
    lie: dict[object, set[str]] = defaultdict(set)
    for group, splits in homes(slides, "slide").items():
        lie[group[5], int(group[6]) // 2] |= splits
    assert len(lie) == 6
    assert all(len(splits) == 1 for splits in lie.values())
    assert (report.proof.groups, len(report.ungrouped)) == (0, 40)


def test_a_table_that_means_several_pictures_or_two_groups_is_refused(slides: Path, tmp_path: Path) -> None:
    for label in ("benign", "malignant"):
        write(slides / "raw" / label / "0.jpg", encoded_field(field(500 + len(label))))
    two = table(tmp_path / "a.csv", "path,patient", "0.jpg,anna")
    with pytest.raises(
        UserError, match=r"names '0.jpg', which 2 pictures .* give so much of their paths as tells them apart"
    ):
        split(slides, group_by=str(two))
    named = table(tmp_path / "b.csv", "path,patient", "benign/0.jpg,anna", "malignant/0.jpg,berta")
    assert names(slides, str(named))["malignant/0.jpg"] == "berta"
    other = table(tmp_path / "c.csv", "path,patient", "elsewhere/slideb0_tile0.jpg,anna", "benign/0.jpg,anna")
    assert names(slides, str(other))["benign/slideb0_tile0.jpg"] == ""  # of a class that is not there
    both = table(tmp_path / "d.csv", "path,patient", "benign/0.jpg,anna", "raw/benign/0.jpg,berta")
    with pytest.raises(UserError, match=r"puts raw/benign/0.jpg into two groups, 'anna' and 'berta'"):
        split(slides, group_by=str(both))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("(", "is no regular expression"),
        ("nothing like it", "puts none of the 100 pictures .* raw/benign/patientb0/view0.jpg"),
        ("", "--group-by is empty"),
        ("nowhere.csv", "nowhere.csv cannot be read"),
        ("{folder}/empty.csv", "has no column `path`, `file` or `filename` among none"),
        ("{folder}/unnamed.csv", "has no column `path`, `file` or `filename` among picture, patient"),
        ("{folder}/alone.csv", "has no column of groups; its others are: none"),
        ("{folder}/good.csv:doctor", "has no column 'doctor' of groups; its others are: patient, site"),
        ("{folder}/good.csv:path", "has no column 'path' of groups"),
        ("{folder}/good.csv", "puts none of the 100 pictures"),
        ("{folder}/latin.csv", "is no text in UTF-8"),
        ("{folder}/quote.csv", "is no CSV"),
    ],
)
def test_what_cannot_be_grouped_is_said(slides: Path, tmp_path: Path, setting: str, words: str) -> None:
    table(tmp_path / "empty.csv")
    table(tmp_path / "unnamed.csv", "picture,patient", "a.jpg,1")
    table(tmp_path / "alone.csv", "path", "a.jpg")
    table(tmp_path / "good.csv", "path,patient,site", "a.jpg,1,here")
    (tmp_path / "latin.csv").write_bytes("path,patient\na.jpg,Zoë\n".encode("latin-1"))
    table(tmp_path / "quote.csv", "path,patient", 'a.jpg,"1"2')
    with pytest.raises(UserError, match=words):
        split(slides, group_by=setting.format(folder=tmp_path))
    assert placed(slides) == {}


def test_groups_join_with_what_the_pixels_hold_together(slides: Path) -> None:
    """A recompressed copy of a picture of one patient, in another's folder, joins the two patients."""
    write(slides / "raw" / "benign" / "patientb1" / "again.jpg", encoded_field(field(0), 60))
    split(slides, ratio=RATIO, group_by="parent")
    assert homes(slides, "patientb0") == {"patientb0": next(iter(homes(slides, "patientb1").values()))}
    assert parted(slides, "patient") == []


def test_a_split_by_groups_is_remembered_and_another_grouping_is_another_split(slides: Path) -> None:
    split(slides, ratio=RATIO)
    alone = placed(slides)
    split(slides, ratio=RATIO, group_by="parent")
    grouped = placed(slides)
    assert grouped != alone
    for view in range(4, 9):
        for patient in ("patientb0", "patientb1", "patientb2", "patientb7"):
            write(
                slides / "raw" / "benign" / patient / f"view{view}.jpg",
                encoded_field(field(1000 + 10 * view + int(patient[-1]))),
            )
    report = split(slides, ratio=RATIO, group_by="parent")
    after = placed(slides)
    assert {name: after[name] for name in grouped} == grouped
    assert (report.new, parted(slides, "patient")) == (20, [])
    back = split(slides, ratio=RATIO)
    assert {name: placed(slides)[name] for name in alone} == alone
    assert back.grouped_before == "parent"
    assert split(slides, ratio=RATIO).grouped_before == ""


def test_a_table_that_was_moved_and_has_grown_is_the_same_grouping(slides: Path, tmp_path: Path) -> None:
    rows = [f"slideb{slide}_tile{tile}.jpg,{slide}" for slide in range(5) for tile in range(6)]
    split(slides, ratio=RATIO, group_by=str(table(tmp_path / "patients.csv", "file,patient", *rows)))
    before = placed(slides)
    (tmp_path / "moved").mkdir()
    rows += [f"slidem{slide}_tile{tile}.jpg,{slide}" for slide in range(5, 7) for tile in range(6)]
    for tile in range(6):
        write(slides / "raw" / "malignant" / f"slidem5_tile{tile}.jpg", encoded_field(field(900 + tile)))
    report = split(slides, ratio=RATIO, group_by=str(table(tmp_path / "moved" / "patients.csv", "file,patient", *rows)))
    assert (report.kept, report.new, report.held_back) == (100, 6, [])
    assert {name: placed(slides)[name] for name in before} == before
    assert parted(slides, "slidem5") == []


@pytest.mark.thorough
@pytest.mark.parametrize("elsewhere", [False, True])
def test_verify_proves_the_groups_again_without_the_table_and_without_the_catalog(
    slides: Path, tmp_path: Path, elsewhere: bool
) -> None:
    out = tmp_path / "out" if elsewhere else slides
    rows = [f"slideb{slide}_tile{tile}.jpg,{slide}" for slide in range(5) for tile in range(6)]
    file = table(tmp_path / "patients.csv", "file,patient", *rows)
    split(slides, out=tmp_path / "out" if elsewhere else None, ratio=RATIO, group_by=str(file), mode="copy")
    file.unlink()
    (proof,) = verify(slides).splits
    assert (proof.group_by, proof.count("group")) == (str(file), 0)
    moved = next((out / "train").rglob("slideb*.jpg"))
    target = out / "test" / moved.parent.name / moved.name
    target.parent.mkdir(parents=True, exist_ok=True)
    moved.rename(target)
    (proof,) = verify(slides).splits
    assert proof.leaks
    assert {leak.kind for leak in proof.leaks} == {"group"}
    (slides / "catalog.sqlite").unlink()
    if elsewhere:  # it is a dataset of its own
        slides = out
    assert verify(slides).splits[0].count("group") == len(proof.leaks)


def test_the_command_says_what_is_in_no_group_and_proves_the_groups(slides: Path) -> None:
    done = command("split", slides, "--group-by", "parent", "--ratio", ".5,.25,.25")
    assert done.code == 0
    assert "In no group, and so drawn alone: 60 pictures, such as raw/benign/slideb0_tile0.jpg." in done.out
    assert "of one group 0." in done.out
    assert "of one group 0." in command("verify", slides).out
    again = command("split", slides)
    assert "of one group" not in again.out
    assert "for the same, give --group-by parent." in again.out
    assert "hold 10 subfolders, whose pictures may part" in again.out
    assert "subfolders" not in done.out
    assert not (slides / RECORD).exists()
    assert "nothing like it" in command("split", slides, "--group-by", "nothing like it").sentence


def test_the_api_takes_the_same_words(slides: Path, tmp_path: Path) -> None:
    rows = [f"slideb{slide}_tile{tile}.jpg,{slide}" for slide in range(5) for tile in range(6)]
    file = table(tmp_path / "patients.csv", "file,patient", *rows)
    garden = fl.open(slides)
    report = garden.split(group_by=file, bind="copies", radius=4)
    assert (report.group_by, report.bind, report.proof.groups) == (str(file), "copies", 0)
    with Catalog.open(open_dataset(slides).catalog_path) as catalog:
        assert recall_search(catalog, 4, search_method()) is not None
        assert recall_search(catalog, 8, search_method()) is None
    assert command("split", slides, "--radius", 6, "--dry-run").code == 0
    with pytest.raises(UserError, match="radius 13 cannot be used"):
        garden.split(radius=13)
    with pytest.raises(UserError, match="'all' cannot be bound: choose among copies, near"):
        garden.split(bind="all")  # type: ignore[arg-type]


def test_an_interrupted_split_is_finished_by_the_same_groups(slides: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("curate.split.materialize", stop)
    with pytest.raises(KeyboardInterrupt):
        split(slides, group_by="(slide..)_", radius=4, bind="copies")
    mark = json.loads((slides / ".florilegium.split").read_text())
    assert mark["whole"] is False
    assert mark["command"].endswith("--radius 4 --bind copies --group-by '(slide..)_'")


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "[]",
        '{"bind": "near", "group_by": "x"}',
        '{"bind": "all", "group_by": "x", "groups": {}}',
        '{"bind": "near", "group_by": "x", "groups": {"1": [2]}}',
        '{"bind": "near", "group_by": "x", "groups": {"1": "ab"}}',
        '{"bind": "near", "group_by": "x", "groups": {"1": ["ä"]}}',
        '{"bind": "near", "group_by": "x", "groups": {}, "scenes": {}}',
        '{"bind": "near", "group_by": "x", "groups": {}, "scenes": [["a"]]}',
        '{"bind": "near", "group_by": "x", "groups": {}, "scenes": [["a", 2]]}',
        '{"bind": "near", "group_by": "x", "groups": {}, "more": []}',
        "[" * 100_000,
    ],
)
def test_a_record_that_is_not_ours_is_said(slides: Path, text: str) -> None:
    (slides / RECORD).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"{RECORD} .*remove it, and run `split` again"):
        read_bonds(slides)


def test_a_split_that_was_copied_elsewhere_brings_its_groups(slides: Path, tmp_path: Path) -> None:
    split(slides, out=tmp_path / "out", ratio=RATIO, group_by="parent", bind="copies")
    moved = shutil.copytree(tmp_path / "out", tmp_path / "another disk")
    bonds = read_bonds(moved)
    assert (bonds.bind, bonds.group_by, len(bonds.groups)) == ("copies", "parent", 10)


def test_the_heading_alone_says_what_parts_the_columns(slides: Path, tmp_path: Path) -> None:
    """Names of groups may be full of what parts the columns of other tables."""
    file = table(tmp_path / "odd.csv", "path,patient,site", "benign/slideb0_tile0.jpg,a;b;c;d,x;y;z", "n.jpg,1;2;3;4,z")
    assert names(slides, str(file))["benign/slideb0_tile0.jpg"] == "a;b;c;d"


def test_the_first_column_of_groups_is_taken_where_none_is_named(slides: Path, tmp_path: Path) -> None:
    file = table(tmp_path / "two.csv", "patient,path,site", "anna,benign/slideb0_tile0.jpg,here")
    assert names(slides, str(file))["benign/slideb0_tile0.jpg"] == "anna"
    assert names(slides, f"{file}:site")["benign/slideb0_tile0.jpg"] == "here"
