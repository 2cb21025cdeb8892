"""The feature bank: nothing stale is read, nothing is computed twice, and damage costs time alone."""

import dataclasses
import hashlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curate.errors import UserError
from tests.forking import Forks
from tests.training_ground import TINY, grow, picture
from train.backbones import Backbone, load_backbone
from train.features import augmentation as augmentation_module
from train.features import bank_file as bank_file_module
from train.features.augmentation import Augmentation
from train.features.bank import CLEAN, BankKey, FeatureBank
from train.features.extract import Extraction, extract, forward_halving
from train.features.freeze import FrozenNetwork
from train.features.prepare import PictureRef
from train.features.views import Views
from train.options import Precision

CPU = torch.device("cpu")
KEY = BankKey("timm:net", "00" * 32, {"resize": 256}, "float32", 8)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return load_backbone(TINY, "none")


@pytest.fixture
def refs(tmp_path: Path) -> list[PictureRef]:
    grow(tmp_path / "data", {"train": 4})
    return [PictureRef(path) for path in sorted((tmp_path / "data").rglob("*.jpg"))]


def run(tiny: Backbone, refs: list[PictureRef], folder: Path, views: Views | None = None, **options: int) -> Extraction:
    return extract(
        tiny, refs, bank=folder, device=CPU, precision="float32", views=views,
        batch=options.get("batch", 5), workers=options.get("workers"),
    )  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_was_put_is_read_bit_for_bit(precision: Precision, tmp_path: Path) -> None:
    key = dataclasses.replace(KEY, precision=precision)
    rows = torch.randn(3, 8).to(torch.bfloat16 if precision == "bfloat16" else torch.float32)
    with FeatureBank(tmp_path, key) as bank:
        bank.put([(sha(name), view, row) for name, view, row in zip("aab", (CLEAN, "r/1/1", CLEAN), rows, strict=True)])
    with FeatureBank(tmp_path, key) as bank:
        assert not bank.rebuilt
        features, there = bank.read([sha("b"), sha("x"), sha("a"), sha("b")], [CLEAN, "r/1/1"])
        assert there.tolist() == [[True, False], [False, False], [True, True], [True, False]]
        assert torch.equal(features[2], rows[:2])
        assert torch.equal(features[0, 0], rows[2])
        assert torch.equal(features[3, 0], rows[2])
        assert features.dtype == rows.dtype
        assert bank.views_of([CLEAN, "r/1/1"]) == {sha("a"): {CLEAN, "r/1/1"}, sha("b"): {CLEAN}}


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "11" * 32}, {"architecture": "timm:other"}, {"preprocessing": {"resize": 232}},
        {"precision": "bfloat16"}, {"dim": 9},
    ],
)  # fmt: skip
def test_whatever_features_depend_on_is_in_the_key(change: dict[str, object], tmp_path: Path) -> None:
    """A cache keyed by a path's existence goes stale; this one can't."""
    with FeatureBank(tmp_path, KEY) as bank:
        bank.put([(sha("a"), CLEAN, torch.ones(8))])
    with FeatureBank(tmp_path, dataclasses.replace(KEY, **change)) as other:  # type: ignore[arg-type]
        assert other.file != bank.file
        assert other.views_of([CLEAN]) == {}


def test_views_of_another_version_are_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Views(3, seed=1).names()
    monkeypatch.setattr(augmentation_module, "VIEWS_VERSION", 99)
    after = Views(3, seed=1).names()
    assert before[0] == after[0] == CLEAN
    assert not set(before[1:]) & set(after[1:])


