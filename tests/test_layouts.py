"""The layouts that people have, and what is made of each: the table in docs/data.md, row by row."""

import os
import shutil
from pathlib import Path

import pytest

import curate.label
from commands.dataset_reports import layout_in_words
from curate.dataset import SPLITS, open_dataset
from curate.errors import UserError
from curate.label import label
from curate.labelling.label_sources import label_by_name
from curate.split_names import split_named
from tests.commanding import command
from tests.pictures import draw
from tests.public_layouts import LAYOUTS, PublicLayout

DOCS = Path(__file__).resolve().parent.parent / "docs" / "data.md"


def made_of(root: Path) -> str:
    """What is made of a folder, in the words of the table."""
    dataset = open_dataset(root)
    said = []
    for split in (None, *SPLITS):
        folders = [folder for folder in dataset.folders() if folder.split == split]
        named = [folder.label for folder in folders if folder.label and dataset.files_in(folder)]
        unlabelled = sum(len(dataset.files_in(folder)) for folder in folders if not folder.label)
        if named:
            said.append(f"{split or 'in no split'}: {', '.join(named)}")
        if unlabelled:
            said.append(f"{split} without labels: {unlabelled}")
    line = layout_in_words(root)
    if dataset.root.parts != root.parts and "--label-from" not in line:
        said.append(f"taken: {dataset.root.relative_to(root).as_posix()}/")
        assert f"{dataset.root.relative_to(root).as_posix()}/ as the dataset" in line
    if "passed over: " in line:
        passed = line.split("passed over: ")[1].rstrip(".").split(", ")
        said.append(f"passed over: {', '.join(one.split(' (')[0] for one in passed)}")
    if "if those are the classes" in line:
        said.append("in doubt")
    return "; ".join(said)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_what_is_made_of_a_public_dataset(layout: PublicLayout, tmp_path: Path) -> None:
    root = layout.lay_out(tmp_path / "data")
    if layout.label_from:
        label(root, layout.label_from)
    assert made_of(root) == layout.made
    assert all((root / picture).is_file() for picture in layout.pictures)  # nothing of the user's was moved


def test_the_table_in_the_documentation_is_these_rows() -> None:
    table = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    rows = [layout.row for layout in LAYOUTS]
    assert [line for line in table if line in rows] == rows
    assert len(rows) >= 25


@pytest.mark.parametrize(
    ("names", "split"),
    [
        ("train Train TRAIN training Training seg_train train_set training_set train_images train2017", "train"),
        ("val valid validation VALIDATION dev eval evaluation val_data seg_val val2017", "valid"),
        ("test Test testing Testing seg_test test_set test1 test-images tests holdout hold-out HeldOut", "test"),
        ("pred seg_pred trainer retrain testament rose dev-null evaluate train-and-test raw contest tr te", None),
    ],
)
def test_the_names_of_splits(names: str, split: str | None) -> None:
    assert {name: split_named(name) for name in names.split()} == dict.fromkeys(names.split(), split)


def make(root: Path, *files: str) -> Path:
    for seed, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(draw(seed, (40, 30)))
    return root


def test_train_and_valid_in_one_are_not_taken_twice(tmp_path: Path) -> None:
    root = labelled_splits(tmp_path, "train", "val", "trainval", "test")
    assert made_of(root) == "train: cat, dog; valid: cat, dog; test: cat, dog; passed over: trainval/"


def test_a_class_may_have_a_split_s_name_in_a_dress(tmp_path: Path) -> None:
    """`test1` beside `control` is a group of an experiment, and not the test split."""
    root = make(tmp_path, "control/mouse1/a.jpg", "control/mouse2/b.jpg", "test1/mouse3/c.jpg", "test1/mouse4/d.jpg")
    assert made_of(root) == "in no split: control, test1"


def labelled_splits(root: Path, *folders: str) -> Path:
    """Each folder with the class folders cat and dog."""
    return make(root, *(f"{folder}/{label}/{at}.jpg" for at, folder in enumerate(folders) for label in ("cat", "dog")))


