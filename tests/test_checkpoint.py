"""Checkpoints: named by accuracy, never overwritten, whole or absent, and clear about what they are not."""

import dataclasses
import os
import pickle
import random
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from curate.errors import UserError
from curate.files import moving
from curate.files.lock import locked
from tests.forking import Forks
from tests.training_ground import TINY, accuracy, small_checkpoint
from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.checkpoint_choice import best_checkpoint


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return small_checkpoint()


def scored(checkpoint: Checkpoint, correct: int, n: int) -> Checkpoint:
    return dataclasses.replace(checkpoint, metrics={"valid": accuracy(correct, n)})


def test_it_holds_everything_and_comes_back_bit_for_bit(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Trap: `model.load_state_dict = …` assigned instead of called leaves an untrained model, and nobody noticed."""
    path = save_checkpoint(checkpoint, tmp_path / "models")
    again = load_checkpoint(path)
    for name in ("labels", "names", "recipe", "history", "dataset", "versions", "created"):
        assert getattr(again, name) == getattr(checkpoint, name)
    assert again.metrics["valid"].to_dict() == checkpoint.metrics["valid"].to_dict()
    mine, theirs = checkpoint.backbones[0], again.backbones[0]
    assert (theirs.name, theirs.library, theirs.architecture, theirs.dim) == (TINY, "timm", "test_resnet", 96)
    assert theirs.preprocessing == mine.preprocessing
    assert theirs.weights_sha256 == mine.weights_sha256
    for one, other in ((mine.network, theirs.network), (checkpoint.head, again.head)):
        state = other.state_dict()
        assert list(state) == list(one.state_dict())
        assert all(torch.equal(value, state[key]) for key, value in one.state_dict().items())
        assert not any(module.training for module in other.modules())
        assert not any(parameter.requires_grad for parameter in other.parameters())


def test_names_carry_the_floored_accuracy_and_equals_never_overwrite(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Trap: 100 * round(acc, 2) names 0.946 to 0.954 all 95.0, each overwriting the last."""
    counts = [(946, 1000), (954, 1000), (946, 1000), (29, 100), (946, 1000), (100, 100)]
    paths = [save_checkpoint(scored(checkpoint, *count), tmp_path) for count in counts]
    assert [path.name for path in paths] == [
        "model_94.60.pth", "model_95.40.pth", "model_94.60_2.pth", "model_29.00.pth", "model_94.60_3.pth",
        "model_100.00.pth",
    ]  # fmt: skip
    assert best_checkpoint(tmp_path) == paths[-1]  # by number: as text, 95 comes after 100
    paths[-1].unlink()
    paths[1].unlink()
    os.utime(paths[2], ns=(2**62, 2**62))
    assert best_checkpoint(tmp_path) == paths[2]  # the newest of equals


def test_without_a_checkpoint_there_is_no_best(tmp_path: Path) -> None:
    (tmp_path / "model_best.pth").write_text("")
    (tmp_path / "resnet.pth").write_text("")
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match="no checkpoint in"):
            best_checkpoint(folder)


@pytest.mark.parametrize("stranger", [Path("here"), np.float64(0.9), object()])
def test_what_would_make_the_file_unloadable_is_never_written(
    stranger: object, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """Trap: an argparse.Namespace, Path or np.float64 inside can't be loaded with weights_only=True."""
    with pytest.raises(TypeError, match="plain types"):
        save_checkpoint(dataclasses.replace(checkpoint, recipe={"x": [stranger]}), tmp_path)
    assert not list(tmp_path.glob("*.pth"))


def test_any_damage_is_one_sentence(checkpoint: Checkpoint, tmp_path: Path) -> None:
    whole = save_checkpoint(checkpoint, tmp_path).read_bytes()
    broken = tmp_path / "broken.pth"
    source = random.Random(0)
    for length in [0, 1, 100, *(source.randrange(len(whole)) for _ in range(12)), len(whole) - 1]:
        broken.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"broken\.pth"):
            load_checkpoint(broken)
    for _ in range(25):
        flipped = bytearray(whole)
        flipped[source.randrange(len(whole))] ^= 1 << source.randrange(8)
        broken.write_bytes(flipped)
        try:
            again = load_checkpoint(broken)
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:  # padding, or a figure in the metadata: never a weight
            assert again.backbones[0].weights_sha256 == checkpoint.backbones[0].weights_sha256


