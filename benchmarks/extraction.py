"""From picture files to features: ours, plain PyTorch, plain timm, and the limit that a product of matrices sets.

    uv run benchmarks/extraction.py --flowers ../shared/flowers [--backbones resnet152,resnet50] [--device cuda]

Plain is the weights' own transforms, a default DataLoader (no workers) in batches of 64, and torchvision's network as
it comes: float32, eager, in eval mode, without gradients. timm's is the same with its network and transforms, and two
workers. Ours is `extract` into an empty bank: read, hashed, decoded, computed, written and read back. The weights are
random, which costs the same. Each runs in `--rounds` processes of its own, whose imports and networks are ready
before the clock starts; the best counts. Ours is also timed without its network, and the network without its
pictures, as it is and through torch.compile (`compiled = true`), compiled before the clock starts. The limit is the
best of many products of two square matrices of 1,024 to 4,096 a side (on a GPU, 4,096 and 8,192), before and after the
others in the same run; a network's share of it is what its multiplications and additions (counted by PyTorch's
FlopCounterMode) make of that a second.
"""

import argparse
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.peers import run

BATCH = 64
Round = Callable[[], Any]


def florilegium(name: str, files: list[Path], device: str) -> Round:
    from train.backbones import load_backbone
    from train.device import fast_precision, resolve_device
    from train.features.extract import extract
    from train.features.prepare import PictureRef

    backbone, place = load_backbone(name, "none"), resolve_device(device)

    def work() -> None:
        with tempfile.TemporaryDirectory() as bank:
            found = extract(
                backbone, [PictureRef(file) for file in files],
                bank=Path(bank), device=place, precision=fast_precision(place),
            )  # fmt: skip
            assert found.computed == len(files)

    return work


def network_alone(name: str, files: list[Path], device: str, *, compiled: bool = False) -> Round:
    """Ours without its pictures: the network over random pixels."""
    import torch

    from train.backbones import load_backbone
    from train.device import fast_precision, resolve_device
    from train.features.freeze import FrozenNetwork

    backbone, place = load_backbone(name, "none"), resolve_device(device)
    network = FrozenNetwork(
        backbone.network, backbone.preprocessing, place, fast_precision(place), compiled_for=BATCH if compiled else 0
    )
    crop = backbone.preprocessing.crop
    pixels = torch.randint(0, 256, (len(files), crop, crop, 3), dtype=torch.uint8).split(BATCH)  # type: ignore[no-untyped-call]
    network(pixels[0])
    return lambda: [network(part).cpu() for part in pixels]


def pictures_alone(name: str, files: list[Path], _device: str) -> Round:
    """Ours without its network: read, hashed, decoded and cut, in all processors."""
    from train.backbones import load_backbone
    from train.features.prepare import PictureRef, prepared
    from train.features.views import Views

    to = load_backbone(name, "none").preprocessing

    def work() -> None:
        with prepared([PictureRef(file) for file in files], Views(), to, lambda _: [0], ahead=2 * BATCH) as results:
            assert sum(1 for _ in results) == len(files)

    return work


def plain(name: str, files: list[Path], device: str) -> Round:
    import torch
    import torchvision

    network = torchvision.models.get_model(name, weights=None)
    network.fc = torch.nn.Identity()
    return forwarded(network, torchvision.models.get_model_weights(name).DEFAULT.transforms(), files, device, workers=0)


def plain_timm(name: str, files: list[Path], device: str) -> Round:
    import timm
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    network = timm.create_model(name, num_classes=0)
    transform = create_transform(**resolve_model_data_config(network))  # type: ignore[no-untyped-call]
    return forwarded(network, transform, files, device, workers=2)


def forwarded(network: Any, transform: Callable[[Any], Any], files: list[Path], device: str, *, workers: int) -> Round:
    """The loop that everyone writes."""
    import torch
    from torch.utils.data import DataLoader, Dataset
    from torchvision.datasets.folder import default_loader

    class Pictures(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, at: int) -> torch.Tensor:
            seen: torch.Tensor = transform(default_loader(str(files[at])))
            return seen

    network = network.eval().to(device)
    loader = DataLoader(Pictures(), batch_size=BATCH, num_workers=workers)

    def work() -> None:
        with torch.no_grad():
            torch.cat([network(batch.to(device)).cpu() for batch in loader])

    return work


