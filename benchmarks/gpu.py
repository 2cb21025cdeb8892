"""What a GPU makes of it: networks, files to features, fine-tuning; each beside its limit, in a few minutes.

    uv run benchmarks/gpu.py --flowers ../shared/flowers [--device cuda] [--parts networks,extraction,finetuning]

The limit is the median of products of two square bfloat16 matrices of random values, timed by the device. A network's
share of it is what its multiplications and additions (PyTorch's FlopCounterMode) make of that a second. Weights are
random, which costs the same. Pictures are those of `--flowers`, copied with another ending each until there are
`--pictures` of different content; all are in memory before the clock starts.

`networks` takes pixels that the device has already: median of several batches of 64 and of `--batch`. `extraction` is
`extract` into an empty bank after a first run that warmed up, with pictures decoded in processes, in threads (as where
nothing can be forked), and through a compiled network; and the pictures without any network. `finetuning` is
`train_network` with the recipe `finetune`, in pictures a second of its last epoch, its valid pictures included; beside
it its steps on pixels that the device has already, and the loop that everyone writes: torchvision's network,
RandomResizedCrop and a flip, a DataLoader with a worker for each processor, channels last and autocast.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import nn

from benchmarks.extraction import BATCH
from curate.parallel import processors
from train.backbones import Backbone, load_backbone
from train.device import fast_precision, resolve_device
from train.features.extract import extract
from train.features.freeze import FrozenNetwork
from train.features.prepare import PictureRef, prepared
from train.features.preprocessing import Preprocessing
from train.features.views import Views

RESNETS = ("resnet152", "resnet50")
TRANSFORMERS = {"DINOv2-B at 224": "vit_base_patch14_dinov2", "ViT-L/16": "vit_large_patch16_224"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, required=True, help="a folder with train/ and valid/")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--parts", default="networks,extraction,finetuning")
    parser.add_argument("--pictures", type=int, default=8192)
    parser.add_argument("--batch", type=int, default=256, help="the larger batch of `networks`")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each extraction; the median counts")
    parser.add_argument("--epochs", type=int, default=2, help="of fine-tuning")
    parser.add_argument("--side", type=int, default=8192, help="of the matrices of the limit")
    options = parser.parse_args()
    device = resolve_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    say(f"{name}, {processors()} processors, PyTorch {torch.__version__}, {fast_precision(device)}")
    limit = ceiling(device, options.side)
    say(f"limit: {limit / 1e12:.1f} T operations a second in bfloat16 ({options.side} a side)")
    parts: dict[str, Callable[[argparse.Namespace, torch.device, float], None]] = {
        "networks": networks, "extraction": extraction, "finetuning": finetuning
    }  # fmt: skip
    for part in options.parts.split(","):
        parts[part](options, device, limit)


def ceiling(device: torch.device, side: int, dtype: torch.dtype = torch.bfloat16) -> float:
    """Operations a second of a product of matrices."""
    first, second, product = (torch.randn(side, side, device=device).to(dtype) for _ in range(3))
    return 2 * side**3 / seconds(lambda: torch.mm(first, second, out=product), device, repeats=20)


def seconds(work: Callable[[], Any], device: torch.device, *, repeats: int = 10, warm: int = 3) -> float:
    """Median of several, after some that do not count."""
    for _ in range(warm):
        work()
    taken: list[float] = []
    for _ in range(repeats):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            work()
            end.record()
            end.synchronize()
            taken.append(start.elapsed_time(end) / 1e3)
        else:
            started = time.perf_counter()
            work()
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def networks(options: argparse.Namespace, device: torch.device, limit: float) -> None:
    head = f"{'network alone':24}{'batch':>7}{'pictures/s':>12}{'of the limit':>14}{'peak memory':>13}"
    say(f"\n{head}")
    for compiled in (False, True):
        for title, (network, to) in candidates().items():
            each = operations(network, to.crop)
            for batch in (BATCH,) if compiled else sorted({BATCH, options.batch}):
                forget(device)
                frozen = FrozenNetwork(network, to, device, fast_precision(device), compiled_for=batch * compiled)
                pixels = random_pixels(batch, to.crop, device)
                rate = batch / seconds(lambda: frozen(pixels), device)  # noqa: B023
                words = f"{title}, compiled" if compiled else title
                say(f"{words:24}{batch:7}{rate:12,.0f}{rate * each / limit:14.0%}{peak(device):>13}")


def candidates() -> dict[str, tuple[nn.Module, Preprocessing]]:
    import timm

    found: dict[str, tuple[nn.Module, Preprocessing]] = {}
    for name in RESNETS:
        backbone = load_backbone(name, "none")
        found[name] = backbone.network, backbone.preprocessing
    for title, name in TRANSFORMERS.items():
        network = timm.create_model(name, pretrained=False, num_classes=0, img_size=224).eval()
        found[title] = network, Preprocessing(248, 224, "bicubic", (0.5,) * 3, (0.5,) * 3)
    return found


def operations(network: nn.Module, crop: int) -> int:
    """Multiplications and additions of one picture."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, crop, crop))
    return int(counter.get_total_flops())


