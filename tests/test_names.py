"""Names are looked up by class folder, and a bad names file gets one clear sentence."""

import json
import os
import unicodedata
from pathlib import Path

import pytest

from curate.errors import UserError
from curate.names import load_names, load_queries, names_for


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def put(root: Path, *pictures: str) -> Path:
    for picture in pictures:
        (root / picture).parent.mkdir(parents=True, exist_ok=True)
        (root / picture).touch()
    return root


def test_the_repository_names_all_102_classes_in_both_files() -> None:
    names, queries = load_names(), load_queries()
    assert list(names) == list(queries) == [str(n) for n in range(1, 103)]
    assert names == {label: terms.name for label, terms in queries.items()}
    assert (names["1"], names["21"], names["102"]) == ("pink primrose", "fire lily", "blackberry lily")


def test_queries_are_distinct_and_more_than_the_common_name() -> None:
    queries = load_queries()
    assert len({terms.query for terms in queries.values()}) == 102
    assert queries["8"] == ("bird of paradise", "Strelitzia reginae flower", "", "")
    assert queries["21"].query == "Gloriosa superba"
    assert queries["74"] == ("rose", "Rosa garden rose flower", "Rosa", "Plantae")


def test_names_agree_with_the_dataset_itself(flowers: Path) -> None:
    assert load_names() == load_names(flowers / "cat_to_name.json")