CONTENDERS: dict[str, Callable[[str, list[Path], str], Round]] = {
    "florilegium": florilegium,
    "its pictures alone": pictures_alone,
    "its network alone": network_alone,
    "that, compiled": functools.partial(network_alone, compiled=True),
    "plain PyTorch": plain,
    "plain timm": plain_timm,
}


def rate(contender: str, options: argparse.Namespace) -> float:
    """Pictures a second."""
    files = spread(options)
    for file in files:
        file.read_bytes()  # into the page cache, for all alike
    work = CONTENDERS[contender](options.backbones, files, options.device)
    started = time.perf_counter()
    work()
    return len(files) / (time.perf_counter() - started)


def spread(options: argparse.Namespace) -> list[Path]:
    """`--pictures` of them, evenly from all classes."""
    files = sorted(options.flowers.glob("train/*/*.jpg"))
    return files[:: max(1, len(files) // options.pictures)][: options.pictures]


def ceiling(device: str) -> dict[str, float]:
    """The most operations a second that a product of two square matrices reaches, by precision."""
    import torch

    best = {"float32": 0.0, "bfloat16": 0.0}
    for kind in best:
        # A GPU is busy with the larger ones alone, and its first few are slow
        for side in (1024, 2048, 4096) if device == "cpu" else (4096, 8192):
            first, second, product = (torch.rand(side, side, device=device).to(getattr(torch, kind)) for _ in range(3))
            for _ in range(max(2**36 // side**3, 0 if device == "cpu" else 20)):
                started = time.perf_counter()
                torch.mm(first, second, out=product)
                float(product[0, 0])  # waits for the device
                best[kind] = max(best[kind], 2 * side**3 / (time.perf_counter() - started))
    return best


def operations(name: str) -> int:
    """Multiplications and additions of one picture."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from train.backbones import load_backbone

    backbone = load_backbone(name, "none")
    crop = backbone.preprocessing.crop
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone.network(torch.zeros(1, 3, crop, crop))
    return int(counter.get_total_flops())


def measured(task: str, name: str, options: argparse.Namespace) -> float:
    arguments = ["--flowers", str(options.flowers), "--pictures", str(options.pictures)]
    arguments += ["--backbones", name, "--device", options.device, "--task", task]
    return max(float(run(Path(__file__), arguments)["answer"]) for _ in range(options.rounds))


def report(name: str, options: argparse.Namespace) -> None:
    before = ceiling(options.device)
    rates = {contender: measured(contender, name, options) for contender in CONTENDERS}
    best = {kind: max(limit, before[kind]) for kind, limit in ceiling(options.device).items()}
    each = operations(name)
    print(f"\n{name}: {each / 1e9:.1f} G operations a picture, {options.pictures} pictures on {options.device}")
    print(f"{'':20}{'pictures/s':>11}{'ours is':>9}{'of the limit':>14}")
    for contender, pictures in rates.items():
        precision = "float32" if contender.startswith("plain") else max(best, key=lambda kind: best[kind])
        share = "" if contender == "its pictures alone" else f"{pictures * each / best[precision]:13.0%} of {precision}"
        print(f"{contender:20}{pictures:11.1f}{rates['florilegium'] / pictures:8.2f}×{share}")
    for precision, limit in best.items():
        print(f"{'limit, ' + precision:20}{limit / each:11.1f}   ({limit / 1e12:.2f} T operations a second)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, required=True, help="a folder with train/")
    parser.add_argument("--backbones", default="resnet152,resnet50", help="comma-separated names of torchvision")
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--task", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps({"answer": rate(options.task, options)}))
        return
    for name in options.backbones.split(","):
        report(name, options)


if __name__ == "__main__":
    main()
