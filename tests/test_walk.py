"""From eleven folders as people have them to a prediction, by nothing but what each command says comes next."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commanding import command
from tests.training_ground import COLOURS, hash_free_seed, picture
from tests.walking import commands_in, walk

LABELS = tuple(COLOURS)[:2]


def plant(root: Path, *folders: str, count: int = 6) -> Path:
    """Class folders of two classes below each of these folders; "{}" stands for the class in a file's name."""
    for folder in folders:
        for number, label in enumerate(LABELS):
            for at in range(count):
                name = f"{folder.format(label)}.{at}.jpg" if "{}" in folder else f"{folder}/{label}/{at}.jpg"
                file = root / name
                file.parent.mkdir(parents=True, exist_ok=True)
                picture(COLOURS[label], hash_free_seed(folder, number, at), (96, 80)).save(file, quality=90)
    return root


def unlabelled(root: Path, folder: str, copy: str = "") -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    picture((1, 2, 3), 5, (96, 80)).save(root / folder / "unknown.jpg")
    if copy:
        (root / folder / "known.jpg").write_bytes((root / copy).read_bytes())


def flat(root: Path) -> None:
    plant(root, ".")


def raw(root: Path) -> None:
    plant(root, "raw")


def train_and_test(root: Path) -> None:
    plant(root, "Training", "Testing")


def train_alone(root: Path) -> None:
    plant(root, "train", count=8)


def raw_and_test(root: Path) -> None:
    plant(root, "raw", "test")


def train_and_val(root: Path) -> None:
    plant(root, "a folder/train", "a folder/val")


def all_three(root: Path) -> None:
    plant(root, "seg_train/seg_train", "valid", "seg_test/seg_test")


def unlabelled_test(root: Path) -> None:
    plant(root, "train", count=8)
    unlabelled(root, "test", copy=f"train/{LABELS[0]}/3.jpg")


def labels_in_names(root: Path) -> None:
    plant(root, "train/{}", count=8)
    unlabelled(root, "test1")


def leaking(root: Path) -> None:
    plant(root, "train", "valid", "test")
    (root / f"test/{LABELS[1]}/copy.jpg").write_bytes((root / f"train/{LABELS[1]}/3.jpg").read_bytes())


def splits_below_classes(root: Path) -> None:
    """One class is in test alone."""
    labels = tuple(COLOURS)[:3]
    for number, (label, split) in enumerate((label, split) for label in labels for split in ("train", "test")):
        for at in range(8 if (label, split) != (labels[2], "train") else 0):
            file = root / label / split / f"{at}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(COLOURS[label], hash_free_seed(split, number, at), (96, 80)).save(file, quality=90)


STARTS = (
    flat, raw, train_and_test, train_alone, raw_and_test, train_and_val, all_three, unlabelled_test, labels_in_names,
    leaking, splits_below_classes,
)  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.__name__)
def test_every_next_leads_to_a_prediction(
    start: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "my pictures"
    start(root)
    before = {file.relative_to(root): file.read_bytes() for file in root.rglob("*.jpg")}
    found = walk(Path("my pictures"))
    assert found.dead_ends == []
    assert found.predicted, found.taken
    assert {"clean", "split", "train", "evaluate"} <= found.stages
    lost = [path for path, data in before.items() if not _is_somewhere(tmp_path, data)]
    assert lost == []


def _is_somewhere(folder: Path, data: bytes) -> bool:
    return any(file.stat().st_size == len(data) and file.read_bytes() == data for file in folder.rglob("*.jpg"))


def test_a_next_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    """As the user started it, so it is named: by another interpreter, from another folder, on a name with a quote."""
    root = plant(tmp_path / "it's mine", ".")
    first = command("clean", root)
    (line,) = [line for line in first.out.splitlines() if "Next: " in line]
    pasted = line.split("Next: ")[1].replace(" cli.py ", f" {Path(__file__).resolve().parent.parent / 'cli.py'} ")
    done = subprocess.run(["bash", "-c", pasted], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, list(commands_in(done.stdout))) == (0, [["train", str(root)]]), (pasted, done)


def test_what_cannot_be_trained_is_said_and_leads_nowhere(tmp_path: Path) -> None:
    """One class, none, or too few pictures for a valid: no command is named that would fail."""
    one = tmp_path / "one"
    picture((9, 9, 9), 1).save(_made(one / "rose") / "a.jpg")
    assert "pictures of one class only, “rose”" in command("clean", one).out
    none = tmp_path / "none"
    _made(none / "rose")
    assert "holds no picture" in command("clean", none).out
    few = tmp_path / "few"
    for at, label in enumerate(LABELS):
        picture((90 * at, 9, 9), at).save(_made(few / label) / "a.jpg")
    split = command("split", few)
    assert "no picture in valid, and training needs one" in split.out
    for ended in (command("clean", one), command("clean", none), split):
        assert not list(commands_in(ended.out)), ended.out


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
