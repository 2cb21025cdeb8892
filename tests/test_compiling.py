"""A compiled network says the same, to the bit whatever comes with a picture, in a bank of its own, or says why not.

So do the steps of training, whole ones alone, and a run that is stopped ends with the bits of an undisturbed one.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from curate.errors import UserError
from tests.forking import Forks
from tests.training_ground import TINY, grow
from train.backbones import Backbone, load_backbone
from train.checkpoint import load_checkpoint
from train.features.bank import BankKey
from train.features.bank_shelf import list_banks
from train.features.compiling import CompiledNetwork, CompiledSteps
from train.features.extract import Extraction, extract, forward_halving
from train.features.freeze import FrozenNetwork
from train.features.prepare import PictureRef
from train.finetune import PixelClassifier, train_network
from train.optimising.fitting import Fitting, Work
from train.optimising.optimiser import parameter_groups
from train.optimising.settings import FitSettings, Tuning
from train.optimising.unfinished import UnfinishedRun
from train.training import TrainOptions

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


@pytest.mark.thorough
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


@pytest.mark.thorough
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


# ---- steps of training

STEPS = FitSettings(
    optimizer="sgd", learning_rate=0.1, weight_decay=0.01, epochs=2, batch=8, label_smoothing=0.0, balance=0.0, clip=1.0
)


class Pictures:
    """Normalised pictures (20, 3, 12, 12), as they are."""

    def __init__(self, stop_before: int | None) -> None:
        self.values = torch.randn(20, 3, 12, 12, generator=torch.Generator().manual_seed(2))
        self.left = stop_before

    def inputs(self, _epoch: int, drawn: torch.Tensor, parts: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        for part in parts:
            if self.left == 0:
                raise InterruptedError
            self.left = None if self.left is None else self.left - 1
            yield self.values[drawn[part]]


def fitting(
    settings: FitSettings = STEPS, folder: Path | None = None, *, compiled: bool, stop_before: int | None = None
) -> Fitting:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3),
            torch.nn.BatchNorm2d(8),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(800, 2),
        )
    work = Work(
        model=model.to(memory_format=torch.channels_last),
        groups=parameter_groups(model.parameters(), weight_decay=0.01),
        loader=Pictures(stop_before),
        targets=torch.arange(20) % 2,
        classes=2,
        compiled=CompiledSteps(model, lambda pictures: pictures) if compiled else None,
    )
    kept = None if folder is None else UnfinishedRun(folder, {"run": "compiled"}, every=0)
    return Fitting(work, settings, seed=3, unfinished=kept)


@needs_compiler
def test_compiled_steps_learn_the_same_and_may_be_stopped(tmp_path: Path) -> None:
    """Within roundings of what they learn as they are, and to the bit of what they learn undisturbed."""
    plain, whole = fitting(compiled=False), fitting(compiled=True)
    expected, history = plain.run(), whole.run()
    for epoch, other in zip(history, expected, strict=True):
        assert epoch.loss == pytest.approx(other.loss, rel=1e-4)
    for name, value in whole.work.model.state_dict().items():
        torch.testing.assert_close(value, plain.work.model.state_dict()[name], rtol=1e-3, atol=1e-4)
    for stop in (1, 1, 2):  # in the middle of an epoch, before its last step, which is short, and in the next
        with pytest.raises(InterruptedError):
            fitting(folder=tmp_path, compiled=True, stop_before=stop).run()
    resumed = fitting(folder=tmp_path, compiled=True)
    assert resumed.run() == history
    for name, value in resumed.work.model.state_dict().items():
        assert torch.equal(value, whole.work.model.state_dict()[name]), name


@pytest.fixture
def as_they_come(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of what would have gone through a compiled function."""
    shapes: list[tuple[int, ...]] = []

    def compile_nothing(function: Callable[[torch.Tensor], torch.Tensor], **_: object) -> Callable[..., torch.Tensor]:
        def run(batch: torch.Tensor) -> torch.Tensor:
            shapes.append(tuple(batch.shape))
            return function(batch)

        return run

    monkeypatch.setattr(torch, "compile", compile_nothing)
    return shapes


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({}, [8, 8] * 2),  # and four that are left over
        ({"batch": 10}, [10, 10] * 2),
        ({"batch": 4, "accumulate": 3}, [4] * 5 * 2),
        ({"batch": 32}, [20] * 2),  # an epoch is one step
        ({"batch": 19}, [10, 10] * 2),  # which a last sample alone joins
    ],
)
def test_no_size_but_those_of_whole_steps_is_compiled_for(
    changes: dict[str, Any], sizes: list[int], as_they_come: list[tuple[int, ...]]
) -> None:
    found = fitting(replace(STEPS, **changes), compiled=True)
    history = found.run()
    assert [shape[0] for shape in as_they_come] == sizes
    expected = fitting(replace(STEPS, **changes), compiled=False)
    assert history == expected.run()
    for name, value in found.work.model.state_dict().items():
        assert torch.equal(value, expected.work.model.state_dict()[name])


def test_fine_tuning_compiles_its_steps_and_measures_without(
    as_they_come: list[tuple[int, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = grow(tmp_path / "garden", {"train": 6, "valid": 2})
    measured: list[int] = []
    logits = PixelClassifier.logits

    def noted(model: PixelClassifier, pictures: torch.Tensor) -> torch.Tensor:
        if not model.training:
            measured.append(len(pictures))
        return logits(model, pictures)

    monkeypatch.setattr(PixelClassifier, "logits", noted)
    asked = TrainOptions(
        backbone=TINY, weights="none", views=1, crop=48, device="cpu", models=tmp_path, compiled=True,
        head=replace(STEPS, epochs=3, batch=7, mixup=0.3),
        tuning=Tuning(unfreeze="all", backbone_rate=1.0, final_crop=64, final_epochs=1),
    )  # fmt: skip
    report = train_network(root, asked)
    assert as_they_come == [(7, 3, 48, 48)] * 4 + [(7, 3, 64, 64)] * 2
    assert measured == [6] * 3
    other = train_network(root, replace(asked, compiled=False))
    assert load_checkpoint(report.checkpoint).history == load_checkpoint(other.checkpoint).history


def test_steps_that_cannot_be_compiled_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_badly(_: object, **_options: object) -> Callable[[torch.Tensor], torch.Tensor]:
        def fail(_: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nmore")

        return fail

    monkeypatch.setattr(torch, "compile", compile_badly)
    with pytest.raises(UserError, match=r"can't be compiled .*No working C\+\+ compiler found\).*compiled=false"):
        fitting(compiled=True).run()


def test_where_memory_runs_out_smaller_ones_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def narrow(function: Callable[[torch.Tensor], torch.Tensor], **_: object) -> Callable[..., torch.Tensor]:
        def run(batch: torch.Tensor) -> torch.Tensor:
            sizes.append(len(batch))
            if len(batch) > 4:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return function(batch)

        return run

    monkeypatch.setattr(torch, "compile", narrow)
    fitting(replace(STEPS, epochs=1, batch=10), compiled=True).run()
    assert sizes == [10, 5, 2, 3, 2, 3, 2, 3, 2, 3]
