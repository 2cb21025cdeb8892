"""Training reads an export in shards as it reads the folder: the same bank and checkpoint, each picture as often."""

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curate.catalog import Catalog
from curate.catalog.credits import CreditRow, enter_credit
from curate.clean import clean
from curate.dataset import open_dataset
from curate.errors import UserError
from curate.export import export
from curate.exporting.webdataset import write_webdataset
from curate.files.reading import NotAPlainFile, read_file, sha256_of
from curate.files.shards import ShardPart, part_of_shard, path_in_shard
from curate.restore import restore
from curate.scan import scan
from tests.commanding import command
from tests.training_ground import LFS_POINTER, TINY, grow
from train.checkpoint import Checkpoint, load_checkpoint
from train.evaluate import evaluate
from train.optimising.dealing import deal_shards, dealt
from train.optimising.settings import FitSettings, Tuning
from train.training import TrainingReport, TrainOptions, train_head

REPOSITORY = Path(__file__).resolve().parent.parent
SMALL = 60_000
"""Bytes of a shard, so that a split has several."""


def in_shards(root: Path, out: Path, most: int = SMALL) -> Path:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("curate.exporting.webdataset.write_webdataset", partial(write_webdataset, most_bytes=most))
        export(root, out, format="webdataset")
    assert len(list(out.glob("train-*.tar"))) > 2
    return out


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split folder with one credited picture, one in a subfolder, and one broken."""
    root = grow(tmp_path_factory.mktemp("garden") / "flowers", {"train": 8, "valid": 4, "test": 2})
    inner = root / "train" / "iris" / "old"
    inner.mkdir()
    (root / "train" / "iris" / "picture 3.jpg").rename(inner / "picture 3.jpg")
    (root / "train" / "rose" / "broken.jpg").write_bytes(b"no picture")
    dataset = open_dataset(root)
    with Catalog.open(dataset.catalog_path) as catalog:
        scan(dataset, catalog)
        sha256 = sha256_of(root / "train" / "rose" / "picture 1.jpg")
        with catalog.transaction():
            told = ("https://example.org/1", "openverse", "1", "", "", "A. Author", "by", "", "")
            enter_credit(catalog, CreditRow(sha256, *told, "2026-01-01T00:00:00"))
    return root


@pytest.fixture(scope="module")
def shards(garden: Path) -> Path:
    return in_shards(garden, garden.parent / "shards")


def train(root: Path, models: Path, **changes: Any) -> TrainingReport:
    settings: dict[str, Any] = {
        "backbone": TINY, "weights": "none", "models": models, "device": "cpu", "views": 2,
        "head": FitSettings(epochs=8),
    }  # fmt: skip
    return train_head(root, TrainOptions(**{**settings, **changes}))


def rows(models: Path) -> list[tuple[Any, ...]]:
    """What the one bank of a folder of models holds, bytes and all."""
    found = []
    for file in sorted((models / "bank").glob("*.sqlite")):
        with closing(sqlite3.connect(file)) as db:
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            found += [(file.name, name, *sorted(db.execute(f"SELECT * FROM {name}"), key=repr)) for name in names]
    return found


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    """All that is in a checkpoint, but when it was made."""
    networks = ((a.network, b.network) for a, b in zip(one.backbones, other.backbones, strict=True))
    for ours, theirs in [(one.head, other.head), *networks]:
        expected = theirs.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())
    for name in ("labels", "names", "recipe", "history", "dataset", "versions"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("calibration", "familiarity"):
        assert repr(getattr(one, name)) == repr(getattr(other, name)), name
    assert one.metrics["valid"].correct == other.metrics["valid"].correct


@pytest.mark.parametrize("head", [FitSettings(epochs=8), FitSettings(head="auto")], ids=["sgd", "auto"])
def test_the_same_bank_and_the_same_checkpoint_as_from_the_folder(
    garden: Path, shards: Path, tmp_path: Path, head: FitSettings
) -> None:
    one, other = train(garden, tmp_path / "1", head=head), train(shards, tmp_path / "2", head=head)
    assert rows(tmp_path / "1") == rows(tmp_path / "2") != []
    assert (one.computed, one.train_pictures) == (other.computed, other.train_pictures) == (24 * 2 + 12, 24)
    assert [picture.path for picture in one.broken] == [str(garden / "train/rose/broken.jpg")]  # it was not exported
    first, second = load_checkpoint(one.checkpoint), load_checkpoint(other.checkpoint)
    assert_same(first, second)
    assert first.dataset["credits"] == [["openverse", "by", 1]]
    assert train(shards, tmp_path / "1", head=head).computed == 0  # what the folder's pictures gave is theirs, too


def test_a_checkpoint_is_measured_on_shards_as_on_the_folder(garden: Path, shards: Path, tmp_path: Path) -> None:
    checkpoint = train(garden, tmp_path).checkpoint
    found = [evaluate(checkpoint, root, split="valid", device="cpu") for root in (garden, shards)]
    assert found[0].fingerprint == found[1].fingerprint
    assert (found[0].probabilities == found[1].probabilities).all()
    assert found[1].paths[0].startswith(str(shards / "validation-0000"))


def test_the_commands_take_shards(shards: Path, tmp_path: Path) -> None:
    trained = command(
        "train", shards, "--backbone", TINY, "--weights", "none", "--models", tmp_path / "models", "--runs",
        tmp_path / "runs", "--views", 1, "--device", "cpu",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    measured = command("evaluate", shards, "--models", tmp_path / "models", "--device", "cpu")
    assert measured.code == 0, measured.err
    listed = sorted(file.name for file in shards.iterdir() if file.suffix != ".tar")
    assert listed == ["CREDITS.md", "labels.json", "shards.json"]  # nothing is written beside the shards


@pytest.mark.parametrize("tuning", [Tuning(unfreeze="all", probe=False)])
def test_fine_tuning_by_one_process_gives_the_same_network(
    garden: Path, shards: Path, tmp_path: Path, tuning: Tuning
) -> None:
    from train.finetune import train_network

    found = []
    for name, root in (("1", garden), ("2", shards)):
        options = TrainOptions(
            backbone=TINY, weights="none", crop=32, models=tmp_path / name, device="cpu", tuning=tuning,
            precision="float32", head=FitSettings(epochs=2, batch=6),
        )  # fmt: skip
        found.append(load_checkpoint(train_network(root, options).checkpoint))
    assert_same(*found)


def test_a_renamed_class_keeps_its_name(garden: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.json"
    names.write_text('{"rose": "Rosa", "iris": "Iris", "sun flower": "Helianthus"}')
    export(garden, tmp_path / "out", format="webdataset", names=names)
    assert open_dataset(tmp_path / "out").names_along == {"rose": "Rosa", "iris": "Iris", "sun flower": "Helianthus"}


def rewritten(shard: Path, change: Callable[[str, bytes], bytes]) -> None:
    """A shard whose members are changed."""
    with tarfile.open(shard) as tar:
        members = [(member.name, file.read()) for member in tar if (file := tar.extractfile(member))]
    with tarfile.open(shard, "w") as tar:
        for name, data in members:
            member, changed = tarfile.TarInfo(name), change(name, data)
            member.size = len(changed)
            tar.addfile(member, io.BytesIO(changed))


def other_label(name: str, data: bytes) -> bytes:
    return json.dumps({**json.loads(data), "label": "../../etc"}).encode() if name.endswith(".json") else data


def without_index(root: Path) -> None:
    (root / "shards.json").unlink()
    os.truncate(root / "train-00000.tar", 9_000)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a shard is missing": (lambda root: (root / "train-00001.tar").unlink(), r"train-00001\.tar is missing: copy"),
    "the last is missing": (lambda root: max(root.glob("train-*")).unlink(), r"train-\d+\.tar is missing: copy it"),
    "cut short": (lambda root: os.truncate(root / "train-00000.tar", 9_000), "is cut short, or another one: copy it"),
    "cut short, and no index": (without_index, "is cut short"),
    "another's label": (lambda root: rewritten(root / "train-00000.tar", other_label), "is no export|or another"),
    "labels are no list": (lambda root: (root / "labels.json").write_text("{}"), r"labels\.json is no export"),
    "labels are no JSON": (lambda root: (root / "labels.json").write_text("["), r"labels\.json is no JSON"),
    "the index is not ours": (lambda root: (root / "shards.json").write_text('[{"file": 1}]'), r"s\.json is no exp"),
    "a pointer of Git LFS": (lambda root: (root / "train-00000.tar").write_bytes(LFS_POINTER), "another one: copy it"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_shards_that_are_not_whole_are_a_sentence(shards: Path, tmp_path: Path, fault: str) -> None:
    """Never fewer pictures than were exported, without a word."""
    root = shutil.copytree(shards, tmp_path / "copy")
    spoil, said = FAULTS[fault]
    spoil(root)
    with pytest.raises(UserError, match=said):
        open_dataset(root)


@pytest.mark.parametrize("name", ["../out.json", "/etc/passwd.json", "a/b.json"])
def test_members_with_strange_names_are_refused(shards: Path, tmp_path: Path, name: str) -> None:
    root = shutil.copytree(shards, tmp_path / "copy")
    (root / "shards.json").unlink()
    with tarfile.open(root / "train-00000.tar", "a") as tar:
        member = tarfile.TarInfo(name)
        member.size = 2
        tar.addfile(member, io.BytesIO(b"{}"))
    with pytest.raises(UserError, match="is no export"):
        open_dataset(root)


def test_an_export_of_an_earlier_version_has_no_index(garden: Path, shards: Path, tmp_path: Path) -> None:
    root = shutil.copytree(shards, tmp_path / "copy")
    (root / "shards.json").unlink()
    assert [one.name for one in open_dataset(root).pictures] == [one.name for one in open_dataset(shards).pictures]  # type: ignore[attr-defined]


def test_shards_are_cleaned_by_a_manifest(tmp_path: Path) -> None:
    """What leaves is no longer learnt from, and no shard is touched."""
    root = grow(tmp_path / "garden", {"train": 4, "valid": 2}, classes=2)
    shutil.copy(root / "train/rose/picture 1.jpg", root / "train/rose/the same.jpg")
    export(root, tmp_path / "shards", format="webdataset")
    before = {file.name: sha256_of(file) for file in (tmp_path / "shards").iterdir()}
    report = clean(tmp_path / "shards", yes=True)
    assert (report.moved, report.dataset.quarantine) == (1, tmp_path / "shards.florilegium" / "quarantine.parquet")
    assert {file.name: sha256_of(file) for file in (tmp_path / "shards").iterdir()} == before
    assert train(tmp_path / "shards", tmp_path / "models").train_pictures == 8
    assert restore(tmp_path / "shards") is not None
    assert train(tmp_path / "shards", tmp_path / "models").train_pictures == 9


@pytest.mark.parametrize("words", [("scrape", "--out"), ("review",)])
def test_what_would_put_files_there_says_that_nothing_can(shards: Path, words: tuple[str, ...]) -> None:
    from curate.dataset import open_to_write

    with (
        pytest.raises(UserError, match=f"stays as it is, so `{words[0]}` has no place"),
        open_to_write(shards, words[0]),
    ):
        pass


@given(st.from_regex(r"[A-Za-z0-9 ._-]{1,20}", fullmatch=True), st.integers(0, 10**12), st.integers(0, 10**9))
def test_a_path_says_where_its_bytes_are(name: str, start: int, size: int) -> None:
    path = Path("/data") / path_in_shard("train-00000.tar", name, start, size)
    assert part_of_shard(path) == ShardPart(Path("/data/train-00000.tar"), start, size)
    assert path.suffix in ("", Path(name).suffix, f".{name.rpartition('.')[2]}") or "@" in path.suffix


def test_only_parts_of_tars_are_parts(tmp_path: Path) -> None:
    for path in ("a/b@1+2.jpg", "x.tar", "x.tar/plain.jpg", "x.tar/a/b@1+2.jpg"):
        assert part_of_shard(tmp_path / path) is None
    (tmp_path / "x.tar").mkdir()  # a folder of that name holds files as any other
    (tmp_path / "x.tar" / "plain.jpg").write_bytes(b"abc")
    assert read_file(tmp_path / "x.tar" / "plain.jpg") == b"abc"


def test_no_more_is_read_than_there_is(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"0123456789")
    assert read_file(tmp_path / "x.tar" / "a@2+3.jpg") == b"234"
    assert sha256_of(tmp_path / "x.tar" / "a@0+10.jpg") == sha256_of(tmp_path / "x.tar")
    with pytest.raises(NotAPlainFile, match="ends before it"):
        read_file(tmp_path / "x.tar" / "a@2+30.jpg")
    with pytest.raises(NotAPlainFile, match="over the limit"):
        read_file(tmp_path / "x.tar" / "a@2+8.jpg", 7)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "y.tar" / "a@2+8.jpg")


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_every_draw_is_taken_once_and_by_the_process_of_its_shard(
    counts: list[int], processes: int, batch: int, seed: int
) -> None:
    owner_of_shard = deal_shards(counts, processes)
    held = [sum(count for count, owner in zip(counts, owner_of_shard, strict=True) if owner == one)
            for one in range(processes)]  # fmt: skip
    assert max(held) - min(held) <= max(counts)  # no process has a shard more than it need have
    shard = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    if not len(shard):
        return
    owner = torch.tensor(owner_of_shard)[shard]
    drawn = torch.randperm(len(shard), generator=torch.Generator().manual_seed(seed))
    steps = list(torch.split(torch.arange(len(drawn)), batch))
    order = dealt(drawn, owner, steps, processes)
    assert sorted(order.tolist()) == list(range(len(shard)))
    own, places = Counter[int](), Counter[int]()
    for step in steps:
        for process in range(processes):
            taken = order[step[process::processes]]
            places[process] += len(taken)
            own[process] += int((owner[taken] == process).sum())
    for process in range(processes):
        assert own[process] >= min(places[process], held[process])  # others' only when its own are done


SCRIPT = """
import json, sys
from collections import Counter
from pathlib import Path
import torch
from curate.files.shards import shard_of
from train.features import pixels
from train.optimising.distributed import joined_processes
from train.recipe import load_recipe
from train.run import options_of, train_recipe

