"""What a GPU makes of it: networks, files to features, fine-tuning; each beside its limit, in under ten minutes.

    uv run benchmarks/gpu.py --flowers ../shared/flowers [--device cuda] [--parts networks,extraction,finetuning,tests]

Each figure is printed as soon as it is known, so that a run that is cut off keeps what it had.

The limit is the median of products of two square bfloat16 matrices of random values, timed by the device. A network's
share of it is what its multiplications and additions (PyTorch's FlopCounterMode) make of that a second. Weights are
random, which costs the same. Pictures are those of `--flowers`, copied with another ending each until there are
`--pictures` of different content; all are in memory before the clock starts.

`networks` takes pixels that the device has already: median of several batches of 64 and of `--batch`, and with
`--compiled` through torch.compile. `extraction` is `extract` into an empty bank after a first run that warmed up, with
pictures decoded in processes, for ResNet152 also in those of a server (as in a notebook, and after compiling) and in
threads; and the pictures without any network. `finetuning` is `train_network` with the recipe `finetune`, in pictures a
second of its last epoch, its valid pictures included; likewise with its steps compiled, with RandAugment, and with its
last epoch at `--final-crop` pixels. Beside it stand steps on pixels that the device has already; its views without a
network, as they are and with RandAugment; timm's `train.py`, where `--timm-train` names that file, in the same number
of workers as there are processors, bfloat16 and channels last (the mean over its last epoch, which it prints itself);
and the loop that everyone writes, once with timm's network and loader (`create_loader`) and once with torchvision's
(RandomResizedCrop, a flip), a worker for each processor. `tests` runs those that take a device, with `--device`.
"""

import argparse
import dataclasses
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import nn

from benchmarks.extraction import BATCH
from curate.fork_server import ForkServer
from curate.parallel import processors
from train.backbones import Backbone, feature_dim, load_backbone
from train.device import fast_precision, resolve_device
from train.features.extract import extract
from train.features.freeze import FrozenNetwork
from train.features.prepare import PictureRef, prepared
from train.features.preprocessing import Preprocessing
from train.features.views import Views

REPOSITORY = Path(__file__).resolve().parent.parent
SHAPES = {
    "ResNet152": "resnet152",
    "ResNet50": "resnet50",
    "DINOv2-B at 224": "vit_base_patch14_dinov2",
    "ViT-L/16": "vit_large_patch16_224",
}
PLACES = ("processes", "those of a server", "threads")
VARIANTS: dict[str, dict[str, Any]] = {
    "compiled": {"compiled": True},
    "RandAugment": {"randaugment": 2, "magnitude": 9},
    "larger at last": {"final_epochs": 1},
}
TUNED = {"resnet50": "resnet50", "timm:vit_base_patch16_224": "vit_base_patch16_224"}  # ours, and timm's name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, required=True, help="a folder with train/ and valid/")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--parts", default="networks,extraction,finetuning,tests")
    parser.add_argument("--pictures", type=int, default=8192)
    parser.add_argument("--batch", type=int, default=256, help="the larger batch of `networks`")
    parser.add_argument("--compiled", action="store_true", help="`networks`: through torch.compile too")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each extraction; the median counts")
    parser.add_argument("--tiny", action="store_true", help="timm's test networks for all, to try this on a processor")
    parser.add_argument("--tuned", default="", help="of the networks that `finetuning` takes, those alone")
    parser.add_argument("--timm-train", type=Path, help="timm's train.py")
    parser.add_argument("--epochs", type=int, default=2, help="of fine-tuning, 2 or more")
    parser.add_argument("--final-crop", type=int, default=384, help="pixels a side of fine-tuning's last epoch")
    parser.add_argument("--side", type=int, default=8192, help="of the matrices of the limit")
    options = parser.parse_args()
    if options.tiny:
        SHAPES.clear()
        SHAPES.update({"tiny": "test_vit"})
        TUNED.clear()
        TUNED.update({"timm:test_resnet": "test_resnet"})
    device = resolve_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    say(f"{name}, {processors()} processors, PyTorch {torch.__version__}, {fast_precision(device)}")
    limit = ceiling(device, options.side)
    say(f"limit: {limit / 1e12:.1f} T operations a second in bfloat16 ({options.side} a side)")
    parts: dict[str, Callable[[argparse.Namespace, torch.device, float], None]] = {
        "networks": networks, "extraction": extraction, "finetuning": finetuning, "tests": tests
    }  # fmt: skip
    for part in options.parts.split(","):
        started = time.perf_counter()
        parts[part](options, device, limit)
        say(f"  {part} took {time.perf_counter() - started:.0f} s")


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
    for compiled in (False, True)[: 1 + options.compiled]:
        for title, backbone in candidates().items():
            to = backbone.preprocessing
            each = operations(backbone.network, to.crop)
            for batch in (BATCH,) if compiled else sorted({BATCH, options.batch}):
                forget(device)
                precision = fast_precision(device)
                frozen = FrozenNetwork(
                    backbone.network, to, device, precision, compiled_for=batch * compiled, batch=batch
                )
                pixels = random_pixels(batch, to.crop, device)
                rate = batch / seconds(lambda: frozen(pixels), device)  # noqa: B023
                words = f"{title}, compiled" if compiled else title
                say(f"{words:24}{batch:7}{rate:12,.0f}{rate * each / limit:14.0%}{peak(device):>13}")