def test_a_file_that_is_not_ours_is_told_apart(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    content = torch.load(save_checkpoint(checkpoint, tmp_path), weights_only=True)
    for other in (nn.Linear(2, 2).state_dict(), [1, 2], {"format": "something else"}):
        torch.save(other, path)
        with pytest.raises(UserError, match="no checkpoint of ours"):
            load_checkpoint(path)
    torch.save({**content, "version": 99}, path)
    with pytest.raises(UserError, match="newer version"):
        load_checkpoint(path)
    with pytest.raises(UserError, match="There is no checkpoint"):
        load_checkpoint(tmp_path / "absent.pth")
    witness = tmp_path / "executed"

    class Trojan:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (witness,)

    path.write_bytes(pickle.dumps({"format": Trojan()}))
    with pytest.raises(UserError, match="can't be read"):
        load_checkpoint(path)
    assert not witness.exists()


@pytest.mark.parametrize("fault", ["a key less", "a key more", "another tensor", "a class less", "another network"])
def test_loading_is_strict(fault: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Trap: load_state_dict(strict=False) hides what does not fit."""
    content = torch.load(save_checkpoint(checkpoint, tmp_path), weights_only=True)
    state = content["backbones"][0]["state"]
    key = next(iter(state))
    if fault == "a key less":
        del state[key]
    elif fault == "a key more":
        state["stowaway"] = torch.zeros(1)
    elif fault == "another tensor":
        state[key] = state[key] + 1e-3
    elif fault == "a class less":
        content["labels"] = content["labels"][:2]
    else:
        content["backbones"][0]["architecture"] = "no_such_network"
    path = tmp_path / "fault.pth"
    torch.save(content, path)
    with pytest.raises(UserError):
        load_checkpoint(path)


SAVE = """
import dataclasses, os, pickle, resource, signal, sys
from pathlib import Path
import torch
from tests.test_checkpoint import scored
from train.checkpoint import load_checkpoint, save_checkpoint
from curate.errors import UserError
folder = Path(sys.argv[1])
checkpoint = scored(load_checkpoint(folder / "model_94.60.pth"), 97, 100)
"""


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL, no file size limit")
def test_a_kill_or_a_full_disk_leaves_no_half_file(checkpoint: Checkpoint, tmp_path: Path, forks: Forks) -> None:
    """Trap: checkpoints written in place; a kill leaves half a file under the best one's name."""

    def in_a_process(code: str) -> subprocess.CompletedProcess[str]:
        return forks.start(SAVE + textwrap.dedent(code), tmp_path).wait()

    first = save_checkpoint(checkpoint, tmp_path)
    before = first.read_bytes()
    killed = in_a_process(
        """
        write = torch.save
        def half(content, file):
            write(content, file)
            file.truncate(file.tell() // 2)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        torch.save = half
        save_checkpoint(checkpoint, folder)
        """
    )
    assert killed.returncode == -9, killed.stderr
    assert len(list(tmp_path.glob(".florilegium-*.partial"))) == 1
    assert best_checkpoint(tmp_path) == first
    full = in_a_process(
        """
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        try:
            save_checkpoint(checkpoint, folder)
        except UserError as error:
            print(error)
        """
    )
    assert "can't be written into" in full.stdout, full.stderr
    assert first.read_bytes() == before
    assert [path.name for path in tmp_path.glob("*.pth")] == ["model_94.60.pth"]
    assert not list(tmp_path.glob(".florilegium-*.partial"))  # the killed one's leavings went with the next save
    assert save_checkpoint(scored(checkpoint, 97, 100), tmp_path).name == "model_97.00.pth"


def test_a_folder_that_cannot_be_made_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written into"):
        save_checkpoint(checkpoint, tmp_path / "file")


def test_without_hard_links_a_name_is_still_never_taken_twice(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(moving, "rename_exclusively", refuse)
    names = [save_checkpoint(checkpoint, tmp_path).name for _ in range(3)]
    assert names == ["model_94.60.pth", "model_94.60_2.pth", "model_94.60_3.pth"]
    assert load_checkpoint(tmp_path / names[2]).labels == checkpoint.labels


def test_without_locks_a_checkpoint_is_saved_all_the_same(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    names = [save_checkpoint(checkpoint, tmp_path).name for _ in range(2)]
    assert names == ["model_94.60.pth", "model_94.60_2.pth"]


def test_a_name_is_waited_for(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Two that save at once name one after the other, and neither gives up."""
    saved: list[str] = []
    with locked(tmp_path, "train"):
        saver = threading.Thread(target=lambda: saved.append(save_checkpoint(checkpoint, tmp_path).name))
        saver.start()
        saver.join(0.5)
        assert saved == []
    saver.join()
    assert saved == ["model_94.60.pth"]
