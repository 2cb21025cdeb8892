"""A compiled network says the same, to the bit whatever comes with a picture, in a bank of its own, or says why not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.forking import Forks
from tests.training_ground import TINY, grow
from train.backbones import Backbone, load_backbone
from train.features.bank import BankKey
from train.features.bank_shelf import list_banks
from train.features.compiling import CompiledNetwork
from train.features.extract import Extraction, extract, forward_halving
from train.features.freeze import FrozenNetwork
from train.features.prepare import PictureRef

pytestmark = pytest.mark.usefixtures("one_thread")

REPOSITORY = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(TINY, "none")


@pytest.fixture(scope="module")
def compiled(backbone: Backbone) -> FrozenNetwork:
    return FrozenNetwork(backbone.network, backbone.preprocessing, CPU, "float32", compiled_for=8)


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (8, 160, 160, 3), dtype=torch.uint8, generator=generator)


@needs_compiler
def test_it_says_what_the_network_says(compiled: FrozenNetwork, backbone: Backbone, pixels: torch.Tensor) -> None:
    plain = FrozenNetwork(backbone.network, backbone.preprocessing, CPU, "float32")
    torch.testing.assert_close(compiled(pixels), plain(pixels), rtol=1e-4, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("count", [1, 3, 7])
def test_company_changes_no_bit(compiled: FrozenNetwork, pixels: torch.Tensor, count: int) -> None:
    whole = compiled(pixels)
    torch.testing.assert_close(compiled(pixels[:count]), whole[:count], rtol=0, atol=0)


@needs_compiler
def test_a_run_in_two_parts_gives_the_bits_of_one(backbone: Backbone, tmp_path: Path) -> None:
    files = sorted(grow(tmp_path / "garden", {"train": 5}).rglob("*.jpg"))

    def run(bank: str, count: int, *, compiled: bool = True) -> Extraction:
        return extract(
            backbone, [PictureRef(file) for file in files[:count]], bank=tmp_path / bank, device=CPU,
            precision="bfloat16", compiled=compiled, batch=8,
        )  # fmt: skip

    run("parts", 6)
    resumed, whole = run("parts", 15), run("whole", 15)
    assert (resumed.computed, whole.computed) == (9, 15)
    torch.testing.assert_close(resumed.features, whole.features, rtol=0, atol=0)
    assert run("whole", 15, compiled=False).computed == 15, "other roundings are another bank's"
    assert run("whole", 15).computed == 0
    assert sorted(bank.compiled for bank in list_banks(tmp_path / "whole")) == [False, True]


def test_banks_that_were_written_before_keep_their_names() -> None:
    key = BankKey("timm:net", "00" * 32, {"resize": 256}, "float32", 8)
    assert "compiled" not in key.text()
    assert BankKey("timm:net", "00" * 32, {"resize": 256}, "float32", 8, compiled=True).file_name() != key.file_name()


def test_memory_that_runs_out_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def run(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        if len(batch) > 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return batch.flatten(1).sum(dim=1, keepdim=True)

    def as_it_is(_network: torch.nn.Module, **_options: object) -> Callable[[torch.Tensor], torch.Tensor]:
        return run

    monkeypatch.setattr(torch, "compile", as_it_is)
    network = CompiledNetwork(torch.nn.Linear(1, 1), 8)
    pictures = torch.arange(7.0).reshape(7, 1, 1, 1).expand(7, 3, 4, 4)

    class Frozen:
        device = CPU

        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            return network(batch)

    features, batch = forward_halving(Frozen(), pictures, 8)  # type: ignore[arg-type]
    assert features.flatten().tolist() == [0, 48, 96, 144, 192, 240, 288]
    assert batch <= 4
    assert sizes == [8, 4, 4, 4]


def test_without_a_compiler_it_is_a_sentence(tmp_path: Path, forks: Forks) -> None:
    grow(tmp_path / "garden", {"train": 4, "valid": 2})
    (tmp_path / "bin").mkdir()
    done = forks.start_cli(
        "train", "garden", "--backbone", TINY, "--weights", "none", "--set", "compiled=true", "--device", "cpu",
        cwd=tmp_path, PATH=tmp_path / "bin", CXX="no-such-compiler", TORCHINDUCTOR_CACHE_DIR=tmp_path / "cache",
    ).wait()  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "can't be compiled" in done.stderr
    assert "--set compiled=false" in done.stderr
    assert "Traceback" not in done.stderr