def candidates() -> dict[str, Backbone]:
    import timm

    found = {}
    for title, name in SHAPES.items():
        if name.startswith("resnet"):
            found[title] = load_backbone(name, "none")
            continue
        network = timm.create_model(name, pretrained=False, num_classes=0, img_size=224).eval().requires_grad_(False)
        frame = load_backbone("timm:test_vit", "none")
        to = Preprocessing(248, 224, "bicubic", (0.5,) * 3, (0.5,) * 3)
        changed = dataclasses.replace(frame, name=name, architecture=name, network=network, preprocessing=to)
        found[title] = dataclasses.replace(changed, dim=feature_dim(network, to, name))
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
        found = candidates()
        first = next(iter(found))
        for name, backbone in found.items():
            each = operations(backbone.network, backbone.preprocessing.crop)
            for where in PLACES if name == first else PLACES[:1]:
                forget(device)
                with decoding(where):
                    rate = rate_of(options, lambda some: extracted(backbone, some, device), refs)  # noqa: B023
                say(f"{f'{name}, {where}':40}{rate:12,.0f}{rate * each / limit:14.0%}{peak(device):>13}")
        for where in PLACES:
            with decoding(where):
                rate = rate_of(options, lambda some: pictures_alone(found[first].preprocessing, some), refs)
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


def extracted(backbone: Backbone, refs: Sequence[PictureRef], device: torch.device) -> None:
    with tempfile.TemporaryDirectory() as bank:
        found = extract(backbone, refs, bank=Path(bank), device=device, precision=fast_precision(device))
        assert found.computed == len(refs)


def pictures_alone(to: Preprocessing, refs: Sequence[PictureRef]) -> None:
    with prepared(refs, Views(), to, lambda _: [0], ahead=2 * BATCH) as results:
        assert sum(1 for _ in results) == len(refs)


@contextmanager
def decoding(where: str) -> Iterator[None]:
    """Beside another thread nothing is forked here; a server is started where there are few pictures, too, or never."""
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    if where == PLACES[0]:
        yield
        return
    other.start()
    try:
        with patch("curate.forked._WORTH_SERVING", 8 if where == PLACES[1] else 1 << 60):
            yield
    finally:
        if where == PLACES[1]:
            ForkServer.running().close()  # threads come next, which it would spare
        over.set()
        other.join()


