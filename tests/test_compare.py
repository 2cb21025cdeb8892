"""`compare` says what two datasets share, what leaks between them and which class is which; it writes nothing."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import florilegium as fl
from curate.clean import clean
from curate.compare import compare_datasets
from curate.errors import UserError
from curate.split import split
from tests.commanding import command
from tests.pictures import draw, save, scene


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A has train/ and test/ of c1, c2 and fire_lily; B has train/ and test/ of 42, tulip and Fire Lily."""
    a, b = tmp_path / "a", tmp_path / "b"
    for seed in range(6):
        save(scene(seed), a / "train" / "c1" / f"{seed}.jpg")
        save(scene(seed), b / ("test" if seed < 2 else "train") / "42" / f"other {seed}.jpg", quality=60)
    for seed in range(20, 23):
        save(scene(seed), a / "test" / "c2" / f"{seed}.jpg")
        save(scene(seed + 10), b / "train" / "tulip" / f"{seed}.jpg")
        save(scene(seed + 20), a / "train" / "fire_lily" / f"{seed}.jpg")
        save(scene(seed + 30), b / "train" / "Fire Lily" / f"{seed}.jpg")
    (b / "train" / "tulip" / "same.jpg").write_bytes((a / "test" / "c2" / "20.jpg").read_bytes())
    (a / "train" / "c1" / "broken.jpg").write_bytes(b"nothing")
    return a, b


def test_shared_pictures_leaks_and_classes(pair: tuple[Path, Path]) -> None:
    report = compare_datasets(*pair)
    assert report.pictures == (12, 13)
    assert [broken.path for broken in report.broken[0]] == ["train/c1/broken.jpg"]
    assert report.in_both == 7
    assert {(it.first, it.second): it.exact for it in report.shared}["test/c2/20.jpg", "train/tulip/same.jpg"]
    assert sorted((it.first, it.first_split, it.second_split) for it in report.leaks) == [
        ("test/c2/20.jpg", "test", "train"),
        ("train/c1/0.jpg", "train", "test"),
        ("train/c1/1.jpg", "train", "test"),
    ]
    matches = {(it.first, it.second): (it.shared, it.of_first, it.of_second, it.same_name) for it in report.classes}
    assert matches == {
        ("c1", "42"): (6, 6, 6, False),
        ("c2", "tulip"): (1, 3, 4, False),
        ("fire_lily", "Fire Lily"): (0, 3, 3, True),
    }


def test_names_tell_which_class_is_which(pair: tuple[Path, Path]) -> None:
    a, b = pair
    (a / "cat_to_name.json").write_text(json.dumps({"c2": "Prickly  Pear"}))
    (b / "cat_to_name.json").write_text(json.dumps({"42": "prickly-pear"}))
    found = {(it.first, it.second): it.same_name for it in compare_datasets(a, b).classes}
    assert found["c2", "42"]


def test_a_class_without_a_match_stands_alone(tmp_path: Path) -> None:
    save(scene(1), tmp_path / "a" / "rose" / "1.jpg")
    save(scene(2), tmp_path / "b" / "tulip" / "2.jpg")
    report = compare_datasets(tmp_path / "a", tmp_path / "b")
    assert {(it.first, it.second) for it in report.classes} == {("rose", ""), ("", "tulip")}
    assert (report.in_both, report.leaks, report.near) == (0, [], 0)


def test_placed_copies_count_once_and_in_their_split(tmp_path: Path) -> None:
    for seed in range(10):
        save(scene(seed), tmp_path / "a" / "raw" / "rose" / f"{seed}.jpg")
        save(scene(40 + seed), tmp_path / "a" / "raw" / "tulip" / f"{seed}.jpg")
    split(tmp_path / "a")
    (held,) = (tmp_path / "a" / "test" / "rose").iterdir()
    (tmp_path / "b" / "train" / "rose").mkdir(parents=True)
    (tmp_path / "b" / "train" / "rose" / "copy.jpg").write_bytes(held.read_bytes())
    save(scene(60), tmp_path / "b" / "test" / "rose" / "60.jpg")
    report = compare_datasets(tmp_path / "a", tmp_path / "b")
    assert report.pictures == (20, 2)
    assert [(it.first, it.first_split, it.second_split) for it in report.leaks] == [
        (f"raw/rose/{held.name}", "test", "train")
    ]


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in [folder, *folder.rglob("*")]
    }


