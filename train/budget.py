"""What fits a budget of time: candidate backbones are measured here for a moment, and the best that fits wins."""

import math
import re
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from curate.errors import UserError
from curate.files.reading import read_file
from curate.image import BrokenImage
from curate.parallel import ordered_map
from curate.progress import Progress, silent
from curate.splitting.since_split import open_current_split
from train.backbones import OFFLINE, Backbone
from train.device import one_thread
from train.features.bank import CLEAN, FeatureBank
from train.features.extract import bank_key
from train.features.freeze import FrozenNetwork
from train.features.views import Views
from train.head import fit_head
from train.pictures import LabelledPicture
from train.training import Place, TrainOptions, load_backbones, pictures_of

VIEW_COUNTS: Final = (8, 4, 2, 1)
SIZES: Final = (1.0, 0.75, 0.5)  # of the pixels a side that the weights were made for

# Top-1 on ImageNet, and billions of multiply-adds a picture, as torchvision and timm publish them. Of two generations
# of weights the first counts: the second reaches more there by means that leave frozen features worse, not better
# (S. Kornblith et al., "Why do better loss functions lead to less transferable features?", NeurIPS 2021).
_PUBLISHED: Final[dict[str, tuple[float, float]]] = {
    OFFLINE: (74.8, 0.39),
    "mobilenet_v3_large": (74.0, 0.22),
    "efficientnet_b0": (77.7, 0.39),
    "regnet_y_1_6gf": (78.0, 1.61),
    "resnet50": (76.1, 4.09),
    "convnext_tiny": (82.5, 4.46),
    "resnet152": (78.3, 11.51),
}

_SAMPLE = 16  # pictures that are decoded and computed to measure a speed
_MARGIN = 0.85  # of the budget is planned for: the rest is for what a moment's measurement does not show
_PLANNING = 0.2  # of the budget at most goes into measuring
_GAIN = 4.0  # how much faster, at best, a multiply-add of a larger network may run than one of a smaller


@dataclass(frozen=True)
class Speed:
    """What one backbone costs here. Seconds are for one picture or one view, at the size its weights were made for."""

    backbone: str
    quality: float  # top-1 on ImageNet, in percent; NaN where nobody published one
    crop: int  # pixels a side
    decode: float  # read, decode and cut the clean view
    draw: float  # cut one more view
    network: float  # one view through the network in the precision of training
    exact: float  # and in float32, as valid is measured
    overlap: bool  # decoding goes on beside the network: it runs on another processor
    head: float  # fitting the head, all of it
    load: float  # loading the weights
    banked: int = 0  # of the training pictures, how many need no more than the bank has for one view

    def seconds(self, train: int, valid: int, views: int, size: float = 1.0) -> float:
        """What a run takes by estimate: the network's part goes with the square of the size."""
        fresh = train - (self.banked if size == 1.0 else 0)
        more = train * (views - 1)
        # A further view of a picture whose clean one is banked has to decode it again
        pixels = ((train if more else fresh) + valid) * self.decode + more * self.draw
        computed = ((fresh + more) * self.network + valid * self.exact) * size * size
        return self.load + self.head + (max(pixels, computed) if self.overlap else pixels + computed)


@dataclass(frozen=True)
class TrainingPlan:
    """What to train with, what it will take by estimate, and why."""

    backbone: str
    crop: int  # 0: the size that the weights were made for
    views: int
    seconds: float
    budget: float
    speeds: list[Speed]
    why: list[str]

    def applied_to(self, options: TrainOptions) -> TrainOptions:
        """The options with the plan's choices in them."""
        return replace(options, backbone=self.backbone, crop=self.crop, views=self.views)


