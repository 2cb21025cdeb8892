"""What a split was bound by is found again from its own folder, among whatever pictures there are now."""

from pathlib import Path

import numpy as np
import pytest

from curate.errors import UserError
from curate.splitting.bonds import RECORD, Bonds, read_bonds, write_bonds
from curate.splitting.picture_table import PictureTable

A, B, C, D = (letter * 64 for letter in "abcd")


def table(*contents: str) -> PictureTable:
    n = len(contents)
    at = np.arange(n, dtype=np.int32)
    digests = np.array(sorted(contents), dtype="S64")
    none = np.zeros(n, np.int8)
    return PictureTable([f"x/{one}.jpg" for one in contents], ["x"], none.astype(np.int32), digests, at, none,
                        np.zeros(n, np.bool_), [], [])  # fmt: skip


def test_groups_are_those_of_the_pictures_that_are_there() -> None:
    bonds = Bonds(groups={"p1": [A, C], "p2": [B, D]})
    assert bonds.links(table(A, B, C)).tolist() == [[0, 0], [2, 0], [1, 1]]
    assert bonds.links(table(D)).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("bonds", "contents"), [(Bonds(), [A]), (Bonds(groups={"p": []}), [A]), (Bonds(groups={"p": [A]}), [])]
)
def test_without_groups_or_pictures_there_are_no_links(bonds: Bonds, contents: list[str]) -> None:
    found = bonds.links(table(*contents))
    assert found.shape == (0, 2)
    assert found.dtype == np.int32


@pytest.mark.parametrize(
    "bonds", [Bonds("copies"), Bonds(group_by="parent", groups={"p": [A]}), Bonds(scenes=[[A, B]])]
)
def test_a_record_comes_back_as_it_was_written(bonds: Bonds, tmp_path: Path) -> None:
    write_bonds(tmp_path, bonds)
    assert read_bonds(tmp_path) == bonds
    write_bonds(tmp_path, Bonds())
    assert not (tmp_path / RECORD).exists(), "a split that is bound as usual has no record"
    assert read_bonds(tmp_path) == Bonds()


@pytest.mark.parametrize(
    "text",
    [
        "[]", '{"bind": "near"}', '{"bind": "all", "group_by": "", "groups": {}, "scenes": []}',
        '{"bind": "near", "group_by": 1, "groups": {}, "scenes": []}',
        '{"bind": "near", "group_by": "", "groups": {"p": "a"}, "scenes": []}',
        '{"bind": "near", "group_by": "", "groups": {"p": [1]}, "scenes": []}',
        '{"bind": "near", "group_by": "", "groups": {"p": ["\\u00e9"]}, "scenes": []}',
        '{"bind": "near", "group_by": "", "groups": {}, "scenes": [["a"]]}',
        '{"bind": "near", "group_by": "", "groups": {}, "scenes": [["a", 1]]}',
        '{"bind": "near", "group_by": "", "groups": {}, "scenes": [], "more": 1}',
    ],
)  # fmt: skip
def test_a_record_of_somebody_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="is no record of groups that this program made: remove it"):
        read_bonds(tmp_path)


def test_a_record_of_before_scenes_were_known_is_read(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text('{"bind": "near", "group_by": "x", "groups": {"p": ["a"]}}', encoding="utf-8")
    assert read_bonds(tmp_path) == Bonds(group_by="x", groups={"p": ["a"]})


def test_a_place_that_cannot_be_written_or_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / RECORD / "in the way").mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot be written .*: check the disk's free space and your rights"):
        write_bonds(tmp_path, Bonds("copies"))
    with pytest.raises(UserError, match="cannot be read"):
        read_bonds(tmp_path)