def test_the_forms_may_be_mixed_in_any_script(tmp_path: Path) -> None:
    words = {"7": "月光蘭", "rosé 🌹": ["ورد", "Rosa × damascena"], "x": ["only name"], "y": {"name": "fern"}}
    full = {"name": "thistle", "query": "thistle heads", "taxon": "Echinops", "kingdom": "Plantae"}
    file = write(tmp_path / "n.json", {**words, "z": full})
    assert load_names(file) == {"7": "月光蘭", "rosé 🌹": "ورد", "x": "only name", "y": "fern", "z": "thistle"}
    assert load_queries(file) == {
        "7": ("月光蘭", "月光蘭", "", ""),
        "rosé 🌹": ("ورد", "Rosa × damascena", "", ""),
        "x": ("only name", "only name", "", ""),
        "y": ("fern", "fern", "", ""),
        "z": ("thistle", "thistle heads", "Echinops", "Plantae"),
    }


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "n.json"
    file.write_bytes(b'\xef\xbb\xbf{"1": "rose"}')
    assert load_names(file) == {"1": "rose"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"1": "rose",\n "2" "tulip"}', "line 2, column 6"),
        (b"", "line 1, column 1"),
        (b'{"1": "rose", "2": "iris", "1": "tulip"}', "'1' is named twice"),
        (b'["rose", "tulip"]', "one JSON object"),
        (b"{}", "at least one class"),
        (b'{"1": 7}', "class folder '1' needs a name"),
        (b'{"1": ["rose", "Rosa", "extra"]}', "class folder '1' needs a name"),
        (b'{"1": {"query": "rose"}}', "class folder '1' needs a name"),
        (b'{"1": {"name": "rose", "taxa": "Rosa"}}', "class folder '1' needs a name"),
        (b'{"1": {"name": "rose", "taxon": 7}}', "class folder '1' needs a name"),
        (b'{"1": null}', "class folder '1' needs a name"),
        (b'{"1": "  "}', "empty"),
        (b'{"": "rose"}', "empty"),
        (b'{"1": "ros\xe9"}', "not UTF-8 at byte 10"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_a_bad_file_gets_one_sentence_that_names_it(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "my names.json"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_names(file)
    assert says in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such names file; give one with --names"):
        load_queries(tmp_path / "nowhere.json")
    with pytest.raises(UserError, match="cannot be read"):
        load_queries(tmp_path)


def test_an_explicit_file_comes_first_and_what_it_lacks_is_listed(tmp_path: Path) -> None:
    write(tmp_path / "cat_to_name.json", {"1": "from the dataset", "2": "from the dataset"})
    file = write(tmp_path / "mine.json", {"2": "mine", "9": "not in the dataset"})
    assert names_for(tmp_path, ["1", "2", "10"], file) == ({"1": "1", "2": "mine", "10": "10"}, ["1", "10"])


def test_a_dataset_may_carry_its_names(tmp_path: Path) -> None:
    write(tmp_path / "cat_to_name.json", {"2": "two", "10": "ten"})
    assert names_for(tmp_path, ["10", "2", "extra"]) == ({"10": "ten", "2": "two", "extra": "extra"}, [])


def test_a_damaged_names_file_in_the_dataset_is_said_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "cat_to_name.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="not valid JSON"):
        names_for(tmp_path, ["1"])


def test_names_go_by_folder_not_by_place(tmp_path: Path) -> None:
    by_text = sorted(str(n) for n in range(1, 103))  # 1, 10, 100, …, as torchvision lists folders
    names, missing = names_for(tmp_path, by_text)
    assert names == load_names()
    assert missing == []


def test_words_stay_words(tmp_path: Path) -> None:
    assert names_for(tmp_path, ["roses", "tulips"]) == ({"roses": "roses", "tulips": "tulips"}, [])
    assert names_for(tmp_path, []) == ({}, [])


@pytest.mark.parametrize("labels", [["1", "2", "3", "4", "5"], ["0", "1"], ["102", "103"], ["01", "21"]])
def test_numbers_alone_are_not_oxfords(tmp_path: Path, labels: list[str]) -> None:
    put(tmp_path, "1/photo.jpg", "2/image_0001.jpg", "3/image_99999.jpg", "0/image_00001.jpg")
    assert names_for(tmp_path, labels)[0] == {label: label for label in labels}


@pytest.mark.parametrize("part", [".", "raw", "train", "test"])
def test_a_part_of_oxford_is_known_by_its_file_names(tmp_path: Path, part: str) -> None:
    put(tmp_path, f"{part}/1/scraped.jpg", f"{part}/21/image_06776.jpg")
    assert names_for(tmp_path, ["1", "21"])[0] == {"1": "pink primrose", "21": "fire lily"}


def test_a_decomposed_folder_name_finds_its_composed_key(tmp_path: Path) -> None:
    file = write(tmp_path / "n.json", {unicodedata.normalize("NFC", "é"): "composed"})
    folder = unicodedata.normalize("NFD", "é")
    assert names_for(tmp_path, [folder], file) == ({folder: "composed"}, [])


@pytest.mark.parametrize("text", ["fire\x1b[31m lily", "fire\nlily", "\udc80", "lily\u202egnp"])
def test_a_name_that_could_not_be_printed_is_refused(tmp_path: Path, text: str) -> None:
    """It goes into checkpoints, tables and queries; half a character can be written to none of them."""
    for value in (text, ["lily", text]):
        file = tmp_path / "names.json"
        file.write_text(json.dumps({"1": value}))
        with pytest.raises(UserError, match=r"names\.json: the name or query of class folder '1'"):
            load_names(file)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"1": ' * 100_000, "1" * 5000], ids=["lists", "objects", "digits"])
def test_json_beyond_all_measure_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "names.json"
    file.write_text(text)
    with pytest.raises(UserError, match=r"names\.json"):
        load_names(file)


def test_a_pipe_is_no_names_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "names.json")
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    for name in ("names.json", "endless.json"):
        with pytest.raises(UserError, match="not a file but a pipe"):
            load_names(tmp_path / name)


def test_another_class_beside_oxfords_takes_no_name_away(tmp_path: Path) -> None:
    """Names are per folder: `raw/tulip` is a tulip, and 21 stays the fire lily."""
    for path in ("raw/21/image_06734.jpg", "raw/tulip/a.jpg", "raw/103/b.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    names, missing = names_for(tmp_path, ["21", "103", "tulip"])
    assert names == {"21": "fire lily", "103": "103", "tulip": "tulip"}
    assert missing == []
    every = [str(number) for number in range(1, 103)]
    assert names_for(tmp_path / "none", [*every, "tulip"])[0]["1"] == "pink primrose"


def test_oxfords_pictures_are_known_in_a_split_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "Testing/21").mkdir(parents=True)
    (tmp_path / "Testing/21/image_06734.jpg").write_bytes(b"x")
    assert names_for(tmp_path, ["21"])[0] == {"21": "fire lily"}