@pytest.mark.parametrize(
    "names",
    [
        "flowers-train flowers-valid flowers-test", "01_train 02_val 03_test", "my_train my_val my_test",
        "data_train data_test", "images_train images_val images_test", "x_train x_valid x_test", "train.v1 test.v1",
        "train-v2 valid-v2 test-v2", "tr va te", "trn vld tst", "train_(1) test", "Train-Copy Test-Copy",
        "flowersTrain flowersVal flowersTest", "train-of-2024 test-of-2024", "train holdout", "train held-out",
        "train tests", "train my_test", "train val flowers-test", "train images_test", "my_train test",
        "my_train valid flowers-test", "trainval test", "train_final val_final test_final",
    ],
)  # fmt: skip
def test_splits_are_known_by_their_names_together(tmp_path: Path, names: str) -> None:
    root = labelled_splits(tmp_path, *names.split())
    wanted = SPLITS if len(names.split()) == 3 else ("train", "test")
    assert made_of(root) == "; ".join(f"{split}: cat, dog" for split in wanted)
    line = layout_in_words(root)
    strange = (pair for pair in zip(names.split(), wanted, strict=True) if pair[0] != pair[1])
    assert all(f"{name}/ as {split}" in line for name, split in strange)


@pytest.mark.parametrize(
    ("files", "classes"),
    [
        (("steam train/1.jpg", "test tube/2.jpg"), "steam train, test tube"),
        (("model_train/1.jpg", "model_test/2.jpg"), "model_test, model_train"),
        (("steam train/a/1.jpg", "steam train/b/2.jpg", "crash test/a/3.jpg"), "crash test, steam train"),
        (("tr/anna/1.jpg", "te/anna/2.jpg", "fr/anna/3.jpg"), "fr, te, tr"),
        (("bullet_train/1.jpg", "steam_train/2.jpg", "crash_test/3.jpg"), "bullet_train, crash_test, steam_train"),
        (("cat/train/1.jpg", "cat/test/2.jpg", "dog/3.jpg"), "cat, dog"),
    ],
)
def test_classes_may_be_called_like_splits(tmp_path: Path, files: tuple[str, ...], classes: str) -> None:
    assert made_of(make(tmp_path, *files)) == f"in no split: {classes}"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (("my_train/1.jpg", "my_test/2.jpg"), "my_test and my_train are classes, though their names are those of"),
        (("cat/train/1.jpg", "cat/test/2.jpg", "dog/3.jpg"), "cat/ is one class, with the pictures of test/ and"),
        (("train/cat/1.jpg", "train/dog/2.jpg", "exam/cat/3.jpg"), "exam/ holds class folders of the same names as"),
        (("amazon/train/mug/1.jpg", "amazon/train/pen/2.jpg", "amazon/test/mug/3.jpg", "webcam/train/mug/4.jpg",
          "webcam/train/pen/5.jpg", "webcam/test/pen/6.jpg"), "if those are the classes, give one of them, such as"),
        (("Rose/1.jpg", "rose/2.jpg"), "Rose/ and rose/ are two classes: if they are one, give them the same name"),
    ],
)  # fmt: skip
def test_what_else_the_folders_may_be_is_said(tmp_path: Path, files: tuple[str, ...], sentence: str) -> None:
    assert sentence in layout_in_words(make(tmp_path, *files))


@pytest.mark.thorough
@pytest.mark.parametrize("pattern", ["{label}/{split}", "{split}_{label}", "{label} ({split})", "{split}{label}"])
def test_a_folder_of_one_class_and_one_split_keeps_its_own_test(tmp_path: Path, pattern: str) -> None:
    """All the way: its test is test, its train is learnt from, and what is merged and restored lies where it should."""
    labels = ("A", "B")
    for at, (split, count) in enumerate((("train", 9), ("test", 3))):
        for number, name in enumerate(labels):
            for nth in range(count):
                file = tmp_path / "data" / pattern.format(label=name, split=split) / f"{split}{nth}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(draw(1000 * at + 100 * number + nth))
    root = tmp_path / "data"
    assert made_of(root) == "train: A, B; test: A, B"
    told = [f"{pattern.format(label=name, split='test')}/" for name in labels]
    assert f"{' and '.join(told)} as test of A and B" in layout_in_words(root)
    done = command("split", root)
    assert done.code == 0, done
    out = tmp_path / "data_split"
    assert {path.name[:4] for path in (out / "test").rglob("*.jpg")} == {"test"}
    assert {path.name[:5] for split in ("train", "valid") for path in (out / split).rglob("*.jpg")} == {"train"}
    assert command("verify", root).code == 0
    before = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
    merged = command("clean", root, "--merge", "B=A", "--yes")
    assert merged.code == 0, merged
    assert len(list((root / pattern.format(label="A", split="test")).glob("*.jpg"))) == 6
    back = command("restore", root, "--class", "B")
    assert back.code == 0, back
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg")) == before