root, folder = Path(sys.argv[1]), Path(sys.argv[2])
epochs, shards = [], Counter()
batches = pixels.PixelSource._batches

def noted(source, draws, counts, **told):
    if draws and draws[0][1] is not None:
        epochs.append([source.pictures[position].sha256 for position, _ in draws])
        shards.update(shard_of(source.pictures[position].path) for position, _ in draws)
    yield from batches(source, draws, counts, **told)

pixels.PixelSource._batches = noted
recipe = load_recipe("scratch-cnn", {"crop": 32, "hidden": [16], "dropout": 0.0, "epochs": 2, "batch": 5,
                                     "balance": 0.0, "precision": "float32"})
with joined_processes(torch.device("cpu")) as processes:
    train_recipe(root, options_of(recipe, models=folder / "models", device="cpu"), processes=processes)
    (folder / f"{processes.rank}.json").write_text(json.dumps({"epochs": epochs, "shards": shards}))
"""


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32" or not torch.distributed.is_available(), reason="PyTorch has no processes")
def test_two_processes_see_each_picture_once_an_epoch_each_its_own_shards(shards: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script),
         str(shards), str(tmp_path)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    everything = {one["sha256"] for one in notes_of(shards, "train")}
    for epoch in range(2):
        first, second = (one["epochs"][epoch] for one in told)
        assert sorted(first + second) == sorted(everything)
        assert abs(len(first) - len(second)) <= 5  # of 24 in steps of 5, of which the first takes 3
    in_both = set(told[0]["shards"]) & set(told[1]["shards"])
    foreign = sum(min(one["shards"][shard] for one in told) for shard in in_both)
    assert foreign <= 2 * 8  # what one shard more than half of them holds, in two epochs


def notes_of(root: Path, split: str) -> list[dict[str, Any]]:
    found = []
    for shard in sorted(root.glob(f"{split}-*.tar")):
        with tarfile.open(shard) as tar:
            found += [json.loads(file.read()) for member in tar
                      if member.name.endswith(".json") and (file := tar.extractfile(member))]  # fmt: skip
    return found
