"""What training and predicting write replaces what they wrote themselves, and nothing else."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from curate.errors import UserError
from curate.files.lock import LOCK
from curate.rendering import save_drawing
from tests.commanding import command
from tests.training_ground import TINY, grow, picture
from train.backbones import load_backbone
from train.checkpoint import Checkpoint, save_checkpoint
from train.evaluate import evaluate
from train.evaluation_files import write_evaluation
from train.export import export
from train.metrics import measure_accuracy
from train.model_card import write_model_card
from train.pictures import labelled_pictures

pytestmark = pytest.mark.usefixtures("one_thread")

HOSTILE = '=cmd|"/c calc"!A1\n| [x](https://example.org) <b>\x1b[31m\u202e'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow(tmp_path_factory.mktemp("garden"), {"train": 3, "valid": 3, "test": 3})


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    scores = np.zeros((10, 3))
    scores[:, 0] = 1
    made = Checkpoint(
        backbones=[load_backbone(TINY, "none")], head=nn.Linear(96, 3).eval().requires_grad_(False),
        labels=["iris", "rose", "sun flower"], names=["iris", HOSTILE, "www.example.org"], recipe={"views": 1},
        metrics={"valid": measure_accuracy(scores, np.array([0] * 4 + [1] * 6), 3)},
        history=[{"number": 1, "loss": 0.5}],
        dataset={"fingerprint": "ab" * 32, "pictures": {"train": {"rose": 3}}}, versions={"torch": "2"},
        created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    return save_checkpoint(made, tmp_path / "models")


def test_a_model_card_never_replaces_what_it_did_not_write(checkpoint: Path, tmp_path: Path) -> None:
    mine = tmp_path / "README.md"
    mine.write_text("# My own words\n")
    copy = checkpoint.read_bytes()
    for out in (mine, checkpoint):
        done = command("model-card", "--checkpoint", checkpoint, "--out", out)
        assert "is there already" in done.sentence
    assert mine.read_text() == "# My own words\n"
    assert checkpoint.read_bytes() == copy
    card = write_model_card(checkpoint)
    again = card.read_text()
    assert write_model_card(checkpoint).read_text() == again  # its own it replaces
    card.write_text(again.replace("## Limits", "## Limits\n\n- What I found out myself."))
    with pytest.raises(UserError, match="is not as this program wrote it"):
        write_model_card(checkpoint)
    assert "What I found out myself." in card.read_text()
    assert command("model-card", "--checkpoint", checkpoint, "--force").code == 0
    assert card.read_text() == again
    link = tmp_path / "link.md"
    link.symlink_to(mine)
    with pytest.raises(UserError, match="is there already"):
        write_model_card(checkpoint, link)
    assert mine.read_text() == "# My own words\n"


def test_figures_never_replace_what_was_not_written_with_them(root: Path, checkpoint: Path, tmp_path: Path) -> None:
    found = evaluate(checkpoint, root, split="valid", device="cpu")
    out = tmp_path / "figures"
    written = write_evaluation(found, out)
    before = {file: file.read_bytes() for file in written}
    assert {file: file.read_bytes() for file in write_evaluation(found, out)} == before
    for name in ("evaluation.json", "classes.csv", "confusion.csv", "confused.csv", "pictures.csv"):
        (out / name).write_text("my own notes")
        with pytest.raises(UserError, match=f"{name} is there already"):
            write_evaluation(found, out)
        assert (out / name).read_text() == "my own notes"
        write_evaluation(found, out, force=True)
    assert {file: file.read_bytes() for file in written} == before


def test_test_is_not_opened_for_figures_that_have_no_place(root: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("my own notes")
    done = command("evaluate", root, "--checkpoint", checkpoint, "--out", tmp_path, "--models", tmp_path / "models")
    assert "classes.csv is there already" in done.sentence
    assert (tmp_path / "classes.csv").read_text() == "my own notes"
    assert not checkpoint.with_suffix(".opened.json").exists()
    done = command("evaluate", root, "--checkpoint", checkpoint, "--out", tmp_path / "classes.csv")
    assert "is a file" in done.sentence


def test_figures_of_a_killed_run_are_known_as_ours(root: Path, checkpoint: Path, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Whichever of the files it came to."""
    found = evaluate(checkpoint, root, split="valid", device="cpu")
    other = evaluate(checkpoint, root, split="train", device="cpu")
    out = tmp_path / "figures"
    from curate.files.atomic import write_whole

    for deeds in range(6):
        shutil.rmtree(out, ignore_errors=True)
        write_evaluation(found, out)
        left = [deeds]

        def kill(file: Path, data: str, left: list[int] = left) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            write_whole(file, data)

        with monkeypatch.context() as patched:
            patched.setattr("train.evaluation_files.write_whole", kill)
            with pytest.raises(KeyboardInterrupt):
                write_evaluation(other, out)
        write_evaluation(other, out)