def test_what_is_passed_over_is_said(tmp_path: Path) -> None:
    root = make(
        tmp_path, "train/a/1.jpg", "train/b/2.jpg", "train/3.jpg", "extra/c/4.jpg", "5.jpg", "quarantine/x/6.jpg"
    )
    assert layout_in_words(root) == (
        "passed over: extra/ (no split by its name), 1 picture in the root (in no class folder), 1 picture in train/ "
        "(in no class folder)."
    )


def test_a_plain_layout_needs_no_words(tmp_path: Path) -> None:
    assert layout_in_words(make(tmp_path / "a", "train/x/1.jpg", "valid/x/2.jpg", "raw/x/3.jpg")) == ""
    assert layout_in_words(make(tmp_path / "b", "x/1.jpg", "y/2.jpg")) == ""


def test_pictures_without_labels_are_asked_about(tmp_path: Path) -> None:
    root = make(tmp_path / "my cats", "train/cat.0.jpg", "train/dog.0.jpg", "test/1.jpg")
    with pytest.raises(UserError, match=r"nobody has said .* split '?.*my cats'? --label-from name`"):
        open_dataset(root)
    with pytest.raises(UserError, match="holds no class folders, and nobody has said"):
        open_dataset(make(tmp_path / "bare", "cat.0.jpg", "dog.0.jpg"))


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("cat.0.jpg", "cat"), ("Abyssinian_100.jpg", "Abyssinian"), ("great_pyrenees_12.jpg", "great_pyrenees"),
        ("rose001.png", "rose"), ("0001_frog.png", "frog"), ("dog (12).jpg", "dog"), ("n02085620_7.JPEG", "n02085620"),
        ("model3_12.jpg", "model3"), ("7.jpg", ""), ("train/sub/oak 3.jpg", "oak"), ("Рожа_4.jpg", "Рожа"),
    ],
)  # fmt: skip
def test_the_label_in_a_name(file: str, expected: str) -> None:
    assert label_by_name(file) == expected


def test_names_that_say_nothing_are_refused(tmp_path: Path) -> None:
    root = make(tmp_path / "data", *(f"{word}.jpg" for word in ("oak", "elm", "fir", "ash")))
    with pytest.raises(UserError, match="say no classes: they give 4 labels for 4 pictures"):
        label(root, "name")
    assert not (tmp_path / "data_labelled").exists()


@pytest.mark.parametrize(
    ("source", "table", "sentence"),
    [
        ("colour", "", "is no source of labels: give name, parent, or a table"),
        ("gone.csv", "", "cannot be read"),
        ("t.csv", "id,label\nx,1\n", "names none of the pictures"),
        ("t.csv:shape", "id,label\na1,1\n", "has no column 'shape' of labels; its others are: label"),
        ("t.csv", "id,p,q\na1,1,2\nb1,3,4\n", "several columns that may be the labels, p, q: name one"),
        ("t.csv", "id,label\na1,1\na1,2\n", "gives .* two labels"),
        ("t.csv", "id,label\na1,1\nb1,1\n", "fewer than two labels"),
    ],
)
def test_a_source_that_cannot_be_used_is_told(tmp_path: Path, source: str, table: str, sentence: str) -> None:
    root = make(tmp_path / "data", "a1.jpg", "b1.jpg")
    if table:
        (root / "t.csv").write_text(table)
    with pytest.raises(UserError, match=sentence):
        label(root, source)


