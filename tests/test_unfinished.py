"""The mark of a split: unfinished before anything changes, whole when all is placed, and nobody else's."""

import json
from pathlib import Path

import pytest

from curate.dataset import Dataset
from curate.errors import UserError
from curate.splitting.unfinished import MARK, begin, belongs_to, finish, require_finished, steady_split


def dataset(root: Path) -> Dataset:
    return Dataset(root, "split", root)


def test_a_split_is_unfinished_from_its_begin_to_its_end(tmp_path: Path) -> None:
    require_finished(dataset(tmp_path))  # a folder without a mark came split
    begin(tmp_path, "mine", "florilegium split --seed 3")
    with pytest.raises(UserError, match=r"is unfinished.*finish it with `florilegium split --seed 3`"):
        require_finished(dataset(tmp_path))
    with pytest.raises(UserError, match="is unfinished"), steady_split(dataset(tmp_path)):
        pytest.fail("an unfinished split was read")
    finish(tmp_path)
    require_finished(dataset(tmp_path))
    with steady_split(dataset(tmp_path)):
        pass


def test_to_finish_twice_changes_nothing_and_without_a_mark_makes_none(tmp_path: Path) -> None:
    finish(tmp_path)
    assert list(tmp_path.iterdir()) == []
    begin(tmp_path, "mine", "florilegium split")
    finish(tmp_path)
    before = (tmp_path / MARK).stat()
    finish(tmp_path)
    assert ((tmp_path / MARK).stat().st_ino, (tmp_path / MARK).stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )


def test_a_split_belongs_to_the_catalog_that_made_it(tmp_path: Path) -> None:
    assert not belongs_to(tmp_path, "mine")
    begin(tmp_path, "mine", "florilegium split")
    assert belongs_to(tmp_path, "mine")
    assert not belongs_to(tmp_path, "another")
    finish(tmp_path)
    assert belongs_to(tmp_path, "mine")


def test_a_split_made_anew_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    """Even where it has come to its end by then, with the same command."""
    begin(tmp_path, "mine", "florilegium split")
    finish(tmp_path)
    read = steady_split(dataset(tmp_path))
    read.__enter__()
    begin(tmp_path, "mine", "florilegium split")
    finish(tmp_path)
    with pytest.raises(UserError, match="was split anew while it was being read"):
        read.__exit__(None, None, None)


def test_a_folder_that_is_gone_is_not_brought_back(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no longer there"):
        begin(tmp_path / "gone", "mine", "florilegium split")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / MARK / "in the way").mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot be written .*: check the disk's free space and your rights"):
        begin(tmp_path, "mine", "florilegium split")


GOOD = {"dataset": "mine", "whole": True, "command": "florilegium split", "run": "0123"}


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", '"whole"', "{}", "[" * 60_000, "\x00",
        json.dumps({**GOOD, "more": ""}),
        json.dumps({**GOOD, "whole": 1}),
        json.dumps({**GOOD, "whole": "yes"}),
        json.dumps({**GOOD, "run": 7}),
        json.dumps({name: GOOD[name] for name in ("dataset", "whole", "command")}),
    ],
)  # fmt: skip
def test_what_is_no_mark_of_ours_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / MARK).write_text(text)
    for look in (lambda: require_finished(dataset(tmp_path)), lambda: belongs_to(tmp_path, "mine")):
        with pytest.raises(UserError, match="is no mark of a split that this program made"):
            look()


def test_a_mark_of_up_to_64_kib_is_read_and_no_more(tmp_path: Path) -> None:
    whole = json.dumps(GOOD)
    (tmp_path / MARK).write_text(whole + " " * (65_536 - len(whole)))
    assert belongs_to(tmp_path, "mine")
    (tmp_path / MARK).write_text(whole + " " * (65_537 - len(whole)))
    with pytest.raises(UserError, match="cannot be read"):
        belongs_to(tmp_path, "mine")


def test_a_link_that_leads_nowhere_is_no_absent_mark(tmp_path: Path) -> None:
    (tmp_path / MARK).symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"cannot be read .*: check your rights, or remove it"):
        require_finished(dataset(tmp_path))
