"""Which files of a folder are pictures of which class: every layout, and every folder that cannot be one."""

import os
import random
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.dataset import Dataset, PictureFile, natural_key, open_dataset
from curate.errors import UserError
from tests.commanding import command
from tests.conftest import Nest
from tests.pictures import encoded_field, field, placed, write


def make(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    return root


def listed(dataset: Dataset) -> list[tuple[str, str, str | None]]:
    return [(file.path, file.label, file.split) for file in dataset.files()]


# -- layouts


def test_flat(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path / "flowers", "rose/a.jpg", "lily/b.jpg"))
    assert dataset.layout == "flat"
    assert listed(dataset) == [("lily/b.jpg", "lily", None), ("rose/a.jpg", "rose", None)]
    # Nothing of ours lies where ImageFolder would take it for a class.
    assert dataset.home == tmp_path / "flowers.florilegium"
    assert dataset.catalog_path == tmp_path / "flowers.florilegium" / "catalog.sqlite"


def test_raw(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path, "raw/1/a.jpg", "quarantine/broken/1/x.jpg", "notes/y.jpg"))
    assert (dataset.layout, dataset.home) == ("raw", tmp_path)
    assert listed(dataset) == [("raw/1/a.jpg", "1", None)]
    assert dataset.quarantine == tmp_path / "quarantine"


SPLIT_WITH_RAW = ("test/1/d.jpg", "valid/1/c.jpg", "train/1/b.jpg", "raw/1/a.jpg", "quarantine/broken/1/x.jpg")


def test_split_with_raw_beside_it(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path, *SPLIT_WITH_RAW))
    assert (dataset.layout, dataset.home) == ("split", tmp_path)
    assert listed(dataset) == [
        ("raw/1/a.jpg", "1", None),
        ("train/1/b.jpg", "1", "train"),
        ("valid/1/c.jpg", "1", "valid"),
        ("test/1/d.jpg", "1", "test"),
    ]


@pytest.mark.parametrize("name", ["valid", "val", "validation", "Valid", "VAL"])
def test_other_names_of_valid(tmp_path: Path, name: str) -> None:
    dataset = open_dataset(make(tmp_path, "Train/1/a.jpg", f"{name}/1/b.jpg"))
    assert dataset.layout == "split"
    assert listed(dataset) == [("Train/1/a.jpg", "1", "train"), (f"{name}/1/b.jpg", "1", "valid")]


def test_a_class_may_be_called_train_in_a_flat_dataset(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path, "train/a.jpg", "bus/b.jpg", "raw/c.jpg"))
    assert dataset.layout == "flat"
    assert dataset.labels() == ["bus", "raw", "train"]


def test_a_split_of_an_empty_class_folder_is_a_split(tmp_path: Path) -> None:
    (tmp_path / "train" / "rose").mkdir(parents=True)
    assert open_dataset(tmp_path).layout == "split"


def test_labels_are_in_natural_order(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path, *(f"{name}/x" for name in ("10", "9", "1", "2", "102", "a2", "a10", "b"))))
    assert dataset.labels() == ["1", "2", "9", "10", "102", "a2", "a10", "b"]


@given(st.lists(st.text(alphabet="019aé٣²", min_size=1, max_size=6), max_size=8))
def test_natural_order_is_an_order(labels: list[str]) -> None:
    shuffled = random.Random(0).sample(labels, len(labels))
    assert sorted(labels, key=natural_key) == sorted(shuffled, key=natural_key)
    assert len({natural_key(label) for label in labels}) == len(set(labels))


def test_files_do_not_depend_on_the_order_of_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(make(tmp_path, *(f"raw/{label}/{name}.jpg" for label in "abc" for name in "xyz")))
    expected = dataset.files()
    scandir = os.scandir

    class Backwards:
        def __init__(self, folder: Path) -> None:
            with scandir(folder) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Backwards)
    assert dataset.files() == expected


# -- which files


def test_what_is_no_picture_is_passed_over(tmp_path: Path) -> None:
    names = ("a.jpg", ".DS_Store", "._a.jpg", "Thumbs.db", "desktop.ini", ".hidden/b.jpg", "@eaDir/a.jpg/thumb.jpg")
    dataset = open_dataset(
        make(tmp_path, *(f"rose/{name}" for name in names), "__MACOSX/rose/a.jpg", ".git/x", "y.txt")
    )
    assert listed(dataset) == [("rose/a.jpg", "rose", None)]
    assert dataset.labels() == ["rose"]