def told_by(root: Path, table: str, source: str = "labels.csv") -> tuple[dict[str, str], str]:
    """What a table makes of a folder's pictures (name → place), and what is said of it."""
    (root / "labels.csv").write_text(table)
    found = label(root, source)
    places = {path.name: path.parent.relative_to(found.out).as_posix() for path in found.out.rglob("*.jpg")}
    return places, "\n".join(found.notes)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("split", ("train", "val", "test")), ("Set", ("Training", "Validation", "Testing")),
        ("partition", ("0", "1", "2")), ("usage", ("trn", "vld", "tst")), ("part of it", ("train", "dev", "holdout")),
    ],
)  # fmt: skip
def test_the_splits_that_a_table_says_are_kept(tmp_path: Path, head: str, words: tuple[str, ...]) -> None:
    root = make(tmp_path / "data", *(f"imgs/{label}{at}.jpg" for label in "cd" for at in range(4)))
    splits = (words[0], words[0], words[1], words[2])
    rows = [f"{label}{at}.jpg,{split},{label}at" for label in "cd" for at, split in enumerate(splits)]
    places, said = told_by(root, f"image,{head},label\n" + "\n".join(rows) + "\n")
    expected = ("train", "train", "valid", "test")
    assert places == {f"{label}{at}.jpg": f"{expected[at]}/{label}at" for label in "cd" for at in range(4)}
    assert f"the splits are those of its column {head}" in said


@pytest.mark.parametrize(
    ("head", "false", "true"),
    [("is_valid", "train", "valid"), ("is_test", "train", "test"), ("is_train", "test", "train")],
)
def test_a_column_of_yes_and_no_may_say_the_split(tmp_path: Path, head: str, false: str, true: str) -> None:
    root = make(tmp_path / "data", *(f"{label}{at}.jpg" for label in "cd" for at in range(2)))
    rows = [f"{label}{at}.jpg,{label}at,{bool(at)}" for label in "cd" for at in range(2)]
    places, _ = told_by(root, f"name,label,{head}\n" + "\n".join(rows) + "\n")
    kept = {"train": "train", "valid": "valid", "test": "test"}
    assert places == {
        f"{label}{at}.jpg": f"{kept[true if at else false]}/{label}at" for label in "cd" for at in range(2)
    }


def test_a_column_of_splits_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    root = make(tmp_path / "data", "c1.jpg", "d1.jpg")
    places, said = told_by(root, "image,label,split\nc1.jpg,cat,0\nd1.jpg,dog,1\n")
    assert set(places.values()) == {"raw/cat", "raw/dog"}
    assert "its column split says 0, 1, which is no split: write train, valid or test" in said


@pytest.mark.parametrize(("no", "yes"), [("0", "1"), ("0.0", "1.0"), ("False", "True"), ("", "1")])
def test_a_table_with_a_column_for_each_class(tmp_path: Path, no: str, yes: str) -> None:
    root = make(tmp_path / "data", *(f"{name}.jpg" for name in ("c1", "c2", "d1", "d2", "b1", "both", "none")))
    truths = {"c1": "cat", "c2": "cat", "d1": "dog", "d2": "dog", "b1": "bird", "both": "cat dog", "none": ""}
    rows = [
        ",".join([name, *(yes if label in said else no for label in ("cat", "dog", "bird"))])
        for name, said in truths.items()
    ]
    places, said = told_by(root, "image,cat,dog,bird\n" + "\n".join(rows) + "\n")
    assert places == {f"{name}.jpg": f"raw/{truths[name]}" for name in ("c1", "c2", "d1", "d2", "b1")}
    assert "1 row of several classes, such as both" in said
    assert "1 row of no class, such as none" in said


def test_a_column_for_each_class_and_one_of_splits(tmp_path: Path) -> None:
    root = make(tmp_path / "data", "c1.jpg", "c2.jpg", "d1.jpg", "d2.jpg")
    table = "image,cat,dog,is_valid\nc1,1,0,0\nc2,1,0,1\nd1,0,1,0\nd2,0,1,1\n"
    assert told_by(root, table)[0] == {
        "c1.jpg": "train/cat", "c2.jpg": "valid/cat", "d1.jpg": "train/dog", "d2.jpg": "valid/dog"
    }  # fmt: skip


def test_a_table_of_several_labels_a_picture_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path / "data", "a.jpg", "b.jpg", "c.jpg")
    (root / "t.csv").write_text("image,beach,sea,sky\na,1,1,1\nb,1,1,0\nc,1,0,0\n")
    with pytest.raises(UserError, match=r"only 1 of its 3 rows say one class \(2 say several\)"):
        label(root, "t.csv")


