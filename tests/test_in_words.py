"""What is printed and drawn comes through: any pipe, any terminal width, any script, any library's exception."""

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from PIL import ImageChops

from curate import rendering
from curate.contact_sheet import Tile, contact_sheet
from curate.errors import UserError
from curate.names import chosen_labels
from curate.printable import without_escapes
from curate.rendering import without_font
from tests.commanding import command
from tests.training_ground import TINY, grow, picture, small_checkpoint
from train.backbones import load_backbone
from train.checkpoint import load_checkpoint, save_checkpoint
from train.optimising.fitting import _slices

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.thorough
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_json_is_json_in_a_pipe_of_any_encoding(encoding: str, tmp_path: Path) -> None:
    """A flower outside the first plane would be spelt as no JSON spells it."""
    name = "青い花 🌼 é.jpg"
    picture((200, 40, 90), 1).save(tmp_path / name)
    file = save_checkpoint(small_checkpoint(), tmp_path)
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "cli.py"), "predict", name, "--checkpoint", str(file), "--json"],
        cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.decode(encoding))
    assert answer["path"] == name
    assert {guess["name"] for guess in answer["guesses"]} == {"rose", "Ähre", "iris"}


def test_the_names_of_recipes_are_whole_at_eighty_columns() -> None:
    with patch.dict("os.environ", COLUMNS="80"), patch("rich.console.Console.is_terminal", True):
        from io import StringIO

        from rich.console import Console

        from commands import console

        shown = StringIO()
        with patch("rich.console.Console", lambda *_a, **_k: Console(file=shown, width=80, force_terminal=True)):
            console.table("Recipes", ("name", "what"), [("inception-bottleneck", "word " * 40), ("best", "word " * 60)])
    assert "inception-bottleneck" in shown.getvalue()


def test_a_librarys_bold_letters_are_not_in_our_sentences(tmp_path: Path) -> None:
    assert without_escapes("\x1b[1mdo not\x1b[0m \x1b[31;1mtrust\x1b[m it") == "do not trust it"
    shown = "Weights only load failed. \x1b[1mDo this only if you trust it\x1b[0m."
    with patch.object(torch, "load", side_effect=RuntimeError(shown)):
        file = tmp_path / "weights.pth"
        torch.save({"a": torch.ones(1)}, file)
        with pytest.raises(UserError) as raised:
            load_backbone(TINY, file)
        assert "\x1b" not in str(raised.value)
        with pytest.raises(UserError) as other:
            load_checkpoint(file)
        assert "\x1b" not in str(other.value)


def test_a_word_of_a_name_picks_the_classes_that_have_it() -> None:
    """The example of `show --help`."""
    names = {"7": "moon orchid", "2": "ruby-lipped cattleya", "9": "orchidee", "15": "Rose", "16": "desert-rose"}
    assert chosen_labels("orchid", names) == ["7"]
    assert chosen_labels("rose", names) == ["15"]  # a whole name comes before a word of others
    assert chosen_labels("cattleya,7", names) == ["7", "2"]
    with pytest.raises(UserError, match="There is no class 'orch'"):
        chosen_labels("orch", names)


def test_signs_that_no_font_has_are_said() -> None:
    assert without_font(["rose", "ASCII 9%"]) == ""
    rendering._font.cache_clear()
    with patch.object(rendering, "_FONTS", ()):
        said = without_font(["rose", "青い花", "花"])
    assert "has the signs 青い花, so they are drawn as boxes" in said


@pytest.mark.parametrize(("samples", "most"), [(3, 2), (5, 2), (7, 2), (4, 3), (9, 4), (2, 1), (6, 2)])
def test_no_sample_is_left_alone(samples: int, most: int) -> None:
    """Batch-norm needs two: 3 split by 2 are 3."""
    parts = [len(range(samples)[one]) for one in _slices(samples, most)]
    assert sum(parts) == samples
    assert min(parts) >= min(2, most)
    assert max(parts) <= (most if most > 2 else most + 1)


def test_a_long_reason_is_whole_and_frames_tell_what_leaves() -> None:
    short, long = Tile(None, "a", "b"), Tile(None, "a", "leaves; " + "a reason of many words " * 6)
    assert contact_sheet([[long]]).height > contact_sheet([[short]]).height
    red = Tile(None, "a", "b", frame=(178, 84, 76))
    plain, framed = contact_sheet([[short, short]]), contact_sheet([[red, short]])
    left, top, right, bottom = ImageChops.difference(plain, framed).getbbox() or (0, 0, 0, 0)
    assert (right - left, bottom - top) == (200, 200)
    assert framed.getpixel((left, top)) == (178, 84, 76)


@pytest.mark.parametrize("with_it", ["--tensorboard", "--sweep"])
def test_folds_do_not_pass_over_what_was_asked_for(with_it: str, tmp_path: Path) -> None:
    root = grow(tmp_path, {"train": 2, "valid": 1})
    sentence = command("train", root, "--folds", "2", with_it).sentence
    assert f"--folds measures and saves no run, so {with_it}" in sentence


def test_one_stage_of_lite0_is_more_than_a_norm() -> None:
    from train.optimising.unfreeze import unfreeze

    network = load_backbone("efficientnet_lite0", "none").network
    (stage,) = unfreeze(network, 1)
    assert stage.name == "conv_head"
    assert max(parameter.ndim for parameter in stage.parameters) == 4


def test_what_comes_after_folds_is_the_same_run(tmp_path: Path) -> None:
    """Else it would take a network that has to be downloaded, and other options than those that were measured."""
    root = grow(tmp_path / "d", {"train": 6, "valid": 2})
    options = ["--backbone", TINY, "--weights", "none", "--views", "1", "--set", "epochs=2", "--models", tmp_path / "m"]
    said = command("train", root, *options, "--folds", "2").out.partition("Next: ")[2]
    for word in map(str, options):
        assert word in said
    assert "--folds" not in said
    assert "--seed" not in said