def test_subfolders_of_a_class_belong_to_it(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path, "rose/a.jpg", "rose/garden/b.jpg", "rose/garden/wild/c.jpg"))
    paths = ["rose/a.jpg", "rose/garden/b.jpg", "rose/garden/wild/c.jpg"]
    assert listed(dataset) == [(path, "rose", None) for path in paths]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_any_unicode_name(tmp_path: Path, form: Literal["NFC", "NFD"]) -> None:
    names = [unicodedata.normalize(form, name) for name in ("rosé sauvage", "月光蘭", "ورد", "🌹 x", "it's; DROP--")]
    dataset = open_dataset(make(tmp_path, *(f"{name}/{name} 1.jpg" for name in names)))
    assert sorted(dataset.labels()) == sorted(names)
    assert {file.path for file in dataset.files()} == {f"{name}/{name} 1.jpg" for name in names}


def test_pictures_are_sorted_as_their_fields_are() -> None:
    assert PictureFile("a", "1", "train") < PictureFile("b", "1", "train")


def test_folder_that_vanishes_while_it_is_read_holds_nothing(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path, "rose/a.jpg", "lily/b.jpg"))
    rose = dataset.class_folders()[1]
    (tmp_path / "rose" / "a.jpg").unlink()
    (tmp_path / "rose").rmdir()
    assert dataset.files_in(rose) == []
    (tmp_path / "rose").write_bytes(b"now a file")
    assert dataset.files_in(rose) == []
    assert dataset.labels() == ["lily"]


# -- links


def test_links_to_pictures_are_pictures(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "a.jpg")
    dataset = open_dataset(make(tmp_path / "data", "rose/b.jpg"))
    (tmp_path / "data/rose/a.jpg").symlink_to(tmp_path / "elsewhere/a.jpg")
    (tmp_path / "data/rose/c.jpg").symlink_to("nowhere.jpg")
    stats = dict(dataset.files_in(dataset.class_folders()[0]))
    assert list(stats) == ["rose/a.jpg", "rose/b.jpg", "rose/c.jpg"]
    assert stats["rose/c.jpg"] is None
    assert stats["rose/a.jpg"] is not None
    assert stats["rose/a.jpg"].st_size == 1


@pytest.mark.parametrize(
    ("link", "target"),
    [
        pytest.param("rose", "elsewhere/rose", id="a class"),
        pytest.param("train", "elsewhere", id="a split"),
        pytest.param("lily/more", "elsewhere/rose", id="below a class"),
        pytest.param("lily/loop", "data", id="to a folder above"),
    ],
)
def test_a_link_to_a_folder_is_refused(tmp_path: Path, link: str, target: str) -> None:
    make(tmp_path, "elsewhere/rose/a.jpg", "data/lily/b.jpg")
    (tmp_path / "data" / link).symlink_to(tmp_path / target)
    with pytest.raises(UserError, match=f"{link} is a link to another folder: put the folder itself there"):
        open_dataset(tmp_path / "data").files()


def test_the_dataset_itself_may_be_a_link(tmp_path: Path) -> None:
    make(tmp_path / "real", "rose/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    dataset = open_dataset(tmp_path / "link")
    assert dataset.home == tmp_path / "real.florilegium"  # one catalog, by whichever name it is opened
    assert listed(dataset) == [("rose/a.jpg", "rose", None)]


# -- folders that are no dataset


def test_what_is_no_dataset_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no folder .*gone: give the folder that holds your class folders"):
        open_dataset(tmp_path / "gone")
    with pytest.raises(UserError, match="holds no class folders: put each class's pictures into a folder of their own"):
        open_dataset(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"a\.jpg is a file: give the folder"):
        open_dataset(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="holds no class folders"):
        open_dataset(tmp_path)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS stores no such names")
@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([b"rose/caf\xe9.jpg"], r"1 file, such as $'{root}/rose/caf\xe9.jpg'"),
        ([b"caf\xe9/a.jpg", b"caf\xe9/b/c.jpg"], r"2 files and 1 folder, such as $'{root}/caf\xe9'"),
        ([b"caf\xe9/"], r"1 folder, such as $'{root}/caf\xe9'"),
        ([b"rose/caf\xe9/a.jpg", b"iris/b\xff.txt"], r"2 files and 1 folder, such as $'{root}/iris/b\xff.txt'"),
        ([b"rose/a.\xe9.txt"], r"1 file, such as $'{root}/rose/a.\xe9.txt'"),
    ],
)
def test_a_name_that_is_not_text_is_passed_over_and_told(tmp_path: Path, names: list[bytes], said: str) -> None:
    """All that can be read goes on, and what is shown can be typed into a shell."""
    root = tmp_path / "data"
    for at, file in enumerate(f"{label}/{name}.jpg" for label in ("rose", "iris") for name in "abcdef"):
        write(root / file, encoded_field(field(at)))
    for name in names:
        path = os.path.join(os.fsencode(root), name)  # noqa: PTH118 (pathlib takes no bytes)
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        if not name.endswith(b"/"):
            with open(path, "wb"):  # noqa: PTH123
                pass
    shown = said.format(root=root)
    assert subprocess.check_output(["bash", "-c", f"ls -d {shown.split('such as ')[1]}"])
    assert len(open_dataset(root).files()) == 12
    for words in (("clean",), ("split",), ("verify",), ("split", "--label-from", "parent")):
        done = command(words[0], root, *words[1:])
        assert done.code == 0, done
        assert f"assed over: {shown} (names that are not UTF-8: rename them)" in done.out
    assert len(list(placed(root.with_name("data_split")))) == 12


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS stores no such names")
def test_names_that_are_not_text_alone_are_no_dataset(tmp_path: Path) -> None:
    os.makedirs(os.fsencode(tmp_path) + b"/caf\xe9")  # noqa: PTH103
    with pytest.raises(UserError, match=r"holds 1 folder, such as \$'.*/caf\\xe9', whose names are not UTF-8"):
        open_dataset(tmp_path)