def finetuning(options: argparse.Namespace, device: torch.device, _limit: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        files = copies(options.flowers / "train", root / "train", options.pictures // 2)
        valid = copies(options.flowers / "valid", root / "valid", BATCH, {file.parent.name for file in files})
        say(f"\n{f'fine-tuning, {len(files)} and {len(valid)} valid pictures':48}{'pictures/s':>12}{'peak memory':>13}")
        for name, timms in TUNED.items():
            if options.tuned and name not in options.tuned.split(","):
                continue
            forget(device)
            ours, batch, words = tuned(name, root, options, device, {})
            line(f"{name}: ours, batches of {batch}", ours, device, "")
            say(f"  {words}")
            for title, changes in VARIANTS.items():
                forget(device)
                changed = {**changes, "final_crop": options.final_crop} if "final_epochs" in changes else changes
                reached, _, words = tuned(name, root, options, device, changed)
                line(f"  ours, {title}", reached, device, "")
                say(f"  {words}")
            if timms == next(iter(TUNED.values())):
                line("  our views alone", views_alone(root, batch, {}), device, "")
                line("  with RandAugment", views_alone(root, batch, VARIANTS["RandAugment"]), device, "")
            steps = plain_step(timms, device)
            forget(device)
            line("  a plain step, no pictures", alone(steps, batch, device), device)
            plain: dict[str, Callable[[], float | None]] = {
                "timm's train.py": lambda: timm_train(timms, root, batch, options, device),  # noqa: B023
                "the loop with timm's loader": lambda: loop(steps, timm_loader(root, batch, device), device),  # noqa: B023
                "the loop with torchvision's": lambda: loop(steps, plain_loader(root, batch, device), device),  # noqa: B023
            }
            for title, measure in plain.items():
                forget(device)
                rate = measure()
                line(f"  {title}: ours is {ours / rate:.2f} ×", rate, device) if rate else say(
                    f"  {title}: not at hand"
                )


def line(title: str, rate: float, device: torch.device, memory: str | None = None) -> None:
    say(f"{title:48}{rate:12,.0f}{peak(device) if memory is None else memory:>13}")


def tuned(
    name: str, root: Path, options: argparse.Namespace, device: torch.device, changes: Mapping[str, Any]
) -> tuple[float, int, str]:
    """Pictures a second of the last epoch, the batch, and what else there is to say; `changes` are of the recipe."""
    from train.recipe import load_recipe
    from train.run import options_of, train_recipe

    told = {"weights": "none", "epochs": options.epochs, "views": 1, "backbone": name, "final_crop": 0, **changes}
    recipe = load_recipe("finetune", told)
    with tempfile.TemporaryDirectory() as models:
        chosen = options_of(recipe, models=Path(models), device=options.device)
        ends = [time.perf_counter()]
        report = train_recipe(root, dataclasses.replace(chosen, watch=lambda _: ends.append(time.perf_counter())))
    rate = report.computed / options.epochs / (ends[-1] - ends[-2])
    parts = ", ".join(f"{part} {taken:.1f} s" for part, taken in report.seconds.items())
    return rate, recipe.options.head.batch, f"{parts}; {report.precision}; peak memory {peak(device)}"


def views_alone(root: Path, batch: int, changes: Mapping[str, Any]) -> float:
    """The views that fine-tuning draws, without a network; `changes` are of the recipe."""
    from train.features.augmentation import Augmentation
    from train.features.pixels import PixelSource, Readable
    from train.recipe import load_recipe

    files = sorted((root / "train").glob("*/*.jpg"))
    drawn = Augmentation(**load_recipe("finetune", changes).options.augmentation.to_dict())
    pictures = [Readable(file, file.parent.name, file.stem) for file in files]
    source = PixelSource(pictures, load_backbone("resnet50", "none").preprocessing, drawn, 1)
    everything, parts = torch.arange(len(files)), torch.split(torch.arange(len(files)), batch)
    with source.at_work(batch, len(files)):
        started = time.perf_counter()
        for _ in source.inputs(0, everything, parts):
            pass
        return len(files) / (time.perf_counter() - started)


Step = Callable[[torch.Tensor, torch.Tensor], None]


def plain_step(name: str, device: torch.device) -> Step:
    import timm

    model = timm.create_model(name, pretrained=False, num_classes=102).train()
    model = model.to(memory_format=torch.channels_last).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)

    def step(pixels: torch.Tensor, targets: torch.Tensor) -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            logits = model(pixels)
        torch.autograd.backward(nn.functional.cross_entropy(logits.float(), targets))
        optimizer.step()

    return step


def alone(step: Step, batch: int, device: torch.device) -> float:
    """Its pictures a second, of many steps without a pause."""
    pixels = torch.randn(batch, 3, 224, 224, device=device).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(0, 102, (batch,), device=device)
    many = 20 if device.type == "cuda" else 1

    def steps() -> None:
        for _ in range(many):
            step(pixels, targets)

    return batch * many / seconds(steps, device, repeats=3, warm=1)


Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


def plain_loader(root: Path, batch: int, device: torch.device) -> Batches:
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    seen = transforms.Compose([
        transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip
    return DataLoader(
        ImageFolder(root / "train", seen), batch, shuffle=True, num_workers=processors(),
        pin_memory=device.type == "cuda", persistent_workers=True, drop_last=True,
    )  # fmt: skip


def timm_loader(root: Path, batch: int, device: torch.device) -> Batches:
    from timm.data.dataset_factory import create_dataset
    from timm.data.loader import create_loader

    found: Batches = create_loader(
        create_dataset("", root=str(root), split="train", is_training=True), (3, 224, 224), batch, is_training=True,
        color_jitter=0.4, num_workers=processors(), pin_memory=device.type == "cuda", device=device,
        use_prefetcher=device.type == "cuda", persistent_workers=True,
    )  # fmt: skip
    return found


def loop(step: Step, loader: Batches, device: torch.device) -> float:
    """Pictures a second of the second epoch: in the first the workers start."""
    for _ in range(2):
        started, count = time.perf_counter(), 0
        for pixels, targets in loader:
            count += len(pixels)
            pixels = pixels.to(device, non_blocking=True, memory_format=torch.channels_last)
            step(pixels, targets.to(device, non_blocking=True))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        rate = count / (time.perf_counter() - started)
    return rate


def timm_train(name: str, root: Path, batch: int, options: argparse.Namespace, device: torch.device) -> float | None:
    """What it prints itself of its last epoch, in a process of its own; None where it is not at hand."""
    if options.timm_train is None:
        return None
    classes = len(list((root / "train").iterdir()))
    arguments = f"""
        --train-split train --val-split valid --model {name} --num-classes {classes} -b {batch} -vb {batch}
        --epochs {options.epochs} --warmup-epochs 0 --cooldown-epochs 0 --amp --amp-dtype bfloat16 --channels-last
        --opt adamw --lr 1e-4 -j {processors()} --log-interval 10 --device {device.type}
    """.split()
    with tempfile.TemporaryDirectory() as output:
        done = subprocess.run(
            [sys.executable, str(options.timm_train), str(root), *arguments, "--output", output, "--pin-mem"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if line.startswith(f"Train: {options.epochs - 1} ")]
    if done.returncode or not told:
        say(done.stderr[-600:])
        return None
    last = re.search(r"\(\s*[\d.]+s,\s*([\d.]+)/s\)", told[-1])
    # The last batch may be smaller, and so would be the rate that is told of it
    before = re.search(r"\(\s*[\d.]+s,\s*([\d.]+)/s\)", told[-2]) if len(told) > 1 else last
    return float((before or last)[1])  # type: ignore[index]


def tests(options: argparse.Namespace, _device: torch.device, _limit: float) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "not slow", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark",
         "-n", "2", "--device", options.device, str(REPOSITORY / "tests/test_on_device.py")],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    shown = done.stdout.strip().splitlines()
    say("\n" + "\n".join(shown[-1:] if done.returncode == 0 else shown[-40:]))


def copies(source: Path, into: Path, wanted: int, classes: set[str] | None = None) -> list[Path]:
    """`wanted` files of different content in folders as `source` has them; what follows a JPEG's end shows nowhere.

    With `classes`, of those alone.
    """
    originals = [one for one in sorted(source.glob("*/*.jpg")) if classes is None or one.parent.name in classes]
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