@pytest.mark.parametrize("source", ["name", "parent", "t.csv"])
def test_labels_that_differ_in_case_alone_are_one_class(tmp_path: Path, source: str) -> None:
    names = {"a/Cat": ("Cat-1", "Cat-2"), "b/cat": ("cat-3", "cat-4", "cat-5"), "dog": ("dog-1", "dog-2")}
    root = make(tmp_path / "data", *(f"{folder}/{name}.jpg" for folder, files in names.items() for name in files))
    (root / "t.csv").write_text("\n".join(f"{name},{name[:3]}" for files in names.values() for name in files))
    found = label(root, source)
    assert found.counts == {"cat": 5, "dog": 2}
    assert found.notes == ["Taken for one class, cat: cat (3), Cat (2)."]


def test_letters_of_either_case_stay_two_labels(tmp_path: Path) -> None:
    root = make(tmp_path / "data", *(f"{letter}_{at}.jpg" for at, letter in enumerate("aaAA")))
    assert label(root, "name").counts == {"A": 2, "a": 2}


def test_a_test_one_folder_further_down_is_kept(tmp_path: Path) -> None:
    root = make(tmp_path / "data", *(f"all/{split}/{name}.jpg" for split, name in (
        ("my_train", "cat.1"), ("my_train", "dog.1"), ("my_test", "cat.2"), ("my_test", "dog.2")
    )))  # fmt: skip
    out = label(root, "name").out
    assert made_of(out) == "train: cat, dog; test: cat, dog"


def test_what_was_once_placed_is_not_placed_again(tmp_path: Path) -> None:
    """`clean` may have set it aside; new pictures come in."""
    root = make(tmp_path / "data", "cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg")
    out = label(root, "name").out
    (out / "raw/cat/cat.1.jpg").unlink()
    (root / "dog.2.jpg").write_bytes(draw(99))
    assert label(root, "name").placed == 1
    assert sorted(path.name for path in (out / "raw").rglob("*.jpg")) == [
        "cat.0.jpg",
        "dog.0.jpg",
        "dog.1.jpg",
        "dog.2.jpg",
    ]
    with pytest.raises(UserError, match="by --label-from name: give the same"):
        label(root, "parent")


def test_a_run_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path / "data", "cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg")
    put, done = curate.label.put_in_place, list[Path]()

    def killed_at_the_third(source: Path, target: Path) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        put(source, target)
        done.append(target)

    with monkeypatch.context() as patched:
        patched.setattr("curate.label.put_in_place", killed_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            label(root, "name")
    assert label(root, "name").placed == 4
    assert len(list((tmp_path / "data_labelled").rglob("*.jpg"))) == 4
    other = tmp_path / "other"
    make(other, "cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg")
    make(tmp_path / "other_labelled", "mine.jpg")
    with pytest.raises(UserError, match="holds other files: move it away"):
        label(other, "name")


def test_a_labelled_folder_that_was_copied_is_nobody_else_s(tmp_path: Path) -> None:
    root = make(tmp_path / "data", "cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg")
    label(root, "name")
    shutil.copytree(tmp_path / "data_labelled", tmp_path / "other_labelled")
    make(tmp_path / "other", "a/1.jpg", "b/2.jpg")
    assert open_dataset(tmp_path / "other").labels() == ["a", "b"]


def test_copies_of_a_test_set_without_labels_are_found(tmp_path: Path) -> None:
    """The pictures that are to be predicted must not be learnt from, and none of them leaves."""
    root = make(tmp_path, *(f"train/{label}/{at}.jpg" for label in ("nok", "ok") for at in range(6)))
    make(root / "test", "unused.jpg")
    (root / "test/unused.jpg").write_bytes(draw(77))
    (root / "test/copy.jpg").write_bytes((root / "train/nok/3.jpg").read_bytes())
    (root / "test/again.jpg").write_bytes((root / "test/copy.jpg").read_bytes())
    (root / "test/broken.jpg").write_bytes(draw(78)[:300])
    planned = command("clean", root, "--dry-run")
    assert "Taken: train/ as train, test/ as test without labels." in planned.out
    assert "Leak across the split: train/nok/3.jpg is the same picture as test/" in planned.out
    assert "two labels" not in planned.out
    split = command("split", root)
    assert split.code == 0, split
    assert "train/nok/3.jpg is the same picture as test/" in split.out
    out = root.with_name(f"{root.name}_split")
    assert not (out / "train/nok/3.jpg").exists()
    assert not any((out / "test").glob("*.jpg"))
    command("clean", root, "--yes")
    assert not (root / "train/nok/3.jpg").exists()
    assert len(os.listdir(root / "test")) == 4  # noqa: PTH208