@pytest.mark.parametrize("version", ["FORMAT_VERSION", "PIXELS_VERSION"])
def test_a_bank_of_another_version_is_never_read(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FeatureBank(tmp_path, KEY) as bank:
        bank.put([(sha("a"), CLEAN, torch.ones(8))])
    monkeypatch.setattr(bank_file_module, version, 99)
    with FeatureBank(tmp_path, KEY) as newer:
        assert newer.views_of([CLEAN]) == {}
    # Even under the name of this version's file: what it says of itself counts
    bank.file.replace(newer.file)
    with FeatureBank(tmp_path, KEY) as renamed:
        assert renamed.rebuilt
        assert renamed.views_of([CLEAN]) == {}


@pytest.mark.parametrize("damage", ["not SQLite", "half", "empty", "a page of noise", "a flipped bit in a feature"])
def test_a_damaged_bank_is_built_anew(damage: str, tiny: Backbone, refs: list[PictureRef], tmp_path: Path) -> None:
    before = run(tiny, refs, tmp_path / "bank")
    (file,) = (tmp_path / "bank").glob("*.sqlite")
    content = bytearray(file.read_bytes())
    feature = before.features[3, 0].numpy().tobytes()
    if damage == "not SQLite":
        content = bytearray(b"no database at all" * 400)
    elif damage == "half":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = bytearray()
    elif damage == "a page of noise":
        content[4096:8192] = np.random.default_rng(0).bytes(4096)
    else:
        content[content.index(feature) + 17] ^= 4
    file.write_bytes(content)
    after = run(tiny, refs, tmp_path / "bank")
    assert after.computed == (1 if "bit" in damage else 12)
    torch.testing.assert_close(after.features, before.features, rtol=1e-4, atol=1e-4)


def test_the_second_run_computes_nothing(tiny: Backbone, refs: list[PictureRef], tmp_path: Path) -> None:
    first = run(tiny, refs, tmp_path / "bank", Views(3, seed=5))
    assert (first.computed, len(first.kept)) == (36, 12)
    assert first.features.shape == (12, 3, 96)
    second = run(tiny, refs, tmp_path / "bank", Views(3, seed=5))
    assert second.computed == 0
    assert torch.equal(first.features, second.features)
    more = run(tiny, refs, tmp_path / "bank", Views(4, seed=5))
    assert more.computed == 12
    assert torch.equal(more.features[:, :3], first.features)
    assert run(tiny, refs, tmp_path / "bank", Views(2, seed=6)).computed == 12
    assert run(tiny, refs, tmp_path / "bank", Views(2, 5, Augmentation(rotation=5))).computed == 12


def test_content_is_the_key_not_the_path(tiny: Backbone, refs: list[PictureRef], tmp_path: Path) -> None:
    first = run(tiny, refs, tmp_path / "bank")
    refs[0].path.rename(refs[0].path.with_name("Umbenannt – ñ.jpg"))
    moved = [PictureRef(refs[0].path.with_name("Umbenannt – ñ.jpg")), *refs[1:]]
    assert run(tiny, moved, tmp_path / "bank").computed == 0
    picture((9, 200, 9), 77).save(refs[1].path)  # another picture under the same path
    again = run(tiny, moved, tmp_path / "bank")
    assert again.computed == 1
    assert not torch.equal(again.features[1], first.features[1])


def test_a_hash_that_is_known_is_believed_only_where_the_file_has_it(
    tiny: Backbone, refs: list[PictureRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tiny, refs, tmp_path / "bank")
    known = [PictureRef(ref.path, sha256) for ref, sha256 in zip(refs, first.sha256, strict=True)]
    with monkeypatch.context() as patched:  # nothing is decoded, in no other process either
        patched.setattr("train.features.prepare.read_file", lambda path: pytest.fail(f"{path} was decoded"))
        assert torch.equal(run(tiny, known, tmp_path / "bank").features, first.features)
    swapped = [PictureRef(ref.path, sha256) for ref, sha256 in zip(refs, first.sha256[::-1], strict=True)]
    assert run(tiny, swapped, tmp_path / "bank").sha256 == first.sha256
    nowhere = [PictureRef(Path("nowhere"), sha256) for sha256 in first.sha256]
    assert len(run(tiny, nowhere, tmp_path / "bank").broken) == len(refs)
    # A hash that the bank does not know is not believed: the file is read, and its own hash counts
    wrong = [PictureRef(refs[0].path, sha("something else"))]
    assert run(tiny, wrong, tmp_path / "bank").sha256 == first.sha256[:1]


def test_views_do_not_depend_on_order_batch_or_workers(tiny: Backbone, refs: list[PictureRef], tmp_path: Path) -> None:
    """Trap: every loader worker drawing the same augmentation stream."""
    views = Views(3, seed=5)
    one = run(tiny, refs, tmp_path / "one", views, batch=2, workers=1)
    other = run(tiny, refs[::-1], tmp_path / "other", views, batch=7, workers=4)
    torch.testing.assert_close(one.features, other.features.flip(0), rtol=1e-4, atol=1e-5)
    pixels = [views.pixels(ref.path.read_bytes(), "p", sha, [1, 2], tiny.preprocessing) for ref, sha in
              zip(refs, one.sha256, strict=True)]  # fmt: skip
    assert len({view.tobytes() for pair in pixels for view in pair}) == 24  # no two pictures or views share a draw


def test_the_clean_view_is_the_networks_own_answer(tiny: Backbone, refs: list[PictureRef], tmp_path: Path) -> None:
    found = run(tiny, refs[:2], tmp_path / "bank", Views(2))
    pixels = torch.from_numpy(tiny.preprocessing.clean(Image.open(refs[0].path)).copy())[None]
    with torch.no_grad():
        expected = tiny.network(tiny.preprocessing.normalise(pixels))
    torch.testing.assert_close(found.features[:1, 0], expected, rtol=1e-4, atol=1e-5)


def test_a_corrupt_picture_among_many_is_named_and_left_out(
    tiny: Backbone, refs: list[PictureRef], tmp_path: Path
) -> None:
    """Trap: one truncated file crashes the epoch, without its name."""
    data = refs[4].path.read_bytes()
    refs[4].path.write_bytes(data[: len(data) // 2])
    refs[7].path.write_bytes(b"")
    (tmp_path / "gone.jpg").unlink(missing_ok=True)
    asked = [*refs, PictureRef(tmp_path / "gone.jpg")]
    found = run(tiny, asked, tmp_path / "bank", Views(2))
    assert [broken.path for broken in found.broken] == [str(asked[4].path), str(asked[7].path), str(asked[12].path)]
    assert "cut off" in found.broken[0].reason
    assert found.kept == [0, 1, 2, 3, 5, 6, 8, 9, 10, 11]
    assert found.features.shape[0] == len(found.sha256) == 10


class Hungry:
    """A network on a device that holds `room` pictures."""

    def __init__(self, network: FrozenNetwork, room: int, error: Exception) -> None:
        self.network, self.room, self.error = network, room, error
        self.device = CPU

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        if len(pixels) > self.room:
            raise self.error
        return self.network(pixels)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=["CUDA", "CPU", "Python"],
)
def test_a_batch_that_does_not_fit_is_halved(error: Exception, tiny: Backbone) -> None:
    network = FrozenNetwork(tiny.network, tiny.preprocessing, CPU, "float32")
    pixels = torch.randint(0, 256, (11, 160, 160, 3), dtype=torch.uint8)
    features, batch = forward_halving(Hungry(network, 3, error), pixels, 64)  # type: ignore[arg-type]
    assert batch == 2
    torch.testing.assert_close(features, network(pixels), rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="One picture alone does not fit"):
        forward_halving(Hungry(network, 0, error), pixels, 64)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="shapes"):
        forward_halving(Hungry(network, 0, RuntimeError("shapes differ")), pixels, 64)  # type: ignore[arg-type]


def test_a_bank_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be made"):
        FeatureBank(tmp_path / "file" / "bank", KEY)
    with FeatureBank(tmp_path, KEY) as bank:
        reader = sqlite3.connect(bank.file)
        reader.execute("BEGIN EXCLUSIVE")
        bank._db.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(UserError, match="can't be written: database is locked"):
            bank.put([(sha("a"), CLEAN, torch.ones(8))])
        reader.close()


BEGIN_TOGETHER = """
import sys, time, torch
from pathlib import Path
from train.features.bank import BankKey, FeatureBank
folder, rank = Path(sys.argv[1]), int(sys.argv[2])
while not (folder / "go").exists():
    time.sleep(0.001)
for number in range(40):
    for _ in range(2):
        with FeatureBank(folder / str(number), BankKey("x", "y", {}, "float32", 4)) as bank:
            assert not bank.rebuilt, number
            bank.put([(f"{number:02d}{rank:02d}" * 16, "clean", torch.zeros(4))])
"""


@pytest.mark.thorough
def test_processes_that_begin_together_do_not_spoil_each_others_bank(tmp_path: Path, forks: Forks) -> None:
    running = [forks.start(BEGIN_TOGETHER, tmp_path, rank) for rank in range(3)]
    (tmp_path / "go").touch()
    ended = [program.wait(timeout=120) for program in running]
    assert [one.returncode for one in ended] == [0, 0, 0], [one.stderr for one in ended]