def test_an_export_never_replaces_what_it_did_not_write(root: Path, checkpoint: Path) -> None:
    pictures = [one.path for one in labelled_pictures(open_(root), "valid")]
    file = checkpoint.with_suffix(".safetensors")
    beside = file.with_name(f"{file.name}.json")
    for taken in (file, beside):
        taken.write_text("my own")
        with pytest.raises(UserError, match="is there already"):
            export(checkpoint, "safetensors", pictures)
        assert taken.read_text() == "my own"
        taken.unlink()
    written = export(checkpoint, "safetensors", pictures)
    export(checkpoint, "safetensors", pictures)
    written.file.write_bytes(b"another program's")
    with pytest.raises(UserError, match="is not as this program wrote it"):
        export(checkpoint, "safetensors", pictures)
    export(checkpoint, "safetensors", pictures, force=True)
    assert json.loads(beside.read_text())["labels"] == ["iris", "rose", "sun flower"]
    assert not [left for left in checkpoint.parent.iterdir() if left.name.endswith(".partial")]


def open_(root: Path):  # type: ignore[no-untyped-def]
    from curate.dataset import open_dataset

    return open_dataset(root)


def test_the_lock_is_nobody_elses_file(checkpoint: Path, root: Path, tmp_path: Path) -> None:
    """Opened to write, whatever lay at the lock's name would have been emptied, also through a link."""
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    lock = checkpoint.parent / LOCK
    older = checkpoint.parent / ".lock"
    older.write_text("mine")
    from train.checkpoint import load_checkpoint

    for place in ("link", "hard link", "pipe"):
        lock.unlink(missing_ok=True)
        if place == "link":
            lock.symlink_to(precious)
        elif place == "hard link":
            lock.hardlink_to(precious)
        else:
            os.mkfifo(lock)
        save_checkpoint(load_checkpoint(checkpoint), checkpoint.parent)
        evaluate(checkpoint, root, split="test", device="cpu")
    assert precious.read_text() == older.read_text() == "mine"


def test_files_that_look_unfinished_are_the_users_unless_they_bear_our_name(checkpoint: Path) -> None:
    from train.checkpoint import load_checkpoint

    loaded = load_checkpoint(checkpoint)
    unfinished = checkpoint.parent / "unfinished"
    unfinished.mkdir()
    from train.optimising.unfinished import UnfinishedRun

    run = UnfinishedRun(unfinished, {"run": 1}, every=0)
    mine = [
        checkpoint.parent / ".saving-notes", checkpoint.parent / "x.saving",
        unfinished / f"{run.file.stem}.1st-draft", unfinished / "notes.pth",
    ]  # fmt: skip
    for file in mine:
        file.write_text("mine")
    code = "from pathlib import Path; from curate.files.atomic import temporary_name as t; print(t(Path('x')).name)"
    of_a_dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    left = [checkpoint.parent / of_a_dead, unfinished / of_a_dead]
    for file in left:
        file.write_text("half")
    save_checkpoint(loaded, checkpoint.parent)
    run.save({})
    assert all(file.read_text() == "mine" for file in mine)
    assert not any(file.exists() for file in left)
    run.discard()
    assert all(file.read_text() == "mine" for file in mine)


def test_a_drawing_never_replaces_what_was_not_drawn(tmp_path: Path) -> None:
    drawing = picture((200, 40, 90), 1)
    photo = tmp_path / "photo.png"
    drawing.save(photo)
    before = photo.read_bytes()
    link, pipe, ring = tmp_path / "link.png", tmp_path / "pipe.png", tmp_path / "ring.png"
    link.symlink_to(photo)
    os.mkfifo(pipe)
    ring.symlink_to(ring)
    for file in (photo, link, pipe, ring):
        with pytest.raises(UserError, match="was not drawn by this program"):
            save_drawing(drawing, file)
    assert photo.read_bytes() == before
    save_drawing(drawing, tmp_path / "sheet.png")
    save_drawing(drawing, tmp_path / "sheet.png")


def test_a_card_and_a_table_hold_names_and_no_markup(root: Path, checkpoint: Path, tmp_path: Path) -> None:
    card = write_model_card(checkpoint, tmp_path / "card.md", title=HOSTILE).read_text()
    assert not {"\x1b", "\u202e"} & set(card)
    _, header, body = card.split("---\n", 2)
    for line in body.splitlines():
        if line.startswith("|") and "=cmd" in line:
            assert line.replace("\\|", "").count("|") == 6
    assert "[x](" not in body.replace("\\[", "")
    assert "<b>" not in body.replace("\\<", "")
    assert "https://" not in body
    assert "www.example" not in body
    assert '- name: "=cmd|\\"/c calc' in header
    found = evaluate(checkpoint, root, split="valid", device="cpu")
    for file in write_evaluation(found, tmp_path / "figures")[1:]:
        rows = list(csv.reader(file.read_text().splitlines(keepends=True)))
        assert len({len(row) for row in rows}) == 1
        for cell in (cell for row in rows for cell in row):
            assert not cell.startswith(("=", "+", "@"))
            assert not set("\n\r\t\x1b\u202e") & set(cell)
    names = [row[1] for row in csv.reader((tmp_path / "figures" / "classes.csv").read_text().splitlines())]
    assert any(name.startswith("'=cmd|") for name in names)