E_ACUTE, E_AND_ACUTE = "ros\u00e9", "rose\u0301"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        pytest.param((f"{E_ACUTE}/a", f"{E_AND_ACUTE}/b"), "differ only in the Unicode form", id="Unicode form"),
        pytest.param(("train/Rose/a", "valid/rose/b"), "differ only in upper and lower case", id="case, two splits"),
    ],
)
def test_one_class_spelt_in_two_ways_is_refused(tmp_path: Path, files: tuple[str, ...], sentence: str) -> None:
    make(tmp_path, *files)
    if len({folder.name for folder in tmp_path.rglob("*") if folder.is_dir()} - {"train", "valid"}) < 2:
        pytest.skip("this file system holds the two names for one")
    with pytest.raises(UserError, match=sentence):
        open_dataset(tmp_path)


def test_one_class_in_two_unicode_forms_is_one_in_two_splits(tmp_path: Path) -> None:
    """A Mac has written one split, and Linux the other."""
    dataset = open_dataset(make(tmp_path, f"train/{E_ACUTE}/a.jpg", f"valid/{E_AND_ACUTE}/b.jpg"))
    assert dataset.labels() == [E_ACUTE]
    assert [(file.label, file.split) for file in dataset.files()] == [(E_ACUTE, "train"), (E_ACUTE, "valid")]


def test_letters_of_either_case_are_two_classes(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.png", "train/A/2.png", "valid/a/3.png", "valid/A/4.png")
    if len(list((tmp_path / "train").iterdir())) < 2:
        pytest.skip("this file system holds the two names for one")
    assert set(open_dataset(tmp_path).labels()) == {"a", "A"}


def test_folders_may_be_nested_more_deeply_than_calls(tmp_path: Path, nest: Nest) -> None:
    """Up to what the system takes for a path; beyond that, one sentence."""
    folder = tmp_path / "raw" / "rose"
    folder.mkdir(parents=True)
    inner = nest(folder, 1_500, {"a.jpg": b""})
    assert [file.path[-8:] for file in open_dataset(tmp_path).files()] == ["/d/a.jpg"]
    nest(inner, 600)
    with pytest.raises(UserError, match="nested so deeply"):
        open_dataset(tmp_path).files()


def test_the_readme_of_flower_data_is_neither_a_class_nor_a_picture(tmp_path: Path) -> None:
    """The checkout has it there from the start."""
    readme = Path(__file__).resolve().parent.parent / "flower_data" / "README.md"
    (tmp_path / "README.md").write_bytes(readme.read_bytes())
    with pytest.raises(UserError, match="holds no class folders"):
        open_dataset(tmp_path)
    for layout, files in (("raw", ["raw/a/1.jpg", "raw/b/2.jpg"]), ("split", ["train/a/3.jpg", "valid/b/4.jpg"])):
        dataset = open_dataset(make(tmp_path, *files))
        assert (dataset.layout, dataset.labels()) == (layout, ["a", "b"])
        assert not any("README" in file.path for file in dataset.files())