def extraction(options: argparse.Namespace, device: torch.device, limit: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        refs = [PictureRef(file) for file in copies(options.flowers / "train", Path(folder), options.pictures)]
        say(f"\n{f'{len(refs)} files to features':40}{'pictures/s':>12}{'of the limit':>14}{'peak memory':>13}")
        for name in RESNETS:
            backbone = load_backbone(name, "none")
            each = operations(backbone.network, backbone.preprocessing.crop)
            for where, threads, compiled in (("processes", 0, 0), ("threads", 1, 0), ("processes, compiled", 0, 1)):
                if compiled and name != RESNETS[0]:
                    continue
                forget(device)
                with forking(allowed=not threads):
                    rate = rate_of(options, lambda some: extracted(backbone, some, device, bool(compiled)), refs)  # noqa: B023
                say(f"{f'{name}, {where}':40}{rate:12,.0f}{rate * each / limit:14.0%}{peak(device):>13}")
        for where in ("processes", "threads"):
            with forking(allowed=where == "processes"):
                rate = rate_of(options, lambda some: pictures_alone(backbone.preprocessing, some), refs)
            say(f"{f'pictures alone, {where}':40}{rate:12,.0f}")


def rate_of(
    options: argparse.Namespace, work: Callable[[Sequence[PictureRef]], None], refs: Sequence[PictureRef]
) -> float:
    """Pictures a second: the median of several runs, after one over a few."""
    work(refs[: 4 * BATCH])
    taken = []
    for _ in range(options.rounds):
        started = time.perf_counter()
        work(refs)
        taken.append(time.perf_counter() - started)
    return len(refs) / statistics.median(taken)


def extracted(backbone: Backbone, refs: Sequence[PictureRef], device: torch.device, compiled: bool) -> None:
    with tempfile.TemporaryDirectory() as bank:
        found = extract(
            backbone, refs, bank=Path(bank), device=device, precision=fast_precision(device), compiled=compiled
        )
        assert found.computed == len(refs)


def pictures_alone(to: Preprocessing, refs: Sequence[PictureRef]) -> None:
    with prepared(refs, Views(), to, lambda _: [0], ahead=2 * BATCH) as results:
        assert sum(1 for _ in results) == len(refs)


@contextmanager
def forking(*, allowed: bool) -> Iterator[None]:
    """Beside another thread nothing is forked."""
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    if not allowed:
        other.start()
    try:
        yield
    finally:
        over.set()
        if not allowed:
            other.join()


def finetuning(options: argparse.Namespace, device: torch.device, _limit: float) -> None:
    from train.recipe import load_recipe
    from train.run import options_of, train_recipe

    recipe = load_recipe("finetune", {"weights": "none", "epochs": options.epochs, "views": 1})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        files = copies(options.flowers / "train", root / "train", options.pictures // 2)
        valid = copies(options.flowers / "valid", root / "valid", BATCH)
        forget(device)
        chosen = options_of(recipe, models=Path(folder) / "models", device=options.device)
        ends = [time.perf_counter()]
        watched = {"watch": lambda _: ends.append(time.perf_counter())}
        report = train_recipe(root, type(chosen)(**{**vars(chosen), **watched}))
        ours = report.computed / options.epochs / (ends[-1] - ends[-2])
        title = f"finetune, {recipe.options.backbone}, batches of {recipe.options.head.batch}"
        say(f"\n{title:40}{'pictures/s':>12}{'peak memory':>13}")
        say(f"{f'ours ({len(files)} and {len(valid)} valid)':40}{ours:12,.0f}{peak(device):>13}")
        say(f"  {', '.join(f'{part} {taken:.1f} s' for part, taken in report.seconds.items())}; {report.precision}")
        forget(device)
        step, batch = plain_step(load_backbone(recipe.options.backbone, "none"), device), recipe.options.head.batch
        pixels = torch.randn(batch, 3, 224, 224, device=device).contiguous(memory_format=torch.channels_last)
        targets = torch.randint(0, 10, (batch,), device=device)
        rate = batch / seconds(lambda: step(pixels, targets), device)
        say(f"{'a plain step, no pictures':40}{rate:12,.0f}{peak(device):>13}")
        forget(device)
        say(f"{'the loop that everyone writes':40}{plain_loop(step, root, batch, device):12,.0f}{peak(device):>13}")


def plain_step(backbone: Backbone, device: torch.device) -> Callable[[torch.Tensor, torch.Tensor], None]:
    model = nn.Sequential(backbone.network, nn.Linear(backbone.dim, 1000)).requires_grad_(True).train()
    model = model.to(memory_format=torch.channels_last).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)

    def step(pixels: torch.Tensor, targets: torch.Tensor) -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            logits = model(pixels)
        torch.autograd.backward(nn.functional.cross_entropy(logits.float(), targets))
        optimizer.step()

    return step


def plain_loop(
    step: Callable[[torch.Tensor, torch.Tensor], None], root: Path, batch: int, device: torch.device
) -> float:
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    seen = transforms.Compose([
        transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip
    data = ImageFolder(root / "train", seen)
    loader = DataLoader(
        data, batch, shuffle=True, num_workers=processors(), pin_memory=device.type == "cuda", persistent_workers=True
    )
    taken = []
    for _ in range(2):  # in the first the workers start
        started = time.perf_counter()
        for pixels, targets in loader:
            pixels = pixels.to(device, non_blocking=True, memory_format=torch.channels_last)
            step(pixels, targets.to(device, non_blocking=True))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - started)
    return len(data) / taken[-1]


def copies(source: Path, into: Path, wanted: int) -> list[Path]:
    """`wanted` files of different content in folders as `source` has them; what follows a JPEG's end shows nowhere."""
    originals = sorted(source.glob("*/*.jpg"))
    made = []
    for number in range(wanted):
        original = originals[number % len(originals)]
        path = into / original.parent.name / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(original.read_bytes() + number.to_bytes(8, "big"))
        made.append(path)
    return made


def random_pixels(count: int, crop: int, device: torch.device) -> torch.Tensor:
    return torch.randint(0, 256, (count, crop, crop, 3), dtype=torch.uint8).to(device)


def forget(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> str:
    return f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB" if device.type == "cuda" else "–"


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