def parse_duration(text: str) -> float:
    """Seconds of "60s", "5m", "1.5h" or "90"; UserError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if seconds <= 0:
        raise UserError(f"--budget {text!r} is no time: write 60s, 5m or 1h.")
    return seconds


def plan_budget(
    root: Path,
    seconds: float,
    options: TrainOptions,
    *,
    candidates: Sequence[str] | None = None,
    progress: Progress = silent,
) -> TrainingPlan:
    """Measure the candidates (default: known backbones whose weights are at hand) and choose what fits `seconds`.

    Cheap ones are measured first, and one that cannot fit by what the others took is not tried. Raises UserError
    where nothing fits, with what the least would take.
    """
    started = time.perf_counter()
    if candidates is None and str(options.weights) != "default":
        candidates = [options.backbone]  # weights belong to one network
    if any("+" in name for name in candidates or ()):
        raise UserError("A --budget is for one backbone: leave --backbone out, or name one.")
    train, valid, labels = pictures_of(open_current_split(root))
    place = Place.of(options, None, progress)
    wanted = list(candidates or sorted(_PUBLISHED, key=lambda name: _PUBLISHED[name][1]))
    absent = [] if candidates else [name for name in wanted if not weights_at_hand(name)]
    at_hand = [name for name in wanted if name not in absent]
    speeds: list[Speed] = []
    why = []
    with progress("Measuring backbones", len(at_hand)) as advance:
        for name in at_hand:
            spent = time.perf_counter() - started
            if speeds and spent > _PLANNING * seconds:
                why.append(f"{name} was not measured: measuring had taken {spent:.0f} s already.")
            elif speeds and (least := _least_seconds(name, speeds, len(train), len(valid))) > seconds:
                why.append(f"{name} was not measured: it would take {least:.0f} s or more.")
            else:
                speeds.append(measure_speed(name, train, len(labels), options, place))
            advance(1)
    if absent:
        why.append(f"Not at hand, so not considered: {', '.join(absent)} (a run with --backbone NAME fetches one).")
    plan = choose(speeds, len(train), len(valid), seconds, spent=time.perf_counter() - started)
    return replace(plan, why=plan.why + why)


def choose(speeds: Sequence[Speed], train: int, valid: int, budget: float, *, spent: float = 0.0) -> TrainingPlan:
    """The best backbone that fits with one view at its own size, then as many views as fit; smaller only if none does.

    A better network is worth more than more views of a lesser one, and both more than pixels: that is the order.
    `train` and `valid` are numbers of pictures, `budget` and `spent` are seconds. Raises UserError where none fits.
    """
    left = _MARGIN * budget - spent
    ranked = sorted(speeds, key=lambda one: (-one.quality if math.isfinite(one.quality) else 0.0, one.network))
    for size in SIZES:
        for speed in ranked:
            for views in VIEW_COUNTS:
                estimate = speed.seconds(train, valid, views, size)
                if estimate <= left:
                    crop = 0 if size == 1.0 else max(32, int(speed.crop * size / 16) * 16)
                    return TrainingPlan(
                        speed.backbone, crop, views, estimate, budget, list(speeds),
                        _reasons(speed, ranked, size, views, (train, valid, left)),
                    )  # fmt: skip
    least = min((one.seconds(train, valid, 1, SIZES[-1]), one.backbone) for one in speeds)
    raise UserError(
        f"Nothing fits a budget of {budget:.0f} s: the least, {least[1]} at half its size with one view, would take "
        f"about {math.ceil((least[0] + spent) / _MARGIN)} s. Give a larger --budget, or fewer pictures."
    )


def measure_speed(
    name: str, train: Sequence[LabelledPicture], classes: int, options: TrainOptions, place: Place
) -> Speed:
    """Load a backbone and time it for a moment: decoding, drawing, the network and the head, each the better of two."""
    started = time.perf_counter()
    (backbone,) = load_backbones(name, options.weights, seed=options.seed, cut=options.features)
    load = time.perf_counter() - started
    step = max(1, len(train) // _SAMPLE)
    sample = train[::step][:_SAMPLE]
    views = Views(max(VIEW_COUNTS), options.seed, options.augmentation)
    one, several = (_time_pixels(backbone, sample, views, count) for count in (1, 4))
    return Speed(
        backbone=name,
        quality=_PUBLISHED.get(name, (math.nan, 0.0))[0],
        crop=backbone.preprocessing.crop,
        decode=one,
        draw=max(0.0, several - one) / 3,
        network=_time_network(FrozenNetwork(backbone.network, backbone.preprocessing, place.device, place.precision)),
        exact=_time_network(FrozenNetwork(backbone.network, backbone.preprocessing, place.device, "float32")),
        overlap=place.device.type != "cpu",
        head=_time_head(backbone.dim, len(train), classes, options),
        load=load,
        banked=_banked(backbone, train, options, place),
    )


def weights_at_hand(name: str) -> bool:
    """Whether the default weights of a known backbone lie on this machine already."""
    if name == OFFLINE:
        return True
    from torchvision import models

    url = models.get_model_weights(name).DEFAULT.url
    return (Path(torch.hub.get_dir()) / "checkpoints" / str(url).rsplit("/", 1)[-1]).is_file()


def _least_seconds(name: str, speeds: Sequence[Speed], train: int, valid: int) -> float:
    """What a backbone would take at the very least, by the multiply-adds of the dearest one measured so far."""
    if name not in _PUBLISHED:
        return 0.0
    known = [one for one in speeds if one.backbone in _PUBLISHED]
    if not known:
        return 0.0
    dearest = max(known, key=lambda one: _PUBLISHED[one.backbone][1])
    ratio = _PUBLISHED[name][1] / _PUBLISHED[dearest.backbone][1] / _GAIN
    return (train + valid) * dearest.network * ratio * SIZES[-1] ** 2


def _time_pixels(backbone: Backbone, sample: Sequence[LabelledPicture], views: Views, count: int) -> float:
    def prepare(picture: LabelledPicture) -> bool:
        try:
            data = read_file(picture.path)
            views.pixels(data, str(picture.path), "", range(count), backbone.preprocessing)
        except (OSError, BrokenImage):
            return False
        return True

    def once() -> float:
        started = time.perf_counter()
        good = sum(ordered_map(prepare, sample))
        return (time.perf_counter() - started) / max(1, good)

    return min(once(), once())


def _time_network(network: FrozenNetwork) -> float:
    crop = network.preprocessing.crop
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (_SAMPLE, crop, crop, 3), dtype=np.uint8))

    def once() -> float:
        started = time.perf_counter()
        network(pixels).cpu()
        return (time.perf_counter() - started) / _SAMPLE

    once()
    return min(once(), once())


def _time_head(dim: int, pictures: int, classes: int, options: TrainOptions) -> float:
    """One epoch on random features of at most 1,000 pictures, scaled to the whole."""
    count = min(1000, pictures)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, 1, dim, generator=generator)
    labels = [number % classes for number in range(count)]
    started = time.perf_counter()
    with nullcontext() if options.head.hidden else one_thread():
        fit_head(features, labels, classes, replace(options.head, epochs=1, steps=0), seed=options.seed)
    return (time.perf_counter() - started) * pictures / count * options.head.epochs


def _banked(backbone: Backbone, train: Sequence[LabelledPicture], options: TrainOptions, place: Place) -> int:
    """Training pictures whose clean view the bank has, of those whose content the catalog knows."""
    folder, key = options.models / "bank", bank_key(backbone, place.precision, place.device, compiled=place.compiled)
    if not (folder / key.file_name()).is_file():
        return 0
    with FeatureBank(folder, key) as bank:
        known = bank.views_of([CLEAN])
    return sum(picture.sha256 in known for picture in train if picture.sha256)


def _reasons(speed: Speed, ranked: Sequence[Speed], size: float, views: int, run: tuple[int, int, float]) -> list[str]:
    train, valid, left = run
    estimate = speed.seconds(train, valid, views, size)
    plural = "s" if views > 1 else ""
    chosen = f"{speed.backbone} with {views} view{plural} at {size:.0%} of its own size takes about {estimate:.0f} s"
    why = [f"{chosen}; {left:.0f} s were left to plan with."]
    for other in ranked[: ranked.index(speed)]:
        needs = other.seconds(train, valid, 1, size)
        why.append(f"{other.backbone} is better, but would take {needs:.0f} s with one view.")
    more = [count for count in VIEW_COUNTS if count > views]
    if more:
        needs = speed.seconds(train, valid, more[-1], size)
        why.append(f"With {more[-1]} views it would take {needs:.0f} s.")
    if size < 1.0:
        why.append("Nothing fits at its own size, so pictures are made smaller; that costs accuracy.")
    return why