def test_it_writes_nothing_with_a_catalog_and_without(pair: tuple[Path, Path], tmp_path: Path) -> None:
    before = tree(tmp_path)
    plain = compare_datasets(*pair)
    assert tree(tmp_path) == before
    clean(pair[0], dry_run=True)
    before = tree(tmp_path)
    assert compare_datasets(*pair) == plain
    assert tree(tmp_path) == before


def test_what_a_catalog_says_of_a_file_that_changed_is_not_believed(pair: tuple[Path, Path]) -> None:
    a, b = pair
    clean(a, dry_run=True)
    save(scene(900), a / "train" / "c1" / "0.jpg")
    assert compare_datasets(a, b).in_both == 6
    (a / "catalog.sqlite").write_bytes(b"no database" * 500)
    assert compare_datasets(a, b).in_both == 6


def test_one_folder_is_no_two(pair: tuple[Path, Path]) -> None:
    pair[0].with_name("link").symlink_to(pair[0])
    for other in (pair[0], pair[0].with_name("link")):
        with pytest.raises(UserError, match="are one folder"):
            compare_datasets(pair[0], other)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_dataset_that_is_missing_is_said_before_the_other_is_read(pair: tuple[Path, Path], missing: int) -> None:
    roots = [*pair]
    roots[missing] = roots[missing].with_name("nowhere")
    begun: list[str] = []

    @contextmanager
    def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
        begun.append(f"{description} ({total})")
        yield lambda _done: None

    with pytest.raises(UserError, match="nowhere"):
        compare_datasets(*roots, progress=progress)
    assert begun == []


def test_in_the_terminal(pair: tuple[Path, Path]) -> None:
    said = command("compare", *pair)
    assert said.code == 0
    assert f"Of 12 pictures in {pair[0]}, 7 are among the 13 in {pair[1]}" in said.out
    assert f"Leaks between train of {pair[0]} and test of {pair[1]}: 2." in said.out
    told = json.loads(command("compare", *pair, "--json").out)
    assert (told["in_both"], told["leaks"], told["pictures"]) == (7, 3, [12, 13])
    assert told["classes"][0]["first"] == "c1"
    assert command("compare", pair[0], pair[0]).sentence.startswith(str(pair[0]))
    assert command("compare", pair[0], pair[1] / "nowhere").code == 2


def test_from_python(pair: tuple[Path, Path]) -> None:
    report = fl.open(pair[0]).compare(fl.open(pair[1]), progress=None)
    assert "7 of 12 pictures" in repr(report)
    assert "fire_lily" in report._repr_html_()
    assert fl.open(pair[0]).compare(str(pair[1]), progress=None).leaks == report.leaks


def test_a_test_set_without_labels_leaks_and_is_no_class(tmp_path: Path) -> None:
    for number, label in enumerate("ab"):
        for at in range(3):
            file = tmp_path / "mine" / "train" / label / f"{at}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(draw(10 * number + at))
            (tmp_path / "theirs" / "train" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "theirs" / "train" / label / f"{at}.jpg").write_bytes(draw(100 + 10 * number + at))
    (tmp_path / "theirs" / "test").mkdir()
    (tmp_path / "theirs" / "test" / "1.jpg").write_bytes(draw(11))
    report = compare_datasets(tmp_path / "mine", tmp_path / "theirs")
    assert [(leak.first, leak.second) for leak in report.leaks] == [("train/b/1.jpg", "test/1.jpg")]
    assert [(match.first, match.second, match.shared) for match in report.classes] == [("a", "a", 0), ("b", "b", 0)]
